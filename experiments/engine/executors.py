"""Where cells are computed: processes of this machine, a Ray cluster, Slurm jobs. All share one small interface.

Cells are independent, idempotent and content-addressed, and their results pass through the store alone, so an executor
only starts `work` somewhere and says how it ended. The store must be reachable under the same path from every worker.
"""

from collections.abc import Callable
from pathlib import Path

from experiments.engine.job import Executor
from experiments.engine.local import Local
from experiments.engine.ray import Ray
from experiments.engine.slurm import Slurm
from gold_sim.store.remote import is_url

EXECUTORS: dict[str, Callable[[Path | str, int | None, dict], Executor]] = {"local": Local, "ray": Ray, "slurm": Slurm}


def make(name: str, root: Path | str, workers: int | None, resources: dict[str, str]) -> Executor:
    """The executor of that name.  ValueError: one line, what was given and what is allowed."""
    check(name, workers)
    return EXECUTORS[name](root if is_url(root) else root.absolute(), workers, resources)


def resource(text: str) -> tuple[str, str]:
    """'num_gpus=1' -> ('num_gpus', '1')."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"--resource {text!r}: KEY=VALUE is wanted, as in num_gpus=1")
    return name, value


def check(name: str, workers: int | None) -> None:
    if name not in EXECUTORS:
        raise ValueError(f"--engine {name!r}: allowed are {', '.join(EXECUTORS)}")
    if workers is not None and workers < 1:
        raise ValueError(f"--workers {workers}: at least 1 is wanted")
