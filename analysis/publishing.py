"""Records for others: packed in one file, described as a data set, or shown in TensorBoard and Weights & Biases."""

import re
from pathlib import Path

from analysis import others, records, sources
from analysis.escaped import say
from gold_sim.store import archive, croissant, outputs, sinks
from gold_sim.store.columns import TABLES

OF_PACK = "Records and tables, without weights, in one file; or, with --croissant, as a data set with its description."
OF_EXPORT = "Show an experiment's curves elsewhere: a run for each cell, coefficient and seed. None is written twice."


FEWEST, MOST = 4, 15  # digits: figures of the documents have up to three, float64 has 15


def add_pack(parser) -> None:
    what = f"to write; ends in {archive.SUFFIX}, or with --croissant names a folder"
    parser.add_argument("file", type=Path, help=what)
    parser.add_argument("--leave", nargs="*", default=(), metavar="TABLE", help="tables to leave out, as in samples")
    parser.add_argument("--replace", action="store_true", help="write FILE even if there is one")
    few = "of numbers in tables; 7, as policies are measured in, halve the file; default: all"
    parser.add_argument("--digits", type=int, metavar="N", help=few)
    about = f"write a folder: {archive.SUFFIX[1:]}, each kind of table as Parquet, and croissant.json, which says what "
    parser.add_argument("--croissant", action="store_true", help=about + "they hold (Croissant, of MLCommons)")
    parser.add_argument("--url", help="with --croissant: where the data set will be found")


def pack(args) -> None:
    """Write an archive, or a described data set.  ValueError, StoreError: one line."""
    if not args.croissant and not archive.is_archive(args.file):
        raise ValueError(f"file {str(args.file)!r}: a name that ends in {archive.SUFFIX} is wanted, or --croissant")
    if args.croissant and archive.is_archive(args.file):
        raise ValueError(f"file {args.file}: --croissant writes a folder; a name without {archive.SUFFIX} is wanted")
    if args.url and not args.croissant:
        raise ValueError(f"--url {args.url}: with --croissant alone")
    if args.url and not re.match(r"https?://[^/\s]+", args.url):
        raise ValueError(f"--url {args.url}: an address is wanted, as in https://example.org/records")
    if unknown := sorted(set(args.leave) - set(TABLES)):
        raise ValueError(f"--leave {unknown[0]}: allowed are {', '.join(TABLES)}")
    if args.digits is not None and not FEWEST <= args.digits <= MOST:
        raise ValueError(f"--digits {args.digits}: allowed are {FEWEST} to {MOST}")
    made = args.file / croissant.NAME if args.croissant else args.file
    if made.exists() and not args.replace:
        raise ValueError(f"{made}: is there already; another name is wanted, or --replace")
    if args.croissant:
        outputs.check_folder(args.file)
    else:
        outputs.check_file(args.file, args.runs)
    with sources.opened(*args.runs) as read:
        stores = [source.store for source in read]
        if args.croissant:
            found = croissant.write(stores, args.file, tuple(args.leave), args.digits, args.url)
            say(f"{found} in {args.file}; mlcroissant validate --jsonld {made} checks it")
            return
        cells = archive.pack(stores, args.file, tuple(args.leave), args.digits)
    say(f"{cells} cells, {args.file.stat().st_size / 1e6:.1f} MB in {args.file}; --runs {args.file} reads them")


def add_export(parser) -> None:
    parser.add_argument("name")
    parser.add_argument("--to", action="append", required=True, metavar="KIND=DIR", help=f"where: {sinks.FORMS}")
    parser.add_argument("--preset", help="size of the experiment; default: the largest that has records")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="of records made with it")


READ = {  # kind of sink -> what reads it
    "tensorboard": "tensorboard --logdir {folder}",
    "wandb": "wandb sync {folder}/wandb/offline-run-* sends them",
}


def export(args) -> None:
    """Write the runs of an experiment into each sink.  ValueError, StoreError: one line."""
    opened = [sinks.open_sink(text) for text in dict.fromkeys(args.to)]
    with sources.opened(args.runs, makes=args.name) as [source]:
        name = others.found(source.store, args.name, args.preset, args.set, args.world, args.seeds)
        manifest = records.first_blocks(source.store.manifest(name, args.preset), args.seeds)
        cells = dict.fromkeys((cell["stage"], cell["fingerprint"]) for cell in manifest["cells"])
        for sink in opened:
            runs = sinks.export(sink, source.store, cells)
            say(f"{runs} runs of {len(cells)} cells in {sink}; {READ[sink.kind].format(folder=sink.folder)}")
