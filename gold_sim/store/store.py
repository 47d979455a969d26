"""The store: every finished cell is one immutable folder, and all curves read as one long table.

    <root>/<stage>/<name>-<fingerprint>/            record.json, *.parquet, *.safetensors; if it exists it is complete
    <root>/experiments/<experiment>-<preset>.json   manifest: which cells an experiment consists of
    <root>/experiments/<experiment>+<settings>-<preset>.json    the same with other settings, by their digest
    <root>/.failed/<stage>-<name>-<fingerprint>.txt traceback of a cell that raised
    <root>/.checkpoints/<fingerprint>.safetensors   mid-run state, dropped when the cell is done
    <root>/.reports/<fingerprint>                   how far a running cell is, in which process of which host
    <root>/.damaged/<stage>/<name>-<random>         cells and manifests that were set aside, never read
    <root>/.tmp-<pid>-<host><random>                half-written, never read, swept when stale

A folder is written and synced under another name, then renamed. So neither a kill nor a power cut leaves anything half
readable or takes what is finished, and of two processes that finish one cell the first wins. record.json has the sha256
of every file and of itself, checked on reading. Trouble is a StoreError: one line, what was found and expected where.
"""

import contextlib
import errno
import json
import os
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from gold_sim.store import temporary
from gold_sim.store.files import (
    Damaged,
    StoreError,
    arrow_schema,
    check_content,
    check_names,
    check_record,
    flatten,
    from_json,
    from_parquet,
    manifest_name,
    no_manifest,
    parsed,
    repair_command,
    sha256,
    to_json,
    to_parquet,
    unflatten,
    verified,
    writing,
)
from gold_sim.store.system import REAL, System

if typing.TYPE_CHECKING:
    import pandas as pd

PRESETS = ("smoke", "cpu", "gpu", "pod")  # rising size; `manifest` without a preset takes the last that exists
FILES = (".parquet", ".safetensors")  # of a cell, beside its record
_CELL = re.compile(r"[^.].*-[0-9a-f]{16}")
RECORD_KEYS = ("stage", "name", "fingerprint", "files", "sha256")  # set by `Store.write`


