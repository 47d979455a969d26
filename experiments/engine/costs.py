"""The cost of a cell: operations and bytes counted from its settings, seconds and memory learnt from stored cells.

seconds = start + operations * a + tokens * b, with three non-negative numbers for each stage. They stand for reading
and writing, for arithmetic, and for the cost of a token at any width, which dominates in small networks. Seconds of
compiling are added, c + d * blocks of its networks. There are more of them where a cell is the first with its programs
than where the compilation cache has some or all of them. Peak bytes of its process = start + bytes it must hold * e.
A handful of measured cells is enough to fit these numbers.

    python -m experiments.engine.costs [RUNS]      # how well: each cell from the others of its stage
"""

import argparse
import dataclasses
import datetime
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.optimize

from gold_sim import exits
from gold_sim.config import Config
from gold_sim.settings import from_dict
from gold_sim.stages.declared import STAGES
from gold_sim.store import StoreError, archive
from gold_sim.store.system import REAL, System

FEWEST = 3  # measured cells of a stage from which it is predicted


NEW, PARTLY, COMPILED = range(3)  # the compilation cache has none of a cell's programs, those it shares, or all


@dataclass(frozen=True)
class Model:
    """stages: stage -> (start, seconds a gigaflop, seconds a million tokens).  peaks: stage -> (bytes, factor).

    compiling: stage -> (seconds, seconds a block) of a cell whose programs are new; partly, compiled: of one whose
    programs an earlier cell had in part, or all.
    """

    stages: dict[str, tuple[float, float, float]]
    peaks: dict[str, tuple[float, float]]
    compiling: dict[str, tuple[float, float]]
    partly: dict[str, tuple[float, float]]
    compiled: dict[str, tuple[float, float]]

    def seconds(self, cell, known: int = NEW) -> float:
        """Predicted, of one worker.  known: NEW, PARTLY or COMPILED."""
        rates = _of(cell.stage, (self.compiling, self.partly, self.compiled)[known])
        return float(np.dot(_of(cell.stage, self.stages), _running(cell)) + np.dot(rates, _compiling(cell)))

    def bytes(self, cell) -> float:
        """Predicted peak memory of the worker's process."""
        return float(np.dot(_of(cell.stage, self.peaks), _holding(cell)))


def _of(stage: str, table: dict[str, tuple]) -> tuple:
    """A stage's coefficients; for a stage with too few measured cells, the median of the other stages' coefficients."""
    return table[stage] if stage in table else tuple(np.median(list(table.values()), 0))


def _running(cell) -> tuple[float, float, float]:
    work = STAGES[cell.stage].work(cell.config)
    return 1.0, work.flops / 1e9, work.tokens / 1e6


def _compiling(cell) -> tuple[float, float]:
    return 1.0, STAGES[cell.stage].blocks(cell.config)


def _holding(cell) -> tuple[float, float]:
    return 1.0, STAGES[cell.stage].holds(cell.config)


def _programs(cell) -> tuple[tuple, tuple | None]:
    """Keys of all its programs, and of those that other cells have too."""
    stage = STAGES[cell.stage]
    return stage.program_key(cell.config), stage.shared_key(cell.config)


@dataclass(frozen=True)
class Measured:
    """What a stored cell took, seconds of one worker.

    spared: seconds of compiling that the cache spared it.  known: NEW, PARTLY or COMPILED, by cells before it.
    """

    cell: object  # its stage and config
    seconds: float
    compiling: float
    spared: float
    known: int
    peak_bytes: float | None

    @property
    def met(self) -> int:
        """The field `known`, or COMPILED where the programs were compiled ahead.

        That is seen where no earlier cell had its programs and the cache had them all the same.
        """
        return COMPILED if self.known == NEW and self.spared > self.compiling else self.known


def fit(found: Iterable[Measured]) -> Model:
    """The cost model fitted to measured cells; stages with fewer than FEWEST of them are left out."""
    running, peaks, compiling, new, partly, compiled = ({} for _ in range(6))
    add = lambda to, m, features, value: to.setdefault(m.cell.stage, []).append((np.array(features), max(value, 0.1)))
    for m in found:
        add(running, m, _running(m.cell), m.seconds - m.compiling)
        # Programs that a worker still holds from an earlier cell are in no record: first cells count, if enough.
        add(compiling, m, _compiling(m.cell), m.compiling + m.spared)
        if m.known == NEW:
            add(new, m, _compiling(m.cell), m.compiling + m.spared)
        if m.met != NEW:
            add(partly if m.met == PARTLY else compiled, m, _compiling(m.cell), m.compiling)
        if m.peak_bytes is not None:
            add(peaks, m, _holding(m.cell), m.peak_bytes)
    learnt = lambda rows: {stage: _coefficients(rows[stage]) for stage in rows if len(rows[stage]) >= FEWEST}
    fitted = Model(*map(learnt, (running, peaks, compiling, partly, compiled)))
    fitted = dataclasses.replace(fitted, compiling=fitted.compiling | learnt(new))
    return dataclasses.replace(
        fitted, partly=fitted.compiling | fitted.partly, compiled=fitted.compiling | fitted.compiled
    )


