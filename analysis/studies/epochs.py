"""Epochs against data: best-of-n after few pairs seen once, few pairs seen often, and more pairs.  Figure 13."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check, excludes_zero
from analysis.numbers import with_interval
from gold_sim.laws import intervals

FORM = "bon"


def study(data, folder) -> Findings:
    table = curves.methods(data.curves)[FORM]
    names = {cell: f"{epochs} x {pairs:,}" for cell, (epochs, pairs) in data.passes().items()}
    table = table.assign(passes=table["rm_cell"].map(names))
    means = {name: mean_over_sizes(part) for name, part in table.groupby("passes", sort=False)}
    order = sorted(means, key=lambda name: [int(x.replace(",", "")) for x in name.split(" x ")][::-1])
    entries = [entry(name, *means[name], data, names) for name in order]
    summary = {"passes": entries, "checks": checks(means, order)}
    rows = [{"passes": e["passes"]} | tables.spread(e, "gold_final") | {"val_loss": e["val_loss"]} for e in entries]
    title = "Epochs x training pairs: gold at the largest n, means over reward-model sizes"
    return Findings(summary, draw(folder, means, order), [tables.Table("passes", title, pd.DataFrame(rows))])


def mean_over_sizes(part) -> tuple[np.ndarray, np.ndarray]:
    """(d [T], gold [S, T]): each seed's gain, averaged over the reward-model sizes."""
    groups = [curves.group(rows, FORM, key) for key, rows in part.groupby("rm_params", sort=True)]
    groups = curves.on_common_seeds(groups)
    return groups[0].d, np.mean([g.values["gold"] for g in groups], axis=0)


def entry(name, d, gold, data, names) -> dict:
    cells = [cell for cell, own in names.items() if own == name]
    rows = data.reward_models[data.reward_models["cell"].isin(cells)]
    out = {"passes": name, "gold_final": float(gold[:, -1].mean()), "gold_final_ci": curves.interval(gold[:, -1])}
    return out | {"d_final": float(d[-1]), "val_loss": float(rows["val_loss"].mean())}


def checks(means, order) -> dict:
    out, first = {}, means[order[0]][1]
    for name in order[1:]:
        gain = (means[name][1] - first)[:, -1] if len(means[name][1]) == len(first) else np.full(1, np.nan)
        interval = curves.interval(gain)
        says = f"gold at the largest n, {name} minus {order[0]}: {with_interval(float(gain.mean()), interval)}"
        better = excludes_zero(interval)
        more_data = name.split(" x ")[1] != order[0].split(" x ")[1]
        if more_data:
            out[f"more_pairs_help_{name}"] = check(None if better is None else better and gain.mean() > 0, says)
        else:
            out[f"more_epochs_{name}"] = check(None, says)
    return out


def draw(folder, means, order) -> list[Figure]:
    figure, (ax,) = figures.panels(1, width=5.8, height=3.8)
    panel(ax, means, order)
    figures.key_outside(figure, order, "epochs x pairs", [])
    caption = "Best-of-n gold (mean over reward-model sizes) after one or several passes over the preference pairs."
    return [Figure(figures.save(figure, folder, "gold"), caption)]


def panel(ax, means, order):
    for name, tint, marker in zip(order, figures.colours(len(order)), figures.MARKERS, strict=False):
        d, gold = means[name]
        ax.plot(d**2, gold.mean(0), color=tint, lw=2, marker=marker, markevery=max(1, len(d) // 6), **figures.MARKED)
        low, high = intervals.t_interval(gold)
        if np.isfinite(low).any():
            ax.fill_between(d**2, low, high, color=tint, alpha=0.16, lw=0)
    figures.kl_axis(ax, max(means[name][0][-1] ** 2 for name in order))
    ax.axhline(0, color=figures.FAINT, lw=0.8, zorder=1)
    ax.set_ylabel("gold (gold s.d.)")
