"""A data set that others can find and read: the archive, its tables joined, and what Croissant says of them.

Croissant is MLCommons' description of data sets, JSON that search engines and loaders of data read
(https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0). mlcroissant 1.1 cannot read Parquet
files inside an archive column by column. So the tables of all cells stand beside the archive, joined, one file a kind.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import gold_sim
from gold_sim.store import archive, outputs
from gold_sim.store.columns import TABLES, described
from gold_sim.store.files import parsed, sha256, writing
from gold_sim.store.store import Store

NAME = "croissant.json"
PACKED = f"records{archive.SUFFIX}"
TYPES = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float"}
KEYS = {  # kind of table -> the columns that tell its rows apart
    "curves": ("cell", "seed", "kl_coef", "dpo_beta", "control"),
    "reward_models": ("cell", "seed", "member"),
    "samples": ("cell", "seed", "kl_coef", "dpo_beta", "control", "prompt_id"),
}
ROWS = {
    "curves": "Curves of over-optimisation: one row is one evaluation point of one run of one cell.",
    "reward_models": "Reward models: one row is one member of one seed of one cell.",
    "samples": "Responses along the runs: one row is one prompt at one evaluation point of one run.",
}
ABOUT = """Records of gold_sim, a testbed for reward-model over-optimisation after Gao, Schulman and Hilton (2023): \
policies are optimised against learned proxies of a known gold reward, and KL, proxy and gold are measured along the \
way. Experiments: {experiments}. {archive} holds configuration, commit and versions of every cell."""
CITE = """@software{gold_sim, title = {gold_sim: a testbed for reward-model over-optimization}, \
author = {{The gold_sim developers}}, version = {%s}, license = {Apache-2.0}}"""
VOCABULARY = {  # the names of Croissant 1.0, as its specification gives them
    **{"@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/"},
    **{"cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/"},
    **{"dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo"},
    **{name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{name: f"cr:{name}" for name in (
        "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet",
        "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
        "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
    )},
}  # fmt: skip


def write(
    stores: Sequence[Store],
    folder: Path,
    leave: tuple[str, ...] = (),
    digits: int | None = None,
    url: str | None = None,
) -> str:
    """Write a folder to publish: the archive, its tables as Parquet, croissant.json; returns what is in it, in words.

    stores, leave, digits: as for `archive.pack`.  url: where the folder will be found.  StoreError as of `pack`.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    archive.pack(stores, folder / PACKED, leave, digits)
    packed = Store(archive.unpack(folder / PACKED))
    files, rows = {PACKED: (folder / PACKED).read_bytes()}, {}
    tables = {kind: packed.table(kind) for kind in TABLES if kind not in leave}
    schemas = {}
    for kind, table in tables.items():
        if len(table):
            joined = pa.Table.from_pandas(table, preserve_index=False)
            schemas[kind], rows[kind] = joined.schema, len(table)
            files[f"{kind}.parquet"] = _parquet(joined)
            outputs.write(folder / f"{kind}.parquet", files[f"{kind}.parquet"])
    about = description(packed, files, schemas, url)
    outputs.write(folder / NAME, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return ", ".join([PACKED, *(f"{count:,} rows of {kind}" for kind, count in rows.items()), NAME])


def _parquet(table: pa.Table) -> bytes:
    """Bytes of equal weight stand together, which packs numbers best: 1.6 MB where plain Parquet takes 3.0."""
    numbers = [field.name for field in table.schema if field.type == pa.float64()]
    others = [name for name in table.column_names if name not in numbers]
    sink = pa.BufferOutputStream()
    options = dict(compression="zstd", compression_level=19, use_dictionary=others, use_byte_stream_split=numbers)
    pq.write_table(table.replace_schema_metadata(), sink, **options)
    return sink.getvalue().to_pybytes()


def description(packed: Store, files: dict[str, bytes], schemas: dict[str, pa.Schema], url: str | None) -> dict:
    """The content of croissant.json.

    packed: the store in the archive.  files: bytes by name.  schemas: of each kind of table that is there.
    """
    manifests = [parsed(path, path.read_bytes()) for path in sorted(packed.root.glob("experiments/*.json"))]
    versions = {packed.record(path.parent)["versions"]["gold_sim"] for path in _with_versions(packed)}
    version = max(versions, default=gold_sim.__version__)
    experiments = ", ".join(sorted({manifest["experiment"] for manifest in manifests}))
    return {
        "@context": VOCABULARY,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "gold_sim_records",
        "description": ABOUT.format(experiments=experiments, archive=PACKED),
        "license": "https://spdx.org/licenses/Apache-2.0.html",
        "url": url or NAME,
        "version": version,
        "datePublished": max((m["created"] for m in manifests if m.get("created")), default="")[:10],
        "citeAs": CITE % version,
        "creator": {"@type": "sc:Organization", "name": "The gold_sim developers"},
        "keywords": ["reward model", "over-optimization", "RLHF", "scaling laws", "alignment"],
        "distribution": [_file(name, data) for name, data in files.items()],
        "recordSet": [_records(kind, schema) for kind, schema in schemas.items()],
    }


def _with_versions(packed: Store) -> list[Path]:
    paths = sorted(packed.root.glob("*/*/record.json"))
    return [path for path in paths if "gold_sim" in packed.record(path.parent).get("versions", {})]


def _file(name: str, data: bytes) -> dict:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": "manifests, records and tables of every cell" if name == PACKED else ROWS[Path(name).stem],
        "contentUrl": name,
        "contentSize": f"{len(data)} B",
        "encodingFormat": "application/x-tar" if name == PACKED else "application/x-parquet",
        "sha256": sha256(data),
    }


def _records(kind: str, schema: pa.Schema) -> dict:
    return {
        "@type": "cr:RecordSet",
        "@id": kind,
        "name": kind,
        "description": ROWS[kind],
        "key": [{"@id": f"{kind}/{name}"} for name in KEYS[kind]],
        "field": [_field(kind, field) for field in schema],
    }


def _field(kind: str, field: pa.Field) -> dict:
    """A column; `unitText` is schema.org's name of a unit, and the description says it as well."""
    column, known = described(kind, field.name), {pa.large_string(): "string"}
    return {
        "@type": "cr:Field",
        "@id": f"{kind}/{field.name}",
        "name": field.name,
        "description": str(column),
        "unitText": column.unit,
        "dataType": TYPES[known.get(field.type, str(field.type))],
        "source": {"fileObject": {"@id": f"{kind}.parquet"}, "extract": {"column": field.name}},
    }
