"""How long listing, planning, resuming and analysis take in a store of thousands of cells.

    python -m tests.scale --folder FOLDER [--blocks 1000] [--preset smoke]      some minutes

One block of seeds of the main job is computed. Its cells are then written again under the fingerprints and seeds of
further blocks, each as whole as a computed one, but for parameters and samples. So every record and table is real, and
only its numbers repeat. With `--preset smoke --blocks 1000` there are 10,004 cells; `--preset cpu --blocks 84` has
10,080 runs, and its first block is the main job itself.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from experiments.plan import manifest, plan
from gold_sim.store import Store
from gold_sim.store.files import sha256, to_json

ROOT = Path(__file__).resolve().parent.parent
NAME = "rm_size"
KEPT = ("curves.parquet", "reward_models.parquet")


def of_block(table: pa.Table, cell) -> bytes:
    """A cell's table as the seeds of another block would have left it."""
    first = min(table["seed"].to_pylist())
    seeds = [seed - first + min(cell.config.seeds) for seed in table["seed"].to_pylist()]
    for name, values in {"seed": seeds, "cell": [cell.fingerprint] * table.num_rows}.items():
        at = table.schema.get_field_index(name)
        if at >= 0:
            table = table.set_column(at, table.field(at), pa.array(values, table.field(at).type))
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def copied(origin: Path, to: Path, cell) -> None:
    """The files of a finished cell, as those of its like in another block."""
    record = json.loads((origin / "record.json").read_bytes())
    content = {name: of_block(pq.read_table(origin / name), cell) for name in record["files"] if name in KEPT}
    record |= {"fingerprint": cell.fingerprint, "files": {name: sha256(data) for name, data in content.items()}}
    record["config"]["seeds"] = list(cell.config.seeds)
    del record["sha256"]
    to.mkdir(parents=True)
    for name, data in (content | {"record.json": to_json(record)}).items():
        (to / name).write_bytes(data)


def fill(store: Store, source: Store, preset: str, blocks: int) -> int:
    """Write the cells of so many blocks, from the first of them; their number."""
    _, _, first = plan(NAME, preset, {}, [1])
    of_first = {(cell.stage, cell.name): source.find(cell.stage, cell.fingerprint) for cell in first}
    experiment, curves, every = plan(NAME, preset, {}, range(1, blocks + 1))
    for cell in every:
        to = store.root / cell.stage / f"{cell.name}-{cell.fingerprint}"
        if not to.exists():
            copied(of_first[cell.stage, cell.name], to, cell)
    made = manifest(experiment, preset, {}, curves, None, blocks)
    store.write_manifest(f"{NAME}-{preset}", made)
    return len(every)


def timed(*words) -> tuple[float, float, float]:
    """CPU-seconds, seconds and GiB of a command."""
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, words))}: ended with {status}")
    return used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 2**20


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__.splitlines()[0])
    p.add_argument("--folder", type=Path, required=True, help="stores of one block and of many go here")
    p.add_argument("--blocks", type=int, default=1000, help="of seeds (1000)")
    p.add_argument("--preset", default="smoke", help="smoke or cpu (smoke)")
    args = p.parse_args()
    one, many = args.folder / f"one-{args.preset}", args.folder / f"many-{args.preset}-{args.blocks}"
    timed("experiments", NAME, "--preset", args.preset, "--runs", one)
    number = fill(Store(many), Store(one), args.preset, args.blocks)
    of_these = ("--preset", args.preset, "--runs")
    seeds = args.blocks * len(plan(NAME, args.preset, {}, [1])[1][0].config.seeds)
    empty = args.folder / "empty"
    print(f"{number} cells, {seeds} seeds\n\n| command | CPU-seconds | seconds | GiB |\n|---|---|---|---|")
    for told, words in {
        "all listed": ("experiments", "--runs", many),
        "planned, nothing stored": ("experiments", NAME, "--seeds", seeds, "--dry-run", *of_these, empty),
        "planned, all stored": ("experiments", NAME, "--seeds", seeds, "--dry-run", *of_these, many),
        "resumed, all stored": ("experiments", NAME, "--seeds", seeds, *of_these, many),
        "analysed": ("analysis", NAME, *of_these, many, "--out", args.folder / "out"),
    }.items():
        print(f"| {told} | " + " | ".join(f"{value:.1f}" for value in timed(*words)) + " |", flush=True)


if __name__ == "__main__":
    main()
