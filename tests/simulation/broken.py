"""Stores and engines that are broken by hand, to show that the simulation finds them. Each is entered as a context."""

import contextlib
import json
from pathlib import Path
from unittest import mock

from safetensors import numpy as safetensors

from experiments.engine import queue
from experiments.engine.job import WorkerLost
from gold_sim.store import Store, files
from gold_sim.store.remote import Remote
from tests.simulation.system import Simulated


@contextlib.contextmanager
def writes_in_place():
    """Cells are written into their own folder, not into one that is renamed when it is whole."""

    def place(self, final: Path, content: dict[str, bytes]):
        with files.writing(final):
            self.system.make(final, parents=True, exist_ok=True)
            for filename, data in content.items():
                self.system.write(final / filename, data)
                self.system.sync(final / filename)
            for folder in (final, final.parent, self.root):
                self.system.sync(folder)

    with mock.patch.object(Store, "_place", place):
        yield


@contextlib.contextmanager
def renames_before_it_syncs():
    """Nothing is waited for: files and names are on the disk some time later."""
    with mock.patch.object(Simulated, "sync", lambda self, path: None):
        yield


@contextlib.contextmanager
def syncs_files_alone():
    """The names of files and folders are never synced, only what is in files."""
    sync = Simulated.sync
    with mock.patch.object(Simulated, "sync", lambda self, path: sync(self, path) if path.suffix else None):
        yield


@contextlib.contextmanager
def trusts_what_it_reads():
    """Files are read without their digests, from folders that are written in place and not synced."""
    with (
        writes_in_place(),
        mock.patch.object(files, "check_digest", lambda path, data, record: None),
        mock.patch.object(Store, "record", _unchecked),
        mock.patch.object(Simulated, "sync", lambda self, path: None),
    ):
        yield


def _unchecked(self, path) -> dict:
    return json.loads(self.system.read(Path(path) / "record.json"))


@contextlib.contextmanager
def sweeps_the_living():
    """Temporary folders are swept whether or not their writer is alive."""
    with mock.patch.object(Simulated, "is_alive", lambda self, process: False):
        yield


@contextlib.contextmanager
def trusts_its_checkpoints():
    """A checkpoint is taken as it is found, written in place."""

    def replace(self, path: Path, data: bytes):
        with files.writing(path):
            self.system.make(path.parent, parents=True, exist_ok=True)
            self.system.write(path, data)

    with (
        mock.patch.object(Store, "_replace", replace),
        mock.patch.object(Store, "load_checkpoint", _unchecked_checkpoint),
    ):
        yield


def _unchecked_checkpoint(self, fingerprint: str):
    path = self.checkpoint_path(fingerprint)
    if not self.system.exists(path):
        return None
    content = files.unflatten(safetensors.load(self.system.read(path)))
    return int(content["step"]), content["tree"]


@contextlib.contextmanager
def counts_twice():
    """A cell whose worker is lost is stored by the next under a name of its own."""
    write = Store.write

    def under_a_name_of_its_own(self, stage, name, fingerprint, *args, **kwargs):
        return write(self, stage, f"{name}{self.system.process}", fingerprint, *args, **kwargs)

    with mock.patch.object(Store, "write", under_a_name_of_its_own):
        yield


@contextlib.contextmanager
def points_before_it_uploads():
    """The pointer of an upload is put first."""

    def publish(self, path):
        names = sorted(self.store.system.names(path))
        upload, folder = f"{path.name}.{self.store.system.token(6)}", f"{self._base}/{path.parent.name}"
        with self._reaching(folder):
            self._put(f"{folder}/{path.name}.json", b'{"upload": "%s"}' % upload.encode())
            for name in names:
                self._put(f"{folder}/{upload}/{name}", self.store.system.read(path / name))

    with mock.patch.object(Remote, "publish", publish):
        yield


@contextlib.contextmanager
def takes_a_lost_worker_for_done():
    """The engine counts a cell as done whose worker was lost."""
    run = queue.run

    def careless(root, cells, executor, report, system):
        submit = executor.submit
        executor.submit = lambda cell: _Done(submit(cell))
        return run(root, cells, executor, report, system)

    with mock.patch.object(queue, "run", careless):
        yield


class _Done:
    def __init__(self, job):
        self.done, self._job = job.done, job

    def exception(self):
        return None if isinstance(error := self._job.exception(), WorkerLost) else error


BROKEN = (
    writes_in_place,
    renames_before_it_syncs,
    syncs_files_alone,
    trusts_what_it_reads,
    sweeps_the_living,
    trusts_its_checkpoints,
    counts_twice,
    points_before_it_uploads,
    takes_a_lost_worker_for_done,
)
