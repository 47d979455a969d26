"""Sinks: other places that show finished cells. Each reads what the store has, so none can change a result.

A sink is a folder and a function that writes one run into it. It writes a run once: if the run is there, nothing is
done. So cells may be exported as they end, when a sweep is resumed, or long afterwards, and there are no doubles.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gold_sim.store import outputs
from gold_sim.store.needed import needed
from gold_sim.store.sinks.run import Run, runs_of
from gold_sim.store.store import Store

KINDS = {  # kind -> (module with `write`, the package that it needs)
    "tensorboard": ("gold_sim.store.sinks.event_files", "tensorboard"),
    "wandb": ("gold_sim.store.sinks.offline_wandb", "wandb"),
}
FORMS = " or ".join(f"{kind}=DIR" for kind in KINDS)


@dataclass(frozen=True)
class Sink:
    """A folder, and the function that writes a run into it unless it is there; str() is how it was named."""

    kind: str
    folder: Path
    write: Callable[[Path, Run], None]

    def __str__(self):
        return f"{self.kind}={self.folder}"


def open_sink(text: str) -> Sink:
    """The sink that `kind=DIR` names, checked before work is spent.

    ValueError: no such kind, no folder, or its package is not installed.  StoreError: the folder cannot be written.
    """
    kind, _, folder = text.partition("=")
    if kind not in KINDS or not folder.strip():
        raise ValueError(f"sink {text!r}: {FORMS} is wanted")
    module, package = KINDS[kind]
    needed(package, "sinks", f"sink {kind}")
    outputs.check_folder(Path(folder))
    return Sink(kind, Path(folder), importlib.import_module(module).write)


def export(sink: Sink, store: Store, cells: Iterable[tuple[str, str]]) -> int:
    """Write every run of these cells (stage, fingerprint) that is not in the sink yet; the number of runs there now."""
    count = 0
    for stage, fingerprint in cells:
        for run in runs_of(store, stage, fingerprint):
            sink.write(sink.folder, run)
            count += 1
    return count
