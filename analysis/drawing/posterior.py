"""Posterior predictive bands: what a hierarchical fit says of each group's law and of a new run, over the runs."""

from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.bayes import posterior
from analysis.drawing import figures
from gold_sim import laws

COLUMNS = 3


def draw(folder: Path, found: posterior.Posterior, method: str) -> str:
    """<folder>/bands_<method>.png and .pdf, a panel a group; returns the name."""
    design = found.design
    figure, axes = figures.tiles(len(design.keys), COLUMNS)
    tints = figures.colours(len(design.keys))
    reach = max(rows[0][-1] for rows in design.rows) ** 2
    for g, (ax, key) in enumerate(zip(axes, design.keys, strict=True)):
        d, law, new = posterior.bands(found, g)
        ax.fill_between(d**2, *new, color=tints[g], alpha=0.18, lw=0)
        ax.fill_between(d**2, *law, color=tints[g], alpha=0.5, lw=0)
        for r in np.flatnonzero(design.arrays.group == g):
            at, _, _, gold, _ = design.rows[r]
            ax.plot(at**2, gold, color=figures.INK, lw=0.5, marker=".", ms=2, alpha=0.6)
        figures.kl_axis(ax, reach)
        ax.axhline(0, color=figures.FAINT, lw=0.8, zorder=1)
        ax.set_title(figures.short(key))
        ax.set_ylabel("gold")
    handles = [
        Line2D([], [], color=figures.INK, lw=0.5, marker=".", ms=3, label="runs"),
        Patch(color=figures.INK, alpha=0.5, lw=0, label=f"law, {laws.LEVEL:.0%}"),
        Patch(color=figures.INK, alpha=0.18, lw=0, label=f"new run, {laws.LEVEL:.0%}"),
    ]
    figure.legend(handles=handles, loc="outside right upper", alignment="left", title=method)
    return figures.save(figure, folder, f"bands_{method}")
