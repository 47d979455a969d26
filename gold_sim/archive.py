"""A study in one file: manifests, records and tables of a store, without weights and pools, for analysis anywhere.

A .tar.xz of the store's own layout. Records name the files that are there; those left out keep their digests under
`left_out`. Reading unpacks it once into a cache, where every digest is checked.
"""

import hashlib
import io
import lzma
import re
import tarfile
from pathlib import Path

from gold_sim.records import Store, StoreError, repacked
from gold_sim.remote import cache_of

SUFFIX = ".tar.xz"
KEPT = (".parquet",)  # files of a cell beside its record
_MEMBER = re.compile(r"(experiments)/([\w.,=+-]+\.json)|(\w+)/([\w.,=+-]+)/(record\.json|\w+\.parquet)")


def is_archive(where) -> bool:
    return str(where).endswith(SUFFIX)


def pack(store: Store, path: Path, leave: tuple[str, ...] = ()) -> int:
    """Write what analysis reads of all experiments to `path`; returns the number of cells.

    leave: kinds of table to leave out, as in ("samples",).  The same store gives the same bytes.
    StoreError: the store has no experiments, or a cell that one of them names is not there.
    """
    manifests = sorted(store.root.glob("experiments/*.json"))
    if not manifests:
        raise StoreError(f"{store.root}: no experiments to pack; a folder with records is wanted")
    wanted = set()
    for manifest in (store.manifest(*p.stem.rpartition("-")[::2]) for p in manifests):
        cells = {(c["stage"], c["fingerprint"]) for c in manifest["cells"]}
        wanted |= cells | {("reward_model", code) for code in manifest["reward_models"]}
    content = {f"experiments/{p.name}": p.read_bytes() for p in manifests}
    for stage, code in sorted(wanted):
        folder = store.find(stage, code)
        if folder is None:
            raise StoreError(f"{store.root}: {stage} {code} is not finished; the same experiment, run again, ends it")
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


def unpack(path: Path) -> Path:
    """Folder of a store with what an archive holds.  StoreError: no such file, no archive, or damaged."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); an archive of records is wanted") from error
    store = Store(cache_of(f"archive {hashlib.sha256(data).hexdigest()}"))
    done = store.root / "unpacked"
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
