"""Files of the store: their names and content, checked by digest.

Tables are Parquet files and arrays are safetensors files.
"""

import contextlib
import difflib
import errno
import functools
import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gold_sim.store.columns import TABLES
from gold_sim.store.system import REAL, System

ARRAY_KINDS = "biuf"  # NumPy's kinds of dtype: bool, int, uint, float


class StoreError(Exception):
    """A file of the store cannot be read, trusted or written; the text is one line for the user."""


class NotStored(StoreError):
    """An experiment has no manifest: it was never run to its end here. This is not damage."""

    def __init__(self, text: str, meant: str | None = None):
        """meant: the experiment that is stored and that was probably meant."""
        super().__init__(text)
        self.meant = meant


def no_manifest(path, experiment: str, stored: Iterable[tuple[str, str]]) -> NotStored:
    """Why an experiment is not read: it has no manifest; and the one that was probably meant.

    stored: (experiment, preset) of those that there are.
    """
    names = [name for name, _ in stored]
    close = [] if experiment in names else difflib.get_close_matches(experiment, names, n=1)
    meant = close[0] if close else None
    have = ", ".join(sorted(map("-".join, stored))) or "none"
    return NotStored(f"{path}: no such manifest; stored are {have}{f'; is {meant} meant?' if meant else ''}", meant)


UNPACKED = "unpacked"  # a file that marks the folder of an archive that was unpacked whole
AGAIN = "which sets it aside and computes it again"
REMEDY = f"python -m experiments NAME --repair, with the options of its run, {AGAIN}"


class Damaged(StoreError):
    """A stored file exists but cannot be trusted; the text ends with the command that mends it."""

    def __init__(self, what: str, remedy: str = REMEDY):
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self):
        return f"{self.what}; to mend it: {self.remedy}"


def repair_command(manifest: dict, root) -> str:
    """The command that mends damaged cells of an experiment, with the options of the run that made its manifest."""
    if (Path(root) / UNPACKED).exists():
        return "the same command again, which unpacks the archive anew"
    return f"python -m experiments {shlex.join([*words_of(manifest), '--runs', str(root), '--repair'])}, {AGAIN}"


# What a world is: the seeds of language, reference policy, gold, preferences and pools, all one number.
WORLD_SEEDS = ("world.seed", "reference.seed", "gold.seed", "preferences.seed", "best_of_n.seed")


def world_of(overrides: dict) -> int | None:
    """The world that all of WORLD_SEEDS name in these settings; None if they lack one, or are not all the same."""
    named = [overrides.get(path) for path in WORLD_SEEDS]
    return named[0] if isinstance(named[0], int) and len(set(map(repr, named))) == 1 else None


def words_of(manifest: dict) -> list[str]:
    """The words of a command that name the experiment of a manifest, its preset and its other settings."""
    words = [str(manifest["experiment"]), "--preset", str(manifest["preset"])]
    overrides = manifest["overrides"] if isinstance(manifest.get("overrides"), dict) else {}
    if (world := world_of(overrides)) is not None:
        words += ["--world", str(world)]
        overrides = {path: value for path, value in overrides.items() if path not in WORLD_SEEDS}
    for path, value in overrides.items():
        words += ["--set", f"{path}={value if _is_word(value) else json.dumps(value)}"]
    return words


def settings_key(overrides: dict) -> str:
    """Eight hex digits that identify an experiment's --set; "" where there is none."""
    text = json.dumps(overrides, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8] if overrides else ""


def manifest_name(manifest: dict) -> str:
    """<experiment>-<preset>, or <experiment>+<settings>-<preset>: a manifest says `settings` where it has others."""
    settings = f"+{manifest['settings']}" if manifest.get("settings") else ""
    return f"{manifest.get('experiment')}{settings}-{manifest.get('preset')}"


def _is_word(value) -> bool:
    """Whether `--set path=value` takes a value as it is: a text that JSON does not read as something else."""
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return True
    except (TypeError, ValueError, RecursionError):  # no text, or one that must be quoted
        pass
    return False


