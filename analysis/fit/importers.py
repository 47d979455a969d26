"""Curves as other programs write them: tables, JSON, a Hugging Face trainer's state, TensorBoard event files."""

import csv
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from analysis import escaped
from analysis.fit import reshape
from analysis.fit.values import BadInput

LARGE = 1e9  # bytes; above, a file is announced before it is read
CHUNK = 100_000  # JSON lines parsed at a time
ALLOWED = (
    ".csv, .tsv, .parquet, .jsonl, .ndjson, .json (trainer_state.json or a list of rows), TensorBoard event files or a "
    "folder of them"
)
CONSOLE = (".log", ".txt", ".out", ".err")


@dataclass(frozen=True)
class Log:
    """A table with one row a point, and whether the file is a trainer's by its kind, whatever its columns are."""

    table: pd.DataFrame
    of_trainer: bool
    warnings: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of all columns in the file, those too that were not kept


def read(path: Path, columns: list[str] | None = None) -> Log:
    """The table in a file or, for event files, in a folder.

    columns: those wanted; of a large file only these are kept. An export of Weights & Biases with a column a run is
    turned into rows where it holds a wanted column in that form.
    Raises BadInput, naming the file, if it is none of the known kinds, cannot be read or has no rows.
    """
    if not path.exists():
        raise BadInput(f"{path}: no such file")
    kind, reader = _kind(path)
    if path.is_file() and not path.stat().st_size:
        raise BadInput(f"{path}: is empty; a table with one row a point is wanted")
    try:
        found = reader(path, columns)
    except BadInput:
        raise
    except pd.errors.EmptyDataError as error:
        raise BadInput(f"{path}: is empty; a table with one row a point is wanted") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: cannot be read as {kind}: it is no UTF-8 text") from error
    except Exception as error:  # whatever the readers raise on what is no table
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path}: cannot be read as {kind}: {said}") from error
    table, warnings, of_trainer = found if isinstance(found, tuple) else (found, [], False)
    if table.empty:
        raise BadInput(f"{path}: no rows; a table with one row a point is wanted")
    for name in table.columns[table.columns.duplicated()]:
        _refuse_twice(path, str(name), columns)
    table = table.reset_index(drop=table.index.names == [None])  # Parquet may keep a column as index
    if columns is not None and reshape.is_wide([str(name) for name in table.columns], columns):
        table, of_trainer = reshape.long(table), True
    names = list(dict.fromkeys([*map(str, table.columns), *_names(path)]))
    return Log(table, of_trainer, warnings, names)


def _names(path) -> list[str]:
    """Names of the columns of a large file; none of a small one, which is read whole."""
    if path.is_dir() or path.stat().st_size < LARGE:
        return []
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_schema(path).names
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() in (".csv", ".tsv"):
            return [name.strip() for name in next(csv.reader(file, delimiter=_separator(path)), [])]
        rows = (_json_object(path, number, line) for number, line in enumerate(itertools.islice(file, 1000), 1))
        return [name for row in rows for name in row or ()]


def _kind(path: Path) -> tuple[str, Callable]:
    if path.is_dir() or ".tfevents." in path.name:
        return "TensorBoard events", _events
    known = {
        ".csv": ("CSV", _csv),
        ".tsv": ("a table with tabs", _csv),
        ".parquet": ("Parquet", lambda path, columns: pd.read_parquet(path, columns=_present(path, columns))),
        ".jsonl": ("JSON lines", _json_lines),
        ".ndjson": ("JSON lines", _json_lines),
        ".json": ("JSON", _json),
    }
    suffix = path.suffix.lower()
    if suffix in CONSOLE:
        raise BadInput(
            f"{path}: file type {path.suffix!r}, lines for a console, whose numbers are rounded; allowed are "
            f"{ALLOWED}; "
            'verl writes JSON lines with trainer.logger=\'["console","file"]\''
        )
    if suffix not in known:
        raise BadInput(f"{path}: file type {path.suffix!r}; allowed are {ALLOWED}")
    return known[suffix]


def _events(path, _columns):
    from analysis.fit import event_files

    return *event_files.read(path), True


def _refuse_twice(path, name: str, wanted: list[str] | None):
    """BadInput for a name that stands twice, unless nobody wants that column."""
    if wanted is None or name in wanted:
        raise BadInput(f"{path}: two columns are named {name!r}; names that differ are wanted")


# --- text ------------------------------------------------------------------------------------------


