"""Runs as the hierarchical model takes them: sums over their points, in units of the data's own scale."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.fit import odd
from gold_sim import laws

FORMS = tuple(name for name, law in laws.FORMS.items() if not law.shape and law.num_linear == 2)


class Arrays(NamedTuple):
    """All that the model sees of R runs in G groups and S units, with K sizes a group.

    With X [T, 2] a run's u and -v, y [T] its gold, both divided by their root mean squares over all points:
    """

    cross: np.ndarray  # [R, 2, 2] X' X
    pull: np.ndarray  # [R, 2] X' y
    squares: np.ndarray  # [R] y' y
    count: np.ndarray  # [R] points
    group: np.ndarray  # [R] index below G
    unit: np.ndarray  # [R] index below S
    sizes: np.ndarray  # [G, K] log10 of each size minus its mean over groups

    def without(self, units) -> "Arrays":
        """The same without the runs of each of these units in turn: a leading axis, one entry a unit."""
        keep = (self.unit[None] != np.asarray(units)[:, None]).astype(float)
        many = lambda x: np.broadcast_to(x, (len(keep), *x.shape))
        kept = [x * keep.reshape(*keep.shape, *[1] * (x.ndim - 1)) for x in self[:4]]
        return Arrays(*kept, *map(many, self[4:]))


@dataclass(frozen=True)
class Design:
    """The arrays, what they were divided by, and the labels of their axes."""

    form: str
    arrays: Arrays
    keys: tuple  # of the G groups
    names: tuple[str, ...]  # of the K sizes
    units: tuple  # labels of the S units
    per_unit: np.ndarray  # [2] alpha and beta of a coefficient of 1
    gold_scale: float  # root mean square of gold
    shared: bool  # units have several runs, as of several sizes: part of a unit's deviation is the same in all
    runs: tuple["Run", ...]  # the R runs
    rows: tuple  # (d, u, v, gold, weight) of each run's fitted points
    least: float  # nats^0.5, from which points are fitted

    @property
    def n_points(self) -> int:
        return int(self.arrays.count.sum())


@dataclass(frozen=True)
class Run:
    """One run: its group, the label of its unit, and its points."""

    group: int
    unit: object  # label of the independent draw that it belongs to, as its seed
    d: np.ndarray  # [T] nats^0.5
    gold: np.ndarray  # [T]
    se: np.ndarray | None = None  # [T]


def made(form: str, runs: list[Run], keys: tuple, sizes: dict | None = None, d_min: float | None = None) -> Design:
    """The design of runs whose points from d_min on are fitted with `form`, the points that `analysis fit` takes.

    keys: of the groups, to which Run.group points.  sizes: name -> [G] positive numbers; those that differ in at least
    three values give slopes.  d_min: nats^0.5; None takes the form's.
    ValueError: no run has two points beside the reference policy.
    """
    least = laws.form_named(form).d_min if d_min is None else d_min
    found = [one for g in range(len(keys)) for one in _points(form, [run for run in runs if run.group == g], least)]
    found = [(run, rows) for run, rows in found if np.sum(rows[0] > laws.AT_REFERENCE) > 1]
    if not found:
        raise ValueError(f"no run has two points from d = {least:g} on; nothing to fit")
    every = np.concatenate([np.stack(rows) for _, rows in found], axis=1)
    scales = np.sqrt(np.mean(every[1:4] ** 2, axis=1))  # of u, v, gold
    if not (scales > 0).all():
        raise ValueError("gold is 0 in all points; nothing to fit")
    kept = sorted({run.group for run, _ in found})
    units, of_run, shared = _units([run for run, _ in found])
    sums = [_sums(rows, scales) for _, rows in found]
    line, names = _line(sizes or {}, kept)
    group = np.array([kept.index(run.group) for run, _ in found])
    arrays = Arrays(*(np.stack(column) for column in zip(*sums, strict=True)), group, of_run, line)
    runs, rows = zip(*found, strict=True)
    per_unit, keys = scales[2] / scales[:2], tuple(keys[g] for g in kept)
    return Design(form, arrays, keys, names, units, per_unit, float(scales[2]), shared, runs, rows, least)


def _points(form: str, runs: list[Run], least: float) -> list[tuple]:
    """(run, (d, u, v, gold, weight)) of a group's runs: on a common grid, or each on its own where one ended early."""
    early = len(runs) > 1 and odd.ended_early([run.d for run in runs]).any()
    out = []
    for part in ([run] for run in runs) if early else [runs] if runs else []:
        ds = [run.d for run in part]
        u, v = zip(*[laws.form_named(form).basis(d) for d in ds], strict=True)
        se = [np.ones(len(run.d)) if run.se is None else run.se for run in part]
        d, columns = laws.seed_averaged(ds, [u, v, [run.gold for run in part], se], least)
        for i, run in enumerate(part):
            weight = np.where(d > laws.AT_REFERENCE, 1 / np.maximum(columns[3][i], 1e-12) ** 2, 0.0)
            rows = (d, *(column[i] for column in columns[:3]), weight / weight.mean() if weight.any() else weight)
            out.append((run, rows))
    return out


def _units(runs: list[Run]) -> tuple[tuple, np.ndarray, bool]:
    """(labels of the units, index of each run's, whether any has several runs)."""
    index = {label: i for i, label in enumerate(dict.fromkeys(run.unit for run in runs))}
    return tuple(index), np.array([index[run.unit] for run in runs]), len(index) < len(runs)


def _sums(rows, scales):
    _, u, v, gold, weight = rows
    x, y, count = np.stack([u / scales[0], v / scales[1]], -1), gold / scales[2], float(np.sum(weight > 0))
    return (x.T * weight) @ x, x.T @ (weight * y), weight @ y**2, count


def _line(sizes: dict, kept: list[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """([G, K] centred log10 sizes, their names) of the sizes that differ in at least three values."""
    logs = {name: np.log10(np.asarray(values, float)[kept]) for name, values in sizes.items()}
    logs = {name: x - x.mean() for name, x in logs.items() if len(np.unique(x)) > 2}
    return np.stack([*logs.values()], -1) if logs else np.zeros((len(kept), 0)), tuple(logs)