def _coefficients(rows: list) -> tuple[float, ...]:
    """Non-negative coefficients by least squares of log(predicted / measured), made robust by soft_l1.

    There are outliers: records of resumed cells cover their last part only, and the speed of a machine varies.
    """
    x, y = (np.array(part) for part in zip(*rows, strict=True))
    typical = np.median(x, 0)  # each term's unit: as if it alone explained the median
    unit = np.divide(np.median(y), typical, out=np.zeros(len(typical)), where=typical > 0)
    off = lambda share: np.log(x @ (share * unit)) - np.log(y)
    limits = dict(bounds=(1e-9, np.inf), loss="soft_l1", f_scale=0.1)
    found = scipy.optimize.least_squares(off, np.full(len(unit), 1 / len(unit)), **limits)
    return tuple(found.x * unit)


# Of two workers on two AVX2 cores of an AMD EPYC (Zen 3), with nothing beside them, fitted to 79 cells. Set by hand, to
# the cells there are: gold. As measured before, on a slower such core: direct_alignment, relabelled. Candidates are
# priced as the pool was, where gold scores as where proxies do, and gold's trunk as the reference policy. Peaks are of
# an earlier study.
HERE = Model(
    stages=dict(
        reference=(0.5, 0.0190, 0.45),
        gold_trunk=(0.5, 0.0190, 0.45),
        gold=(0.5, 0.0120, 1.2),
        candidates=(0.5, 0.0155, 0.35),
        preferences=(0.5, 0.0127, 0.24),
        reward_model=(0.4, 0.0213, 0.31),
        pool=(0.5, 0.0155, 0.35),
        gold_scores=(0.4, 0.0127, 0.24),
        scores=(0.4, 0.0127, 0.24),
        best_of_n=(0.1, 0.0, 1.05),
        policy_gradient=(1.5, 0.0164, 0.38),
        frontier=(1.5, 0.0164, 0.38),
        direct_alignment=(0.5, 0.0242, 0.68),
        relabelled=(1.5, 0.0144, 1.2),
    ),
    peaks=dict(
        reference=(0.83e9, 2.2),
        gold_trunk=(0.83e9, 2.2),
        gold=(0.90e9, 4.4),
        candidates=(0.43e9, 15.0),
        preferences=(0.43e9, 15.0),
        reward_model=(0.83e9, 0.8),
        pool=(0.83e9, 0.1),
        gold_scores=(0.47e9, 3.5),
        scores=(0.47e9, 3.5),
        best_of_n=(0.59e9, 2.1),
        policy_gradient=(1.2e9, 0.3),
        frontier=(1.2e9, 0.3),
        direct_alignment=(1.06e9, 0.0),
        relabelled=(0.43e9, 47.0),
    ),
    compiling=dict(
        reference=(7.2, 2.2),
        gold_trunk=(7.2, 2.2),
        gold=(10.5, 0.0),
        candidates=(0.5, 0.2),
        preferences=(1.0, 0.0),
        reward_model=(5.9, 1.2),
        pool=(1.5, 0.5),
        gold_scores=(1.2, 0.1),
        scores=(1.2, 0.1),
        best_of_n=(0.3, 0.0),
        policy_gradient=(20.0, 0.0),
        frontier=(20.0, 0.0),
        direct_alignment=(30.0, 0.0),
        relabelled=(4.3, 0.9),
    ),
    partly=dict(policy_gradient=(2.0, 0.0), frontier=(2.0, 0.0), reward_model=(4.3, 0.0)),
    compiled=dict(
        reference=(5.0, 0.0),
        gold_trunk=(5.0, 0.0),
        gold=(7.0, 0.0),
        candidates=(0.3, 0.0),
        preferences=(1.0, 0.0),
        reward_model=(1.8, 0.7),
        pool=(1.0, 0.0),
        gold_scores=(0.3, 0.0),
        scores=(0.3, 0.0),
        best_of_n=(0.1, 0.0),
        policy_gradient=(1.0, 0.0),
        frontier=(1.0, 0.0),
        direct_alignment=(7.0, 0.0),
        relabelled=(1.5, 0.3),
    ),
)


