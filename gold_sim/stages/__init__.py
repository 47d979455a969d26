"""Stages, each a function from stored results to a stored result, and the graph that leads to a cell.

`declared` has all that is known of a stage beside its function; `graph` makes cells of it. Neither imports jax.
A stage's function is (cell, inputs, store, progress) -> (record, tables, arrays).
"""