def _csv(path, columns):
    large = columns is not None and path.stat().st_size >= LARGE
    separator = _separator(path)
    decimal = _check_rows(path, columns, CHUNK if large else None, separator)
    wanted = (lambda name: name.strip() in columns) if large else None
    as_written = {"sep": separator, "decimal": decimal, "skipinitialspace": True, "encoding": "utf-8-sig"}
    table = pd.read_csv(path, usecols=wanted, low_memory=False, **as_written)
    return table.rename(columns=str.strip)


def _separator(path) -> str:
    """What separates the names in the header: a comma, a semicolon or a tab, whichever is there most often."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = re.sub(r'"[^"]*"', "", next((line for line in file if line.strip()), ""))
    return max((",", ";", "\t"), key=header.count)


def _check_rows(path, columns, most: int | None, separator: str) -> str:
    """BadInput unless every row (of the first `most`) has a value for every name of the header, which differ.

    pandas would make an index of the first value where there is one more, leave the last name empty where there is one
    less, and rename a second column of one name: all other columns shift without a word.
    Returns the mark before decimals: a comma where columns are not separated by commas and the numbers have commas.
    """
    csv.field_size_limit(2**31 - 1)  # a column may hold prompts
    commas, points = set(), False
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=separator, skipinitialspace=True)
        header = [name.strip() for name in next((row for row in lines if row), [])]
        for name in header:
            if header.count(name) > 1:
                _refuse_twice(path, name, columns)
        for row in itertools.islice(lines, most):
            if row and len(row) != len(header):
                values = f"line {lines.line_num} has {len(row)} values, the header {len(header)} names"
                raise BadInput(f"{path}: {values}; a value for every name is wanted in every line")
            if separator != ",":
                commas |= {cell for cell in row if re.fullmatch(r"-?\d+,\d+(e[-+]?\d+)?", cell, re.IGNORECASE)}
                points = points or any(re.fullmatch(r"-?\d+\.\d+", cell) for cell in row)
    if not commas or points:
        return "."
    if all(re.fullmatch(r"-?[1-9]\d{0,2},\d{3}", cell) for cell in commas):
        one = min(commas)
        raise BadInput(f"{path}: {one} may be {one.replace(',', '.')} or {one.replace(',', '')}; points are wanted")
    return ","


def _present(path, columns):
    if columns is None or path.stat().st_size < LARGE:
        return None
    import pyarrow.parquet as pq

    return [name for name in pq.read_schema(path).names if name in columns]


# --- JSON ------------------------------------------------------------------------------------------


def _json_lines(path, columns):
    kept = columns if columns is not None and path.stat().st_size >= LARGE else None
    parts, rows, warnings = [], [], []
    with open(path, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = _json_object(path, number, line)
            if row is None:  # cut short; a file may end so whose writer was killed
                if line.endswith("\n") or (number == 1 and not rows):
                    raise BadInput(f"{path}: line {number} is no whole JSON object; one is wanted in every line")
                warnings.append(f"line {number}, the last, is cut short and left out")
                continue
            rows.append(row if kept is None else {name: row[name] for name in kept if name in row})
            if len(rows) == CHUNK:
                parts.append(pd.DataFrame(rows))
                rows = []
    if rows or not parts:
        parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True), warnings, False


def _json_object(path, number: int, line: str) -> dict | None:
    """The object in a line, without nesting; None if the line is not JSON."""
    try:
        row = json.loads(line, object_pairs_hook=unique)
    except json.JSONDecodeError:
        return None
    except ValueError as error:
        raise BadInput(f"{path}: line {number}: {error}; a JSON object in every line is wanted") from error
    if not isinstance(row, dict):
        raise BadInput(f"{path}: line {number} is {escaped.value(row)}; a JSON object in every line is wanted")
    return reshape.flat(row)


def unique(pairs: list[tuple]) -> dict:
    """A JSON object; ValueError if a name stands twice in it."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return row


def _json(path, columns):
    """A Hugging Face trainer's state, a list of rows, columns by name, or JSON lines under the wrong name."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        given = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("{") and error.msg.startswith("Extra data"):
            return _json_lines(path, columns)
        raise BadInput(f"{path}: is no whole JSON from line {error.lineno} on; is it cut short?") from error
    if (rows := reshape.rows_of(given)) is None:
        raise BadInput(
            f"{path}: no list 'log_history' and no list of rows; a trainer_state.json or [{{..}}, ..] is wanted, or "
            ".jsonl for JSON lines"
        )
    return pd.DataFrame(rows), [], isinstance(given, dict) and "log_history" in given
