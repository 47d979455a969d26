"""Training prompts against held-out ones: how far proxy and gold part, by the number of training prompts."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check
from analysis.numbers import with_interval
from analysis.templates.variants import along

LEGEND = "training\nprompts"


def study(data, folder) -> Findings:
    gs = curves.groups(data.curves, data.axis)["rl"]
    entries = [entry(g) for g in gs]
    rows = [
        {data.axis: e[data.axis]}
        | {
            k: v
            for name in ("proxy_gap", "gold_gap", "gold_peak", "gold_final")
            for k, v in tables.spread(e, name).items()
        }
        for e in entries
    ]
    title = "Training minus held-out prompts at the end (gold s.d.); gold on held-out prompts"
    summary = {"prompts": entries, "checks": checks(entries, data.axis)}
    return Findings(summary, draw(folder, gs), [tables.Table("gaps", title, pd.DataFrame(rows))])


def gaps(g, name) -> np.ndarray:
    """[S, T] of a score on training prompts minus on held-out ones, both from their start."""
    training, held_out = along(g, f"{name}_training"), along(g, name)
    return (training - training[:, :1]) - (held_out - held_out[:, :1])


def entry(g) -> dict:
    gold = along(g)
    peak = gold[:, gold.mean(0).argmax()]
    values = {"proxy_gap": gaps(g, "proxy")[:, -1], "gold_gap": gaps(g, "gold")[:, -1]}
    values |= {"gold_peak": peak, "gold_final": gold[:, -1]}
    out = {"train_prompts": float(g.key), "seeds": len(g.seeds)}
    for name, found in values.items():
        out |= {name: float(found.mean()), f"{name}_ci": curves.interval(found)}
    return out


def checks(entries, axis) -> dict:
    says = "; ".join(f"{e[axis]:g} prompts {with_interval(e['gold_gap'], e['gold_gap_ci'])}" for e in entries)
    return {"gold_gap": check(None, f"gold on training minus held-out prompts: {says}")}


def draw(folder, gs) -> list[Figure]:
    figure, axes = figures.panels(3, width=3.9, height=3.3)
    keys = [g.key for g in gs]
    for name, ax in zip(("proxy", "gold"), axes[:2], strict=True):
        for g, tint, marker in zip(gs, figures.colours(len(gs)), figures.MARKERS, strict=False):
            kl = along(g, "kl").mean(0)
            figures.plain_line(ax, kl, gaps(g, name), tint, marker)
        figures.kl_axis(ax, max(along(g, "kl").mean(0).max() for g in gs))
        ax.set_title(f"{name}: training minus held-out")
        ax.axhline(0, color=figures.FAINT, lw=0.8)
    figures.scores(axes[2], gs, None, "held-out prompts", keys)
    axes[0].set_ylabel("gap (gold s.d.)")
    figures.key_outside(figure, keys, LEGEND, figures.styles_of_scores(gs, with_law=False))
    caption = "Left, middle: proxy and gold on training prompts minus held-out ones. Right: scores on held-out prompts."
    return [Figure(figures.save(figure, folder, "gaps"), caption)]
