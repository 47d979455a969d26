"""Behaviours of policies as gold falls, and an early-warning score for signals of the fall.

A warning should say that gold has turned: at an evaluation point, the mean of gold still to come is below gold now. A
signal is the change of a recorded quantity since the start of the run, and none of these needs gold. Its score is the
area under the ROC curve over all points of all runs. At 0.5 it tells nothing; at 1 it always ranks turned points above
the others.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check
from analysis.numbers import with_interval
from analysis.templates import variants
from gold_sim.attributes import ATTRIBUTES

SHOWN = {  # column -> title
    "sycophancy": "agrees with wrong claims",
    "over_refusal": "refuses harmless prompts",
    "attr_length": "length (tokens)",
    "attr_repetition": "repeated words (share)",
    "attr_template": "template phrases",
    "attr_hedging": "hedges",
    "distinct_2": "distinct word pairs (share)",
    "entropy": "entropy (nats)",
}
SIGNALS = tuple(dict.fromkeys([*SHOWN, *(f"attr_{name}" for name in ATTRIBUTES), "kl", "proxy"]))


def study(data, folder) -> Findings:
    found = variants.study(data, folder)
    gs = curves.groups(data.curves, data.axis, labels=data.labels)["rl"]
    warned = warnings_table(gs)
    rows = moments(gs)
    title = "Area under the ROC curve of each signal for 'gold has turned' (0.5 tells nothing)"
    made = [
        *found.tables[:1],
        tables.Table("behaviours", "Behaviours at the start, at gold's peak and at the end", rows),
        tables.Table("early_warning", title, warned),
        *found.tables[1:],
    ]
    summary = found.summary | {"early_warning": warned.to_dict("records")}
    summary["checks"] = checks(warned)
    return Findings(summary, [*found.figures, *draw(folder, gs, warned)], made, found.warnings)


def moments(gs) -> pd.DataFrame:
    out = []
    for g in gs:
        gold = variants.along(g)
        for where, i in {"start": 0, "peak": int(gold.mean(0).argmax()), "end": -1}.items():
            line = {"variant": g.label, "at": where, "gold": float(gold[:, i].mean())}
            out.append(line | {SHOWN[name]: float(variants.along(g, name)[:, i].mean()) for name in SHOWN})
    return pd.DataFrame(out)


def turned(gold) -> np.ndarray:
    """[S, T - 1] whether the mean of gold still to come lies below gold now."""
    later = np.cumsum(gold[:, ::-1], 1)[:, ::-1] - gold
    left = np.arange(gold.shape[1] - 1, 0, -1)
    return later[:, :-1] / left < gold[:, :-1]


def area(signal, event) -> float:
    """Area under the ROC curve: P(signal where the event holds > signal where not), ties by half; NaN without both."""
    signal, event = np.ravel(signal), np.ravel(event)
    ones = event.sum()
    if ones in (0, len(event)):
        return float("nan")
    ranks = rankdata(signal)
    return float((ranks[event].sum() - ones * (ones + 1) / 2) / (ones * (len(event) - ones)))


def warnings_table(gs) -> pd.DataFrame:
    """One row a signal: area over all runs, and its interval over seeds, each seed's over the runs of that seed."""
    events = [turned(variants.along(g)) for g in gs]
    seeds = min(len(e) for e in events)
    out = []
    for name in SIGNALS:
        changes = [variants.along(g, name)[:, :-1] - variants.along(g, name)[:, :1] for g in gs]
        sign = 1.0 if np.mean([c[:, -1].mean() for c in changes]) >= 0 else -1.0  # a fall warns as well as a rise
        of = lambda s, changes=changes, sign=sign: area(
            np.concatenate([sign * c[s] for c in changes]), np.concatenate([e[s] for e in events])
        )
        each = np.array([of(s) for s in range(seeds)])
        row = {"signal": name, "rises or falls": "rises" if sign > 0 else "falls"}
        finite = each[np.isfinite(each)]  # a seed under which gold always or never turns says nothing
        mean, interval = (finite.mean(), curves.interval(finite)) if len(finite) else (np.nan, [np.nan] * 2)
        out.append(row | tables.spread({"area": float(mean), "area_ci": interval}, "area"))
    return pd.DataFrame(out).sort_values("area", ascending=False, ignore_index=True)


def checks(warned) -> dict:
    best = warned.iloc[0]
    interval = with_interval(best["area"], (best["area_low"], best["area_high"]))
    says = f"area under the ROC curve of the best signal: {best['signal']} ({best['rises or falls']}): {interval}"
    return {"best_warning": check(None, says)}


def draw(folder, gs, warned) -> list[Figure]:
    figure, axes = figures.tiles(len(SHOWN), 4, width=3.2, height=2.6)
    for ax, (name, title) in zip(axes, SHOWN.items(), strict=True):
        for g, tint, marker in zip(gs, figures.colours(len(gs)), figures.MARKERS * 2, strict=False):
            figures.plain_line(ax, variants.along(g, "kl").mean(0), variants.along(g, name), tint, marker, band=False)
            at = int(variants.along(g).mean(0).argmax())
            ax.axvline(variants.along(g, "kl").mean(0)[at], color=tint, lw=0.8, ls=":", zorder=1)
        figures.kl_axis(ax, max(variants.along(g, "kl").mean(0).max() for g in gs))
        ax.set_title(title)
        ax.set_xlabel("KL (nats)")
    figures.key_outside(figure, [g.label for g in gs], "variant", [])
    caption = "Behaviours along the run, means over seeds; dotted: where that policy's gold peaks."
    drawn = [Figure(figures.save(figure, folder, "behaviours"), caption)]
    figure, (ax,) = figures.panels(1, width=6.0, height=0.5 + 0.28 * len(warned))
    figures.bars(ax, warned["signal"], warned["area"], warned["area_low"], warned["area_high"], reference=0.5)
    ax.set_xlabel("area under the ROC curve for 'gold has turned'")
    caption = "Early warning: how well the change of each quantity since the start tells that gold has turned."
    return [*drawn, Figure(figures.save(figure, folder, "early_warning"), caption)]
