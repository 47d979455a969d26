"""Sources of regret: gold lost to the proxy's size, to its data, and to the optimiser, at equal KL.

Two references split the loss. One is best-of-n by gold itself: no proxy does better from the same samples. The other is
best-of-n by a proxy of the same size with all the data. What RL against that proxy lacks to best-of-n by it at the same
KL is the optimiser's part. Only the first reference is exact, as "all the data" stands for infinitely much.
"""

import numpy as np
import pandas as pd

from analysis import curves, records
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check
from gold_sim.store import NotStored

KLS = (1.0, 3.0, 6.0)  # nats at which regret is told
PARTS = ("approximation", "estimation", "optimisation")


def study(data, folder) -> Findings:
    bon = curves.methods(data.curves)["bon"]
    truth = curves.group(bon[bon["reward"] == "gold"], "bon", "gold")
    proxies = bon[bon["reward"] == "proxy"]
    most = proxies["num_pairs"].max()
    groups = {
        key: curves.group(part, "bon", key) for key, part in proxies.groupby(["rm_params", "num_pairs"], sort=True)
    }
    trained, warnings = rl_groups(data)
    rows = [row(key, truth, groups, trained, most, kl) for key in groups for kl in KLS if kl <= truth.kl[-1]]
    frame = pd.DataFrame(rows)
    title = "Gold lost, at equal KL (gold s.d.): by size with all the data, by its data, by RL"
    summary = {"regret": rows, "checks": checks(frame, most)}
    made = [tables.Table("regret", title, frame)]
    return Findings(summary, draw(folder, frame, truth, groups, trained, most), made, warnings)


def rl_groups(data) -> tuple[dict, list[str]]:
    """RL of rm_size by size, at the same preset; empty, with a warning, where it was not run.

    StoreError if its records are damaged.
    """
    try:
        read = records.load(data.store, "rm_size", data.manifest["preset"])
    except (NotStored, records.NoPoints) as error:
        return {}, [f"no part of optimisation: {error}"]
    table = curves.methods(read.curves).get("rl", read.curves[:0])
    return {key: curves.group(part, "rl", key) for key, part in table.groupby("rm_params", sort=True)}, []


def distances(g) -> tuple[np.ndarray, np.ndarray]:
    """(steps [T], mean d of the runs at them [T]) of one RL group."""
    runs = [run.sort_values("control") for run in g.runs]
    steps = runs[0]["control"].to_numpy()
    return steps, np.mean([np.interp(steps, run["control"], run["d"]) for run in runs], axis=0)


def at(g, d) -> np.ndarray:
    """Gold at a distance, [S]."""
    return curves.at_distance(g, "gold", [d])[:, 0]


def row(key, truth, groups, trained, most, kl) -> dict:
    """Regret of one proxy at one KL."""
    size, pairs = key
    d = np.sqrt(kl)
    best, own, full = at(truth, d).mean(), at(groups[key], d), at(groups[size, most], d)
    losses = {"approximation": best - full, "estimation": full - own}
    if pairs == most and size in trained and trained[size].d[-1] >= d:
        losses["optimisation"] = full - at(trained[size], d)
    out = {
        "rm_params": size,
        "num_pairs": pairs,
        "KL": kl,
        "gold by gold": float(best),
        "gold by proxy": float(own.mean()),
    }
    for name in PARTS:
        values = losses.get(name, np.full(2, np.nan))
        out |= tables.spread({name: float(values.mean()), f"{name}_ci": curves.interval(values)}, name)
    return out


