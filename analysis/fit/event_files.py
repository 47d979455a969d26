"""Scalars of TensorBoard event files, one row a run and step."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.fit import steps
from analysis.fit.values import BadInput


def read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """(a column a tag, a row a (run, step), with run the folder; warnings) of an event file or a folder of them.

    A run's hyperparameters, as HParams shows them, are columns too, of one value each.
    Several files of one folder are one run. Where a later file goes back to an earlier step with a tag that was logged
    before, the run was resumed there, and what earlier files have from that step on is left out and counted.
    """
    try:
        from tensorboard.backend.event_processing import event_accumulator  # noqa: F401
    except ImportError as error:
        raise BadInput(f"{path}: event files are read by tensorboard: pip install 'gold_sim[tensorboard]'") from error
    files = sorted(path.rglob("*tfevents*")) if path.is_dir() else [path]
    if not files:
        raise BadInput(f"{path}: no event file (*tfevents*) in this folder")
    for file in files:
        check_whole(file)
    tables, warnings = [], []
    for folder in sorted({file.parent for file in files}):
        name = "." if not path.is_dir() else str(folder.relative_to(path))
        logs = [_accumulated(file) for file in files if file.parent == folder]
        table, lost = _run([scalars(log) for log in logs])
        constant = {key: value for log in logs for key, value in hyperparameters(log).items()}
        tables.append(table.assign(**{key: v for key, v in constant.items() if key not in table} | {"run": name}))
        if lost:
            warnings.append(f"run {name}: {lost[0]}")
    return pd.concat(tables, ignore_index=True), warnings


def _run(logged: list[pd.DataFrame]) -> tuple[pd.DataFrame, list[str]]:
    """The files of one run, in the order in which they were begun, as one row a step; and what was given up."""
    logged = [one for one in logged if len(one)]
    if not logged:
        return pd.DataFrame({"step": []}), []
    events = pd.concat(sorted(logged, key=lambda one: one["wall_time"].iloc[0]), ignore_index=True)
    tags, at = np.unique(events["tag"], return_inverse=True)
    alive, back = steps.last_branch(events["step"].to_numpy(float), at[:, None] == np.arange(len(tags)))
    lost = events[~alive]
    wide = events[alive].pivot_table(index="step", columns="tag", values="value", aggfunc="last", dropna=False)
    said = []
    if back:
        first = ", ".join(f"{events['step'].iloc[row]:g}" for row, _ in back[:3])
        said = [f"resumed at step {first}: the {lost['step'].nunique()} steps from there on that were written before "
                "are left out"]  # fmt: skip
    return wide.rename_axis(columns=None).reset_index(), said


def _accumulated(file: Path):
    from tensorboard.backend.event_processing import event_accumulator as accumulator

    events = accumulator.EventAccumulator(str(file), size_guidance={accumulator.SCALARS: 0, accumulator.TENSORS: 0})
    return events.Reload()


def scalars(events) -> pd.DataFrame:
    """The scalars of one event file in the order of writing: columns step, tag, value, wall_time."""
    from tensorboard.util.tensor_util import make_ndarray

    rows = [(e.step, tag, e.value, e.wall_time) for tag in events.Tags()["scalars"] for e in events.Scalars(tag)]
    for tag in events.Tags().get("tensors", []):
        values = [(e, np.asarray(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
        if all(np.size(v) == 1 and np.issubdtype(v.dtype, np.number) for _, v in values):
            rows += [(e.step, tag, float(v.reshape(())), e.wall_time) for e, v in values]
    table = pd.DataFrame(rows, columns=["step", "tag", "value", "wall_time"])
    return table.sort_values("wall_time", kind="stable")


def hyperparameters(events) -> dict[str, str | bool | int | float]:
    """The settings of a run that one event file holds for TensorBoard's HParams; whole numbers are integers."""
    from tensorboard.plugins.hparams import metadata

    if metadata.SESSION_START_INFO_TAG not in events.Tags().get("tensors", []):
        return {}
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    found = {}
    for name, given in metadata.parse_session_start_info_plugin_data(content).hparams.items():
        value = getattr(given, given.WhichOneof("kind") or "string_value")
        found[name] = int(value) if isinstance(value, float) and value.is_integer() else value
    return found


def check_whole(path: Path) -> int:
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