def model(found: Iterable[Measured]) -> Model:
    """The cost model with coefficients of measured stages, and those of HERE for the others."""
    own = fit(found)
    return Model(*(getattr(HERE, field.name) | getattr(own, field.name) for field in dataclasses.fields(Model)))


def seconds(predicted: Model, cells: Iterable, found: Iterable[Measured]) -> list[float]:
    """Predicted seconds of cells computed in this order, in a store with the cells of `found`.

    The first cell that compiles a program spares later ones the time.
    """
    compiled, takes = {key for m in found for key in _programs(m.cell)}, []
    for cell in cells:
        own, of_others = _programs(cell)
        known = COMPILED if own in compiled else PARTLY if of_others and of_others in compiled else NEW
        takes.append(predicted.seconds(cell, known))
        compiled |= {own, of_others}
    return takes


@dataclass(frozen=True)
class Stored:
    """A stored cell, as far as its cost is concerned."""

    stage: str
    config: Config


def measured(root: Path, system: System = REAL) -> list[Measured]:
    """The measured cost in every readable record: CPU seconds of one thread on a CPU, else wall seconds."""
    read = []
    for path in system.glob(Path(root), "*/*/record.json"):
        try:
            r = json.loads(system.read(path))
            spent = r["cpu_seconds"] if r["device"] == "cpu" else r["wall_seconds"]
            pace = spent / r["wall_seconds"]  # compiling is told in wall seconds
            began = datetime.datetime.fromisoformat(r["created"]).timestamp() - r["wall_seconds"]
            cell = Stored(r["stage"], from_dict(Config, r["config"]))
            compiling, spared = pace * r["compile_seconds"], pace * r["compile_saved_seconds"]
            took = Measured(cell, spent, compiling, spared, NEW, r.get("peak_bytes"))
            read.append((began, began + r["compile_seconds"], _programs(cell), took))
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):  # older versions, other people's files
            continue
    since: dict[tuple | None, float] = {None: np.inf}  # what is written into programs -> when they were compiled
    for _, compiled, codes, _ in read:
        for code in filter(None, codes):
            since[code] = min(compiled, since.get(code, compiled))
    read.sort(key=lambda row: row[0])
    known = lambda began, own, of_others: (
        COMPILED if since[own] <= began else PARTLY if since[of_others] <= began else NEW
    )
    return [dataclasses.replace(took, known=known(began, *codes)) for began, _, codes, took in read]


def left_out(found: list[Measured]) -> dict[str, np.ndarray]:
    """Stage -> predicted / measured seconds of each of its cells, by a model of its other cells."""
    ratios = {}
    for stage in sorted({m.cell.stage for m in found}):
        own = [m for m in found if m.cell.stage == stage]
        if len(own) > FEWEST:
            of_others = [fit([*own[:i], *own[i + 1 :]]) for i in range(len(own))]
            predicted = [model.seconds(m.cell, m.met) for model, m in zip(of_others, own, strict=True)]
            ratios[stage] = np.array(predicted) / [max(m.seconds, 0.1) for m in own]
    return ratios


def main(argv=None) -> int:
    """Print how well the cells of a store are predicted; the status to exit with."""
    return exits.run("costs", lambda: _main(argv))


def _main(argv) -> int:
    about = "How well the cells of a store are predicted, each from the others of its stage."
    parser = argparse.ArgumentParser(prog="python -m experiments.engine.costs", description=about)
    parser.add_argument("runs", nargs="?", default="runs", help="a folder of records, or an archive (.tar.xz)")
    where = parser.parse_args(argv).runs
    try:
        root = archive.unpack(where) if archive.is_archive(where) else Path(where)
    except StoreError as error:
        raise ValueError(str(error)) from error
    if not root.is_dir():
        raise ValueError(f"{where}: no such folder; one of records is wanted, or an archive (.tar.xz)")
    cells = measured(root)
    ratios_of = left_out(cells)
    if not ratios_of:
        print(f"{where}: {len(cells)} measured cells; more than {FEWEST} of a stage are wanted")
    for stage, ratios in ratios_of.items():
        within = np.mean(np.abs(ratios - 1) <= 0.3)
        print(f"{stage:18s} {len(ratios):4d} cells, {within:4.0%} within 30 %, median ratio {np.median(ratios):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
