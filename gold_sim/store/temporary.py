"""Temporary folders of a store: what is made in one is renamed once it is whole; those of dead writers are swept."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from gold_sim.store.files import writing
from gold_sim.store.system import System, host_code

_NAME = re.compile(r"\.tmp-(\d+)-([0-9a-f]{8})[0-9a-f]+")  # process, host


def new_path(root: Path, system: System) -> Path:
    """Where this process may make a temporary folder that no other knows."""
    return root / f".tmp-{system.process}-{host_code(system)}{system.token(6)}"


@contextlib.contextmanager
def aside(root: Path, system: System, final: Path) -> Iterator[Path]:
    """A temporary folder in which to make what is then renamed to `final`; always removed."""
    temporary = new_path(root, system)
    try:
        with writing(final):
            system.make(temporary, parents=True)
            system.make(final.parent, exist_ok=True)
            yield temporary
            system.sync(final.parent)
            system.sync(root)  # where the stage's folder may be new
    finally:
        with contextlib.suppress(OSError):  # gone, where it was renamed
            system.remove(temporary)


def sweep(root: Path, system: System) -> list[Path]:
    """Remove the temporary folders of dead writers, which `Store.sweep` defines; returns where they were."""
    stale, found = [], system.glob(root, ".tmp-*")
    if not found:
        return []
    with aside(root, system, root / "sweep") as probe:
        now = system.modified(probe)
    for path in found:
        if (name := _NAME.fullmatch(path.name)) is None:
            continue  # not made by a store
        with contextlib.suppress(OSError):  # its writer may finish meanwhile
            dead = name[2] == host_code(system) and not system.is_alive(int(name[1]))
            if dead or now - system.modified(path) > 86400:
                # Renamed first: a writer that lives after all, as where the clock has jumped, then fails to rename
                # it. Else a cell might come to count of which half is removed.
                swept = new_path(root, system)
                system.rename(path, swept)
                system.remove(swept)
                stale.append(path)
    return stale
