"""Curves as other programs write them: tables, TRL's trainer_state.json and JSON-lines logs, TensorBoard event files.

A trainer's KL is a trap. TRL's PPO and RLOO trainers log `objective/kl`, summed over a response's tokens; its GRPO
trainer logs `kl`, the mean over tokens; the laws want nats a response. The tag does not tell, so a log is refused
until its unit is stated.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

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


def _csv(path, columns):
    if columns is None or path.stat().st_size < LARGE:
        return pd.read_csv(path)
    return pd.read_csv(path, usecols=lambda name: name in columns)


def _present(path, columns):
    if columns is None or path.stat().st_size < LARGE:
        return None
    import pyarrow.parquet as pq

    return [name for name in pq.read_schema(path).names if name in columns]


def _json_lines(path, columns):
    if path.stat().st_size < LARGE:
        return pd.read_json(path, lines=True)
    parts = []
    with pd.read_json(path, lines=True, chunksize=CHUNK) as reader:
        for part in reader:
            parts.append(part if columns is None else part[[c for c in part.columns if c in columns]])
    return pd.concat(parts, ignore_index=True)


# --- trainers' logs ------------------------------------------------------------------------------


def _looks_like_trl(table) -> bool:
    return any(str(name).startswith(("objective/", "rewards/", "train/")) for name in table.columns)


def _trainer_state(path, _columns):
    """log_history of a Hugging Face trainer: dicts that share a step are one point."""
    state = json.loads(path.read_text(encoding="utf-8"))
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
        return log.table[column]
    if length is None:
        raise BadInput("--kl-unit token: --length COLUMN is wanted, the mean number of tokens a response")
    if length not in log.table.columns:
        raise BadInput(f"{path}: no column {length!r}; it has {', '.join(map(str, log.table.columns))}")
    tokens = pd.to_numeric(log.table[length], errors="coerce")
    if not (tokens > 0).all():
        row = int(np.flatnonzero(~(tokens > 0))[0])
        given = f"{length}={log.table[length].iloc[row]!r} in data row {row + 1}"
        raise BadInput(f"{path}: {given}; a positive number is wanted")
    return pd.to_numeric(log.table[column], errors="coerce") * tokens
