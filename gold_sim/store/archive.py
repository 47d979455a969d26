"""An archive of a study in one file: manifests, records and tables, without weights and pools, for analysis anywhere.

It is a .tar.xz of the store's own layout. Records list the files that are in it; the digests of files that were left
out stand under `left_out`. Reading unpacks an archive into a cache, once. Every digest is checked then, and again
whenever a file is read.
"""

import io
import json
import lzma
import math
import re
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gold_sim.store import outputs
from gold_sim.store.files import (
    UNPACKED,
    Damaged,
    StoreError,
    cells_of,
    check_content,
    parsed,
    repair_command,
    sha256,
    to_json,
    writing,
)
from gold_sim.store.remote import cache_of
from gold_sim.store.store import Store
from gold_sim.store.system import UNHURRIED

SUFFIX = ".tar.xz"
KEPT = (".parquet",)  # files of a cell beside its record: the tables that its stage declares
ALWAYS, RATIO = 64 * 2**20, 100  # an archive may unpack to these bytes, or to RATIO times its size (ours: 2 to 3)
_MEMBER = re.compile(r"(experiments)/([\w.,=+-]+\.json)|(\w+)/([\w.,=+-]+)/(record\.json|\w+\.parquet)")
_MANIFESTS = "experiments/"
_REMEDY = "fetch it anew, or pack it anew from its store: python -m analysis pack"


def is_archive(where) -> bool:
    return str(where).endswith(SUFFIX)


def pack(stores: Sequence[Store], path: Path, leave: tuple[str, ...] = (), digits: int | None = None) -> int:
    """Write everything that analysis reads of all experiments to `path`; returns the number of cells.

    stores: an experiment, and each of its cells, comes from the first of them that has it.
    leave: kinds of table to leave out, as in ("samples",).  The same stores give the same bytes.
    digits: of numbers in tables, at least; None: all. Seven, as policies are measured in, halve the archive.
    StoreError: the stores have no experiments, or lack a cell that one of them names.  Damaged: a digest is wrong.
    """
    manifests = {p.name: (store, p) for store in reversed(stores) for p in store.root.glob("experiments/*.json")}
    if not manifests:
        raise StoreError(f"{_roots(stores)}: no experiments to pack; a folder with records is wanted")
    wanted, content = {}, {}
    for name, (store, path_of) in manifests.items():
        manifest = store.manifest(*path_of.stem.rpartition("-")[::2])
        remedy = repair_command(manifest, store.root)
        wanted |= dict.fromkeys(cells_of(path_of, manifest), remedy)
        content[f"experiments/{name}"] = path_of.read_bytes()
    for (stage, code), remedy in sorted(wanted.items()):
        try:
            content |= _files(stores, stage, code, leave, digits)
        except Damaged as error:
            raise Damaged(error.what, remedy) from error
    outputs.write(path, _compressed(content))
    return len(wanted)


def _files(stores: Sequence[Store], stage: str, code: str, leave: tuple[str, ...], digits: int | None) -> dict:
    """{name in the archive: bytes} of the files of a cell that are packed, digests verified."""
    places = ((store, store.find(stage, code)) for store in stores)
    store, folder = next(((s, f) for s, f in places if f is not None), (None, None))
    if store is None:
        raise StoreError(f"{_roots(stores)}: {stage} {code} is not finished; the same experiment, run again, ends it")
    record = store.verify(folder, KEPT)
    keep = {p.name: p.read_bytes() for p in sorted(folder.glob("*")) if p.suffix in KEPT and p.stem not in leave}
    if digits is not None:
        keep = {name: rounded(data, digits) for name, data in keep.items()}
    at = f"{stage}/{folder.name}"
    return {f"{at}/record.json": repacked(record, keep)} | {f"{at}/{name}": data for name, data in keep.items()}


def rounded(table: bytes, digits: int) -> bytes:
    """A table whose numbers are rounded to so many digits at least, to as many bits as these take.

    Policies are measured in float32, 24 bits, so with seven digits their numbers stay. Means of best-of-n are not.
    Decimals that are no longer than that stay as they are: settings, such as a coefficient, by which runs are found.
    Bytes of equal weight stand together, uncompressed and without statistics of columns, which xz packs best.
    """
    read = pq.read_table(io.BytesIO(table))
    numbers = [name for name in read.column_names if read.schema.field(name).type == pa.float64()]
    few = lambda column: pa.array(_short(column.to_numpy(), digits), mask=column.is_null().to_numpy())
    columns = [few(read[name]) if name in numbers else read[name] for name in read.column_names]
    data, others = io.BytesIO(), [name for name in read.column_names if name not in numbers]
    options = dict(compression="none", write_statistics=False, use_dictionary=others, use_byte_stream_split=numbers)
    pq.write_table(pa.Table.from_arrays(columns, schema=read.schema), data, **options)
    return data.getvalue()


def _short(values: np.ndarray, digits: int) -> np.ndarray:
    bits = math.ceil(digits * math.log2(10))
    part, power = np.frexp(values)
    in_bits = np.ldexp(np.rint(np.ldexp(part, bits)), power - bits)
    decimals = np.array([float(f"{value:.{digits}g}") for value in values])
    return np.where(decimals == values, values, in_bits)


