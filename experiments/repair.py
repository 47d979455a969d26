"""Damage to stored cells: noticed before work is spent, set aside by --repair, and then computed again."""

from collections.abc import Iterable

from gold_sim.store import Damaged, Store
from gold_sim.store.files import AGAIN
from gold_sim.store.remote import Remote

READ = (".parquet",)  # what analysis reads of a cell
REMEDY = f"the same command with --repair, {AGAIN}"


def check(store: Store, every: Iterable, todo: Iterable) -> None:
    """Raise Damaged unless stored cells are intact: the tables of all, and every file that the cells to do will read.

    every: cells of an experiment.  todo: those of them that are to be computed.
    """
    todo = {c.fingerprint: c for c in todo}
    parents = {up.fingerprint for c in todo.values() for _, up in c.upstream}
    stored = store.finished((c.stage, c.fingerprint) for c in every if c.fingerprint not in todo)
    for (_, fingerprint), folder in stored.items():
        store.verify(folder) if fingerprint in parents else store.verify(folder, READ)


def damaged(store: Store, every: Iterable) -> list[str]:
    """Fingerprints of stored cells whose record or tables are damaged."""
    found = []
    for cell in every:
        try:
            if (folder := store.find(cell.stage, cell.fingerprint)) is not None:
                store.verify(folder, READ)
        except Damaged:
            found.append(cell.fingerprint)
    return found


def set_aside(store: Store, remote: Remote | None, every: Iterable, manifest: str) -> list[str]:
    """Make damaged cells of an experiment, and a damaged manifest, count as not stored; returns a line for each.

    Every file is read. Nothing is deleted: damaged folders and files are moved to <store>/.damaged.
    manifest: its name, <experiment>-<preset>.
    """
    lines = []
    for path, error in store.damaged({c.fingerprint for c in every}):
        lines.append(f"{error.what}; set aside in {store.set_aside(path)}")
    try:
        if store.system.exists(store.root / "experiments" / f"{manifest}.json"):
            store.manifest(*manifest.rpartition("-")[::2])
    except Damaged as error:
        lines.append(f"{error.what}; set aside in {store.set_aside(store.root / 'experiments' / f'{manifest}.json')}")
    for pointer, error in remote.set_aside_damaged(every) if remote else ():
        lines.append(f"{error.what}; set aside, {pointer}.damaged")
    return lines
