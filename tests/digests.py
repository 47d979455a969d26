"""Digests of every table of every experiment at smoke size: the same numbers before and after a move.

    python -m tests.digests RUNS                 print the digests of the tables by this tree
    python -m tests.digests RUNS --against REV   the same for another revision, beside those of this tree; status 1 if
                                                 a table differs
    python -m tests.digests RUNS --only NAME ..  of these experiments alone

The other revision is checked out aside and run by its own code. Only the command line, the manifests and the tables
are read, so the code may be arranged in any way. Fingerprints are left out: they name cells and are no numbers.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("cell", "rm_cell")  # columns that hold fingerprints
KINDS = ("curves", "reward_models", "samples")


def digest(table: pd.DataFrame) -> str:
    """Of the values of a table, whatever the order of its rows."""
    table = table.drop(columns=[name for name in NAMES if name in table]).sort_index(axis=1)
    rows = sorted(repr(row) for row in table.itertuples(index=False, name=None))
    return hashlib.sha256("\n".join([repr(list(table.columns)), *rows]).encode()).hexdigest()[:16]


def digests(runs: Path, only: list[str]) -> dict[str, str]:
    """'experiment table' -> digest, of every manifest of a store.  only: experiments; none: all."""
    found = {}
    for path in sorted((runs / "experiments").glob("*-smoke.json")):
        manifest = json.loads(path.read_text())
        if only and manifest["experiment"] not in only:
            continue
        cells = {cell["fingerprint"] for cell in manifest["cells"]} | set(manifest["reward_models"])
        for kind in KINDS:
            files = [p for p in sorted(runs.glob(f"*/*/{kind}.parquet")) if p.parent.name.rpartition("-")[2] in cells]
            if files:
                found[f"{manifest['experiment']} {kind}"] = digest(pd.concat(map(pd.read_parquet, files)))
    return found


def run(tree: Path, runs: Path, only: list[str]) -> None:
    """Experiments of the code in `tree`, at smoke size, compiled in a hurry as the tests are.  only: as `digests`."""
    names = only or everything(tree, runs)
    fast = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0"
    environment = os.environ | {"XLA_FLAGS": f"{fast} --xla_llvm_disable_expensive_passes=true"}
    line = [sys.executable, "-m", "experiments", *names, "--preset", "smoke", "--runs", str(runs)]
    subprocess.run(line, cwd=tree, env=environment, check=True, stdout=sys.stderr)


def everything(tree: Path, runs: Path) -> list[str]:
    """Names of all experiments of the code in `tree`, as it lists them."""
    listed = subprocess.run(
        [sys.executable, "-m", "experiments", "--runs", str(runs)], cwd=tree, capture_output=True, text=True, check=True
    )
    names = [line.split()[0] for line in listed.stdout.splitlines() if line[:1].strip()]
    names.remove("throughput")
    return [name for name in names if name != "store:"]


def main(argv=None) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.digests", description=__doc__.splitlines()[0])
    p.add_argument("runs", type=Path, help="a folder for the stores; that of the other revision is kept")
    p.add_argument("--against", metavar="REV", help="a revision to compare with")
    p.add_argument("--only", nargs="+", default=[], metavar="NAME", help="experiments (default: all)")
    args = p.parse_args(argv)
    here = args.runs.absolute() / "here"
    shutil.rmtree(here, ignore_errors=True)  # fingerprints do not see the code, so nothing stored may be taken
    run(ROOT, here, args.only)
    ours = digests(here, args.only)
    if args.against is None:
        print("\n".join(f"{code}  {name}" for name, code in ours.items()))
        return 0
    commit = subprocess.run(
        ["git", "rev-parse", "--short", args.against], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    there = args.runs.absolute() / commit
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            run(tree, there, args.only)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
    theirs = digests(there, args.only)
    names = list(dict.fromkeys([*theirs, *ours]))
    for name in names:
        same = ours.get(name) == theirs.get(name)
        print(f"{theirs.get(name, '-'):16s}  {ours.get(name, '-'):16s}  {'same' if same else 'DIFFERS':7s}  {name}")
    print(f"{sum(ours.get(n) == theirs.get(n) for n in names)} of {len(names)} tables as at {commit}")
    return 0 if ours == theirs else 1


if __name__ == "__main__":
    sys.exit(main())
