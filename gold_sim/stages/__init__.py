"""The pipeline: one stage a file, and the graph that joins them.

`declared` holds everything about a stage except its function; `graph` makes cells from it. Neither imports jax.
A stage's function is (cell, inputs, store, progress) -> (record, tables, arrays).
"""
