"""The simulated command: `experiments.running._run` itself, with a simulated executor where it talks to one.

Process pools, Ray and Slurm cannot run in one process. So the wall is `experiments.engine.job.Executor`: submit, done,
exception. Behind it a worker is a simulated process that runs `experiments.engine.worker.work` itself.
"""

import contextlib
import functools
import io
import types
from unittest import mock

from experiments import running
from experiments.engine import worker
from experiments.engine.job import WorkerLost
from experiments.extent import Extent
from gold_sim.store import Store
from gold_sim.store.remote import Remote, is_url
from tests.simulation import cells
from tests.simulation.system import Simulated
from tests.simulation.world import CURRENT, Process

NAME = "simulated-smoke"


class Executor:
    """Of `kind` local (workers die with the driver), ray (they live on, unknown to the next) or slurm (known to it)."""

    def __init__(self, driver: Process, root, kind: str, slots: int, lost: float):
        """lost: chance that a worker is said to be lost while it works on."""
        self._driver, self._root, self._kind, self.slots, self._lost = driver, root, kind, slots, lost

    def submit(self, cell) -> "Job":
        world = self._driver.world
        world.point(self._driver)
        alive = [p for p in world.processes if p.task == cell.fingerprint and not p.killed]
        if self._kind == "slurm" and alive:
            process = alive[0]
        else:
            role = "local" if self._kind == "local" else "worker"
            host = world.rng.choice(world.hosts)
            process = world.spawn(lambda p: self._work(p, cell), host, self._driver, role)
            process.task = cell.fingerprint
        after = world.clock + world.rng.uniform(0, 60) if world.rng.random() < self._lost else None
        return Job(self, process, cell, after)

    def _work(self, process: Process, cell):
        worker.work(self._root, cell, Simulated(process))
        process.world.finished.setdefault(cell.fingerprint, process.world.clock)

    def stored(self, cell) -> bool:
        system = Simulated(self._driver)
        if is_url(self._root):
            return cell.fingerprint in Remote(self._root, system).present()
        return Store(self._root, system).find(cell.stage, cell.fingerprint) is not None

    def prepare(self, cell):
        return None

    def trouble(self):
        return None

    def stop(self):
        if not self._driver.killed and self._kind != "slurm":
            for child in self._children():
                child.world.kill(child)
            self.close()

    def close(self):
        while not self._driver.killed and self._kind != "slurm" and self._children():
            self._driver.world.sleep(self._driver, 0.2)

    def _children(self) -> list[Process]:
        return [p for p in self._driver.world.processes if p.parent is self._driver]


class Job:
    def __init__(self, executor: Executor, process: Process, cell, lost_at: float | None):
        self._executor, self._process, self._cell, self._lost_at = executor, process, cell, lost_at

    def done(self) -> bool:
        world = self._process.world
        if self._process.ended:
            return True
        if self._lost_at is not None and world.clock > self._lost_at:
            world.injected["acknowledgement lost, executor"] += 1
            return True
        return False

    def exception(self) -> BaseException | None:
        if self._executor._kind == "slurm" and self._executor.stored(self._cell):
            return None
        if self._process.error is not None:
            return self._process.error
        return WorkerLost("made") if self._process.killed or not self._process.ended else None


def run(process: Process, where, kind: str, slots: int, lost: float):
    """`python -m experiments simulated`, in this process."""
    system = Simulated(process)
    remote = Remote(where, system) if is_url(where) else None
    place = running.Place(where, remote.store if remote else Store(where, system), remote)
    args = _arguments(str(where), slots)
    process.executor = lambda root: Executor(process, root, kind, slots, lost)
    running._run(args, place, {"simulated": Extent({}, 1)})


@functools.cache
def _arguments(where: str, slots: int):
    words = ["simulated", "--preset", "smoke", "--workers", str(slots), "--memory", "inf", "--runs", where]
    return running._arguments(words)


def _plan(name, preset, overrides, blocks):
    every = CURRENT.process.world.cells
    return types.SimpleNamespace(name="simulated", title="Simulated", cost="nothing"), _curves(every), every


def _curves(every: list) -> list:
    return [c for c in every if c.stage == cells.NAMES[-1]]


def _manifest(experiment, preset, overrides, curves, module, blocks) -> dict:
    return manifest_of(curves)


def manifest_of(every: list) -> dict:
    """The manifest of a world's cells."""
    curves = _curves(every)
    ups = {c.fingerprint: c.stage for curve in curves for c in curve.all_upstream()}
    return dict(
        experiment="simulated",
        preset="smoke",
        settings="",
        module=None,
        cells=[dict(stage=c.stage, fingerprint=c.fingerprint, name=c.name) for c in curves],
        reward_models=sorted(code for code, stage in ups.items() if stage == "reward_model"),
        golds=sorted(code for code, stage in ups.items() if stage == "gold"),
        overrides={},
        seeds_a_block=1,
        axis="variant",
        panels=None,
        variants={},
    )


@contextlib.contextmanager
def in_place():
    """Within, the experiment `simulated` is that of the world, the engine is simulated, and nothing is printed."""
    make = lambda name, root, workers, resources: CURRENT.process.executor(root)
    with (
        cells.in_place(),
        mock.patch.multiple(running, plan=_plan, manifest=_manifest),
        mock.patch.object(running.executors, "make", make),
        mock.patch.object(running.queue, "TURN_SECONDS", 3.0),  # simulated ones, of which a cell takes 36
        contextlib.redirect_stdout(io.StringIO()),
    ):
        yield
