"""TensorBoard event files: a folder a run, its curves as scalars of seven digits, its settings for HParams.

TensorBoard 2.21 shows no scalars in double precision. A file's name ends in the digest of the records that it shows.
"""

import io
from datetime import datetime
from pathlib import Path

import numpy as np

from gold_sim.store import outputs
from gold_sim.store.columns import described
from gold_sim.store.files import StoreError, writing
from gold_sim.store.sinks.run import Run

NAME = "events.out.tfevents.gold_sim"  # TensorBoard reads what has `tfevents` in its name


def write(folder: Path, run: Run) -> None:
    """Write the event file of a run, whole or not at all, unless it is there.

    StoreError: it cannot be written, or what is there is of other records.
    """
    path = folder / run.path / f"{NAME}.{run.digest[:16]}"
    if path.exists():
        return
    if others := list(path.parent.glob(f"{NAME}.*")):
        raise StoreError(f"{others[0]}: is of other records of this run, drawn elsewhere; another DIR is wanted")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    outputs.write(path, events(run))


def events(run: Run) -> bytes:
    """The bytes of a run's event file. A point's step is `control`; all times are when the records were made."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar import metadata as scalar
    from tensorboard.plugins.text import metadata as text
    from tensorboard.summary.writer.record_writer import RecordWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    data, begun = io.BytesIO(), datetime.fromisoformat(run.created).timestamp()
    records = RecordWriter(data)
    put = lambda **what: records.write(Event(wall_time=begun, **what).SerializeToString())
    put(file_version="brain.Event:2")
    put(summary=hparams_pb(run.settings, trial_id=run.path, start_time_secs=begun))
    about = {name: text.create_summary_metadata(name, "") for name in ("config", "summary")}
    for name, meta in about.items():
        lines = make_tensor_proto(np.array(_table(getattr(run, name)), dtype=object))
        put(summary=Summary(value=[Summary.Value(tag=name, tensor=lines, metadata=meta)]))
    seen = set()
    for control, point in zip(run.curve.index, run.curve.itertuples(index=False, name=None), strict=True):
        values = []
        for name, value in zip(run.curve.columns, point, strict=True):
            about = {}
            if name not in seen:  # TensorBoard keeps the first of a tag
                about = {"metadata": scalar.create_summary_metadata(name, str(described("curves", name)))}
                seen.add(name)
            values.append(Summary.Value(tag=name, tensor=make_tensor_proto(np.float32(value)), **about))
        put(step=int(control), summary=Summary(value=values))
    return data.getvalue()


def _table(entries: dict) -> str:
    """Entries by name as a Markdown table."""
    rows = (f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in entries.items())
    return "\n".join(["| name | value |", "|---|---|", *rows])
