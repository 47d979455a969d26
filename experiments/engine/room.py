"""Whether this machine has room for the cells that may run on it at once, asked before work is spent."""

import itertools
import math
from collections.abc import Iterable

from experiments.engine import costs, machine
from experiments.engine.local import usual
from experiments.engine.worker import accelerator

GIB = 2**30


def limit(text: str) -> float:
    """Bytes of `--memory GIB`.  ValueError: no number above 0."""
    try:
        gib = float(text)
    except ValueError:
        gib = math.nan
    if not gib > 0:
        raise ValueError(f"--memory {text}: GiB that workers may take together are wanted, above 0; inf: do not ask")
    return gib * GIB


def workers(asked: int | None, cells: Iterable, predicted: costs.Model, most: float | None) -> tuple[int, str | None]:
    """How many local workers have room, and a line where they are fewer than there are cores.

    asked: as --workers says; None: as many as cores, or fewer.  most: bytes they may take; None: what is free here.
    On an accelerator its own memory decides, which stages portion themselves (networks/footprint.py).
    ValueError: the cells that may run at once are predicted to take more.
    """
    wanted = asked or usual()
    largest = sorted(((predicted.bytes(cell), cell) for cell in cells), key=lambda pair: -pair[0])[:wanted]
    free = machine.memory() if most is None else most
    if accelerator() or free is None:
        return wanted, None
    together = list(itertools.accumulate(takes for takes, _ in largest))
    fit = sum(total <= free for total in together)
    if fit == len(largest):
        return wanted, None
    has = f"{free / GIB:.1f} GiB are free here" if most is None else f"--memory allows {free / GIB:g} GiB"
    nevertheless = f"(--memory {math.ceil(together[-1] / GIB)} to try nevertheless)"
    if fit == 0:
        takes, cell = largest[0]
        what = f"{cell.stage} {cell.name}: takes {takes / GIB:,.1f} GiB of memory, as predicted, and {has}"
        raise ValueError(f"{what}; smaller settings are wanted {nevertheless}; --dry-run lists what each cell takes")
    line = f"{len(largest)} workers may take {together[-1] / GIB:,.1f} GiB of memory, as predicted, and {has}"
    if asked is None:
        return fit, f"{line}: {fit} will work"
    raise ValueError(f"--workers {asked}: {line}; --workers {fit} fits {nevertheless}")
