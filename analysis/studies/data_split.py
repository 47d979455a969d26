"""Reward models of disjoint halves: how far a policy goes before the one that it was not optimised against lets go.

The two part where the score of the optimised one has gained PARTED more than that of the other (Bai et al. 2022,
section 4.2, who read it off their figure). A run that ends before is censored: it parts later, if at all. So means are
restricted to the largest distance that all runs reach.
"""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.curves import interval
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.runs import by_seed, together
from analysis.templates.variants import titles


def study(data, folder) -> Findings:
    found = parted(data)
    rows = [row(data.label(variant), method, run) for (variant, method), run in found.items()]
    title = f"Where the gain of the optimised reward model is {PARTED} s.d. above that of the other half's"
    summary = {"parted": rows}
    return Findings(summary, draw(data, folder, found), [tables.Table("parted", title, pd.DataFrame(rows))])


def row(label, method, run) -> dict:
    out = {"variant": label, "method": figures.METHOD_NAMES[method], "params": run["params"]}
    horizon = float(run["d_end"].min())  # the largest distance that all runs reach
    mean = restricted(run["d_last"], ~run["never"], horizon)
    for name, of_seed in {"d_parted": mean, "gap_final": run["gap_end"], "gold_final": run["gold_end"]}.items():
        out |= tables.spread({name: float(np.mean(of_seed)), f"{name}_ci": interval(of_seed)}, name)
    return out | {"up to": horizon, "not parted": int(np.sum(run["never"]))}


def draw(data, folder, found) -> list[Figure]:
    methods = list(dict.fromkeys(method for _, method in found))
    keys = list(dict.fromkeys(variant for variant, _ in found))
    figure, axes = figures.panels(2 * len(methods), width=3.6)
    named = titles({("", method): None for method in methods})
    for i, method in enumerate(methods):
        scores, gaps = axes[2 * i : 2 * i + 2]
        for tint, marker, key in zip(figures.colours(len(keys)), figures.MARKERS, keys, strict=False):
            if (key, method) not in found:
                continue
            run = found[key, method]
            kl = run["kl"].mean(0)
            scores.plot(kl, run["proxy"].mean(0), color=tint, lw=1.8)
            scores.plot(kl, run["other"].mean(0), color=tint, lw=1.4, ls="--")
            figures.plain_line(gaps, kl, run["gap"], tint, marker, band=False)
        for ax in (scores, gaps):
            figures.kl_axis(ax, max(run["kl"].mean(0).max() for (_, f), run in found.items() if f == method))
        scores.set_title(named("", method))
        scores.set_ylabel("score (gold s.d.)")
        gaps.axhline(PARTED, color=figures.FAINT, lw=0.8)
        gaps.set_ylabel("gap (gold s.d.)")
    figures.key_outside(figure, list(map(data.label, keys)), "reward model\nor policy", [])
    caption = (
        "Left of each pair: score by the reward model that is optimised (solid) and by the one of the other half "
        "(dashed). Right: their gap, and the height at which they count as parted."
    )
    return [Figure(figures.save(figure, folder, "parting"), caption)]


PARTED = 0.25  # gold s.d. by which two reward models' gains differ when they count as parted


def parted(read) -> dict[tuple[str, str], dict]:
    """Where two reward models part: (variant, method) -> columns of its runs.

    kl, proxy, other, gap [S, T] at the controls that all runs have. Of a run's own points: never [S], whether it ends
    before they part; d_last [S], where they part, or where it ends; d_end, gap_end, gold_end [S]. seeds [S]; params.
    """
    out = {}
    for method, table in curves.methods(read.curves).items():
        for variant in [key for key in read.variants if (table["variant"] == key).any()]:
            found = by_seed(read, variant, method, ("proxy", "gold", "proxy_left_out"))
            columns = {"kl": "kl", "proxy": "proxy", "other": "proxy_left_out"}
            run = {name: together(found.values(), column) for name, column in columns.items()}
            run["gap"] = run["proxy"] - run["other"]
            own = [one.assign(gap=one["proxy"] - one["proxy_left_out"]) for one in found.values()]
            run["never"], run["seeds"] = np.array([not (one["gap"] >= PARTED).any() for one in own]), list(found)
            run["d_last"] = np.array([_crossing(one["d"].to_numpy(), one["gap"].to_numpy()) for one in own])
            run |= {f"{name}_end": np.array([one[name].iloc[-1] for one in own]) for name in ("d", "gap", "gold")}
            mine = table[table["variant"] == variant].iloc[0]
            run["params"] = int(mine["policy_params" if variant.startswith("policy") else "rm_params"])
            out[variant, method] = run
    return out


def _crossing(d, gap) -> float:
    """The distance at which a gap first is PARTED, between its points; the largest distance where it never is."""
    if not (gap >= PARTED).any():
        return float(np.max(d))
    at = int(np.argmax(gap >= PARTED))
    if at == 0:
        return float(d[0])
    share = (PARTED - gap[at - 1]) / (gap[at] - gap[at - 1])
    return float(d[at - 1] + share * (d[at] - d[at - 1]))


def censored_at(run, horizon: float) -> np.ndarray:
    """[S] whether a run ends, not parted, before a distance."""
    return run["never"] & (run["d_last"] < horizon)


def restricted(times, seen, horizon: float) -> np.ndarray:
    """Pseudo-values [S] of the mean time up to a horizon, of which some are seen and the others censored.

    S x (mean of all) - (S - 1) x (mean without one), by the Kaplan-Meier estimate of survival; without censoring
    min(time, horizon) (Andersen, Klein & Rosthoj 2003). Their mean is the restricted mean.
    """
    times, seen = np.asarray(times, float), np.asarray(seen, bool)
    count, every = len(times), np.arange(len(times))
    if count < 2:
        return np.full(count, np.nan)
    whole = kaplan_meier_mean(times, seen, horizon)
    without = [kaplan_meier_mean(times[every != i], seen[every != i], horizon) for i in every]
    return count * whole - (count - 1) * np.array(without)


def kaplan_meier_mean(times, seen, horizon: float) -> float:
    """The area under the Kaplan-Meier estimate of survival up to a horizon."""
    survival, area, last = 1.0, 0.0, 0.0
    for time in np.unique(times[seen & (times <= horizon)]):
        area += survival * (time - last)
        survival *= 1 - np.sum(seen & (times == time)) / np.sum(times >= time)
        last = time
    return float(area + survival * (horizon - last))
