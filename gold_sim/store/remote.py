"""A store in an object store (s3://, gs://, file://, any fsspec address), seen through a local folder.

    <url>/<stage>/<name>-<fingerprint>.json                  which upload of a finished cell counts
    <url>/<stage>/<name>-<fingerprint>.<upload>/...          its files, as in a local store
    <url>/experiments/<experiment>-<preset>.json             manifests

An object is either whole or absent, but a folder is not. So a cell is uploaded under a name of its own, and it counts
from the moment its pointer is written in one piece. If two processes finish the same cell, either upload may end up
counting. Files are fetched into the local folder before they are read, and checked there as ever. Checkpoints and
reports stay local.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from gold_sim.store.files import Damaged, StoreError, cells_of, check_record, parsed
from gold_sim.store.store import Store
from gold_sim.store.system import REAL, System


def is_url(where) -> bool:
    return "://" in str(where)


def cache_of(url: str) -> Path:
    """The local folder of an address: under GOLD_SIM_CACHE, or ~/.cache/gold_sim."""
    base = os.environ.get("GOLD_SIM_CACHE") or Path.home() / ".cache" / "gold_sim"
    return Path(base) / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


class Remote:
    """The objects under one address.  StoreError: one line, if it cannot be reached or its protocol is unknown."""

    def __init__(self, url: str, system: System = REAL):
        self.url, self.store = url.rstrip("/"), Store(cache_of(url), system)
        try:
            import fsspec  # here: a local store does not need it

            self._fs, self._base = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise StoreError(f"{url}: {str(error).splitlines()[0]}") from error

    def present(self) -> dict[str, str]:
        """{fingerprint: path of its pointer} of every finished cell."""
        with self._reaching(self._base):
            self._fs.invalidate_cache()
            try:
                pointers = self._fs.glob(f"{self._base}/*/*-*.json")
            except FileNotFoundError:  # the address is empty: its last object went while it was listed
                pointers = []
        by_fingerprint = {path.rpartition("-")[2].removesuffix(".json"): path for path in pointers}
        return {code: path for code, path in by_fingerprint.items() if path.split("/")[-2] != "experiments"}

    def fetch(self, cells: Iterable) -> None:
        """Fetch those of the cells that are finished at the address; cells: with stage, name, fingerprint."""
        wanted = [c for c in cells if self.store.find(c.stage, c.fingerprint) is None]
        present = self.present() if wanted else {}
        for cell in wanted:
            if cell.fingerprint in present:
                self._fetch_one(present[cell.fingerprint])

    def set_aside_damaged(self, cells: Iterable) -> list[tuple[str, Damaged]]:
        """Make uploads that cannot be trusted count no more; returns their pointers, each with the reason."""
        damaged, wanted = [], {c.fingerprint for c in cells if self.store.find(c.stage, c.fingerprint) is None}
        for code, pointer in self.present().items():
            try:
                if code in wanted:
                    self._fetch_one(pointer)
            except Damaged as error:
                with self._reaching(pointer):
                    self._fs.mv(pointer, f"{pointer}.damaged")
                damaged.append((pointer, error))
        return damaged

    def _fetch_one(self, pointer: str) -> None:
        with self._reaching(pointer):
            upload = json.loads(self._fs.cat_file(pointer))["upload"]
            stage, name = pointer.split("/")[-2], pointer.split("/")[-1].removesuffix(".json")
            # By the names in its record and not by a listing, which in some stores lags behind what was written.
            folder = f"{self._base}/{stage}/{upload}"
            content = {"record.json": self._uploaded(f"{folder}/record.json")}
            record = check_record(folder, parsed(f"{folder}/record.json", content["record.json"]))
            content |= {name: self._uploaded(f"{folder}/{name}") for name in record["files"]}
        self.store.adopt(stage, name, content, self.url)

    def _uploaded(self, path: str) -> bytes:
        try:
            return self._fs.cat_file(path)
        except FileNotFoundError as error:
            raise Damaged(f"{self.url} ({path}): not there; expected a file of an upload that counts") from error

    def open(self) -> None:
        """Try to write at the address.  StoreError: it cannot be written."""
        probe = f"{self._base}/experiments/.probe-{self.store.system.token(6)}"
        with self._reaching(probe):
            self._put(probe, b"")
            with contextlib.suppress(Exception):  # some may write and not remove
                self._fs.rm_file(probe)

    def publish(self, path: Path) -> None:
        """Upload a finished cell of the local store, its pointer last."""
        upload = f"{path.name}.{self.store.system.token(6)}"
        folder = f"{self._base}/{path.parent.name}"
        with self._reaching(folder):
            for name in sorted(self.store.system.names(path)):
                self._put(f"{folder}/{upload}/{name}", self.store.system.read(path / name))
            self._put(f"{folder}/{path.name}.json", json.dumps({"upload": upload}).encode())

    def publish_kept(self, cells: Iterable) -> None:
        """Upload those of the cells that are finished here and not at the address: their worker was killed between."""
        present = self.present()
        for cell in cells:
            if cell.fingerprint not in present and (path := self.store.find(cell.stage, cell.fingerprint)) is not None:
                self.publish(path)

    def publish_manifest(self, path: Path) -> None:
        with self._reaching(self._base):
            self._put(f"{self._base}/experiments/{path.name}", self.store.system.read(path))

    def fetch_experiments(self) -> None:
        """Fetch all that analysis reads: all manifests, and the cells that they name."""
        with self._reaching(self._base):
            paths = self._fs.glob(f"{self._base}/experiments/*.json")
            manifests = {path.split("/")[-1]: self._fs.cat_file(path) for path in paths}
        wanted = set()
        for name, data in manifests.items():
            manifest = self.store.adopt_manifest(name, data, self.url)
            wanted |= {code for _, code in cells_of(f"{self.url}/experiments/{name}", manifest)}
        present, local = self.present(), self.store.fingerprints()
        for code in sorted(wanted - local):
            if code in present:
                self._fetch_one(present[code])

    def _put(self, path: str, data: bytes) -> None:
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        aside = f"{path}.{self.store.system.token(4)}.part" if self._local else path
        self._fs.pipe_file(aside, data)
        if self._local:  # a file system is no object store: a file grows while it is written
            os.replace(aside, path)

    @property
    def _local(self) -> bool:
        return "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def _reaching(self, path):
        return _Reaching(f"{self.url} ({path})")


class _Reaching:
    """A context that raises any error of the object store as a StoreError."""

    def __init__(self, what: str):
        self._what = what

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, StoreError) or error is None or not isinstance(error, Exception):
            return False
        raise StoreError(f"{self._what}: {kind.__name__}: {(str(error).splitlines() or ['no word'])[0]}") from error
