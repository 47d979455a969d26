"""The least-squares fits beside the hierarchical ones: how far the intervals of the two overlap."""

import numpy as np
import pandas as pd

from analysis.bayes import posterior
from analysis.bayes.design import Design
from analysis.findings import Table
from analysis.numbers import label
from gold_sim import laws


def least_squares(design: Design) -> list[laws.LawFit]:
    """The law of each group, with intervals between its runs, as `analysis fit` has it."""
    out = []
    for g in range(len(design.keys)):
        runs = [design.runs[r] for r in np.flatnonzero(design.arrays.group == g)]
        ses = None if runs[0].se is None else [run.se for run in runs]
        units = _labels([run.unit for run in runs])
        out.append(
            laws.fit(design.form, [r.d for r in runs], [r.gold for r in runs], design.least, ses=ses, units=units)
        )
    return out


def _labels(units: list) -> np.ndarray | None:
    return None if len(set(units)) == len(units) else np.array([str(unit) for unit in units])


def slope(design: Design, coefficient: int, fits: list[laws.LawFit]) -> tuple[str, laws.Trend] | None:
    """Which slope of `posterior.trends` the least-squares slope stands for, and that slope; None with no or two sizes.

    Paired over units where every unit has all groups; else by the scatter of groups about the line.
    """
    if len(design.names) != 1:
        return None
    x, arrays = design.arrays.sizes[:, 0], design.arrays
    name = ("alpha", "beta")[coefficient]
    # Each run's own least squares, on the points that its group is fitted to.
    own = np.einsum("rij,rj->ri", np.linalg.pinv(arrays.cross), arrays.pull)[:, coefficient]
    per_unit = np.full((len(design.units), len(design.keys)), np.nan)
    for u, g in np.ndindex(per_unit.shape):
        runs = np.flatnonzero((arrays.unit == u) & (arrays.group == g))
        if len(runs):
            per_unit[u, g] = own[runs].mean() * design.per_unit[coefficient]
    if len(per_unit) > 1 and np.isfinite(per_unit).all():
        return "of_these", laws.trend(x, per_unit)
    return "slope", laws.trend_over_groups(x, [getattr(fit, name) for fit in fits])


def compared(found: posterior.Posterior) -> list[dict]:
    """One row a coefficient of a group, and a slope: both estimates with intervals, their overlap and width ratio.

    overlap: length that the two intervals share over that of the shorter.  width_ratio: the Bayesian interval's width
    over the other's.  Both are NaN where least squares has no interval.
    """
    design, fits = found.design, least_squares(found.design)
    rows = []
    for key, fit, own in zip(design.keys, fits, posterior.groups(found), strict=True):
        for name in ("alpha", "beta"):
            theirs = (getattr(fit, name), getattr(fit, f"{name}_ci"))
            rows.append({"of": key, "what": name} | _row((own[name], own[f"{name}_ci"]), theirs))
    trends = posterior.trends(found)
    for c, name in enumerate(("alpha", "beta")):
        if (theirs := slope(design, c, fits)) is not None:
            which, line = theirs
            own = trends[design.names[0]][name]
            row = _row((own[which], own[f"{which}_ci"]), (line.slope, line.slope_ci))
            of = "these sizes" if which == "of_these" else "sizes in general"
            rows.append({"of": of, "what": f"{name} a tenfold {design.names[0]}"} | row)
    return rows


def _row(ours, theirs) -> dict:
    (own, (low, high)), (other, (left, right)) = ours, theirs
    shared = np.maximum(np.minimum(high, right) - np.maximum(low, left), 0.0)  # NaN where an end is
    with np.errstate(divide="ignore", invalid="ignore"):
        overlap = shared / np.minimum(high - low, right - left)
        ratio = np.float64(high - low) / (right - left)
    return {
        "bayes": float(own),
        "bayes_ci": (low, high),
        "least_squares": float(other),
        "least_squares_ci": (left, right),
        "overlap": float(overlap),
        "width_ratio": float(ratio),
    }


def table(rows: list[dict], title: str) -> Table:
    """The rows of `compared`, intervals as columns _low and _high."""
    out = []
    for row in rows:
        ends = {
            f"{n}_{end}": row[f"{n}_ci"][i] for n in ("bayes", "least_squares") for i, end in enumerate(("low", "high"))
        }
        values = {name: x for name, x in row.items() if not name.endswith("_ci")}
        out.append(values | {"of": label(row["of"])} | ends)
    return Table("agreement", title, pd.DataFrame(out))
