"""Processes of this machine, one a slot."""

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path

from experiments.engine.compiled import remove_torn
from experiments.engine.job import Job, Watched, check_resources
from experiments.engine.machine import cores
from experiments.engine.worker import accelerator, environment, rehearse, work
from gold_sim.exits import held_back


class Local:
    """Processes of this machine, one a slot; they die with the driver.

    resources: devices=0,1 gives slot i one of them, devices=0+1,2+3 two.

    Each slot is a pool of one: when a process is killed, the cells of the others go on.
    """

    def __init__(self, root: Path | str, workers: int | None, resources: dict[str, str]):
        check_resources("local", resources, ("devices",))
        devices = resources["devices"].split(",") if "devices" in resources else [None]
        if odd := [d for d in devices if d is not None and not re.fullmatch(r"[\w-]+(\+[\w-]+)*", d)]:
            raise ValueError(f"--resource devices={resources['devices']}: {odd[0]!r}, where 0,1 or 0+1,2+3 is wanted")
        self.root, self.slots = root, workers or usual(len(devices))
        self._devices = [devices[i % len(devices)] for i in range(self.slots)]
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._busy: dict[int, Future] = {}
        os.environ.update(environment(root))  # spawned processes inherit it
        remove_torn(Path(os.environ["JAX_COMPILATION_CACHE_DIR"]))
        sharing = -(-self.slots // len(devices))  # jax takes most of a device's memory at its start
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / sharing:.2f}")

    def submit(self, cell) -> Job:
        return self._begin(work, cell)

    def prepare(self, cell) -> Job | None:
        return None if accelerator() else self._begin(rehearse, cell)  # there a device would be taken from a cell

    def _begin(self, what: Callable, cell) -> Job:
        slot = next(i for i in range(self.slots) if i not in self._busy or self._busy[i].done())
        with held_back():  # on its own: its start ends with SIGINT no longer held back, from the first worker as well
            resource_tracker.ensure_running()
        with held_back():
            try:
                self._busy[slot] = self._pool(slot).submit(what, self.root, cell)
            except BrokenProcessPool:  # its process was killed: with its last cell, or with nothing to do
                self._pools.pop(slot).shutdown(wait=False)
                self._busy[slot] = self._pool(slot).submit(what, self.root, cell)
            (process,) = self._pools[slot]._processes.values()
        return Watched(self._busy[slot], BrokenProcessPool, how=lambda: _how_it_ended(process))

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        if slot not in self._pools:
            context = multiprocessing.get_context("spawn")
            self._pools[slot] = ProcessPoolExecutor(1, context, _start, (os.getpid(), self._devices[slot]))
        return self._pools[slot]

    def trouble(self) -> str | None:
        return None

    def stop(self) -> None:
        for pool in self._pools.values():
            for process in list((pool._processes or {}).values()):
                process.kill()  # it holds nothing that is not stored: finished folders are renamed whole
        self.close()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)


A_DEVICE = 4  # workers: while one computes there the others compile, read and sort


def usual(devices: int = 1) -> int:
    """Default number of workers of this machine: one a core, or a few for each device, which they share."""
    return min(cores(), A_DEVICE * devices) if accelerator() else cores()


def _how_it_ended(process) -> str:
    """How a worker's process ended that died in the middle of a cell, in words."""
    asked = time.monotonic()
    while (code := process.exitcode) is None and time.monotonic() - asked < 1.0:
        time.sleep(0.01)  # the pool's own thread is waiting for it as well, and one of two that wait is told
    if code == -signal.SIGKILL:
        return "its process was killed, as by a system short of memory: fewer --workers take less"
    by = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with status {code}"
    return f"its process ended {by}"


def _start(driver: int, device: str | None):
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device.replace("+", ",")

    def watch():
        while os.getppid() == driver:
            time.sleep(0.5)
        os._exit(1)  # the driver is gone: nobody waits for this cell, and the same command will redo it

    threading.Thread(target=watch, daemon=True).start()
