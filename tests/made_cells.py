"""Cells as stages would have left them, with made-up numbers, and the names by which tests of the store know them."""

import numpy as np

from gold_sim.store.columns import TABLES

A, B, C = "a" * 16, "b" * 16, "c" * 16


def columns(kind, cell, rows=3):
    """Made-up columns of a table: other numbers in every column and row, NaN in one place."""
    made = {}
    for i, (name, column) in enumerate(TABLES[kind].items()):
        values = np.arange(rows) + 10 * i
        made[name] = values if column.dtype == "int64" else values + 0.5
        if column.dtype == "string":
            made[name] = [f"{name}{row}" for row in range(rows)]
    made["cell"] = [cell] * rows
    made["ece" if kind == "reward_models" else "entropy"][0] = np.nan
    return made


def write(store, cell=A, stage="best_of_n", rows=3, **record):
    tables = {"curves": columns("curves", cell, rows)}
    return store.write(stage, "tiny", cell, {"note": "é", **record}, tables, {"pool": {"x": np.arange(5)}})
