"""The store: every finished cell is one immutable folder, and all curves read as one long table.

    <root>/<stage>/<name>-<fingerprint>/            record.json, *.parquet, *.safetensors; if it exists it is complete
    <root>/experiments/<experiment>-<preset>.json   manifest: which cells an experiment consists of
    <root>/.checkpoints/<fingerprint>.safetensors   mid-run state, dropped when the cell is done
    <root>/.reports/<fingerprint>                   how far a running cell is, in which process of which host
    <root>/.tmp-<pid>-<host><random>                half-written, never read, swept when stale

A folder is written aside and renamed, so a killed process leaves nothing half-readable and of two processes that
finish the same cell the first wins. record.json holds the sha256 of every file and of itself; all are checked on
reading. Trouble with a file is a StoreError: one line with path, what was found and what was expected.
"""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import secrets
import shutil
import subprocess
import typing
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors import numpy as safetensors

import gold_sim
from gold_sim.columns import TABLES

if typing.TYPE_CHECKING:
    import pandas as pd

PRESETS = ("smoke", "cpu", "gpu", "pod")  # rising size; `manifest` without a preset takes the last that exists
RECORD_KEYS = ("stage", "name", "fingerprint", "files", "sha256")  # set by `Store.write`
ARRAY_KINDS = "biuf"  # NumPy's kinds of dtype: bool, int, uint, float
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "pyarrow")  # whose versions are provenance
DIFF_BYTES = 64 * 1024  # kept of a dirty diff


class StoreError(Exception):
    """A file of the store cannot be read, trusted or written; the text is one line for the user."""