def _compressed(content: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz", preset=9) as tar:
        for name in sorted(content, key=lambda name: (name.rpartition("/")[2], name)):  # similar files side by side
            member = tarfile.TarInfo(name)
            member.size = len(content[name])
            tar.addfile(member, io.BytesIO(content[name]))
    return data.getvalue()


def _roots(stores) -> str:
    return ", ".join(str(store.root) for store in stores)


def unpack(path: Path) -> Path:
    """Folder of a store with the contents of an archive.  StoreError: no such file, no archive, or damaged.

    The folder lies in a cache. If anything in it changed since, the archive is unpacked again.
    So what a power cut takes is found, and nothing waits for the disk, which would take six sevenths of the time.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); an archive of records is wanted") from error
    store = Store(cache_of(f"archive {sha256(data)}"), UNHURRIED)
    done = store.root / UNPACKED
    if done.exists() and _intact(done):
        return store.root
    content = _content(path, data)
    try:
        with writing(store.root):
            if done.exists():
                shutil.rmtree(store.root)
        _keep(store, content)
        outputs.write(done, json.dumps({name: sha256(kept) for name, kept in content.items()}))
    except StoreError as error:
        raise StoreError(f"{path}: cannot be unpacked: {error}; GOLD_SIM_CACHE names another folder") from error
    return store.root


def _intact(done: Path) -> bool:
    """Whether the cache holds what was unpacked and nothing else.  done: the file of digests, written last."""
    try:
        digests = json.loads(done.read_bytes())
        files = {p.relative_to(done.parent).as_posix(): p for p in done.parent.glob("[!.]*/**/*") if p.is_file()}
        return files.keys() == digests.keys() and all(sha256(p.read_bytes()) == digests[n] for n, p in files.items())
    except (OSError, ValueError, AttributeError):
        return False


def _keep(store: Store, content: dict[str, bytes]) -> None:
    """Write the contents of an archive into its cache, manifests last."""
    store.sweep()
    for (stage, folder), files in _cells(content).items():
        try:
            if (store.root / stage / folder).exists():  # left by a killed process, or by one that unpacks it right now
                store.verify(store.root / stage / folder)
        except Damaged:
            shutil.rmtree(store.root / stage / folder)
        store.adopt(stage, folder, files)
    for name, kept in content.items():
        if name.startswith(_MANIFESTS):
            store.adopt_manifest(name.partition("/")[2], kept)


def _cells(content: dict[str, bytes]) -> dict[tuple[str, str], dict[str, bytes]]:
    """Files of each cell, by (stage, folder)."""
    cells = {}
    for name, kept in content.items():
        *cell, filename = name.split("/")
        if cell != ["experiments"]:
            cells.setdefault(tuple(cell), {})[filename] = kept
    return cells


def _content(path: Path, data: bytes) -> dict[str, bytes]:
    """Files of an archive by name, checked: records, their tables, and manifests all of whose cells are there."""
    try:
        content = _members(path, data)
        manifests = {
            name: parsed(f"{path}/{name}", kept) for name, kept in content.items() if name.startswith(_MANIFESTS)
        }
        cells = [check_content(f"{path}/{'/'.join(cell)}", files) for cell, files in _cells(content).items()]
        there = {(record["stage"], record["fingerprint"]) for record in cells}
        for name, manifest in manifests.items():
            if lacking := sorted(cells_of(f"{path}/{name}", manifest) - there):
                raise Damaged(f"{path}/{name}: {len(lacking)} of its cells are not there: {' '.join(lacking[0])} ..")
        if not manifests:
            raise Damaged(f"{path}: holds no experiment; expected manifests, {_MANIFESTS}NAME-PRESET.json")
    except Damaged as error:
        raise Damaged(error.what, _REMEDY) from error
    except (tarfile.TarError, lzma.LZMAError, EOFError, MemoryError) as error:
        raise Damaged(f"{path}: damaged, or no archive of records ({error})", _REMEDY) from error
    return content


def _members(path: Path, data: bytes) -> dict[str, bytes]:
    most, content = max(ALWAYS, RATIO * len(data)), {}
    with lzma.open(io.BytesIO(data)) as file:
        unpacked = file.read(most + 1)
    if len(unpacked) > most:
        raise Damaged(f"{path}: {len(data):,} bytes unpack to more than {most:,}; no archive of records does")
    with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as tar:
        for member in tar:
            if _MEMBER.fullmatch(member.name) is None or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                raise StoreError(f"{path}: holds {member.name!r}; records and tables of a store are wanted")
            if member.name in content:
                raise Damaged(f"{path}: holds {member.name} twice")
            content[member.name] = tar.extractfile(member).read()
    return content


def repacked(record: dict, kept: dict[str, bytes]) -> bytes:
    """record.json of a cell of which only some files are kept; the digests of the others go to `left_out`.

    Those of files that were rounded go to `rounded`.
    """
    before, left_out = ({n: d for n, d in record["files"].items() if (n in kept) == here} for here in (True, False))
    files = {name: sha256(kept[name]) for name in before}
    rounded = {name: digest for name, digest in before.items() if digest != files[name]}
    changed = {"files": files, "left_out": record.get("left_out", {}) | left_out}
    if rounded or "rounded" in record:
        changed["rounded"] = rounded | record.get("rounded", {})
    return to_json({k: v for k, v in record.items() if k != "sha256"} | changed)
