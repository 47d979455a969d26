"""Tiny cells for the real stages' pipeline: bytes that follow from a cell's name and from what it reads.

They stand in place of the real stages of these names, with their tables, and are computed in steps with checkpoints.
"""

import contextlib
import dataclasses
import functools
import hashlib
import random
from dataclasses import dataclass, field
from unittest import mock

import numpy as np

from gold_sim.config import WorldConfig
from gold_sim.stages import graph, pipeline
from gold_sim.stages.checkpointed import Checkpointed
from gold_sim.stages.declared import STAGES
from gold_sim.stages.stage import Work
from gold_sim.store.columns import TABLES

STEPS, STEP_SECONDS = 3, 12.0  # a checkpoint is due after every second step
NAMES = ("gold", "reward_model", "policy_gradient")  # stages; the tables of the last two are real ones


@dataclass(frozen=True)
class Settings:
    world: WorldConfig = field(default_factory=WorldConfig)


SETTINGS = Settings()


def cells(rng: random.Random, number: int) -> list[graph.Cell]:
    """Cells of a random graph, each after what it reads: a gold, then reward models, then curves."""
    made = []
    for i in range(number):
        stage = NAMES[min(i, 1) if i < number - number // 2 else 2]
        below = [c for c in made if NAMES.index(c.stage) <= NAMES.index(stage)]
        up = tuple((f"up{j}", c) for j, c in enumerate(rng.sample(below, min(len(below), rng.choice((1, 1, 2))))))
        code = hashlib.sha256(f"{stage} {i} {[c.fingerprint for _, c in up]}".encode()).hexdigest()[:16]
        made.append(graph.Cell(stage, f"tiny{i}", code, SETTINGS, up))
    return made


@functools.lru_cache(maxsize=512)
def answer(cell: graph.Cell) -> np.ndarray:
    """The array that a cell should store."""
    state = start(cell, {role: answer(up) for role, up in cell.upstream})
    for _ in range(STEPS):
        state = step(state)
    return state


def start(cell: graph.Cell, read: dict) -> np.ndarray:
    digest = hashlib.sha256(cell.fingerprint.encode())
    for role in sorted(read):
        digest.update(np.asarray(read[role]).tobytes())
    return np.frombuffer(digest.digest(), np.uint32)


def step(state: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(np.asarray(state).tobytes()).digest(), np.uint32)


def compute(cell, inputs, store, progress):
    """A stage's function."""
    read = {role: np.asarray(inputs.arrays(role)["x"]) for role, _ in cell.upstream}
    store.system.began(cell, read)
    checkpoints = Checkpointed(store, cell)
    state, points, done = checkpoints.resume(start(cell, read), [{"at": np.zeros(2)}])
    for i in range(done, STEPS):
        store.system.sleep(STEP_SECONDS)
        state = step(state)
        points.append({"at": np.full(2, i + 1.0)})
        progress(i + 1, STEPS)
        checkpoints.keep(state, points, i + 1)
    return {"made": len(points)}, {kind: rows(kind, cell) for kind in cell.declared.tables}, {"arrays": {"x": state}}


@functools.lru_cache(maxsize=512)
def rows(kind: str, cell) -> dict:
    """Two rows of a table, with the cell's name in a column of text."""
    values = {"int64": np.arange(2), "float64": np.linspace(0.5, 1, 2), "string": [cell.name] * 2}
    return {name: values[column.dtype] for name, column in TABLES[kind].items()}


@contextlib.contextmanager
def in_place():
    """Within, the real stages of NAMES are tiny; what the pipeline measures of its own process is left out."""
    tiny = dict(
        function=f"{__name__}:compute",
        work=lambda c: Work(1.0, 1.0),
        holds=lambda c: 1.0,
        networks=lambda c: (),
        program=lambda c: (),
        shared=None,
        stepwise=False,
    )
    changed = {name: dataclasses.replace(STAGES[name], **tiny) for name in NAMES}
    language = "gold_sim.stages.inputs.languages.make"
    with (
        mock.patch.dict(STAGES, changed),
        mock.patch.multiple(pipeline, forget_peak=lambda: None, peak=lambda: None),
        mock.patch.object(pipeline.provenance, "provenance", lambda config: {}),  # it asks git, and is long
        mock.patch(language, lambda config: None),
        mock.patch("experiments.engine.worker._forget_programs", lambda: None),
    ):
        yield
