"""Best-of-n against RL: in the plane of proxy and gold (figure 8) and on the KL axis."""

import numpy as np
import pandas as pd

from analysis import curves, runs
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check, excludes_zero
from analysis.numbers import number, with_interval
from analysis.templates import scaling

LEGEND = "RM parameters"
SHARE = 0.8  # of the lower of the two peaks: the gold whose price in KL is compared


def study(data, folder) -> Findings:
    groups, fits, rows = scaling.laws_of(data)
    pairs = compare(groups, data.axis)
    which, verdict_tables = scaling.verdicts(data.axis, groups)
    summary = {
        "verdict": which,
        "sizes": scaling.by_size(data.axis, rows),
        "comparison": pairs,
        "checks": {"proxy_rises": scaling.proxy_rises(groups)} | checks(pairs, data.axis) | scaling.which_form(which),
    }
    made = [tables.laws_table(data.axis, rows)]
    if pairs:
        made.append(tables.Table("comparison", "RL minus best-of-n", comparison_frame(pairs, data.axis)))
    return Findings(summary, draw(folder, groups), made + verdict_tables)


def compare(groups, axis) -> list[dict]:
    """Per size with both methods: difference of peak gold (paired by seed), and the KL each pays for equal gold."""
    by_key = {method: {g.key: g for g in gs} for method, gs in groups.items()}
    out = []
    for key in sorted(set(by_key.get("bon", {})) & set(by_key.get("rl", {}))):
        pair = curves.on_common_seeds([by_key["bon"][key], by_key["rl"][key]])
        if not pair:
            continue
        bon, rl = pair
        gold = [runs.peak(g.values["gold"]) for g in (bon, rl)]
        target = SHARE * min(gold[0].mean(), gold[1].mean())
        kls = [first_reached(g, target) for g in (bon, rl)]
        out.append(
            {
                axis: key,
                "peak_difference": float((gold[1] - gold[0]).mean()),
                "peak_difference_ci": curves.interval(gold[1] - gold[0]),
                "gold_target": float(target),
                "kl_bon": kls[0],
                "kl_rl": kls[1],
            }
        )
    return out


def first_reached(g: curves.Group, gold: float) -> float:
    """KL at which the seed-averaged gold first reaches `gold`, by interpolation in d; NaN if it never does."""
    mean = g.mean("gold")
    above = np.flatnonzero(mean >= gold)
    if gold <= 0 or not len(above) or above[0] == 0:
        return float("nan")
    i = above[0]
    return float(np.interp(gold, mean[i - 1 : i + 1], g.d[i - 1 : i + 1]) ** 2)


def checks(pairs, axis) -> dict:
    out = {}
    paid = [p for p in pairs if np.isfinite([p["kl_bon"], p["kl_rl"]]).all()]
    if paid:
        says = f"KL in nats to reach {SHARE:.0%} of the lower peak, best-of-n and RL: "
        says += "; ".join(f"{figures.short(p[axis])} {number(p['kl_bon'])} and {number(p['kl_rl'])}" for p in paid)
        out["rl_pays_more_kl"] = check(all(p["kl_rl"] > p["kl_bon"] for p in paid), says)
    for p in pairs:
        higher = excludes_zero(p["peak_difference_ci"])
        says = f"RL peak gold minus best-of-n's at {figures.short(p[axis])}: "
        says += with_interval(p["peak_difference"], p["peak_difference_ci"])
        holds = None if higher is None else higher and p["peak_difference"] > 0
        out[f"rl_peaks_higher_{p[axis]}"] = check(holds, says)
    return out


def comparison_frame(pairs, axis) -> pd.DataFrame:
    return pd.DataFrame(
        {axis: p[axis]}
        | tables.spread(p, "peak_difference")
        | {"gold target": p["gold_target"], "best-of-n KL to it": p["kl_bon"], "RL KL to it": p["kl_rl"]}
        for p in pairs
    )


def draw(folder, groups) -> list[Figure]:
    keys = sorted({g.key for gs in groups.values() for g in gs})
    figure, (ax,) = figures.panels(1, width=6.2, height=4.2)
    figures.gold_against_proxy(ax, groups, keys)
    figures.key_outside(figure, keys, LEGEND, figures.STYLES_OF_METHODS)
    caption = "Gold against proxy: best-of-n (long dashes) and RL (dash-dot). Compared this way, KL plays no part."
    plane = Figure(figures.save(figure, folder, "plane"), caption)
    caption = "against KL, of the same runs: RL pays far more KL for the same gold, so KL does not compare methods."
    return [plane, scaling.score_figure(folder, "gold", groups, None, LEGEND, caption)]
