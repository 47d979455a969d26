"""The pipeline: one stage a file, and the graph that joins them.

`declared` has all that is known of a stage beside its function; `graph` makes cells of it. Neither imports jax.
A stage's function is (cell, inputs, store, progress) -> (record, tables, arrays).
"""
