"""Files of the store: written aside and renamed, checked by digest, tables as Parquet, arrays as safetensors."""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gold_sim.store.columns import TABLES

ARRAY_KINDS = "biuf"  # NumPy's kinds of dtype: bool, int, uint, float


class StoreError(Exception):
    """A file of the store cannot be read, trusted or written; the text is one line for the user."""


class NotStored(StoreError):
    """An experiment has no manifest: it was never run to its end here, which is no damage."""


def check_names(**names: str) -> None:
    for what, name in names.items():
        rule = r"[0-9a-f]{16}" if what == "fingerprint" else r"\w[\w.,=+-]*"
        if not isinstance(name, str) or not re.fullmatch(rule, name) or name == "experiments":
            raise ValueError(f"{what}={name!r}: a name of the form {rule} is wanted")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def writing(path):
    """OSError while `path` is being written -> StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            text = f"no room to write it ({error.strerror}); nothing finished was lost, make room and run again"
        else:
            text = f"cannot be written ({error.strerror}); expected a folder that can be"
        raise StoreError(f"{path}: {text}") from error


def sync(path: Path) -> None:
    """Have the disk hold a file, or a folder's list of names, before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verified(path: Path, record: dict | None = None) -> bytes:
    """Bytes of a file; with the record of its folder, the digest is verified."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); expected a file of the store") from error
    if record is not None and (found := sha256(data)) != (expected := record["files"][path.name]):
        raise StoreError(f"{path}: corrupt, {len(data)} bytes with sha256 {found[:16]}; expected {expected[:16]}")
    return data


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


def from_json(path: Path) -> dict:
    data = verified(path)
    try:
        content = json.loads(data)
        del content["sha256"]
        intact = to_json(content) == data  # the whole text, so that no flipped byte passes
    except (ValueError, TypeError, KeyError):  # no JSON, no dict, no digest
        intact = False
    if not intact:
        raise StoreError(f"{path}: corrupt or edited, {len(data)} bytes; expected JSON that matches its own sha256")
    return content


def flatten(tree: dict, prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dicts -> {"a/b/c": contiguous array}; TypeError for what would not come back the same."""
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
    return pa.schema([pa.field(name, pa.type_for_alias(c.dtype), False) for name, c in TABLES[kind].items()])


def to_parquet(kind: str, columns: dict) -> bytes:
    """Parquet bytes of {column: values [rows]}; ValueError unless columns, types and lengths are the schema's."""
    schema = arrow_schema(kind)
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


def from_parquet(path: Path, kind: str, record: dict) -> pa.Table:
    table = pq.read_table(pa.BufferReader(verified(path, record)), page_checksum_verification=True)
    for field in arrow_schema(kind):  # columns that came after the table was stored
        absent = TABLES[kind][field.name].absent
        if absent is not None and field.name not in table.column_names:
            table = table.append_column(field, pa.array([absent] * table.num_rows, field.type))
    if odd := sorted(map(str, set(table.schema) ^ set(arrow_schema(kind)))):
        raise StoreError(f"{path}: columns differ from those of this version in {odd}; remove the cell and run again")
    return table.select(arrow_schema(kind).names)
