"""Curves as other programs write them: tables, TRL's trainer_state.json and JSON-lines logs, TensorBoard event files.

A trainer's KL is a trap. TRL's PPO and RLOO trainers log `objective/kl`, summed over a response's tokens; its GRPO
trainer logs `kl`, the mean over tokens; the laws want nats a response. The tag does not tell, so a log is refused
until its unit is stated.
"""

import csv
import datetime
import decimal
import itertools
import json
import numbers as kinds
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import escaped

KL_UNITS = ("response", "token")  # nats summed over a response, or averaged over its tokens
LARGE = 1e9  # bytes; above, a file is announced before it is read
CHUNK = 100_000  # JSON lines parsed at a time


class BadInput(ValueError):
    """One line for the user: the value, what is allowed, where."""


@dataclass(frozen=True)
class Log:
    """A table with one row a point, and whether it is a trainer's log, whose KL has a unit to be stated."""

    table: pd.DataFrame
    of_trainer: bool


def read(path: Path, columns: list[str] | None = None) -> Log:
    """The table in a file or, for event files, in a folder.

    columns: those wanted; of a large file only these are kept.
    Raises BadInput, naming the file, if it is none of the known kinds, cannot be read or has no rows.
    """
    if not path.exists():
        raise BadInput(f"{path}: no such file")
    kind, reader = _kind(path)
    try:
        table = reader(path, columns)
    except BadInput:
        raise
    except Exception as error:  # whatever the readers raise on what is no table
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path}: cannot be read as {kind}: {said}") from error
    if table.empty:
        raise BadInput(f"{path}: no rows; a table with one row a point is wanted")
    for name in table.columns[table.columns.duplicated()]:
        _refuse_twice(path, str(name), columns)
    table = table.reset_index(drop=table.index.names == [None])  # Parquet may keep a column as index
    of_trainer = kind in ("TRL state", "TensorBoard events") or (kind == "JSON lines" and _looks_like_trl(table))
    return Log(table, of_trainer)


def _kind(path: Path) -> tuple[str, Callable]:
    if path.is_dir() or ".tfevents." in path.name:
        return "TensorBoard events", _events
    known = {
        ".csv": ("CSV", _csv),
        ".parquet": ("Parquet", lambda path, columns: pd.read_parquet(path, columns=_present(path, columns))),
        ".jsonl": ("JSON lines", _json_lines),
        ".ndjson": ("JSON lines", _json_lines),
        ".json": ("TRL state", _trainer_state),
    }
    if path.suffix.lower() not in known:
        allowed = ".csv, .parquet, .jsonl, .ndjson, trainer_state.json, TensorBoard event files or a folder of them"
        raise BadInput(f"{path}: file type {path.suffix!r}; allowed are {allowed}")
    return known[path.suffix.lower()]


def _refuse_twice(path, name: str, wanted: list[str] | None):
    """BadInput for a name that stands twice, unless nobody wants that column."""
    if wanted is None or name in wanted:
        raise BadInput(f"{path}: two columns are named {name!r}; names that differ are wanted")


def _csv(path, columns):
    large = columns is not None and path.stat().st_size >= LARGE
    _check_widths(path, columns, CHUNK if large else None)
    return pd.read_csv(path, usecols=(lambda name: name in columns) if large else None, low_memory=False)


def _check_widths(path, columns, most: int | None):
    """BadInput unless every row (of the first `most`) has a value for every name of the header, which differ.

    pandas would make an index of the first value where there is one more, leave the last name empty where there is one
    less, and rename a second column of one name: all other columns shift without a word.
    """
    csv.field_size_limit(2**31 - 1)  # a column may hold prompts
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        header = next((row for row in lines if row), [])
        for name in header:
            if header.count(name) > 1:
                _refuse_twice(path, name, columns)
        for row in itertools.islice(lines, most):
            if row and len(row) != len(header):
                values = f"line {lines.line_num} has {len(row)} values, the header {len(header)} names"
                raise BadInput(f"{path}: {values}; a value for every name is wanted in every line")


def _present(path, columns):
    if columns is None or path.stat().st_size < LARGE:
        return None
    import pyarrow.parquet as pq

    return [name for name in pq.read_schema(path).names if name in columns]


def _json_lines(path, columns):
    kept = columns if columns is not None and path.stat().st_size >= LARGE else None
    parts, rows = [], []
    with open(path, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                row = _json_object(path, number, line)
                rows.append(row if kept is None else {name: row[name] for name in kept if name in row})
            if len(rows) == CHUNK:
                parts.append(pd.DataFrame(rows))
                rows = []
    if rows or not parts:
        parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)


def _json_object(path, number: int, line: str) -> dict:
    try:
        row = json.loads(line, object_pairs_hook=unique)
    except ValueError as error:
        raise BadInput(f"{path}: line {number}: {error}; a JSON object in every line is wanted") from error
    if not isinstance(row, dict):
        raise BadInput(f"{path}: line {number} is {escaped.value(row)}; a JSON object in every line is wanted")
    return row


