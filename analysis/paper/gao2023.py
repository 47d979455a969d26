"""One function a figure of Gao, Schulman & Hilton 2023: draws it from a Book of records and says what is seen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import curves, records
from analysis.drawing import figures
from analysis.numbers import number, with_interval
from analysis.studies import bon_vs_rl, epochs, grid, kl_penalty, policy_size
from analysis.templates import scaling
from gold_sim import laws
from gold_sim.laws import comparison
from gold_sim.store import Store

CUT = 0.6  # share of the reach in d that the extrapolated laws are fitted to (figure 26)


@dataclass(frozen=True)
class Plate:
    """One figure of the paper: what it needs, and how it is drawn.  draw(book) -> (figure, what is seen)."""

    number: str
    title: str
    needs: tuple[str, ...]
    draw: Callable


class Book:
    """The experiments' records, read once each, and a page of the venue's width."""

    def __init__(self, store: Store, preset: str | None, width: float):
        self.store, self.preset, self.width, self._read = store, preset, width, {}

    def read(self, name: str) -> records.Data:
        if name not in self._read:
            self._read[name] = records.load(self.store, name, self.preset)
        return self._read[name]

    def groups(self, name: str, method: str, **options) -> list[curves.Group]:
        data = self.read(name)
        if name == "data_size":  # the paper's one epoch alone
            data = next(iter(data.by_variant().values()))
        return curves.groups(data.curves, data.axis, **options).get(method, [])

    def page(self, count: int, height: float = 2.3):
        """A row of panels over the text width, lettered (a), (b), ... by `letter`."""
        return figures.page(count, self.width, height)

    def grid_entries(self) -> list[dict]:
        """One entry for each reward-model size and number of pairs."""
        data = self.read("grid")
        found = grid.by_size_and_data(data.curves)
        return [grid.entry(key, g, curves.law(g), data.reward_models) for key, g in found.items()]


def letter(axes, *titles):
    for ax, mark, title in zip(axes, "abcdef", titles, strict=False):
        ax.set_title(f"({mark}) {title}" if len(axes) > 1 else title)


def sizes_of(values) -> str:
    return " to ".join(figures.short(v) for v in (values[0], values[-1]))


# --- gold against KL -------------------------------------------------------------------------------


def scores_of(book, name, legend, methods=("bon", "rl"), with_laws=True, **options):
    """Best-of-n and RL panels of one experiment."""
    groups = {method: gs for method in methods if (gs := book.groups(name, method, **options))}
    every = [g for gs in groups.values() for g in gs]
    keys = sorted({g.key for g in every})
    figure, axes = book.page(len(groups))
    for ax, gs in zip(axes, groups.values(), strict=True):
        figures.scores(ax, gs, [curves.law(g) for g in gs] if with_laws else None, keys=keys)
    letter(axes, *(figures.METHOD_NAMES[method] for method in groups))
    figures.key_outside(figure, keys, legend, figures.styles_of_scores(every, with_law=with_laws))
    return figure, groups


def main_result(book):
    figure, groups = scores_of(book, "rm_size", "RM parameters")
    seen, as_theirs = [], True
    for method, gs in groups.items():
        ends = [curves.observed(g) for g in (gs[0], gs[-1])]
        small, large = (f"{number(e['gold_peak'])} s.d. at {number(e['d_peak'] ** 2)} nats" for e in ends)
        name = curves.METHOD_NAMES[method]
        seen.append(f"{name} gold peaks at {small} for the smallest reward model, {large} for the largest")
        as_theirs &= ends[1]["gold_peak"] > ends[0]["gold_peak"] and ends[1]["d_peak"] > ends[0]["d_peak"]
    verdict = "as in the paper" if as_theirs else "unlike the paper, where peaks are later and higher for larger ones"
    return figure, f"{'; '.join(seen)}: {verdict}."


def by_data_size(book):
    figure, groups = scores_of(book, "data_size", "training pairs")
    few = [g for gs in groups.values() for g in gs[:1]]
    ends = ", ".join(f"{curves.METHOD_NAMES[g.method]} {number(g.mean('gold')[-1])}" for g in few)
    return figure, f"More pairs, more gold. With {figures.short(few[0].key)} pairs gold ends at {ends} s.d."


def by_data_size_large(book):
    data = book.read("grid")
    part = curves.methods(data.curves)["bon"]
    largest = part["rm_params"].max()
    rows = part[part["rm_params"] == largest].groupby("num_pairs", sort=True)
    gs = [curves.group(run, "bon", key) for key, run in rows]
    figure, axes = book.page(1, 2.6)
    figures.scores(axes[0], gs, [curves.law(g) for g in gs])
    figures.key_outside(figure, [g.key for g in gs], "training pairs", figures.styles_of_scores(gs))
    seen = f"Figure 4a under the largest reward model ({figures.short(largest)}): peaks "
    return figure, seen + ", ".join(f"{figures.short(g.key)} {number(g.mean('gold').max())}" for g in gs) + " s.d."


def by_policy_size(book, name="policy_size", methods=("bon", "rl"), rezero=False):
    figure, groups = scores_of(book, name, "policy parameters", methods, with_laws=False, rezero=rezero)
    seen = []
    for method, gs in groups.items():
        for g, ax in zip(gs, [figure.axes[list(groups).index(method)]] * len(gs), strict=True):
            at = int(np.argmax(g.mean("gold")))
            ax.plot(g.kl[at], g.mean("gold")[at], marker="*", ms=9, color=figures.INK, zorder=5, ls="")
        starts = ", ".join(number(float(g.mean("gold")[0])) for g in gs)
        peaks = ", ".join(number(float(g.kl[int(np.argmax(g.mean("gold")))])) for g in gs)
        sizes = f"{curves.METHOD_NAMES[method]} {sizes_of([g.key for g in gs])}"
        seen.append(f"{sizes}: starts {starts} s.d., peaks at {peaks} nats")
    text = "; ".join(seen) + " (stars: peaks)."
    if not rezero:
        leads = [float(gs[-1].mean("gold")[0] - gs[0].mean("gold")[0]) for gs in groups.values()]
        text += f" The largest starts {number(float(np.mean(leads)))} s.d. above the smallest (paper: 0.37)."
    return figure, text


def gap_by_policy(book):
    gs = book.groups("policy_size", "rl")
    figure, axes = book.page(1, 2.6)
    for g, tint, marker in zip(gs, figures.colours(len(gs)), figures.MARKERS, strict=False):
        apart = curves.with_column(g, "gap", g.values["proxy"] - g.values["gold"])
        figures.line(axes[0], g.kl, apart, "gap", tint, marker)
    figures.kl_axis(axes[0], max(g.kl[-1] for g in gs))
    axes[0].set_ylabel("proxy minus gold (gold s.d.)")
    figures.key_outside(figure, [g.key for g in gs], "policy parameters", [])
    found = policy_size.gap(gs)
    difference = with_interval(found["difference"], found["difference_ci"]) if found else "unknown"
    return (
        figure,
        f"Mean gap of the largest policy minus the smallest's at equal KL: {difference} s.d. (paper: about 0).",
    )


def penalties(book, name="kl_penalty"):
    gs = penalty_groups(book, name)
    figure, axes = book.page(1, 2.8)
    figures.scores(axes[0], gs, keys=[g.key for g in gs])
    figures.key_outside(figure, [g.key for g in gs], "KL penalty", figures.styles_of_scores(gs, with_law=False))
    free = next((g for g in gs if g.key == 0.0), None)
    frontier = kl_penalty.frontier(gs, free)
    off = [f"{key:g} by {number(f['mean_difference'])}" for key, f in frontier.items() if f and not f["on_frontier"]]
    if off:
        seen = f"Gold at a given KL differs from that without a penalty ({', '.join(off)} s.d.)"
        return (
            figure,
            f"{seen}: not early stopping alone. The paper saw one frontier, which it warned may depend on settings.",
        )
    return figure, "All penalties lie on one frontier within intervals, as in the paper: the penalty stops early."


def penalty_groups(book, name):
    data = book.read(name)
    table = curves.methods(data.curves)["rl"]
    return [curves.group(part, "rl", key) for key, part in table.groupby("kl_coef", sort=True)]


def plane(book):
    groups = {method: book.groups("rm_size", method) for method in ("bon", "rl")}
    keys = sorted({g.key for gs in groups.values() for g in gs})
    figure, axes = book.page(1, 3.2)
    figures.gold_against_proxy(axes[0], groups, keys)
    figures.key_outside(figure, keys, "RM parameters", figures.STYLES_OF_METHODS)
    pairs = bon_vs_rl.compare(groups, "rm_params")
    higher = sum(p["peak_difference"] > 0 for p in pairs)
    seen = f"RL's peak is above best-of-n's for {higher} of {len(pairs)} sizes (paper: for its four smallest of nine)."
    return figure, seen


# --- coefficients and peaks ----------------------------------------------------------------------------


def coefficients(book):
    groups = {method: book.groups("rm_size", method) for method in ("bon", "rl")}
    found = scaling.coefficients(groups)
    names = [n for n in ("bon_alpha", "bon_beta", "rl_beta") if n in found]
    titles = {
        "bon_alpha": r"$\alpha_\mathrm{bon}$",
        "bon_beta": r"$\beta_\mathrm{bon}$",
        "rl_beta": r"$\beta_\mathrm{RL}$, one $\alpha_\mathrm{RL}$",
    }
    figure, axes = book.page(len(names), 1.9)
    for ax, name in zip(axes, names, strict=True):
        figures.coefficient(ax, found[name].sizes, found[name].per_seed, found[name].trend, "", "RM parameters")
    letter(axes, *(titles[n] for n in names))
    slopes = "; ".join(f"{n} {with_interval(found[n].trend.slope, found[n].trend.slope_ci)}" for n in names)
    falls = "bon_beta" in found and found["bon_beta"].trend.slope_ci[1] < 0
    differs = "" if falls else " In the paper beta_bon falls with size; here it does not fall beyond its interval."
    return figure, f"Slopes per tenfold size: {slopes}.{differs}"


def peak_corrected(book):
    gs = book.groups("rm_size", "bon")
    fits = [curves.law(g) for g in gs]
    figure, axes = book.page(2, 2.2)
    for ax, name, label in ((axes[0], "d_peak", "nats$^{1/2}$"), (axes[1], "gold_peak", "gold s.d.")):
        for i, (g, fit, tint) in enumerate(zip(gs, fits, figures.colours(len(gs)), strict=True)):
            low, high = getattr(fit, f"{name}_ci")
            if np.isfinite(low):
                ax.plot([g.key, g.key], [low, high], color=tint, lw=1.4)
            ax.plot(
                g.key,
                getattr(fit, name),
                color=tint,
                marker=figures.MARKERS[i % len(figures.MARKERS)],
                **figures.MARKED,
            )
        figures.log_axis(ax, [g.key for g in gs], "RM parameters")
        ax.set_ylabel(label)
    letter(axes, r"location $d^*=\alpha/2\beta$", r"height $R^*=\alpha^2/4\beta$")
    seen = f"Heights {', '.join(number(f.gold_peak) for f in fits)} s.d."
    return figure, f"{seen} The paper plots alpha / 2 beta, the location, as a maximum score."


def coefficient_by_data(name, title):
    def draw(book):
        pairs, values = grid.averaged(book.grid_entries(), name)
        figure, axes = book.page(1, 2.4)
        figures.dots(axes[0], pairs, values, "", "training pairs")
        axes[0].set_ylabel(title)
        means = [float(v.mean()) for v in values]
        line = laws.trend_over_groups(np.log10(pairs), means)
        return (
            figure,
            f"Mean over reward-model sizes; slope per tenfold data {with_interval(line.slope, line.slope_ci)}.",
        )

    return draw


def extrapolation(book):
    figure, axes = book.page(2)
    seen, keys = [], None
    for ax, method in zip(axes, ("bon", "rl"), strict=True):
        gs = book.groups("rm_size", method)
        keys = [g.key for g in gs]
        errors = []
        for g, tint in zip(gs, figures.colours(len(gs)), strict=True):
            d_min = laws.FORMS[method].d_min
            keep = g.d >= d_min
            cut = CUT * g.d[-1]
            near = keep & (g.d <= cut)
            law = comparison.predictor(method, g.d[near], g.mean("gold")[near])
            errors.append(float(law(g.d[-1:])[0] - g.mean("gold")[-1]))
            figures.line(ax, g.kl, g, "gold", tint, band=False)
            ax.plot(g.kl[near], law(g.d[near]), color=figures.INK, lw=0.9)
            ax.plot(g.kl[keep & (g.d > cut)], law(g.d[keep & (g.d > cut)]), color=figures.INK, lw=0.9, ls=":")
        ax.axvline(cut**2, color=figures.FAINT, lw=0.8)
        figures.kl_axis(ax, max(g.kl[-1] for g in gs))
        ax.set_ylabel("gold (gold s.d.)")
        seen.append(f"{curves.METHOD_NAMES[method]} errors at the far end {', '.join(f'{e:+.2f}' for e in errors)}")
    letter(axes, "Best-of-n", "RL")
    figures.key_outside(figure, keys, "RM parameters", [])
    return figure, f"Laws fitted left of the line, continued (dotted): {'; '.join(seen)} s.d., smallest to largest."


def proxy_slopes(book):
    gs = book.groups("rm_size", "bon")
    figure, axes = book.page(1, 2.6)
    bends = []
    for g, tint in zip(gs, figures.colours(len(gs)), strict=True):
        figures.line(axes[0], g.kl, g, "proxy", tint)
        slope = float(g.d @ g.mean("proxy") / (g.d @ g.d))
        axes[0].plot(g.kl, slope * g.d, color=figures.INK, lw=0.8)
        bends.append(laws.least_squares("bon", g.d, g.mean("proxy"))[1])
    figures.kl_axis(axes[0], max(g.kl[-1] for g in gs))
    axes[0].set_ylabel("proxy (gold s.d.)")
    figures.key_outside(figure, [g.key for g in gs], "RM parameters", [])
    word = "concave" if np.mean(bends) > 0 else "convex"
    return (
        figure,
        f"Proxy with lines through 0: {word} in d, beta of the best-of-n form {number(float(np.mean(bends)))}.",
    )


# --- reward models ---------------------------------------------------------------------------------------


def loss_by_data(book):
    figure, least, losses = by_data(book, "val_loss", "validation loss (nats a pair)", (np.log(2), "chance, ln 2"))
    return figure, f"With {least:,} pairs the losses are {losses} (chance 0.693), smallest reward model to largest."


def by_data(book, column: str, label: str, level: tuple):
    """(figure of a column against the number of pairs, the fewest pairs, the column's values there)."""
    entries = book.grid_entries()
    figure, axes = book.page(1, 2.6)
    grid.data_panel(axes[0], entries, column, label, level)
    figures.key_outside(figure, sorted({e["rm_params"] for e in entries}), "RM parameters", [])
    least = min(e["num_pairs"] for e in entries)
    return figure, least, ", ".join(number(e[column]) for e in entries if e["num_pairs"] == least)


def loss_against_gold(book):
    entries = book.grid_entries()
    figure, axes = book.page(1, 2.8)
    grid.loss_panel(axes[0], entries)
    figures.key_outside(figure, sorted({e["rm_params"] for e in entries}), "RM parameters", [])
    frame = pd.DataFrame(entries)
    rank = frame["val_loss"].corr(frame["gold_final"], method="spearman")
    return figure, f"A point a (size, data) cell: Spearman {rank:.2f}. The paper found weak evidence for one curve."


def heat(book):
    figure, axes = book.page(1, 3.0)
    grid.heat_panel(figure, axes[0], book.grid_entries())
    return (
        figure,
        "Gold at the largest n, not a maximum over KL: the paper's label says maximum, its negative cells cannot be.",
    )


def loss_by_size(book):
    data = book.read("rm_size")
    parts = list(data.reward_models.groupby("rm_params", sort=True))
    figure, axes = book.page(1, 2.4)
    values = [part["val_loss"].to_numpy() for _, part in parts]
    figures.dots(axes[0], [k for k, _ in parts], values, "", "RM parameters", (np.log(2), "chance, ln 2"))
    axes[0].set_ylabel("validation loss (nats a pair)")
    return (
        figure,
        f"From {number(float(values[0].mean()))} to {number(float(values[-1].mean()))}; chance is 0.693.",
    )


def gold_by_data(book):
    figure, least, golds = by_data(book, "gold_final", "gold at the largest n (gold s.d.)", (0.0, ""))
    return figure, f"With {least:,} pairs: {golds} s.d., smallest reward model to largest."


def passes(book):
    data = book.read("epochs")
    table = curves.methods(data.curves)["bon"]
    names = {cell: f"{e} x {pairs:,}" for cell, (e, pairs) in data.passes().items()}
    table = table.assign(passes=table["rm_cell"].map(names))
    means = {name: epochs.mean_over_sizes(part) for name, part in table.groupby("passes", sort=True)}
    figure, axes = book.page(1, 2.6)
    epochs.panel(axes[0], means, list(means))
    figures.key_outside(figure, list(means), "epochs x pairs", [])
    ends = ", ".join(f"{name}: {number(float(gold[:, -1].mean()))}" for name, (_, gold) in means.items())
    return figure, f"Gold at the largest n, mean over sizes: {ends} s.d. In the paper 4 x 2,000 does as 1 x 2,000 does."


# --- against steps --------------------------------------------------------------------------------------


def by_step(name, column, ylabel, legend, axis=None, seen=None):
    """A recorded column of RL runs against policy steps, a colour a value of the compared column."""

    def draw(book):
        data = book.read(name)
        table = curves.methods(data.curves)["rl"]
        figure, axes = book.page(1, 2.4)
        keys, last = [], {}
        parts = list(table.groupby(axis or data.axis, sort=True))
        for (key, part), tint, marker in zip(parts, figures.colours(len(parts)), figures.MARKERS, strict=False):
            wide = part.pivot_table(index="control", columns="seed", values=column).dropna()
            figures.against_steps(axes[0], wide, tint, marker)
            keys.append(key)
            last[key] = float(wide.iloc[-1].mean())
        axes[0].set_xlabel("policy steps")
        axes[0].set_ylabel(ylabel)
        figures.key_outside(figure, keys, legend, [])
        ends = ", ".join(f"{figures.short(k)}: {number(v)}" for k, v in last.items())
        return figure, f"At the last step {ends}. {seen or ''}".strip()

    return draw


PLATES = (
    Plate("02", "Gold and proxy against KL by reward-model size", ("rm_size",), main_result),
    Plate("03", "Coefficients of the laws by reward-model size", ("rm_size",), coefficients),
    Plate("04", "Gold and proxy against KL by preference data", ("data_size",), by_data_size),
    Plate("05", "Gold and proxy by policy size, not re-zeroed", ("policy_size",), by_policy_size),
    Plate("06", "Validation loss by preference data", ("grid",), loss_by_data),
    Plate("07", "Validation loss against best-of-n gold", ("grid",), loss_against_gold),
    Plate("08", "Gold against proxy, best-of-n and RL", ("rm_size",), plane),
    Plate("09", "Gold and proxy by KL penalty", ("kl_penalty",), penalties),
    Plate("10", "Gold by reward-model size and preference data", ("grid",), heat),
    Plate("11", "Validation loss by reward-model size", ("rm_size",), loss_by_size),
    Plate("12", "Best-of-n peak by reward-model size, corrected", ("rm_size",), peak_corrected),
    Plate("13", "Epochs against data", ("epochs",), passes),
    Plate("14", "KL by step and KL penalty", ("kl_penalty",),
          by_step("kl_penalty", "kl", "KL (nats)", "KL penalty", "kl_coef", "In the paper a penalty makes KL settle.")),
    Plate("15", "KL by step and policy size", ("policy_size",),
          by_step("policy_size", "kl", "KL (nats)", "policy parameters")),
    Plate("16", "KL by step and reward-model size", ("rm_size",),
          by_step("rm_size", "kl", "KL (nats)", "RM parameters")),
    Plate("17", "alpha of best-of-n by preference data", ("grid",),
          coefficient_by_data("alpha", r"$\alpha_\mathrm{bon}$")),
    Plate("18", "beta of best-of-n by preference data", ("grid",),
          coefficient_by_data("beta", r"$\beta_\mathrm{bon}$")),
    Plate("19", "Preference data under the largest reward model", ("grid",), by_data_size_large),
    Plate("20", "Proxy of best-of-n with linear fits", ("rm_size",), proxy_slopes),
    Plate("21", "Best-of-n gold by preference data and reward-model size", ("grid",), gold_by_data),
    Plate("22", "RL by policy size under the largest reward model", ("policy_size_large_rm",),
          lambda book: by_policy_size(book, "policy_size_large_rm", ("rl",))),
    Plate("23", "RL by policy size, re-zeroed at the start", ("policy_size",),
          lambda book: by_policy_size(book, methods=("rl",), rezero=True)),
    Plate("24", "Gap of proxy and gold by policy size", ("policy_size",), gap_by_policy),
    Plate("25", "PPO clip fraction by step and KL penalty", ("ppo_penalty",),
          by_step("ppo_penalty", "clip_fraction", "clipped share of tokens", "KL penalty", "kl_coef",
                  "The paper's starts at 0.04 and falls to 0.024.")),
    Plate("26", "Extrapolation of the laws", ("rm_size",), extrapolation),
)  # fmt: skip
