"""Other worlds: the laws with intervals between worlds, and each world's own trends."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import tables
from analysis.findings import Figure, Findings
from analysis.judgement import check, surely
from analysis.numbers import with_interval
from analysis.templates import scaling

LEGEND = "RM parameters"
SIGNS = {"bon_alpha": 1, "rl_beta": -1}  # of the slopes per tenfold size, as the paper has them
NAMES = {"bon_alpha": "alpha_bon", "bon_beta": "beta_bon", "rl_beta": "beta_rl"}


def study(data, folder) -> Findings:
    groups, fits, rows = scaling.laws_of(data)
    between = scaling.coefficients(groups)
    each = world_by_world(data)
    which, verdict_tables = scaling.verdicts(data.axis, groups)
    summary = {
        "verdict": which,
        "sizes": scaling.by_size(data.axis, rows),
        "trends": {name: one.trend for name, one in between.items()},
        "worlds": each,
        "checks": checks(between, each) | scaling.which_form(which),
    }
    made = [
        tables.laws_table(data.axis, rows, "Fitted laws, intervals between worlds"),
        world_table(each),
        *verdict_tables,
    ]
    caption = "against KL, mean and interval over worlds; thin lines: the laws."
    drawn: list[Figure] = [scaling.score_figure(folder, "gold", groups, fits, LEGEND, caption, over="worlds")]
    drawn += scaling.coefficient_figure(folder, "coefficients", between, LEGEND)
    return Findings(summary, drawn, made)


def world_by_world(data) -> dict:
    return {int(world): one_world(part, data.axis) for world, part in data.curves.groupby("world_seed", sort=True)}


def one_world(part, axis) -> dict:
    """Trends and fit of one world, over its seeds."""
    groups = curves.groups(part, axis)
    lines = {name: c.trend for name, c in scaling.coefficients(groups).items()}
    found = {name: {"slope": line.slope, "slope_ci": line.slope_ci} for name, line in lines.items()}
    r2 = {method: [curves.law(g).r2 for g in gs] for method, gs in groups.items()}
    peaks = {method: [curves.observed(g)["gold_peak"] for g in gs] for method, gs in groups.items()}
    return {"trends": found, "r2": r2, "gold_peaks": peaks}


def checks(between, each) -> dict:
    out = {}
    for name, sign in SIGNS.items():
        if name in between:
            trend = between[name].trend
            slope = with_interval(trend.slope, trend.slope_ci)
            says = f"slope of {NAMES[name]}, interval between worlds: {slope} per tenfold size"
            interval = sorted(sign * x for x in trend.slope_ci)
            out[f"{name}_slope"] = check(surely(interval) if np.isfinite(interval).all() else None, says)
            slopes = [world["trends"][name]["slope"] for world in each.values()]
            says = f"slopes of {NAMES[name]} world by world: {', '.join(f'{s:.3f}' for s in slopes)}"
            out[f"{name}_same_sign"] = check(all(sign * s > 0 for s in slopes), says)
    for method in scaling.R2_WANTED:
        medians = [float(np.median(world["r2"][method])) for world in each.values() if method in world["r2"]]
        if medians:
            wanted = scaling.R2_WANTED[method]
            says = f"median R² of the {curves.METHOD_NAMES[method]} law, world by world: "
            says += f"{', '.join(f'{m:.3f}' for m in medians)} (wanted {wanted})"
            out[f"r2_{method}"] = check(float(np.median(medians)) >= wanted, says)
    return out


def world_table(each) -> tables.Table:
    rows = []
    for world, found in each.items():
        row = {"world": world}
        for name, trend in found["trends"].items():
            row |= tables.spread({name: trend["slope"], f"{name}_ci": trend["slope_ci"]}, name)
        rows.append(row | {f"median R² {method}": float(np.median(r2)) for method, r2 in found["r2"].items()})
    return tables.Table("worlds", "Slopes of coefficients per tenfold size, world by world", pd.DataFrame(rows))