@dataclass(frozen=True)
class Store:
    """The folder of all cells; several processes may share one."""

    root: Path

    def __post_init__(self):
        object.__setattr__(self, "root", Path(self.root))

    # --- finished cells ---

    def find(self, stage: str, fingerprint: str) -> Path | None:
        """Folder of a finished cell, or None; StoreError if what is there is not that cell."""
        _check_names(stage=stage, fingerprint=fingerprint)
        folder = self._folders(stage, f"*-{fingerprint}").get(fingerprint)
        if folder is not None:
            self.record(folder)
        return folder

    def write(self, stage, name, fingerprint, record: dict, tables: dict | None = None, arrays: dict | None = None):
        """Store a finished cell whole or not at all; returns its folder, the other's if another was first.

        record: goes to record.json, in which NaN and infinities become null (JSON has neither).
        tables: {"curves" | "reward_models": {column: values [rows]}}, every column of the schema and no other.
        arrays: {file stem: nested dict of arrays}; bool, integers and floats keep dtype and shape.
        """
        _check_names(stage=stage, name=name, fingerprint=fingerprint)
        if reserved := [key for key in RECORD_KEYS if key in record]:
            raise ValueError(f"record sets {', '.join(reserved)}: Store.write sets these")
        if found := self.find(stage, fingerprint):
            return found
        content = {f"{kind}.parquet": _to_parquet(kind, columns) for kind, columns in (tables or {}).items()}
        content |= {f"{stem}.safetensors": safetensors.save(_flatten(tree)) for stem, tree in (arrays or {}).items()}
        _check_names(**{filename: filename for filename in content})
        files = {filename: _sha256(data) for filename, data in content.items()}
        header = {"stage": stage, "name": name, "fingerprint": fingerprint, "files": files}
        content["record.json"] = _to_json(header | record)  # last: a folder without it is foreign

        final = self.root / stage / f"{name}-{fingerprint}"
        with self._aside(final) as temporary:
            for filename, data in content.items():
                (temporary / filename).write_bytes(data)
                _sync(temporary / filename)
            _sync(temporary)
            try:
                os.rename(temporary, final)
            except OSError as error:  # these two: the folder of another process, which stays
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        return self.find(stage, fingerprint) or final

    def adopt(self, stage: str, folder: str, content: dict[str, bytes]) -> Path:
        """Keep a finished cell that another store wrote: its files' bytes, checked; a cell that is here stays."""
        final = self.root / stage / folder
        with self._aside(final) as temporary:
            for filename, data in content.items():
                (temporary / filename).write_bytes(data)
            record = _from_json(temporary / "record.json")
            for filename in record["files"]:
                _read(temporary / filename, record)
            if not final.exists():
                os.rename(temporary, final)
        self.record(final)
        return final

    def fingerprints(self) -> set[str]:
        """Of all finished cells."""
        return set(self._folders())

    def record(self, path) -> dict:
        """record.json of a finished cell, checked: its own digest, its folder's name and the list of its files."""
        path = Path(path).absolute()
        record = _from_json(path / "record.json")
        known = f"{record.get('stage')}/{record.get('name')}-{record.get('fingerprint')}"
        if known != f"{path.parent.name}/{path.name}":
            raise StoreError(f"{path}: foreign folder, its record.json is of {known}; expected it under that name")
        present = {p.name for p in path.iterdir() if not p.name.startswith(".")}
        if odd := sorted(present ^ {*record["files"], "record.json"}):
            raise StoreError(f"{path}: files missing or foreign: {', '.join(odd)}; expected those of record.json")
        return record

    def arrays(self, path, name: str) -> dict:
        """Nested dict of numpy arrays that `write` was given under arrays[name]; digest verified."""
        path, record = Path(path) / f"{name}.safetensors", self.record(path)
        if path.name not in record["files"]:
            raise StoreError(f"{path}: not there; the record has {', '.join(record['files']) or 'no files'}")
        return _unflatten(safetensors.load(_read(path, record)))

    def table(self, kind: str = "curves", fingerprints=None) -> "pd.DataFrame":
        """All rows of all cells (or of those in `fingerprints`, StoreError if one is missing), digests verified."""
        folders = self._folders()
        if fingerprints is not None:
            if missing := sorted(set(fingerprints) - folders.keys()):
                raise StoreError(f"{self.root}: {len(missing)} cells asked for are not there: {', '.join(missing)}")
            folders = {cell: folder for cell, folder in folders.items() if cell in set(fingerprints)}
        parts = [_schema(kind).empty_table()]
        for folder in folders.values():
            record = self.record(folder)
            if f"{kind}.parquet" in record["files"]:
                parts.append(_from_parquet(folder / f"{kind}.parquet", kind, record))
        return pa.concat_tables(parts).to_pandas()

    # --- checkpoints: mid-run state, which may be recomputed ---

    def save_checkpoint(self, fingerprint: str, step: int, tree: dict) -> None:
        """Replace the cell's checkpoint; tree: nested dict of arrays."""
        flat = _flatten({"step": np.int64(step), "tree": tree})
        digest = _sha256(safetensors.save(flat))
        data = safetensors.save(flat | {"sha256": np.frombuffer(bytes.fromhex(digest), np.uint8)})
        self._replace(self.checkpoint_path(fingerprint), data)

    def load_checkpoint(self, fingerprint: str) -> tuple[int, dict] | None:
        """(step, tree) of the last checkpoint, or None; a corrupt one is set aside as *.corrupt and is None too."""
        path = self.checkpoint_path(fingerprint)
        if not path.exists():
            return None
        data = _read(path)
        try:
            flat = safetensors.load(data)
            if flat.pop("sha256").tobytes().hex() != _sha256(safetensors.save(flat)):
                raise ValueError("digest mismatch")
        except (SafetensorError, ValueError, KeyError):
            with _writing(path):
                os.replace(path, f"{path}.corrupt")
            return None
        content = _unflatten(flat)
        return int(content["step"]), content["tree"]

    def drop_checkpoint(self, fingerprint: str) -> None:
        path = self.checkpoint_path(fingerprint)
        with _writing(path):
            path.unlink(missing_ok=True)

    # --- reports: how far running cells are, for whoever watches; losing one loses nothing ---

    def report(self, fingerprint: str, done: int, total: int) -> None:
        """Say that a running cell has done `done` of `total`; silent where it cannot be written."""
        _check_names(fingerprint=fingerprint)
        path = self.root / ".reports" / fingerprint
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{done} {total} {os.getpid()} {platform.node()}\n")

    def reported(self, fingerprint: str) -> tuple[int, int] | None:
        """(done, total) of a running cell, or None."""
        with contextlib.suppress(OSError, ValueError):
            done, total, _, _ = (self.root / ".reports" / fingerprint).read_text().split()
            return int(done), int(total)
        return None

    def drop_report(self, fingerprint: str) -> None:
        with contextlib.suppress(OSError):
            (self.root / ".reports" / fingerprint).unlink()

    # --- manifests ---

    def write_manifest(self, name: str, manifest: dict) -> Path:
        """Write or replace experiments/<name>.json; name is <experiment>-<preset>, as the manifest says."""
        if name != f"{manifest['experiment']}-{manifest['preset']}" or "-" in manifest["preset"]:
            raise ValueError(f"manifest name={name!r}: <experiment>-<preset> is wanted, the preset without '-'")
        _check_names(manifest=name)
        path = self.root / "experiments" / f"{name}.json"
        self._replace(path, _to_json(manifest))
        return path

    def adopt_manifest(self, filename: str, data: bytes) -> dict:
        """Keep a manifest that another store wrote."""
        path = self.root / "experiments" / filename
        self._replace(path, data)
        return _from_json(path)

    def manifest(self, experiment: str, preset: str | None = None) -> dict:
        """Manifest of an experiment; without a preset the last in the order of PRESETS, others before these."""
        stored = {tuple(p.stem.rpartition("-")[::2]): p for p in (self.root / "experiments").glob("*.json")}
        presets = [own for name, own in stored if name == experiment and preset in (None, own)]
        if not presets:
            path, have = self.root / "experiments" / f"{experiment}-{preset or '*'}.json", sorted(map("-".join, stored))
            raise StoreError(f"{path}: no such manifest; stored are {', '.join(have) or 'none'}")
        preset = max(presets, key=lambda own: (PRESETS.index(own) if own in PRESETS else -1, own))
        manifest = _from_json(path := stored[experiment, preset])
        if (known := (manifest.get("experiment"), manifest.get("preset"))) != (experiment, preset):
            raise StoreError(f"{path}: is the manifest of {known}; expected that of {(experiment, preset)}")
        return manifest

    # --- temporary files ---

    def sweep(self) -> list[Path]:
        """Remove what dead writers left: of this host those whose process is gone, of any those a day old.

        Old by the clock of the file system, which hosts share, and not by theirs, which may differ.
        """
        stale, found = [], list(self.root.glob(".tmp-*"))
        if not found:
            return []
        with self._aside(self.root / "sweep") as probe:
            now = probe.stat().st_mtime
        for path in found:
            pid, _, tag = path.name.removeprefix(".tmp-").partition("-")
            with contextlib.suppress(OSError):  # its writer may finish meanwhile
                if (tag.startswith(_host()) and not _is_alive(int(pid))) or now - path.stat().st_mtime > 86400:
                    shutil.rmtree(path)
                    stale.append(path)
        return stale

    @contextlib.contextmanager
    def _aside(self, final: Path):
        """A temporary folder in which to make what is then renamed to `final`; always removed."""
        temporary = self.root / f".tmp-{os.getpid()}-{_host()}{secrets.token_hex(6)}"
        try:
            with _writing(final):
                temporary.mkdir(parents=True)
                final.parent.mkdir(exist_ok=True)
                yield temporary
                _sync(final.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _replace(self, path: Path, data: bytes) -> None:
        with self._aside(path) as temporary:
            (temporary / path.name).write_bytes(data)
            _sync(temporary / path.name)
            os.replace(temporary / path.name, path)

    def checkpoint_path(self, fingerprint: str) -> Path:
        _check_names(fingerprint=fingerprint)
        return self.root / ".checkpoints" / f"{fingerprint}.safetensors"

    def _folders(self, stage: str = "*", pattern: str = "*") -> dict[str, Path]:
        """{fingerprint: folder}, not yet checked; StoreError for two folders of one cell."""
        folders = {}
        for path in sorted(self.root.glob(f"{stage}/{pattern}")):
            if path.name.startswith(".") or path.parent.name.startswith(".") or not path.is_dir():
                continue
            first = folders.setdefault(path.name.rpartition("-")[2], path)
            if first != path:
                raise StoreError(f"{path}: holds the same cell as {first}; expected one folder, remove one")
        return folders


def repacked(record: dict, kept: set[str]) -> bytes:
    """record.json of a cell of which only some files are kept; the digests of the others go to `left_out`."""
    files, left_out = ({n: d for n, d in record["files"].items() if (n in kept) == here} for here in (True, False))
    changed = {"files": files, "left_out": record.get("left_out", {}) | left_out}
    return _to_json({k: v for k, v in record.items() if k != "sha256"} | changed)


def provenance(config: dict) -> dict:
    """Where a record comes from: config, commit and dirty diff of this code ("" outside git), versions, platform."""
    # an installed copy may lie in a folder of someone else's repository
    versioned = _git("ls-files", "--", Path(__file__).name) != b""
    versions = {"gold_sim": gold_sim.__version__}  # an installed copy has no commit
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "config": config,
        "commit": _git("rev-parse", "HEAD").decode().strip() if versioned else "",
        "diff": _git("diff", "HEAD", "--no-color")[:DIFF_BYTES].decode(errors="replace") if versioned else "",
        "python": platform.python_version(),
        "versions": versions,
        "platform": platform.platform(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> bytes:
    """Output of git on the repository of this file; empty without git or on failure."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return b""


# --- files ------------------------------------------------------------------------------------


def _check_names(**names: str) -> None:
    for what, name in names.items():
        rule = r"[0-9a-f]{16}" if what == "fingerprint" else r"\w[\w.,=+-]*"
        if not isinstance(name, str) or not re.fullmatch(rule, name) or name == "experiments":
            raise ValueError(f"{what}={name!r}: a name of the form {rule} is wanted")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _host() -> str:
    """8 hex digits: a process id means something only on the host that gave it."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        pass
    return True


@contextlib.contextmanager
def _writing(path):
    """OSError while `path` is being written -> StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            text = f"no room to write it ({error.strerror}); nothing finished was lost, make room and run again"
        else:
            text = f"cannot be written ({error.strerror}); expected a folder that can be"
        raise StoreError(f"{path}: {text}") from error


def _sync(path: Path) -> None:
    """Have the disk hold a file, or a folder's list of names, before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, record: dict | None = None) -> bytes:
    """Bytes of a file; with the record of its folder, the digest is verified."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); expected a file of the store") from error
    if record is not None and (found := _sha256(data)) != (expected := record["files"][path.name]):
        raise StoreError(f"{path}: corrupt, {len(data)} bytes with sha256 {found[:16]}; expected {expected[:16]}")
    return data


# --- formats ----------------------------------------------------------------------------------


def _plain(value):
    """`value` in JSON's types; NaN and infinities become None."""
    if hasattr(value, "tolist"):  # numpy and jax
        value = value.tolist()
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"record value {value!r:.80} ({type(value).__name__}): JSON has no such thing")


def _to_json(content: dict) -> bytes:
    """Strict JSON with the sha256 of the rest of the text as its last entry."""
    plain = _plain(content)
    digest = _sha256(json.dumps(plain, allow_nan=False, indent=1).encode())
    return (json.dumps(plain | {"sha256": digest}, allow_nan=False, indent=1) + "\n").encode()


def _from_json(path: Path) -> dict:
    data = _read(path)
    try:
        content = json.loads(data)
        del content["sha256"]
        intact = _to_json(content) == data  # the whole text, so that no flipped byte passes
    except (ValueError, TypeError, KeyError):  # no JSON, no dict, no digest
        intact = False
    if not intact:
        raise StoreError(f"{path}: corrupt or edited, {len(data)} bytes; expected JSON that matches its own sha256")
    return content


def _flatten(tree: dict, prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dicts -> {"a/b/c": contiguous array}; TypeError for what would not come back the same."""
    if not isinstance(tree, dict) or not tree:
        raise TypeError(f"arrays at {prefix or '/'}: a dict with at least one entry is wanted, found {tree!r:.80}")
    flat = {}
    for key, value in tree.items():
        if not isinstance(key, str) or "/" in key or key in ("", "__metadata__"):
            raise TypeError(f"arrays at {prefix}{key!r}: a string without '/' is wanted as key")
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}/")
            continue
        array = np.asarray(value, order="C")  # not ascontiguousarray, which makes 0-d arrays 1-d
        if array.dtype.kind not in ARRAY_KINDS or array.dtype.itemsize > 8:
            raise TypeError(f"arrays at {prefix}{key}: bool, integers or floats are wanted, found {array.dtype}")
        flat[prefix + key] = array
    return flat


def _unflatten(flat: dict[str, np.ndarray]) -> dict:
    tree = {}
    for path, array in flat.items():
        *groups, last = path.split("/")
        at = tree
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = array
    return tree


def _schema(kind: str) -> pa.Schema:
    if kind not in TABLES:
        raise ValueError(f"table {kind!r}: allowed are {', '.join(TABLES)}")
    return pa.schema([pa.field(name, pa.type_for_alias(c.dtype), False) for name, c in TABLES[kind].items()])


def _to_parquet(kind: str, columns: dict) -> bytes:
    """Parquet bytes of {column: values [rows]}; ValueError unless columns, types and lengths are the schema's."""
    schema = _schema(kind)
    missing, unknown = set(schema.names) - set(columns), set(columns) - set(schema.names)
    if missing or unknown:
        raise ValueError(f"{kind}: missing columns {sorted(missing)}, unknown columns {sorted(unknown)}")
    if len({np.shape(values) for values in columns.values()}) > 1:
        shapes = {name: np.shape(values) for name, values in columns.items()}
        raise ValueError(f"{kind}: columns of one length are wanted, found {shapes}")
    arrays = [_to_column(f"{kind}.{field.name}", columns[field.name], field.type) for field in schema]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, schema=schema), sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def _to_column(name: str, values, dtype: pa.DataType) -> pa.Array:
    values = np.asarray(values)
    if pa.types.is_string(dtype):
        fits = all(isinstance(v, str) for v in values.flat)
    else:
        fits = values.size == 0 or values.dtype.kind in ("iu" if pa.types.is_integer(dtype) else "fiu")
    if values.ndim != 1 or not fits:
        raise ValueError(f"{name}: {dtype} [rows] is wanted, found {values.dtype} {list(values.shape)}: {values!r:.80}")
    return pa.array(values.tolist(), dtype)


def _from_parquet(path: Path, kind: str, record: dict) -> pa.Table:
    table = pq.read_table(pa.BufferReader(_read(path, record)), page_checksum_verification=True)
    for field in _schema(kind):  # columns that came after the table was stored
        absent = TABLES[kind][field.name].absent
        if absent is not None and field.name not in table.column_names:
            table = table.append_column(field, pa.array([absent] * table.num_rows, field.type))
    if odd := sorted(map(str, set(table.schema) ^ set(_schema(kind)))):
        raise StoreError(f"{path}: columns differ from those of this version in {odd}; remove the cell and run again")
    return table.select(_schema(kind).names)
