"""Panels in the form of the paper's figures: KL on a square-root axis, gold solid, proxy dashed, laws thin.

The rubric, which the paper cannot show, is dotted. Every function draws on an axis it is given and returns nothing;
`save` writes PNG and PDF.
"""

import io
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.mathtext import MathTextParser
from matplotlib.patches import Patch

from analysis import curves, escaped
from gold_sim import laws
from gold_sim.store import outputs

INK, FAINT = "#222222", "#8a8a8a"
MARKERS = "osD^vPX*<>h"
MARKED = {"ms": 5.5, "mec": "white", "mew": 0.6}
KL_TICKS = (0, 0.1, 0.25, 0.5, 1, 2, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, 1000)
METHOD_NAMES = {method: name[0].upper() + name[1:] for method, name in curves.METHOD_NAMES.items()}

plt.rcParams.update(
    {
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#555555",
        "axes.labelcolor": INK,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": "#e8e8e8",
        "grid.linewidth": 0.7,
        "xtick.color": "#555555",
        "ytick.color": "#555555",
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "pdf.fonttype": 42,
        "savefig.dpi": 160,
    }
)


def colours(count: int) -> list:
    """Perceptually ordered and safe for the colour-blind: dark for the first, light for the last, never white."""
    return [plt.get_cmap("viridis")(x) for x in (np.linspace(0.06, 0.88, count) if count > 1 else [0.3])]


def short(value) -> str:
    """1300 -> 1.3k, 27000000 -> 27M; other values as they are."""
    if isinstance(value, str) or not np.isfinite(value):
        return str(value)
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{float(f'{value / size:.3g}'):g}{letter}"
    return f"{value:g}"


FORMATS = {"png": {"Software": None}, "pdf": {"CreationDate": None}}  # with what would differ from run to run


def save(figure, folder: Path, name: str) -> str:
    """<folder>/<name>.png and .pdf, reproducible to the byte; returns name."""
    folder.mkdir(parents=True, exist_ok=True)
    for filename, drawn in rendered(figure, name).items():
        outputs.write(folder / filename, drawn)
    return name


def rendered(figure, name: str) -> dict[str, bytes]:
    """The files of a figure by name, which `save` writes; the figure is closed."""
    files = {}
    _make_legible(figure)
    with warnings.catch_warnings():  # of labels of others, which may be long or in letters that the font lacks
        warnings.filterwarnings("ignore", "Glyph .* missing|constrained_layout not applied", UserWarning)
        for kind, metadata in FORMATS.items():
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, metadata=metadata)
            files[f"{name}.{kind}"] = drawn.getvalue()
            figure.set_layout_engine("none")  # all is in its place: to lay it out for each format would draw it twice
    plt.close(figure)
    return files


def _make_legible(figure) -> None:
    """Labels that hold names of others: control characters are spelled out, and what is no formula stays text."""
    for text in figure.findobj(plt.Text):
        words = text.get_text()
        text.set_text("\n".join(map(escaped.plain, words.split("\n"))))
        if "$" in words:
            try:
                MathTextParser("path").parse(text.get_text())
            except ValueError:
                text.set_parse_math(False)


def panels(count: int, width: float = 4.6, height: float = 3.6):
    """A figure with a row of `count` panels -> (figure, list of axes)."""
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, w_pad=0.08, h_pad=0.08)
    return figure, list(axes[0])


def tiles(count: int, columns: int, width: float = 4.0, height: float = 3.3):
    """A figure with `count` panels, at most `columns` in a row -> (figure, list of axes)."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns + 1.6, height * rows), squeeze=False,
                                layout="constrained")  # fmt: skip
    figure.get_layout_engine().set(wspace=0.04, hspace=0.06, w_pad=0.06, h_pad=0.08)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, list(axes.flat[:count])


def page(count: int, width: float, height: float):
    """A row of `count` panels within a page's text width, inches -> (figure, list of axes)."""
    figure, axes = plt.subplots(1, count, figsize=(width, height), squeeze=False, layout="constrained")
    return figure, list(axes[0])


