"""The system of one simulated process: `gold_sim.store.system.System`, with faults at any call that changes files."""

import contextlib
import errno
import math
from pathlib import Path

import numpy as np

from tests.simulation import disk
from tests.simulation.cells import answer
from tests.simulation.disk import Disk, Folder
from tests.simulation.world import Killed, Process

SHARED = "/shared"  # is mounted by all hosts; everything else is a host's own
# What may befall a call. "lost": it is done and an error is said. "torn": half of the bytes are written.
FAULTS = ("error", "killed before", "killed after", "lost", "power")
FAULTS_OF_WRITES = (*FAULTS, "full", "killed torn")


class Simulated:
    """What one process sees. An unusual end of a call is one of FAULTS, as its world's `faults` says."""

    def __init__(self, process: Process):
        self._process, self._world = process, process.world

    # --- process and clock ---

    @property
    def process(self) -> int:
        return self._process.number

    @property
    def host(self) -> str:
        return self._process.host.name

    def is_alive(self, process: int) -> bool:
        same = (p for p in self._world.processes if p.host is self._process.host and p.number == process)
        return any(not p.killed for p in same)

    def token(self, size: int) -> str:
        return self._world.rng.randbytes(size).hex()

    def monotonic(self) -> float:
        return self._world.clock

    def sleep(self, seconds: float) -> None:
        self._world.sleep(self._process, seconds)

    def began(self, cell, read: dict):
        """Told by a cell that it is computed now, and what it has read."""
        wrong = [up.name for role, up in cell.upstream if not np.array_equal(read[role], answer(up))]
        if wrong:
            self._world.violated(f"half-read: {cell.name} read {', '.join(wrong)} wrongly")
        done = self._world.finished.get(cell.fingerprint, math.inf)
        if done < self._process.born and not self._world.listing_age:
            self._world.violated(f"counted twice: {cell.name} is finished, and is computed once more")

    # --- files, read ---

    def _disk(self, path) -> Disk:
        return self._world.mounted if str(path).startswith(SHARED) else self._process.host.disk

    def read(self, path: Path) -> bytes:
        self._world.point(self._process)
        return self._disk(path).get(path, disk.File).data

    def names(self, folder: Path) -> list[str]:
        self._world.point(self._process)
        return list(self._listed(self._disk(folder).get(folder, Folder)))

    def glob(self, folder: Path, pattern: str) -> list[Path]:
        self._world.point(self._process)
        return self._disk(folder).glob(folder, pattern, self._listed)

    def exists(self, path: Path) -> bool:
        self._world.point(self._process)
        return self._disk(path).find(path) is not None and self._is_listed(path)

    def is_folder(self, path: Path) -> bool:
        self._world.point(self._process)
        return isinstance(self._disk(path).find(path), Folder)

    def modified(self, path: Path) -> float:
        self._world.point(self._process)
        return self._disk(path).get(path).modified

    def _listed(self, folder: Folder) -> dict:
        """What is in a folder, as this host sees it: perhaps as it was a while ago."""
        if self._process.role == "user":
            return folder.names
        when, seen = self._process.host.listings.get(folder, (-1e9, {}))
        if self._world.clock - when < self._world.listing_age:
            if seen != folder.names:
                self._world.injected["stale listings"] += 1
            return seen
        if self._world.listing_age:
            self._process.host.listings[folder] = (self._world.clock, dict(folder.names))
        return folder.names

    def _is_listed(self, path) -> bool:
        above, _, name = str(path).rpartition("/")
        return name in self._listed(self._disk(path).get(above or "/", Folder))

    # --- files, changed ---

    def write(self, path: Path, data: bytes) -> None:
        half = data[: len(data) // 2]
        write = lambda data: self._disk(path).write(path, data)
        self._change("write", path, lambda: write(data), lambda: write(half))

    def sync(self, path: Path) -> None:
        self._change("sync", path, lambda: self._disk(path).sync(path))

    def make(self, folder: Path, parents: bool = False, exist_ok: bool = False) -> None:
        self._change("make", folder, lambda: self._disk(folder).make(folder, parents, exist_ok))

    def rename(self, path: Path, to: Path) -> None:
        self._change("rename", to, lambda: self._disk(path).rename(path, to))

    def unlink(self, path: Path) -> None:
        def unlink():
            with contextlib.suppress(FileNotFoundError):
                self._disk(path).unlink(path)

        self._change("unlink", path, unlink)

    def remove(self, folder: Path) -> None:
        """As shutil.rmtree: name by name, in the folder that was opened, even if it is renamed meanwhile."""
        self._world.point(self._process)
        self._empty(folder, self._disk(folder).get(folder, Folder))
        self._change("remove", folder, lambda: self._disk(folder).unlink(folder))

    def _empty(self, path: Path, folder: Folder):
        for name, node in list(folder.names.items()):
            if isinstance(node, Folder):
                self._empty(path / name, node)
            drop = lambda name=name: self._disk(path).drop(folder, name, path / name)
            self._change("remove", path / name, drop)

    def _change(self, kind: str, path, change, torn=None):
        """Do a change of files, or what its fault makes of it."""
        world, process = self._world, self._process
        world.point(process)
        fault = world.faults(process, kind, path)
        if fault == "killed before":
            self._die(process)
        if fault == "error":
            raise disk.fault(errno.EIO, path)
        if fault in ("full", "killed torn"):
            torn()
            if fault == "full":
                raise disk.fault(errno.ENOSPC, path)
            self._die(process)
        change()
        above = str(path).rpartition("/")[0]
        if process.host.listings and (node := self._disk(path).find(above)) is not None:
            process.host.listings.pop(node, None)  # a host sees its own changes
        if fault == "killed after":
            self._die(process)
        if fault == "lost":
            raise disk.fault(errno.EIO, path)
        if fault == "power":
            world.cut_power(None if str(path).startswith(SHARED) else process.host)
            raise Killed

    def _die(self, process: Process):
        self._world.kill(process)
        raise Killed
