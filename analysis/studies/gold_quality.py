"""The quality of gold: the fall that a gold measures against the fall by the rubric, of the same responses."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis import curves, faithfulness, runs
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check, mean_in_words, surely, surely_within
from analysis.numbers import number, with_interval
from gold_sim import laws

AT_KL = 15.0  # nats at which golds are compared, or the farthest that all of them reach
EQUAL = 0.1  # s.d. within which two falls count as equal
COLUMNS = 4  # panels in a row of the figure of curves
MEASURES = ("fall", "fall_at")  # to the end of the runs; to AT_KL


@dataclass(frozen=True)
class One:
    """The runs of one gold, one reward model and one method."""

    key: str  # of gold
    label: str
    size: int  # parameters of the reward model
    method: str
    fidelity: dict  # kind of samples -> correlation of gold with the rubric on them
    group: curves.Group  # from its start at the reference policy
    pooled: np.ndarray  # [T] correlation along the run, over all seeds
    kl: np.ndarray  # [T] mean KL there
    falls: dict  # fall, fall_at -> {"gold", "rubric", "hidden": [S]}; hidden: the rubric's minus gold's
    at_kl: float  # nats of fall_at

    @property
    def faith(self) -> float:
        """Correlation of gold with the rubric on reference samples."""
        return self.fidelity["reference"]


def study(data, folder) -> Findings:
    every = measured(data)
    entries = [entry(one) for one in every]
    summary = {"golds": entries, "checks": checks(every)}
    frame = pd.DataFrame(row(e) for e in entries)
    title = "Fall of gold and of the rubric, and what gold hides of it (each in its own s.d. over reference samples)"
    return Findings(summary, draw(folder, every), [tables.Table("golds", title, frame)])


def measured(data) -> list[One]:
    """Every gold under every reward model and method; golds in order of faith, the poorest first."""
    fidelity = fidelity_of(data)
    out = []
    for size, part in data.curves.groupby("rm_params", sort=True):
        from_start, recorded = (curves.groups(part, data.axis, z, labels=data.labels) for z in (True, False))
        for method, gs in from_start.items():
            d_at = min(AT_KL**0.5, *(g.d[-1] for g in gs))
            for g, raw in zip(gs, recorded[method], strict=True):
                falls = {"fall": falls_to(g, g.d[-1]), "fall_at": falls_to(g, d_at)}
                pooled, kl = faithfulness.along(raw), faithfulness.mean_kl(raw)
                identity = g.key, g.label, int(size), method, fidelity[g.key]
                out.append(One(*identity, g, pooled, kl, falls, float(d_at**2)))
    return sorted(out, key=lambda one: (one.size, one.method, np.nan_to_num(one.faith, nan=-1.0)))


def fidelity_of(data) -> dict[str, dict]:
    """Key of a variant -> correlations of its gold with the rubric by kind of samples."""
    found = {}
    for cell in data.manifest["cells"]:
        if cell["stage"] == "policy_gradient" and cell["variant"] not in found:
            gold = data.record("policy_gradient", cell["fingerprint"])["upstream"]["gold"]
            told = data.record("gold", gold)["fidelity"]
            found[cell["variant"]] = {kind: np.nan if x is None else x for kind, x in told.items()}
    return found


def falls_to(g: curves.Group, d_end: float) -> dict:
    """Falls [S] of gold and rubric up to a distance, and their difference in pairs of seeds."""
    grid = np.linspace(0.0, d_end, curves.DRAWN)
    out = {name: runs.fall_from_peak(curves.at_distance(g, name, grid)) for name in ("gold", "rubric")}
    return out | {"hidden": out["rubric"] - out["gold"]}


def entry(one: One) -> dict:
    others = {kind: x for kind, x in one.fidelity.items() if kind != "reference"}
    out = {
        "key": one.key,
        "label": one.label,
        "rm_params": one.size,
        "method": one.method,
        "seeds": len(one.group.seeds),
    }
    out |= {"reference": one.faith, "disturbed": min(others.values()), "along": float(np.nanmin(one.pooled))}
    out |= {"kl_final": float(one.group.kl[-1]), "at_kl": one.at_kl}
    for measure, falls in one.falls.items():
        for name, values in falls.items():
            out |= {f"{measure}_{name}": float(values.mean()), f"{measure}_{name}_ci": curves.interval(values)}
    gold, rubric = (curves.at_distance(one.group, name, [one.at_kl**0.5])[:, 0] for name in ("gold", "rubric"))
    return out | {"overstated_at": float((gold - rubric).mean()), "overstated_at_ci": curves.interval(gold - rubric)}


def row(e: dict) -> dict:
    """One line of the table of golds."""
    out = {"RM parameters": e["rm_params"], "method": curves.METHOD_NAMES[e["method"]], "gold": e["label"]}
    out |= {"on reference": e["reference"], "worst disturbed": e["disturbed"], "lowest along": e["along"]}
    out["KL at the end"] = e["kl_final"]
    for measure in MEASURES:
        for name in ("gold", "rubric", "hidden"):
            out |= tables.spread(e, f"{measure}_{name}")
        out |= {"at KL": e["at_kl"]} if measure == "fall" else {}
    return out | tables.spread(e, "overstated_at")


# --- checks -----------------------------------------------------------------------------------------


def checks(every: list[One]) -> dict:
    """Of RL under each reward model, up to one KL: what the poorest and the best gold hide, and the trend between."""
    out = {}
    for size in dict.fromkeys(one.size for one in every):
        golds = [one for one in every if one.size == size and one.method == "rl"]
        if not golds:
            continue
        poor, best = golds[0], golds[-1]
        hidden = lambda one: one.falls["fall_at"]["hidden"]
        hides = lambda one: f"{mean_in_words(hidden(one))} s.d. ({one.label}, {one.faith:.3f} on reference samples)"
        says = f"fall by the rubric minus fall by gold up to {number(poor.at_kl)} nats, {figures.short(size)}: "
        out[f"poorest_gold_hides_{size}"] = check(surely(curves.interval(hidden(poor))), says + hides(poor))
        same = surely_within(hidden(best), -EQUAL, EQUAL)
        out[f"best_gold_hides_nothing_{size}"] = check(same, f"{says}{hides(best)}, within {EQUAL} s.d. wanted")
        if (line := trend(golds)) is not None:
            says = f"hidden fall per tenfold 1 - correlation on reference samples, {figures.short(size)}: "
            says += with_interval(line.slope, line.slope_ci)
            out[f"poorer_golds_hide_more_{size}"] = check(surely(line.slope_ci), says, slope=line.slope)
    return out


def trend(golds: list[One]) -> laws.Trend | None:
    """Of the hidden fall along log10(1 - correlation), seed by seed; None where golds or their seeds are too few."""
    usable = [one for one in golds if np.isfinite(one.faith)]
    seeds = {one.group.seeds for one in usable}
    if len({one.faith for one in usable}) < 2 or len(seeds) > 1:
        return None
    hidden = np.stack([one.falls["fall_at"]["hidden"] for one in usable], -1)
    return laws.trend(np.log10([unfaithful(one.faith) for one in usable]), hidden)


def unfaithful(correlation: float) -> float:
    """1 - correlation, at least what can be told from 0."""
    return max(1.0 - correlation, 1e-4)


# --- figures ----------------------------------------------------------------------------------------

CORRELATIONS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)  # ticks


def draw(folder, every: list[One]) -> list[Figure]:
    rl = [one for one in every if one.method == "rl"]
    return [hidden_fall(folder, every), *([curves_of_golds(folder, rl), along_kl(folder, rl)] if rl else [])]


def labels_of(every: list[One]) -> list[str]:
    """Labels of the golds, the poorest first."""
    return list(dict.fromkeys(one.label for one in sorted(every, key=lambda one: one.faith)))


def hidden_fall(folder, every: list[One]) -> Figure:
    """A row a reward model, a column a method and a place where the fall ends."""
    sizes, labels = list(dict.fromkeys(one.size for one in every)), labels_of(every)
    ways = [way for way in (("rl", "fall_at"), ("rl", "fall"), ("bon", "fall")) if way[0] in {o.method for o in every}]
    shape = dict(figsize=(3.7 * len(ways) + 1.8, 3.2 * len(sizes)), squeeze=False, layout="constrained")
    figure, axes = figures.plt.subplots(len(sizes), len(ways), sharex=True, sharey="row", **shape)
    for line, size in zip(axes, sizes, strict=True):
        for ax, (method, measure) in zip(line, ways, strict=True):
            mine = [one for one in every if (one.size, one.method) == (size, method)]
            fall_panel(ax, mine, measure, labels)
            where = f"up to {number(mine[0].at_kl)} nats" if measure == "fall_at" else "to the end"
            ax.set_title(f"{figures.METHOD_NAMES[method]} {where}")
        line[0].set_ylabel(f"RM of {figures.short(size)} parameters\nfall from the peak (s.d.)")
    for ax in axes[-1]:
        ax.set_xlabel("correlation of gold and rubric\non reference samples")
    faith_axis(axes[0, 0], every)
    dot = lambda label, **style: figures.Line2D([], [], color=figures.INK, label=label, **style)
    styles = [
        dot("fall by the rubric", ls="", marker="o", ms=6),
        dot("fall by gold", ls="", marker="o", ms=6, mfc="white"),
    ]
    styles.append(dot("hidden by gold", lw=5, alpha=0.3))
    figures.key_outside(figure, labels, "gold", styles)
    caption = (
        "Fall from the peak by gold (open) and by the rubric (filled), of the same responses, against how well gold "
        "follows the rubric on reference samples. Thin bars: intervals over seeds, of one world. Where a seed's peak "
        "lies, the earlier seeds say: its own noise makes no fall."
    )
    return Figure(figures.save(figure, folder, "hidden_fall"), caption)


def fall_panel(ax, golds: list[One], measure: str, labels: list[str]):
    tints = dict(zip(labels, figures.colours(len(labels)), strict=True))
    for one in golds:
        x, tint, marker = unfaithful(one.faith), tints[one.label], figures.MARKERS[labels.index(one.label) % 11]
        falls = {name: one.falls[measure][name] for name in ("gold", "rubric")}
        ax.plot(
            [x, x], [values.mean() for values in falls.values()], color=tint, lw=5, alpha=0.3, solid_capstyle="butt"
        )
        for name, shift, face in (("gold", 0.96, "white"), ("rubric", 1.04, tint)):
            if np.isfinite(interval := curves.interval(falls[name])).all():
                ax.plot([x * shift] * 2, interval, color=tint, lw=1, ls="-")
            ax.plot(x * shift, falls[name].mean(), marker=marker, ms=6.5, mfc=face, mec=tint, mew=1.3)
    ax.axhline(0, color=figures.FAINT, lw=0.8, zorder=1)


def faith_axis(ax, every: list[One]):
    """Correlation on a logarithmic axis of 1 - correlation, the faithful on the right; for all that share the axis."""
    ax.set_xscale("log")
    lost = [unfaithful(one.faith) for one in every if np.isfinite(one.faith)]
    low, high = min(lost, default=0.01) / 1.5, max(lost, default=0.5) * 1.5
    ticks = [c for c in CORRELATIONS if low <= 1 - c <= high]
    ax.set_xticks([1 - c for c in ticks], [f"{c:g}" for c in ticks])
    ax.minorticks_off()
    ax.set_xlim(high, low)


def curves_of_golds(folder, rl: list[One]) -> Figure:
    """Gold, proxy and rubric against KL: a panel a gold."""
    sizes, labels = list(dict.fromkeys(one.size for one in rl)), labels_of(rl)
    figure, axes = figures.tiles(len(labels), COLUMNS, width=3.6, height=3.0)
    for ax, label in zip(axes, labels, strict=True):
        mine = [replace(one.group, key=one.size) for one in rl if one.label == label]
        figures.scores(ax, mine, None, label, sizes)
        figures.limit_to_gold(ax, mine)
    every = [one.group for one in rl]
    figures.key_outside(figure, sizes, "RM parameters", figures.styles_of_scores(every, with_law=False))
    caption = f"{figures.lines_of(every)} of RL against KL: a panel a gold, the least faithful first."
    return Figure(figures.save(figure, folder, "gold"), caption)


def along_kl(folder, rl: list[One]) -> Figure:
    """Correlation of gold and rubric along RL: a panel a reward model."""
    sizes, labels = list(dict.fromkeys(one.size for one in rl)), labels_of(rl)
    figure, axes = figures.panels(len(sizes), width=4.2, height=3.4)
    for ax, size in zip(axes, sizes, strict=True):
        mine = [one for one in rl if one.size == size]
        for one in mine:
            i = labels.index(one.label)
            style = dict(color=figures.colours(len(labels))[i], marker=figures.MARKERS[i % 11], markevery=3)
            ax.plot(one.kl, one.pooled, lw=1.6, **style, **figures.MARKED)
        ax.axhline(faithfulness.ALONG_RL, color=figures.FAINT, lw=0.9, ls=":")
        figures.kl_axis(ax, max(one.kl.max() for one in mine))
        ax.set_title(f"RM of {figures.short(size)} parameters")
    axes[0].set_ylabel("correlation of gold and rubric")
    figures.key_outside(figure, labels, "gold", [])
    caption = (
        "Correlation of gold with the rubric along RL, over the responses of all seeds; "
        f"dotted: {faithfulness.ALONG_RL}, which the main job asks of its gold."
    )
    return Figure(figures.save(figure, folder, "faithfulness"), caption)
