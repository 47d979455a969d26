"""Columns of a table that someone else wrote: found by name, and read as numbers or as labels."""

import datetime
import decimal
import difflib
import numbers as kinds
import re

import numpy as np
import pandas as pd

from analysis import escaped

GAPS = {"", "nan", "null", "none", "na", "n/a", "-"}  # text that stands for no value, whatever its case
SHOWN = 12  # names of columns that a message lists


class BadInput(ValueError):
    """One line for the user: the value, what is allowed, where."""


def check_column(path, table: pd.DataFrame, name: str) -> None:
    """BadInput unless the table has a column of this name; the line has the name that was probably meant."""
    if name in table.columns:
        return
    names = [str(column) for column in table.columns]
    meant = close(name, names)
    hint = f"; is {' or '.join(map(repr, meant))} meant?" if meant else ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    raise BadInput(f"{path}: no column {name!r}; it has {', '.join(names[:SHOWN])}{more}{hint}")


def close(name: str, names: list[str]) -> list[str]:
    """At most three of names that differ in case, spaces, marks or a prefix, or else by a letter or two."""
    plain = lambda text: re.sub(r"[\s_\-./:]", "", text).lower()
    last = lambda text: plain(re.split(r"[/.:]", text)[-1])
    for same in (lambda other: plain(other) == plain(name), lambda other: last(other) == last(name)):
        if found := [other for other in names if same(other)]:
            return found[:3]
    return difflib.get_close_matches(name, names, n=1, cutoff=0.8)


def numbers(path, table: pd.DataFrame, name: str) -> pd.Series:
    """A column as finite numbers.  BadInput, naming the row, for anything else: text, times, truths, lists, gaps."""
    values = measured(path, table, name)
    if (bad := values.isna()).any():
        raise BadInput(_not_finite(path, table, name, bad))
    return values


def measured(path, table: pd.DataFrame, name: str) -> pd.Series:
    """A column as finite numbers, NaN where nothing was written.  BadInput, naming the row, for anything else."""
    column = _without_categories(table[name])
    if column.dtype.kind in "bMmc":
        said = {"b": "yes or no", "M": "a time", "m": "a time span", "c": "complex"}[column.dtype.kind]
        raise BadInput(f"{path}: {name} is {said} ({escaped.value(str(column.iloc[0]))}); a number is wanted")
    gap = column.isna()
    if column.dtype == object:  # of mixed kinds: what is none of these is refused
        is_number = lambda v: isinstance(v, str | kinds.Real | decimal.Decimal) and not isinstance(v, bool)
        gap |= column.map(lambda v: isinstance(v, str) and v.strip().lower() in GAPS)
        column = column.where(column.map(is_number))
    values = pd.to_numeric(column, errors="coerce").astype(float)
    if (bad := ~np.isfinite(values) & ~gap).any():
        raise BadInput(_not_finite(path, table, name, bad))
    return values


def _not_finite(path, table, name, bad) -> str:
    given = escaped.value(table[name].iloc[int(np.flatnonzero(bad)[0])])
    given = "nan" if given == "None" else given
    if (count := int(bad.sum())) == len(table) > 1:
        return f"{path}: {name}={given} in data row 1 and in all {count} rows; a finite number is wanted"
    others = f" and {count - 1} more" if count > 1 else ""
    return f"{path}: {name}={given} in data row {data_row(table, bad)}{others}; a finite number is wanted"


def keys(path, table: pd.DataFrame, name: str) -> pd.Series:
    """A column that tells groups or runs apart.  BadInput unless it has text in every row, or a number in every row."""
    column = _without_categories(table[name])
    if (empty := column.isna()).any():  # grouping would drop these rows without a word
        raise BadInput(f"{path}: {name} is empty in data row {data_row(table, empty)}; a value in every row is wanted")
    sure = column.dtype != object and column.dtype.kind != "f"  # all of one kind
    kinds_of = (column.iloc[:1] if sure else column).map(_kind_of_key)
    if (odd := ~kinds_of.isin(["text", "a number"])).any():
        at = int(np.flatnonzero(odd)[0])
        given = (
            f"{name}={escaped.value(str(column.iloc[at]))} in data row {data_row(table, odd)} is {kinds_of.iloc[at]}"
        )
        raise BadInput(f"{path}: {given}; text or a number is wanted in a column that tells groups or runs apart")
    if kinds_of.nunique() > 1:
        raise BadInput(f"{path}: {name} is text in some rows and a number in others; one of them is wanted in all rows")
    return column.astype(float) if column.dtype == np.float16 else column  # pandas cannot group by these


def _kind_of_key(key) -> str:
    if isinstance(key, str):
        return "text"
    if isinstance(key, kinds.Real | np.bool_):
        return "a number" if np.isfinite(float(key)) else "no finite number"
    if isinstance(key, list | np.ndarray):
        return "a list"
    times = datetime.date | datetime.time | datetime.timedelta
    return "a time" if isinstance(key, times) else f"of type {type(key).__name__}"


def _without_categories(column: pd.Series) -> pd.Series:
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    return column.astype(column.cat.categories.dtype) if is_category else column


def data_row(table: pd.DataFrame, bad) -> int:
    """Number of the first bad row in the file, which may have had others that were left out."""
    return int(table.index[int(np.flatnonzero(bad)[0])]) + 1