@dataclass(frozen=True)
class Store:
    """The folder of all cells; several processes may share one."""

    root: Path
    system: System = field(default=REAL, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "root", Path(self.root))

    # --- the folder itself ---

    def check(self) -> None:
        """Raise StoreError if the root exists and is not a folder that can be read."""
        try:
            if self.root.is_symlink() and not self.root.exists():
                obstacle = f"a link that leads nowhere ({os.readlink(self.root)})"
            elif self.root.exists() and not self.root.is_dir():
                obstacle = "a file"
            elif self.root.exists() and not os.access(self.root, os.R_OK | os.X_OK):
                obstacle = "a folder that cannot be read"
            else:
                return
        except OSError as error:
            obstacle = error.strerror
        raise StoreError(f"{self.root}: {obstacle}; a folder of records is wanted, or the name of a new one")

    def open(self, stages: Iterable[str] = ()) -> None:
        """Make the root unless it exists, and try to write.  StoreError: it, or a folder in it, cannot be written.

        stages: stages whose folders will be written as well.
        """
        self.check()
        with writing(self.root):
            probe = temporary.new_path(self.root, self.system)
            new = [p for p in self.root.parents if not self.system.exists(p)]
            self.system.make(probe, parents=True)
            for folder in (self.root, *new):  # a power cut would else take the root's own name, and so every cell
                with contextlib.suppress(PermissionError):  # of a folder that is not ours to read
                    self.system.sync(folder.parent)
            self.system.remove(probe)
        for folder in (self.root / name for name in (*sorted(stages), "experiments", ".checkpoints")):
            if os.path.lexists(folder) and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
                raise StoreError(f"{folder}: cannot be written; expected a folder that can be, or none")

    # --- finished cells ---

    def find(self, stage: str, fingerprint: str) -> Path | None:
        """Folder of a finished cell, or None; StoreError if what is there is not that cell."""
        check_names(stage=stage, fingerprint=fingerprint)
        folder = self._folders(stage, f"*-{fingerprint}").get(fingerprint)
        if folder is not None:
            self.record(folder)
        return folder

    def finished(self, cells: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Path]:
        """Folders of those of the cells (stage, fingerprint) that `find` finds, with one listing a stage."""
        cells, found = list(dict.fromkeys(cells)), {}
        for stage in dict.fromkeys(stage for stage, _ in cells):
            check_names(stage=stage)
            folders = self._folders(stage)
            for cell in cells:
                if cell[0] == stage and (folder := folders.get(cell[1])) is not None:
                    self.record(folder)
                    found[cell] = folder
        return found

    def write(self, stage, name, fingerprint, record: dict, tables: dict | None = None, arrays: dict | None = None):
        """Store a finished cell whole or not at all; returns its folder, which another process may have written first.

        record: goes to record.json, in which NaN and infinities become null (JSON has neither).
        tables: {"curves" | "reward_models": {column: values [rows]}}, every column of the schema and no other.
        arrays: {file stem: nested dict of arrays}; bool, integers and floats keep dtype and shape.
        """
        check_names(stage=stage, name=name, fingerprint=fingerprint)
        if reserved := [key for key in RECORD_KEYS if key in record]:
            raise ValueError(f"record sets {', '.join(reserved)}: Store.write sets these")
        if found := self.find(stage, fingerprint):
            self.settle([stage])
            return found
        content = {f"{kind}.parquet": to_parquet(kind, columns) for kind, columns in (tables or {}).items()}
        content |= {f"{stem}.safetensors": safetensors.save(flatten(tree)) for stem, tree in (arrays or {}).items()}
        check_names(**{filename: filename for filename in content})
        files = {filename: sha256(data) for filename, data in content.items()}
        header = {"stage": stage, "name": name, "fingerprint": fingerprint, "files": files}
        content["record.json"] = to_json(header | record)  # last: a folder without it is foreign

        final = self.root / stage / f"{name}-{fingerprint}"
        self._place(final, content)
        return self.find(stage, fingerprint) or final

    def settle(self, stages: Iterable[str]) -> None:
        """Wait until the cells of these stages are on the disk, whoever wrote them: a cell is seen before it is."""
        with writing(self.root):
            for folder in (*(self.root / stage for stage in sorted(stages)), self.root):
                with contextlib.suppress(FileNotFoundError):  # of a stage that has no cell
                    self.system.sync(folder)

    def adopt(self, stage: str, folder: str, content: dict[str, bytes], origin: str = "") -> Path:
        """Keep a finished cell that another store wrote, given as the bytes of its files; a cell already here stays.

        The bytes are checked.
        origin: where the bytes come from, for messages.
        """
        check_content(f"{origin or self.root}/{stage}/{folder}", content)
        final = self.root / stage / folder
        self._place(final, content)
        self.record(final)
        return final

    def _place(self, final: Path, content: dict[str, bytes]) -> None:
        """Make a cell's folder whole, unless another process has made it first."""
        with temporary.aside(self.root, self.system, final) as folder:
            for filename, data in content.items():
                self.system.write(folder / filename, data)
                self.system.sync(folder / filename)
            self.system.sync(folder)
            try:
                self.system.rename(folder, final)
            except OSError as error:  # these two: the folder of another process, which stays
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise

    def fingerprints(self) -> set[str]:
        """Fingerprints of all finished cells."""
        return set(self._folders())

    def record(self, path) -> dict:
        """record.json of a finished cell, checked: its own digest, its folder's name and the list of its files."""
        path = Path(path).absolute()
        record = check_record(path, from_json(path / "record.json", self.system))
        known = f"{record.get('stage')}/{record.get('name')}-{record.get('fingerprint')}"
        if known != f"{path.parent.name}/{path.name}":
            raise Damaged(f"{path}: foreign folder, its record.json is of {known}; expected it under that name")
        present = {name for name in self.system.names(path) if not name.startswith(".")}
        if odd := sorted(present ^ {*record["files"], "record.json"}):
            raise Damaged(f"{path}: files missing or foreign: {', '.join(odd)}; expected those of record.json")
        return record

    def verify(self, path, suffixes: tuple[str, ...] = FILES) -> dict:
        """record.json of a finished cell whose files (those with these suffixes) match their digests; else Damaged."""
        record = self.record(path)
        for filename in record["files"]:
            if filename.endswith(suffixes):
                verified(Path(path) / filename, record, self.system)
        return record

    def damaged(self, fingerprints) -> list[tuple[Path, Damaged]]:
        """Folders of these cells that cannot be trusted, each with the reason; every file is read."""
        found = []
        for path in self._every("*", "*"):
            if path.name.rpartition("-")[2] in fingerprints:
                try:
                    record = self.verify(path)
                    for kind in (Path(name).stem for name in record["files"] if name.endswith(".parquet")):
                        from_parquet(path / f"{kind}.parquet", kind, record, self.system)
                except Damaged as error:
                    found.append((path, error))
        return found

    def set_aside(self, path: Path) -> Path:
        """Move a damaged folder or manifest to .damaged/, so that it is computed again; returns its new place."""
        to = self.root / ".damaged" / path.parent.name / f"{path.name}-{self.system.token(4)}"
        with writing(to):
            self.system.make(to.parent, parents=True, exist_ok=True)
            self.system.rename(path, to)
        return to

    def arrays(self, path, name: str) -> dict:
        """The nested dict of numpy arrays that `write` stored under arrays[name]; digest verified."""
        path, record = Path(path) / f"{name}.safetensors", self.record(path)
        if path.name not in record["files"]:
            raise StoreError(f"{path}: not there; the record has {', '.join(record['files']) or 'no files'}")
        data = verified(path, record, self.system)
        try:
            return unflatten(safetensors.load(data))
        except SafetensorError as error:
            raise Damaged(f"{path}: no arrays ({error}); expected safetensors") from error

    def table(self, kind: str = "curves", fingerprints=None) -> "pd.DataFrame":
        """All rows of all cells (or of those in `fingerprints`, StoreError if one is missing), digests verified."""
        folders = self._folders()
        if fingerprints is not None:
            if missing := sorted(set(fingerprints) - folders.keys()):
                raise Damaged(f"{self.root}: {len(missing)} cells asked for are not there: {', '.join(missing)}")
            folders = {cell: folder for cell, folder in folders.items() if cell in set(fingerprints)}
        parts = [arrow_schema(kind).empty_table()]
        for folder in folders.values():
            record = self.record(folder)
            if f"{kind}.parquet" in record["files"]:
                parts.append(from_parquet(folder / f"{kind}.parquet", kind, record, self.system))
        return pa.concat_tables(parts, promote_options="default").to_pandas()

    # --- checkpoints: mid-run state, which may be recomputed ---

    def save_checkpoint(self, fingerprint: str, step: int, tree: dict) -> None:
        """Replace the cell's checkpoint; tree: nested dict of arrays."""
        flat = flatten({"step": np.int64(step), "tree": tree})
        digest = sha256(safetensors.save(flat))
        data = safetensors.save(flat | {"sha256": np.frombuffer(bytes.fromhex(digest), np.uint8)})
        self._replace(self.checkpoint_path(fingerprint), data)

    def load_checkpoint(self, fingerprint: str) -> tuple[int, dict] | None:
        """(step, tree) of the last checkpoint, or None; a corrupt one is set aside as *.corrupt and is None too."""
        path = self.checkpoint_path(fingerprint)
        try:
            data = verified(path, system=self.system)
        except Damaged as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None  # or no more: another worker of this cell may have finished it just now
            raise
        try:
            flat = safetensors.load(data)
            if flat.pop("sha256").tobytes().hex() != sha256(safetensors.save(flat)):
                raise ValueError("digest mismatch")
        except (SafetensorError, ValueError, KeyError):
            with writing(path), contextlib.suppress(FileNotFoundError):  # set aside by another worker
                self.system.rename(path, Path(f"{path}.corrupt"))
            return None
        content = unflatten(flat)
        return int(content["step"]), content["tree"]

    def drop_checkpoint(self, fingerprint: str) -> None:
        path = self.checkpoint_path(fingerprint)
        with writing(path):
            self.system.unlink(path)

    # --- reports: how far running cells are, for whoever watches; losing one loses nothing ---

    def report(self, fingerprint: str, done: int, total: int) -> None:
        """Say that a running cell has done `done` of `total`; silent where it cannot be written."""
        check_names(fingerprint=fingerprint)
        path = self.root / ".reports" / fingerprint
        with contextlib.suppress(OSError):
            self.system.make(path.parent, parents=True, exist_ok=True)
            self.system.write(path, f"{done} {total} {self.system.process} {self.system.host}\n".encode())

    def reported(self, fingerprint: str) -> tuple[int, int] | None:
        """(done, total) of a running cell, or None."""
        with contextlib.suppress(OSError, ValueError):
            done, total, _, _ = self.system.read(self.root / ".reports" / fingerprint).split()
            return int(done), int(total)
        return None

    def drop_report(self, fingerprint: str) -> None:
        with contextlib.suppress(OSError):
            self.system.unlink(self.root / ".reports" / fingerprint)

    # --- failures: tracebacks of cells that raised ---

    def keep_failure(self, cell, text: str) -> Path:
        """Write the traceback of a cell that raised; returns its file.  cell: with stage, name, fingerprint."""
        path = self._failure(cell)
        self._replace(path, text.encode(errors="backslashreplace"))
        return path

    def drop_failure(self, cell) -> None:
        with contextlib.suppress(OSError):
            self.system.unlink(self._failure(cell))

    def _failure(self, cell) -> Path:
        return self.root / ".failed" / f"{cell.stage}-{cell.name}-{cell.fingerprint}.txt"

    # --- manifests ---

    def write_manifest(self, name: str, manifest: dict) -> Path:
        """Write or replace experiments/<name>.json; name is `manifest_name` of the manifest."""
        if name != manifest_name(manifest) or "-" in manifest["preset"]:
            raise ValueError(f"manifest name={name!r}: <experiment>-<preset> is wanted, the preset without '-'")
        check_names(manifest=name)
        path = self.root / "experiments" / f"{name}.json"
        self._replace(path, to_json(manifest))
        return path

    def adopt_manifest(self, filename: str, data: bytes, origin: str = "") -> dict:
        """Check and keep a manifest that another store wrote.  origin: where it comes from, for messages."""
        manifest = parsed(f"{origin or self.root}/experiments/{filename}", data)
        self._replace(self.root / "experiments" / filename, data)
        return manifest

    def stored_manifest(self, manifest: dict) -> dict | None:
        """The stored manifest that this one would replace."""
        path = self.root / "experiments" / f"{manifest_name(manifest)}.json"
        return from_json(path, self.system) if self.system.exists(path) else None

    def answers(self, manifest: dict) -> bool:
        """Whether the stored manifest of this name lists the same cells."""
        stored = self.stored_manifest(manifest)
        wanted = ("cells", "reward_models", "golds", "axis", "panels", "variants", "overrides")
        return stored is not None and all(stored.get(key) == json.loads(to_json(manifest))[key] for key in wanted)

    def others(self, experiment: str, preset: str | None = None) -> list[dict]:
        """Manifests of an experiment whose settings are not its own, of this preset or of any."""
        paths = sorted(self.system.glob(self.root / "experiments", f"{experiment}+*-{preset or '*'}.json"))
        return [from_json(path, self.system) for path in paths]

    def manifest(self, experiment: str, preset: str | None = None) -> dict:
        """The manifest of an experiment; without a preset, of the last stored one in PRESETS, else of another preset.

        experiment: its name; with other settings, <name>+<settings_key>.
        NotStored if there is none.
        """
        stored = {tuple(p.stem.rpartition("-")[::2]): p for p in self._manifests()}
        presets = [own for name, own in stored if name == experiment and preset in (None, own)]
        if not presets:
            raise no_manifest(self.root / "experiments" / f"{experiment}-{preset or '*'}.json", experiment, stored)
        preset = max(presets, key=lambda own: (PRESETS.index(own) if own in PRESETS else -1, own))
        path = stored[experiment, preset]
        try:
            manifest = from_json(path, self.system)
        except Damaged as error:
            if "+" in experiment:  # of other settings, which it alone could tell
                raise
            about = {"experiment": experiment, "preset": preset}
            raise Damaged(error.what, repair_command(about, self.root)) from error
        if (known := manifest_name(manifest)) != f"{experiment}-{preset}":
            raise Damaged(f"{path}: is the manifest of {known}; expected that of {experiment}-{preset}")
        return manifest

    # --- temporary files ---

    def sweep(self) -> list[Path]:
        """Remove temporary folders of dead writers: of this host if the process is gone, of any host if a day old.

        Checkpoints and reports of finished cells go too, whose workers were killed at the end.
        Age is measured by the file system's clock, which hosts share, and not by their own, which may differ.
        """
        self._drop_of_finished()
        return temporary.sweep(self.root, self.system)

    def _drop_of_finished(self) -> None:
        left = [path for kind in (".checkpoints", ".reports") for path in self.system.glob(self.root / kind, "*")]
        finished = self.fingerprints() if left else ()
        for path in left:
            if path.name.partition(".")[0] in finished:
                with contextlib.suppress(OSError):  # its last writer may finish meanwhile
                    self.system.unlink(path)

    def _replace(self, path: Path, data: bytes) -> None:
        with temporary.aside(self.root, self.system, path) as folder:
            self.system.write(folder / path.name, data)
            self.system.sync(folder / path.name)
            self.system.rename(folder / path.name, path)

    def _manifests(self) -> list[Path]:
        return self.system.glob(self.root / "experiments", "*.json")

    def checkpoint_path(self, fingerprint: str) -> Path:
        check_names(fingerprint=fingerprint)
        return self.root / ".checkpoints" / f"{fingerprint}.safetensors"

    def _folders(self, stage: str = "*", pattern: str = "*") -> dict[str, Path]:
        """{fingerprint: folder}, not yet checked; StoreError for two folders of one cell."""
        folders = {}
        for path in self._every(stage, pattern):
            first = folders.setdefault(path.name.rpartition("-")[2], path)
            if first != path:
                raise Damaged(f"{path}: holds the same cell as {first}; expected one folder")
        return folders

    def _every(self, stage: str, pattern: str) -> list[Path]:
        """Folders of cells, not yet checked; folders with other kinds of name are ignored."""
        folders = (p for p in sorted(self.system.glob(self.root, f"{stage}/{pattern}")) if _CELL.fullmatch(p.name))
        return [p for p in folders if not p.parent.name.startswith(".") and self.system.is_folder(p)]