def check_names(**names: str) -> None:
    for what, name in names.items():
        rule = r"[0-9a-f]{16}" if what == "fingerprint" else r"\w[\w.,=+-]*"
        if not isinstance(name, str) or not re.fullmatch(rule, name) or name == "experiments":
            raise ValueError(f"{what}={name!r}: a name of the form {rule} is wanted")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def writing(path):
    """Raise an OSError that comes while `path` is being written as a StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            text = f"no room to write it ({error.strerror}); nothing finished was lost, make room and run again"
        else:
            text = f"cannot be written ({error.strerror}); expected a folder that can be"
        raise StoreError(f"{path}: {text}") from error


def verified(path: Path, record: dict | None = None, system: System = REAL) -> bytes:
    """The bytes of a file; where the record of its folder is given, the digest is verified."""
    try:
        data = system.read(path)
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}); expected a file of the store"
        raise StoreError(text) if isinstance(error, PermissionError) else Damaged(text) from error
    if record is not None:
        check_digest(path, data, record)
    return data


def check_digest(path, data: bytes, record: dict) -> None:
    """Raise Damaged unless `data` has the digest in the record of its folder.  path: names it in the message."""
    expected = record["files"][Path(path).name]
    if (digest := sha256(data)) != expected:
        raise Damaged(f"{path}: corrupt, {len(data)} bytes with sha256 {digest[:16]}; expected {expected[:16]}")


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


def to_json(content: dict) -> bytes:
    """Strict JSON with the sha256 of the rest of the text as its last entry."""
    plain = _plain(content)
    digest = sha256(json.dumps(plain, allow_nan=False, indent=1).encode())
    return (json.dumps(plain | {"sha256": digest}, allow_nan=False, indent=1) + "\n").encode()


_LAST_ENTRY = re.compile(rb',\n "sha256": "([0-9a-f]{64})"\n}\n\Z')


def from_json(path: Path, system: System = REAL) -> dict:
    return parsed(path, verified(path, system=system))


def parsed(path, data: bytes) -> dict:
    """The content of a text that `to_json` wrote.  Damaged unless it matches its own digest.

    path: names it in the message.
    """
    last = _LAST_ENTRY.search(data)  # every byte is either in the text digested or in this
    if last is None or sha256(data[: last.start()] + b"\n}") != last[1].decode():
        raise Damaged(f"{path}: corrupt or edited, {len(data)} bytes; expected JSON that matches its own sha256")
    content = json.loads(data)
    del content["sha256"]
    return content


def check_record(path, record: dict) -> dict:
    """`record`, if it lists the files of a cell with a digest each; Damaged otherwise.  path: of its folder."""
    files = record.get("files")
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        raise Damaged(f"{path}/record.json: no record of a cell; expected the digests of its files under 'files'")
    return record


def check_content(where: str, content: dict[str, bytes]) -> dict:
    """The record of a finished cell, whose files are given as bytes by name; Damaged if its digests do not match."""
    if "record.json" not in content:
        raise Damaged(f"{where}: no record.json; expected that of a finished cell")
    record = check_record(where, parsed(f"{where}/record.json", content["record.json"]))
    known = f"{record.get('stage')}/{record.get('name')}-{record.get('fingerprint')}"
    if not where.endswith(f"/{known}"):
        raise Damaged(f"{where}: its record.json is of {known}; expected it under that name")
    if odd := sorted(content.keys() ^ {*record["files"], "record.json"}):
        raise Damaged(f"{where}: files missing or foreign: {', '.join(odd)}; expected those of record.json")
    for filename in record["files"]:
        check_digest(f"{where}/{filename}", content[filename], record)
    return record


def cells_of(path, manifest: dict) -> set[tuple[str, str]]:
    """(stage, fingerprint) of the curves, reward models and golds that a manifest names.  Damaged without such lists.

    Manifests of older code have no list of golds.
    """
    try:
        cells = {(cell["stage"], cell["fingerprint"]) for cell in manifest["cells"]}
        cells |= {("reward_model", code) for code in manifest["reward_models"]}
        cells |= {("gold", code) for code in manifest.get("golds", ())}
        for stage, code in cells:
            check_names(stage=stage, fingerprint=code)
    except (KeyError, TypeError, ValueError) as error:
        text = "no manifest of an experiment; expected lists 'cells', of stage and fingerprint, and 'reward_models'"
        raise Damaged(f"{path}: {text}") from error
    return cells


def flatten(tree: dict, prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dicts as {"a/b/c": contiguous array}; TypeError for a value that would not be read back the same."""
    if not isinstance(tree, dict) or not tree:
        raise TypeError(f"arrays at {prefix or '/'}: a dict with at least one entry is wanted, found {tree!r:.80}")
    flat = {}
    for key, value in tree.items():
        if not isinstance(key, str) or "/" in key or key in ("", "__metadata__"):
            raise TypeError(f"arrays at {prefix}{key!r}: a string without '/' is wanted as key")
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}/")
            continue
        array = np.asarray(value, order="C")  # not ascontiguousarray, which makes 0-d arrays 1-d
        if array.dtype.kind not in ARRAY_KINDS or array.dtype.itemsize > 8:
            raise TypeError(f"arrays at {prefix}{key}: bool, integers or floats are wanted, found {array.dtype}")
        flat[prefix + key] = array
    return flat


def unflatten(flat: dict[str, np.ndarray]) -> dict:
    tree = {}
    for path, array in flat.items():
        *groups, last = path.split("/")
        at = tree
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = array
    return tree


def arrow_schema(kind: str) -> pa.Schema:
    if kind not in TABLES:
        raise ValueError(f"table {kind!r}: allowed are {', '.join(TABLES)}")
    return _schema(tuple((name, column.dtype) for name, column in TABLES[kind].items()))


@functools.cache
def _schema(columns: tuple[tuple[str, str], ...]) -> pa.Schema:
    return pa.schema([pa.field(name, pa.type_for_alias(dtype), False) for name, dtype in columns])


def own_attributes(kind: str, names) -> list[pa.Field]:
    """Columns attr_NAME of attributes that only some languages have; rows of the others are NaN there."""
    own = sorted(name for name in names if kind == "curves" and name.startswith("attr_") and name not in TABLES[kind])
    return [pa.field(name, pa.float64()) for name in own]


def to_parquet(kind: str, columns: dict) -> bytes:
    """Parquet bytes of {column: values [rows]}; ValueError unless columns, types and lengths are the schema's.

    Curves may also have columns of `own_attributes`.
    """
    schema = pa.schema([*arrow_schema(kind), *own_attributes(kind, columns)])
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


def from_parquet(path: Path, kind: str, record: dict, system: System = REAL) -> pa.Table:
    source = pa.BufferReader(verified(path, record, system))
    try:  # without threads: tables are small, and a thread that still starts as a command ends aborts it
        file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"{path}: no table ({str(error).splitlines()[0]}); expected Parquet") from error
    for field in arrow_schema(kind):  # columns that came after the table was stored
        absent = TABLES[kind][field.name].absent
        if absent is not None and field.name not in table.column_names:
            table = table.append_column(field, pa.array([absent] * table.num_rows, field.type))
    wanted = pa.schema([*arrow_schema(kind), *own_attributes(kind, table.column_names)])
    if odd := sorted(map(str, set(table.schema) ^ set(wanted))):
        raise Damaged(f"{path}: columns differ from those of this version in {odd}")
    return table.select(wanted.names)
