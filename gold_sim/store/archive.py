"""A study in one file: manifests, records and tables of a store, without weights and pools, for analysis anywhere.

A .tar.xz of the store's own layout. Records name the files that are there; those left out keep their digests under
`left_out`. Reading unpacks it once into a cache, where every digest is checked.
"""

import hashlib
import io
import lzma
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

from gold_sim.store.files import StoreError, to_json
from gold_sim.store.remote import cache_of
from gold_sim.store.store import Store

SUFFIX = ".tar.xz"
UNPACKED = "unpacked"  # a file that marks the folder of an archive that was unpacked whole
KEPT = (".parquet",)  # files of a cell beside its record: the tables that its stage declares
_MEMBER = re.compile(r"(experiments)/([\w.,=+-]+\.json)|(\w+)/([\w.,=+-]+)/(record\.json|\w+\.parquet)")


def is_archive(where) -> bool:
    return str(where).endswith(SUFFIX)


def pack(stores: Sequence[Store], path: Path, leave: tuple[str, ...] = ()) -> int:
    """Write what analysis reads of all experiments to `path`; returns the number of cells.

    stores: an experiment, and each of its cells, comes from the first of them that has it.
    leave: kinds of table to leave out, as in ("samples",).  The same stores give the same bytes.
    StoreError: the stores have no experiments, or lack a cell that one of them names.
    """
    manifests = {p.name: (store, p) for store in reversed(stores) for p in store.root.glob("experiments/*.json")}
    if not manifests:
        raise StoreError(f"{_roots(stores)}: no experiments to pack; a folder with records is wanted")
    wanted, content = set(), {}
    for name, (store, manifest) in manifests.items():
        told = store.manifest(*manifest.stem.rpartition("-")[::2])
        wanted |= {(c["stage"], c["fingerprint"]) for c in told["cells"]}
        wanted |= {("reward_model", code) for code in told["reward_models"]}
        content[f"experiments/{name}"] = manifest.read_bytes()
    for stage, code in sorted(wanted):
        found = ((store, store.find(stage, code)) for store in stores)
        store, folder = next(((s, f) for s, f in found if f is not None), (None, None))
        if store is None:
            raise StoreError(
                f"{_roots(stores)}: {stage} {code} is not finished; the same experiment, run again, ends it"
            )
        keep = [p for p in sorted(folder.glob("*")) if p.suffix in KEPT and p.stem not in leave]
        at = f"{stage}/{folder.name}"
        content[f"{at}/record.json"] = repacked(store.record(folder), {p.name for p in keep})
        content |= {f"{at}/{p.name}": p.read_bytes() for p in keep}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.part")
    with tarfile.open(aside, "w:xz", preset=9) as tar:
        for name in sorted(content, key=lambda name: (name.rpartition("/")[2], name)):  # like beside like
            member = tarfile.TarInfo(name)
            member.size = len(content[name])
            tar.addfile(member, io.BytesIO(content[name]))
    aside.replace(path)
    return len(wanted)


def _roots(stores) -> str:
    return ", ".join(str(store.root) for store in stores)


def unpack(path: Path) -> Path:
    """Folder of a store with what an archive holds.  StoreError: no such file, no archive, or damaged."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); an archive of records is wanted") from error
    store = Store(cache_of(f"archive {hashlib.sha256(data).hexdigest()}"))
    done = store.root / UNPACKED
    if done.exists():
        return store.root
    cells, manifests = {}, {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as tar:
            for member in tar:
                found = _MEMBER.fullmatch(member.name)
                if found is None or not member.isfile():
                    raise StoreError(f"{path}: holds {member.name!r}; records and tables of a store are wanted")
                content = tar.extractfile(member).read()
                if found[1]:
                    manifests[found[2]] = content
                else:
                    cells.setdefault((found[3], found[4]), {})[found[5]] = content
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise StoreError(f"{path}: damaged, or no archive of records ({error}); analysis pack makes one") from error
    for (stage, folder), content in cells.items():
        store.adopt(stage, folder, content)
    for name, content in manifests.items():
        store.adopt_manifest(name, content)
    done.touch()
    return store.root


def repacked(record: dict, kept: set[str]) -> bytes:
    """record.json of a cell of which only some files are kept; the digests of the others go to `left_out`."""
    files, left_out = ({n: d for n, d in record["files"].items() if (n in kept) == here} for here in (True, False))
    changed = {"files": files, "left_out": record.get("left_out", {}) | left_out}
    return to_json({k: v for k, v in record.items() if k != "sha256"} | changed)
