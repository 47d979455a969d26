"""Negative controls: optimise gold itself, learn from shuffled labels, take a random function for gold."""

import pandas as pd

from analysis import curves, records
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check
from analysis.numbers import with_interval
from gold_sim.store import NotStored

SMALL = 0.05  # share of the peak that counts as no fall
CONTROLS = {  # name -> (title, which rows)
    "proxy_is_gold": ("proxy = gold", lambda t: (t["reward"] == "gold") & (t["gold_kind"] == "rubric")),
    "shuffled_labels": ("shuffled labels", lambda t: (t["label_noise"] == 0.5) & (t["reward"] == "proxy")),
    "random_gold": (
        "random-function gold",
        lambda t: (t["gold_kind"] == "random") & (t["label_noise"] < 0.5) & (t["reward"] == "proxy"),
    ),
}


def study(data, folder) -> Findings:
    found = controls(data.curves)
    entries = {name: {method: entry(g) for method, g in gs.items()} for name, gs in found.items() if gs}
    missing = [f"no records of the control {CONTROLS[name][0]}" for name, gs in found.items() if not gs]
    summary = {"controls": entries, "checks": checks(entries)}
    return Findings(summary, draw(folder, found), [table(entries)], missing)


def controls(points: pd.DataFrame) -> dict:
    """control -> method -> its runs as one group."""
    found = {}
    for name, (_, rows) in CONTROLS.items():
        part = points[rows(points)]
        found[name] = {method: curves.group(t, method, name) for method, t in curves.methods(part).items()}
    return found


def beside(store, preset: str) -> dict:
    """Checks of the controls at the same preset, for the reports of other experiments; empty if they were not run.

    StoreError if their records are damaged.
    """
    try:
        read = records.load(store, "negative_controls", preset)
    except (NotStored, records.NoPoints):
        return {}
    found = controls(read.curves)
    return checks({name: {method: entry(g) for method, g in gs.items()} for name, gs in found.items() if gs})


def entry(g: curves.Group) -> dict:
    """Gain: gold at the end; drop: gold at the observed peak minus gold at the end; both with intervals over seeds."""
    seen = curves.observed(g)
    share = seen["drop"] / seen["gold_peak"] if seen["gold_peak"] > 0 else float("nan")
    out = {name: seen[name] for name in ("gold_peak", "gold_peak_ci", "drop", "drop_ci", "d_final", "proxy_final")}
    return {
        "seeds": len(g.seeds),
        "gain": seen["gold_final"],
        "gain_ci": seen["gold_final_ci"],
        "drop_share": share,
    } | out


def checks(entries) -> dict:
    out = {}
    for method, e in entries.get("proxy_is_gold", {}).items():
        includes_zero = e["drop_ci"][0] <= 0 <= e["drop_ci"][1]
        says = (
            f"proxy = gold, {curves.METHOD_NAMES[method]}: drop from the peak {with_interval(e['drop'], e['drop_ci'])}"
        )
        says += f", {e['drop_share']:.1%} of it"
        out[f"gold_does_not_fall_{method}"] = check(includes_zero or e["drop_share"] < SMALL, says)
    for method, e in entries.get("shuffled_labels", {}).items():
        gain = with_interval(e["gain"], e["gain_ci"])
        says = f"shuffled labels, {curves.METHOD_NAMES[method]}: gain of gold at the end {gain}"
        no_gain = None if e["seeds"] < 2 else e["gain_ci"][0] <= 0
        out[f"shuffled_labels_gain_nothing_{method}"] = check(no_gain, says)
    for method, e in entries.get("random_gold", {}).items():
        says = f"random-function gold, {curves.METHOD_NAMES[method]}: "
        says += f"peak {with_interval(e['gold_peak'], e['gold_peak_ci'])}, "
        says += f"drop {with_interval(e['drop'], e['drop_ci'])} (no expectation: it need not over-optimise)"
        out[f"random_gold_{method}"] = check(None, says)
    return out


def table(entries) -> tables.Table:
    rows = [
        {"control": CONTROLS[name][0], "method": curves.METHOD_NAMES[method]}
        | tables.spread(e, "gold_peak")
        | tables.spread(e, "gain")
        | tables.spread(e, "drop")
        | {"proxy_final": e["proxy_final"]}
        for name, methods in entries.items()
        for method, e in methods.items()
    ]
    return tables.Table("controls", "Negative controls (gold s.d.)", pd.DataFrame(rows))


def draw(folder, found) -> list[Figure]:
    """A panel a control; both methods in it, best-of-n light."""
    figure, axes = figures.panels(3, width=3.9, height=3.4)
    tints = dict(zip(("rl", "bon"), figures.colours(4)[::2], strict=True))
    for ax, (name, gs) in zip(axes, found.items(), strict=True):
        ax.set_title(CONTROLS[name][0])
        for method, g in gs.items():
            marker = {"rl": "o", "bon": "s"}[method]
            figures.three(ax, g, tints[method], marker)
        figures.kl_axis(ax, max([g.kl[-1] for g in gs.values()], default=1.0))
        ax.set_xlabel("KL (nats)")
        ax.axhline(0, color=figures.FAINT, lw=0.8, zorder=1)
        if not gs:
            ax.text(0.5, 0.5, "no records", transform=ax.transAxes, ha="center", color=figures.FAINT)
    axes[0].set_ylabel("score (gold s.d.)")
    present = [method for method in ("rl", "bon") if any(method in gs for gs in found.values())]
    keys = [
        figures.Line2D(
            [], [], color=tints[f], lw=2, marker={"rl": "o", "bon": "s"}[f], ms=5, label=curves.METHOD_NAMES[f]
        )
        for f in present
    ]
    figure.legend(handles=keys, loc="outside right upper", alignment="left")
    every = [g for gs in found.values() for g in gs.values()]
    figure.legend(handles=figures.styles_of_scores(every, with_law=False), loc="outside right lower", alignment="left")
    caption = (
        "Controls. Left: optimising gold itself, gold does not fall. Middle: nothing learnt, nothing gained. "
        "Right: gold is a random network."
    )
    return [Figure(figures.save(figure, folder, "controls"), caption)]
