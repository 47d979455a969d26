"""Length: variants compared, and how much of the gain the lengths of responses alone would have earned the proxy."""

import numpy as np
import pandas as pd

from analysis.curves import interval
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.templates import variants

CLEAR = 0.1  # share of its largest gain that a proxy must gain before shares are taken: at the start both are noise


def study(data, folder) -> Findings:
    found = variants.study(data, folder)
    panels = variants.split(data)
    rows = [row(data, method, g) for (_, method), gs in panels.items() for g in gs]
    title = "Share of the proxy's gain that is length, tokens, and the reward models' correlation with length"
    made = [*found.tables[:1], tables.Table("share_of_length", title, pd.DataFrame(rows)), *found.tables[1:]]
    summary = found.summary | {"share_of_length": rows}
    return Findings(summary, [*found.figures, draw(folder, panels)], made, found.warnings)


def share(g) -> np.ndarray:
    """[S, T], NaN before the mean gain of the proxy is clear."""
    proxy = variants.along(g, "proxy")
    gain = (proxy - proxy[:, :1]).mean(0)
    shares = share_of_length(proxy, variants.along(g, "proxy_of_length"))
    return np.where(gain >= CLEAR * gain.max(), shares, np.nan)


def row(data, method, g) -> dict:
    try:
        follows = of_reward_models(data, g.key, "length_correlation")
    except ValueError:  # stored before the column was
        follows = np.full(len(g.seeds), np.nan)
    out = {"method": figures.METHOD_NAMES[method], "variant": g.label}
    named = {"share": share(g)[:, -1], "length": variants.along(g, "length")[:, -1], "length_correlation": follows}
    for name, values in named.items():
        out |= tables.spread({name: float(np.mean(values)), f"{name}_ci": interval(values)}, name)
    return out


def draw(folder, panels) -> Figure:
    figure, axes = figures.panels(len(panels))
    labels = list(dict.fromkeys(g.label for gs in panels.values() for g in gs))
    tints = dict(zip(labels, figures.colours(len(labels)), strict=True))
    for ax, ((_, method), gs) in zip(axes, panels.items(), strict=True):
        for g in gs:
            values, kl = share(g), variants.along(g, "kl").mean(0)
            clear = np.isfinite(values).all(0)
            figures.plain_line(ax, kl[clear], values[:, clear], tints[g.label], figures.MARKERS[labels.index(g.label)])
        figures.kl_axis(ax, max(variants.along(g, "kl").mean(0).max() for g in gs))
        for level in (0, 1):
            ax.axhline(level, color=figures.FAINT, lw=0.8, zorder=1)
        ax.set_title(figures.METHOD_NAMES[method])
    axes[0].set_ylabel("share of the proxy's gain that is length")
    figures.key_outside(figure, labels, "variant", [])
    caption = "Share of the proxy's gain since the start that reference responses of the same lengths would have had."
    return Figure(figures.save(figure, folder, "share_of_length"), caption)


def of_reward_models(read, variant, name: str) -> np.ndarray:
    """[S] of one column of the reward models that a variant optimises; ValueError where none was recorded."""
    cells = set(read.curves.loc[read.curves[read.axis] == variant, "rm_cell"])
    values = read.reward_models.loc[read.reward_models["cell"].isin(cells)].sort_values("seed")[name].to_numpy()
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"no {name} of the reward models of {variant}")
    return values


def share_of_length(proxy, of_length) -> np.ndarray:
    """Share of the proxy's gain since the start that lengths alone would have earned; [..., T], NaN where none is."""
    gain, of_length = (values - values[..., :1] for values in (proxy, of_length))
    return np.divide(of_length, gain, out=np.full(gain.shape, np.nan), where=gain > 0)
