"""Tables in other shapes than one column a quantity: nested JSON, and Weights & Biases' export with a column a run."""

import re

import pandas as pd

WRAPPERS = ("data", "metrics", "logs", "log", "scalars", "values", "history")  # of nested rows, which name nothing
ROWS = ("log_history", "history", "rows", "records", "data", "results", "logs")  # keys of a list of rows
WIDE = re.compile(r"^(?P<run>.+?) - (?P<metric>(?:(?! - ).)+)$")
BOUNDS = ("__MIN", "__MAX", "__STD", "__STDERR")
STEP = ("step", "_step", "global_step", "trainer/global_step", "train/global_step")


def flat(row: dict) -> dict:
    """A row without nesting: {"actor": {"kl": 1}} is {"actor/kl": 1}; wrappers such as "data" name nothing."""
    if not any(isinstance(value, dict) for value in row.values()):
        return row
    out = {}
    for name, value in row.items():
        if not isinstance(value, dict):
            out[name] = value
            continue
        inner = flat(value)
        clear = name in WRAPPERS and not set(inner) & (set(row) | set(out))
        out |= {(key if clear else f"{name}/{key}"): of for key, of in inner.items()}
    return out


def rows_of(given) -> list[dict] | None:
    """The rows in what a JSON file holds: a list of objects, an object with such a list, or one with columns."""
    if isinstance(given, list):
        return [flat(row) for row in given if isinstance(row, dict)] or None
    if not isinstance(given, dict):
        return None
    for key in ROWS:
        if isinstance(given.get(key), list) and (found := rows_of(given[key])) is not None:
            return found
    columns = list(given.values())
    if columns and all(isinstance(c, list) and c for c in columns) and len({len(c) for c in columns}) == 1:
        return [dict(zip(given, values, strict=True)) for values in zip(*columns, strict=True)]
    if columns and all(isinstance(c, dict) and c for c in columns) and len({frozenset(c) for c in columns}) == 1:
        return [{name: column[at] for name, column in given.items()} for at in columns[0]]  # as pandas writes it
    return None


def is_wide(names: list[str], wanted: list[str]) -> bool:
    """Whether columns are named "run - metric", and what is wanted stands there alone."""
    metrics = {match["metric"] for name in names if (match := WIDE.match(name))}
    missing = [name for name in wanted if name not in names]
    return bool(metrics) and any(name in metrics for name in missing)


def long(table: pd.DataFrame) -> pd.DataFrame:
    """A W&B export with a column a run ("run - metric") as a table with a row a run and step, and a column run.

    The smallest and largest values that it adds (__MIN, __MAX) are left out.
    """
    names = [str(name) for name in table.columns]
    shared = [name for name in names if not WIDE.match(name)]
    runs: dict[str, dict[str, str]] = {}
    for name in names:
        match = WIDE.match(name)
        if match and not match["metric"].endswith(BOUNDS):
            runs.setdefault(match["run"], {})[name] = match["metric"]
    parts = [
        table[[*shared, *columns]].rename(columns=columns).assign(run=run).dropna(how="all", subset=[*columns.values()])
        for run, columns in runs.items()
    ]
    return pd.concat(parts, ignore_index=True)