def unique(pairs: list[tuple]) -> dict:
    """A JSON object; ValueError if a name stands twice in it."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return row


# --- trainers' logs ------------------------------------------------------------------------------


def _looks_like_trl(table) -> bool:
    return any(str(name).startswith(("objective/", "rewards/", "train/")) for name in table.columns)


def _trainer_state(path, _columns):
    """log_history of a Hugging Face trainer: dicts that share a step are one point."""
    state = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise BadInput(f"{path}: no list 'log_history'; a trainer_state.json is wanted, or .jsonl for JSON lines")
    rows = [row for row in history if isinstance(row, dict)]
    table = pd.DataFrame(rows)
    if "step" not in table.columns:
        return table
    return table.groupby("step", sort=True, as_index=False).last()


def _events(path, _columns):
    """Scalars of TensorBoard event files, one column a tag, one row a (run, step); run is the folder."""
    try:
        from tensorboard.backend.event_processing import event_accumulator as accumulator
    except ImportError as error:
        raise BadInput(f"{path}: event files are read by tensorboard: pip install 'gold_sim[tensorboard]'") from error
    folders = sorted({file.parent for file in path.rglob("*tfevents*")}) if path.is_dir() else [path]
    if not folders:
        raise BadInput(f"{path}: no event file (*tfevents*) in this folder")
    tables = []
    for file in path.rglob("*tfevents*") if path.is_dir() else [path]:
        check_events(file)
    for folder in folders:
        events = accumulator.EventAccumulator(str(folder), size_guidance={accumulator.SCALARS: 0, "tensors": 0})
        events.Reload()
        columns = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
        for tag in events.Tags().get("tensors", []):
            values = {e.step: accumulator.tensor_util.make_ndarray(e.tensor_proto) for e in events.Tensors(tag)}
            if all(np.size(v) == 1 and np.issubdtype(np.asarray(v).dtype, np.number) for v in values.values()):
                columns[tag] = {step: float(np.asarray(v).reshape(())) for step, v in values.items()}
        table = pd.DataFrame(columns).rename_axis("step").sort_index().reset_index()
        name = "." if not path.is_dir() else str(folder.relative_to(path))
        tables.append(table.assign(run=name))
    return pd.concat(tables, ignore_index=True)


def check_events(path: Path) -> int:
    """Number of events in an event file.  BadInput unless every byte of it can be read.

    TensorBoard stops without a word at the first record that is cut short or damaged. A record is: length of the data
    (8 bytes), its checksum (4), the data, their checksum (4).
    """
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    with open(path, "rb") as file:
        size, count = path.stat().st_size, 0
        while file.tell() < size:
            at = file.tell()
            head = file.read(12)
            length = int.from_bytes(head[:8], "little")
            if len(head) == 12 and int.from_bytes(head[8:], "little") == masked_crc32c(head[:8]):
                data, checksum = (file.read(length), file.read(4)) if at + length + 16 <= size else (b"", b"")
                if checksum and int.from_bytes(checksum, "little") == masked_crc32c(data):
                    count += 1
                    continue
            raise BadInput(f"{path}: event {count + 1}, at byte {at:,} of {size:,}, is cut short or damaged; whole "
                           "files are wanted, those of a run that has ended")  # fmt: skip
    return count


def numbers(path, table: pd.DataFrame, name: str) -> pd.Series:
    """A column as finite numbers.  BadInput, naming the row, for anything else: text, times, truths, lists, gaps."""
    column = _without_categories(table[name])
    if column.dtype.kind in "bMmc":
        said = {"b": "yes or no", "M": "a time", "m": "a time span", "c": "complex"}[column.dtype.kind]
        raise BadInput(f"{path}: {name} is {said} ({escaped.value(str(column.iloc[0]))}); a number is wanted")
    if column.dtype == object:  # of mixed kinds: what is none of these becomes a gap
        is_number = lambda v: isinstance(v, str | kinds.Real | decimal.Decimal) and not isinstance(v, bool)
        column = column.where(column.map(is_number))
    values = pd.to_numeric(column, errors="coerce").astype(float)
    if (bad := ~np.isfinite(values)).any():
        given = escaped.value(table[name].iloc[int(np.flatnonzero(bad)[0])])
        raise BadInput(f"{path}: {name}={given} in data row {data_row(table, bad)}; a finite number is wanted")
    return values


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


def kl_per_response(log: Log, path, column: str, unit: str | None, length: str | None) -> pd.Series:
    """The column of KL in nats a response.  BadInput where a trainer's log has no stated unit, or none is known."""
    if unit is None:
        if log.of_trainer:
            raise BadInput(
                f"{path}: {column} of a trainer's log may be nats a response (TRL's objective/kl) or the mean over "
                "tokens (GRPO's kl); state it: --kl-unit response, or --kl-unit token --length COLUMN"
            )
        unit = "response"
    if unit not in KL_UNITS:
        raise BadInput(f"--kl-unit {unit}: allowed are {', '.join(KL_UNITS)}")
    if unit == "response":
        return numbers(path, log.table, column)
    if length is None:
        raise BadInput("--kl-unit token: --length COLUMN is wanted, the mean number of tokens a response")
    if length not in log.table.columns:
        raise BadInput(f"{path}: no column {length!r}; it has {', '.join(map(str, log.table.columns))}")
    tokens = numbers(path, log.table, length)
    if (bad := ~(tokens > 0)).any():
        given = f"{length}={tokens[bad].iloc[0]:g} in data row {data_row(log.table, bad)}"
        raise BadInput(f"{path}: {given}; a positive number is wanted")
    return numbers(path, log.table, column) * tokens