def kl_axis(ax, kl_max: float):
    """Square-root axis in nats; sqrt(KL) is the papers' distance d, so d is linear on it."""
    ax.set_xscale("function", functions=(lambda kl: np.sqrt(np.maximum(kl, 0)), np.square))
    ax.set_xlim(0, kl_max * 1.04 if kl_max > 0 else 1)
    ticks = [0.0]
    for tick in KL_TICKS:
        if tick <= kl_max and np.sqrt(tick) - np.sqrt(ticks[-1]) >= 0.1 * np.sqrt(kl_max):
            ticks.append(tick)
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("KL from the reference policy (nats)")


def key_of(figure, labels, shown, title: str):
    """A legend to the right of the panels: a line and marker each of the labels that are shown, the last on top."""
    tints = colours(len(labels))
    handles = [
        Line2D([], [], color=tints[i], marker=MARKERS[i % len(MARKERS)], ms=5, lw=2, label=short(label))
        for i, label in reversed(list(enumerate(labels)))
        if label in shown
    ]
    first = figure.legend(handles=handles, title=title, loc="outside right upper", alignment="left")
    first.get_title().set_fontweight("bold")


def key_outside(figure, labels, title: str, styles):
    """`key_of` all groups by their labels, and the line styles below it."""
    key_of(figure, labels, labels, title)
    if styles:
        figure.legend(handles=styles, loc="outside right lower", alignment="left", handlelength=3)


