"""Cells: the graph of stages that leads from a Config to its curves; no jax.

A cell is one stage of one Config with all its seeds and coefficients; its fingerprint chains the
settings that the stage reads with the fingerprints of the cells that it reads. Reference policies,
gold and reward models are cells of their own, so experiments share them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gold_sim.config import Config
from gold_sim.settings import fingerprint
from gold_sim.stages.declared import STAGES
from gold_sim.stages.stage import Stage

NAME_MOST = 120  # characters of a readable name: a folder's name ends at 255 bytes


@dataclass(frozen=True)
class Cell:
    """One stage of one Config. `upstream` holds the cells whose results it reads, by role."""

    stage: str
    name: str  # readable; the fingerprint is what counts
    fingerprint: str
    config: Config
    # Not compared: the fingerprint covers it, and many paths lead up to one cell.
    upstream: tuple[tuple[str, "Cell"], ...] = field(default=(), compare=False, repr=False)

    @property
    def declared(self) -> Stage:
        return STAGES[self.stage]

    @property
    def can_be_rehearsed(self) -> bool:
        """Whether its programs can be compiled before what it reads is there."""
        return self.declared.stepwise and all(up.declared.blank is not None for _, up in self.upstream)

    def all_upstream(self) -> list["Cell"]:
        """Every cell that must be done first, each once, in an order that can be run."""
        return in_order(cell for _, cell in self.upstream)

    def __reduce__(self):
        """Pickled as a flat list: nested, the cells of many rounds would lie deeper than pickle goes."""
        order = [*self.all_upstream(), self]
        place = {c.fingerprint: i for i, c in enumerate(order)}
        ups = lambda c: tuple((role, place[up.fingerprint]) for role, up in c.upstream)
        return _from_rows, ([(c.stage, c.name, c.fingerprint, c.config, ups(c)) for c in order],)


def _from_rows(rows: list) -> Cell:
    made: list[Cell] = []
    for *own, ups in rows:
        made.append(Cell(*own, tuple((role, made[i]) for role, i in ups)))
    return made[-1]


def cell(stage: str, config: Config) -> Cell:
    """The cell of one stage, with all the cells that it depends on.  stage: a key of STAGES."""
    return cells([(stage, config)])[0]


def cells(wanted: Iterable[tuple[str, Config]]) -> list[Cell]:
    """The cell of each (stage, Config). What several depend on is made once.

    ValueError: an unknown stage, or one that the settings do not suit.
    """
    made: dict[tuple[str, Config], Cell] = {}
    return [_made(stage, config, made) for stage, config in wanted]


def _made(stage: str, config: Config, made: dict) -> Cell:
    if (stage, config) not in made:
        if stage not in STAGES:
            raise ValueError(f"stage={stage!r}: allowed are {', '.join(STAGES)}")
        s = STAGES[stage]
        for fault in s.faults(config):
            raise ValueError(fault)
        upstream = tuple((role, _made(*parent, made)) for role, parent in s.parents(config).items())
        code = fingerprint(stage, s.version, s.reads(config), {role: up.fingerprint for role, up in upstream})
        made[stage, config] = Cell(stage, s.label(config)[:NAME_MOST], code, config, upstream)
    return made[stage, config]


def in_order(cells: Iterable[Cell]) -> list[Cell]:
    """These cells and all that they depend on, each once and after what it reads.

    They are sorted by the length of the longest chain that leads to a cell. At one length the cells of a stage stand
    together, in the order given.
    """
    waiting, chain, placed = list(cells)[::-1], {}, {}
    while waiting:
        at = waiting.pop()
        if at.fingerprint in placed:
            continue
        if before := [up for _, up in at.upstream if up.fingerprint not in placed]:
            waiting += [at, *reversed(before)]
            continue
        placed[at.fingerprint] = at
        chain[at.fingerprint] = 1 + max((chain[up.fingerprint] for _, up in at.upstream), default=0)
    stages = list(dict.fromkeys(c.stage for c in placed.values()))
    return sorted(placed.values(), key=lambda c: (chain[c.fingerprint], stages.index(c.stage)))