def checks(frame, most) -> dict:
    """Approximation falls with size, estimation with data; both at the largest KL told."""
    last = frame[frame["KL"] == frame["KL"].max()]
    full = last[last["num_pairs"] == most].sort_values("rm_params")
    few = last.groupby("num_pairs")["estimation"].mean()
    out = {}
    says = ", ".join(
        f"{figures.short(s)} {a:.2f}" for s, a in zip(full["rm_params"], full["approximation"], strict=True)
    )
    falls = full["approximation"].iloc[-1] < full["approximation"].iloc[0]
    out["approximation_falls_with_size"] = check(falls, f"gold s.d. lost to size: {says}")
    says = ", ".join(f"{figures.short(n)} {e:.2f}" for n, e in few.items())
    out["estimation_falls_with_data"] = check(
        few.iloc[0] > few.iloc[-1], f"gold s.d. lost to data, mean of sizes: {says}"
    )
    if frame["optimisation"].notna().any():
        lost = frame[frame["optimisation"].notna()].groupby("KL")["optimisation"].mean()
        says = ", ".join(f"{loss:.2f} at {kl:g} nats" for kl, loss in lost.items())
        out["optimisation"] = check(
            None, f"gold s.d. that RL loses against best-of-n at equal KL, mean of sizes: {says}"
        )
    return out


# --- figures --------------------------------------------------------------------------------------

TINTS = dict(zip(PARTS, figures.colours(4)[:3], strict=True))


def stacked(ax, x, parts: dict):
    """Areas from the bottom up; a part below zero counts as none (the figure's areas add up to the regret shown)."""
    bottom = np.zeros(len(x))
    for name, values in parts.items():
        top = bottom + np.maximum(np.nan_to_num(values), 0.0)
        ax.fill_between(x, bottom, top, color=TINTS[name], alpha=0.75, lw=0, label=name)
        bottom = top
    ax.set_ylim(bottom=0)


def draw(folder, frame, truth, groups, trained, most) -> list[Figure]:
    kl = frame["KL"].max()
    last = frame[frame["KL"] == kl]
    sizes, pairs = sorted(last["rm_params"].unique()), sorted(last["num_pairs"].unique())
    few, middle = pairs[len(pairs) // 2 - 1], sizes[len(sizes) // 2]
    figure, axes = figures.panels(4 if middle in trained else 3, width=3.6, height=3.3)
    part = last[last["num_pairs"] == few].sort_values("rm_params")
    stacked(axes[0], part["rm_params"], {name: part[name].to_numpy() for name in PARTS[:2]})
    figures.log_axis(axes[0], sizes, "RM parameters")
    axes[0].set_title(f"by size, {figures.short(few)} pairs")
    part = last[last["rm_params"] == middle].sort_values("num_pairs")
    stacked(axes[1], part["num_pairs"], {name: part[name].to_numpy() for name in PARTS[:2]})
    figures.log_axis(axes[1], pairs, "training pairs")
    axes[1].set_title(f"by data, {figures.short(middle)} parameters")
    whose = f"{figures.short(middle)}, {figures.short(few)} pairs"
    end = min([truth.d[-1], *([trained[middle].d[-1]] if middle in trained else [])])

    def along(d):
        gold = lambda g: curves.at_distance(g, "gold", d).mean(0)
        parts = {"approximation": gold(truth) - gold(groups[middle, most])}
        parts |= {"estimation": gold(groups[middle, most]) - gold(groups[middle, few])}
        if middle in trained:
            parts["optimisation"] = gold(groups[middle, most]) - gold(trained[middle])
        return parts

    d = np.linspace(0, end, 60)[1:]
    stacked(axes[2], d**2, along(d))
    figures.kl_axis(axes[2], end**2)
    axes[2].set_title(f"along KL, {whose}")
    if middle in trained:
        steps, d = distances(trained[middle])
        within = d <= end
        stacked(axes[3], steps[within], along(d[within]))
        axes[3].set_xlabel("policy step")
        axes[3].set_title(f"along RL, {whose}")
    axes[0].set_ylabel(f"gold lost at {kl:g} nats (gold s.d.)")
    axes[2].set_ylabel("gold lost (gold s.d.)")
    handles, labels = axes[2].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper")
    caption = (
        "Gold lost against best-of-n by gold itself, by source. Approximation: a proxy of this size with all the data; "
    )
    caption += "estimation: its own data; optimisation: RL short of best-of-n against the same proxy. Along RL: at the "
    caption += "KL that its steps have reached on average."
    return [Figure(figures.save(figure, folder, "regret"), caption)]