def against_steps(ax, wide, tint, marker):
    """Mean over seeds, with its interval, of a table with one row a step and one column a seed."""
    low, high = laws.t_interval(wide.to_numpy().T)
    every = max(1, len(wide) // 6)
    ax.plot(wide.index, wide.mean(axis=1), color=tint, lw=2, marker=marker, markevery=(every // 2, every), **MARKED)
    if np.isfinite(low).any():
        ax.fill_between(wide.index, np.maximum(low, 0), high, color=tint, alpha=0.16, lw=0)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)


DASHED, DOTTED, DASH_DOTTED = (0, (4, 2)), (0, (1, 1.4)), (0, (5, 1.5, 1, 1.5))


def has_rubric(groups) -> bool:
    """Whether the rubric was recorded of any of these groups: older records lack it."""
    return any(np.isfinite(g.mean("rubric")).any() for g in groups)


def lines_of(groups, band: str = ", band") -> str:
    """Names of the lines that `scores` draws, for a caption.  band: what it says of gold's interval."""
    if has_rubric(groups):
        return f"Gold (solid{band}), proxy (dashed) and rubric (dotted, in its own s.d.)"
    return f"Gold (solid{band}) and proxy (dashed)"


def styles_of_scores(
    groups, with_law: bool = True, with_band: bool = True, over: str = "seeds", back: bool = False
) -> list:
    """Handles of a legend for the lines of `scores`.  groups: all that are drawn."""
    stroke = lambda label, **style: Line2D([], [], color=INK, label=label, **style)
    out = [stroke("gold", lw=2)]
    if back:
        out.append(stroke("gold, later steps", lw=1.2, ls=DASH_DOTTED, marker="o", ms=3))
    out.append(stroke("proxy", lw=1.2, ls=DASHED))
    if has_rubric(groups):
        out.append(stroke("rubric", lw=1.6, ls=DOTTED))
    if with_law:
        out.append(stroke("fitted law", lw=0.8))
    if with_band:
        out.append(Patch(color=INK, alpha=0.16, lw=0, label=f"{laws.LEVEL:.0%} interval\nover {over}"))
    return out


def line(ax, x, g, name, tint, marker=None, band=True, **style):
    """Seed mean of one column of a group, with its interval as a band."""
    style = {"lw": 2, **style}
    every = max(1, len(x) // 6)
    ax.plot(x, g.mean(name), color=tint, marker=marker, markevery=(every // 2, every), **MARKED, **style)
    low, high = g.band(name)
    if band and np.isfinite(low).any():
        ax.fill_between(x, low, high, color=tint, alpha=0.16, lw=0)


def scores(ax, groups, fits=None, title="", keys=None, band=True):
    """Gold (solid, band), proxy (dashed) and rubric (dotted) against KL, a colour a group.

    fits: a LawFit or None a group.

    keys: all the values of the compared column, so that panels with some of them agree in colour.
    """
    keys = [g.key for g in groups] if keys is None else keys
    tints = dict(zip(keys, colours(len(keys)), strict=True))
    for i, g in enumerate(groups):
        tint, marker = tints[g.key], MARKERS[keys.index(g.key) % len(MARKERS)]
        three(ax, g, tint, marker, band)
        if fits and fits[i] is not None and fits[i].converged:
            d = np.linspace(laws.FORMS[g.form].d_min, fits[i].d_max, 200)
            ax.plot(d**2, laws.evaluate(g.form, d, fits[i].alpha, fits[i].beta), color=INK, lw=0.8, zorder=3)
    ax.axhline(0, color=FAINT, lw=0.8, zorder=1)
    kl_axis(ax, max(g.kl[-1] for g in groups))
    ax.set_ylabel("score (gold s.d.)")
    ax.set_title(title)


def three(ax, g, tint, marker, band=True):
    """Gold, proxy and rubric of one group; the rubric, where it lies on gold, is seen in a darker shade."""
    line(ax, g.kl, g, "proxy", tint, band=False, lw=1.2, ls=DASHED, alpha=0.8)
    line(ax, g.kl, g, "gold", tint, marker, band=band)
    line(ax, g.kl, g, "rubric", [0.6 * part for part in to_rgb(tint)], band=False, lw=1.6, ls=DOTTED, zorder=2.5)


def behind(ax, kl, gold, key, keys):
    """Gold behind a run's largest KL (dash-dotted), and where it ends (a dot)."""
    tint = colours(len(keys))[keys.index(key)]
    ax.plot(kl, gold, color=tint, lw=1.2, ls=DASH_DOTTED)
    ax.plot(kl[-1:], gold[-1:], color=tint, marker="o", ms=4, clip_on=False)
    low, high = ax.get_ylim()
    margin = 0.08 * (high - low)
    ax.set_ylim(min(low, gold.min() - margin), max(high, gold.max() + margin))
    ax.set_xlim(right=max(ax.get_xlim()[1], 1.04 * kl.max()))


def falls(ax, entries, labels, title=""):
    """A line a variant from the peak of gold (open) to its end (filled), intervals as thin bars; first label on top."""
    tints = dict(zip(labels, colours(len(labels)), strict=True))
    for e in entries:
        y, tint = -labels.index(e["label"]), tints[e["label"]]
        ax.plot([e["gold_peak"], e["gold_final"]], [y, y], color=tint, lw=2.4, alpha=0.55, zorder=2)
        for name, face, shift in (("gold_peak", "white", 0.12), ("gold_final", tint, -0.12)):
            if np.isfinite(e[f"{name}_ci"]).all():
                ax.plot(e[f"{name}_ci"], [y + shift] * 2, color=tint, lw=1, zorder=3)
            ax.plot(e[name], y, "o", ms=6, mfc=face, mec=tint, mew=1.3, zorder=4)
    ax.axvline(0, color=FAINT, lw=0.8, zorder=1)
    ax.set_yticks([-i for i in range(len(labels))], [short(label) for label in labels])
    ax.set_ylim(-len(labels) + 0.4, 0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("gold (gold s.d.)")
    ax.set_title(title)


def columns_of(ax, groups, name, keys):
    """Any recorded column against KL, the colour of a key as in `scores`."""
    tints = dict(zip(keys, colours(len(keys)), strict=True))
    for g in groups:
        line(ax, g.kl, g, name, tints[g.key], MARKERS[keys.index(g.key) % len(MARKERS)], band=False, lw=1.8)
    kl_axis(ax, max(g.kl[-1] for g in groups))


def plain_line(ax, x, values, tint, marker=None, band=True):
    """Mean over seeds of [S, T] against x [T], with its interval."""
    every = max(1, len(x) // 6)
    ax.plot(x, values.mean(0), color=tint, lw=1.8, marker=marker, markevery=(every // 2, every), **MARKED)
    low, high = laws.t_interval(values)
    if band and np.isfinite(low).any():
        ax.fill_between(x, low, high, color=tint, alpha=0.16, lw=0)


def bars(ax, names, values, low, high, reference=None):
    """A dot and an interval a name, the first on top."""
    for i, (value, a, b) in enumerate(zip(values, low, high, strict=True)):
        if np.isfinite([a, b]).all():
            ax.plot([a, b], [-i, -i], color=INK, lw=1.4)
        ax.plot(value, -i, "o", color=INK, ms=5.5, mec="white")
    labels = [str(name).removeprefix("attr_").replace("_", " ") for name in names]
    ax.set_yticks([-i for i in range(len(labels))], labels)
    if reference is not None:
        ax.axvline(reference, color=FAINT, lw=0.9, ls=":")
    ax.grid(axis="y", visible=False)


def limit_to_gold(ax, groups):
    """Limits from gold and rubric alone, with room for the proxies' beginning: a proxy may rise tenfold."""
    shown = np.concatenate([g.mean(name) for g in groups for name in ("gold", "rubric")])
    low, high = min(0.0, np.nanmin(shown)), max(0.1, np.nanmax(shown))
    ax.set_ylim(low - 0.08 * (high - low), high + 0.35 * (high - low))


def coefficient(ax, sizes, per_seed, trend: laws.Trend, title, xlabel):
    """Dots with intervals over seeds, and the regression line with its interval; per_seed: [S, G]."""
    x = np.log10(np.asarray(sizes, float))
    mean, (low, high) = per_seed.mean(0), laws.t_interval(per_seed)
    tints = colours(len(sizes))
    if np.isfinite(trend.slope):
        at = np.linspace(x.min(), x.max(), 50)
        slopes = (per_seed - per_seed.mean(1, keepdims=True)) @ (x - x.mean()) / np.sum((x - x.mean()) ** 2)
        lines = per_seed.mean(1)[:, None] + slopes[:, None] * (at - x.mean())
        ax.plot(10**at, trend.intercept + trend.slope * at, color=INK, lw=1)
        bottom, top = laws.t_interval(lines)
        if np.isfinite(bottom).all():
            ax.fill_between(10**at, bottom, top, color=INK, alpha=0.1, lw=0)
    for i, size in enumerate(sizes):
        if np.isfinite(low[i]):
            ax.plot([size, size], [low[i], high[i]], color=tints[i], lw=1.6)
        ax.plot(size, mean[i], color=tints[i], marker=MARKERS[i % len(MARKERS)], ms=6.5, mec="white", mew=0.6)
    log_axis(ax, sizes, xlabel)
    ax.set_title(title)


def log_axis(ax, sizes, label):
    """Logarithmic axis with one tick a compared size, as far as they stand apart."""
    ax.set_xscale("log")
    ticks = []
    apart = 0.11 * np.log10(max(sizes) / min(sizes)) if len(sizes) > 1 else 0
    for size in sizes:
        if not ticks or np.log10(size / ticks[-1]) >= apart:
            ticks.append(size)
    ax.set_xticks(ticks, [short(t) for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel(label)


def curves_of(ax, groups, name, title="", ylabel=""):
    """Any recorded column against KL, a colour a group."""
    for g, tint, marker in zip(groups, colours(len(groups)), MARKERS * 9, strict=False):
        line(ax, g.kl, g, name, tint, marker, lw=1.8)
    kl_axis(ax, max(g.kl[-1] for g in groups))
    ax.set_ylabel(ylabel)
    ax.set_title(title)


def dots(ax, sizes, per_seed, title, xlabel, reference=None):
    """Seed means with intervals of a property of reward models; per_seed: G arrays of S values."""
    for size, values, tint, marker in zip(sizes, per_seed, colours(len(sizes)), MARKERS * 9, strict=False):
        low, high = laws.t_interval(values)
        if np.isfinite(low):
            ax.plot([size, size], [low, high], color=tint, lw=1.6)
        ax.plot(size, np.mean(values), color=tint, marker=marker, ms=6.5, mec="white", mew=0.6)
    ax.plot(sizes, [np.mean(v) for v in per_seed], color=FAINT, lw=0.8, zorder=1)
    if reference is not None:
        ax.axhline(reference[0], color=FAINT, lw=0.9, ls=":")
        ax.annotate(reference[1], (0.99, reference[0]), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                    fontsize=8, color=FAINT)  # fmt: skip
    log_axis(ax, sizes, xlabel)
    ax.set_title(title)


def gold_against_proxy(ax, groups_of_method, keys, title=""):
    """The plane of the paper's figure 8: best-of-n long-dashed, RL dash-dotted, colour = reward-model size."""
    tints = dict(zip(keys, colours(len(keys)), strict=True))
    strokes = {"bon": (0, (7, 2.5)), "rl": DASH_DOTTED}
    ends = [g.mean("proxy").max() for gs in groups_of_method.values() for g in gs]
    for method, gs in groups_of_method.items():
        for g in gs:
            marker = MARKERS[keys.index(g.key) % len(MARKERS)]
            ax.plot(g.mean("proxy"), g.mean("gold"), color=tints[g.key], ls=strokes[method], lw=1.8)
            ax.plot(g.mean("proxy")[-1], g.mean("gold")[-1], color=tints[g.key], marker=marker, ms=6, mec="white")
    if ends:
        bottom, top = ax.get_ylim()
        ax.plot([0, max(ends)], [0, max(ends)], color=FAINT, lw=0.8, ls=":", zorder=1)
        ax.set_ylim(bottom, top)
    ax.axhline(0, color=FAINT, lw=0.8, zorder=1)
    ax.set_xlabel("proxy score (gold s.d.)")
    ax.set_ylabel("gold score (gold s.d.)")
    ax.set_title(title)


STYLES_OF_METHODS = [
    Line2D([], [], color=INK, lw=1.8, ls=(0, (7, 2.5)), label="best-of-n"),
    Line2D([], [], color=INK, lw=1.8, ls=DASH_DOTTED, label="RL"),
    Line2D([], [], color=FAINT, lw=0.8, ls=":", label="proxy = gold"),
]


LEAST_SPAN = 0.2  # gold s.d. between the palest and the darkest cell of a column


def matrix(ax, values, low, high, good: int):
    """Numbers with half their interval in a grid, each column shaded from its best to its worst.

    good: +1 if more is better. A column whose values differ by less than LEAST_SPAN is not shaded down to its palest.
    """
    better = (good * values).to_numpy(float)
    best = np.nanmax(better, axis=0)
    short = (best - better) / np.maximum(best - np.nanmin(better, axis=0), LEAST_SPAN)
    ax.imshow(np.where(np.isfinite(short), 1 - short, 0), cmap="Greens", vmin=-0.15, vmax=2.2, aspect="auto")
    for i, j in np.ndindex(values.shape):
        value, half = values.iloc[i, j], (high.iloc[i, j] - low.iloc[i, j]) / 2
        if np.isfinite(value):
            text = f"{value:.2f}" + (f"\n±{half:.2f}" if np.isfinite(half) else "")
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=INK)
    ax.set_xticks(range(len(values.columns)), [str(c).replace("_", "\n") for c in values.columns])
    ax.set_yticks(range(len(values.index)), values.index)
    ax.grid(False)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
