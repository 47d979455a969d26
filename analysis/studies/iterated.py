"""Rounds of RLHF: gold along the steps of all rounds, and against KL beside the k-round prediction.

A round that continues the last one does not begin at the reference policy. So curves are measured from the reference's
gold, with which the first round begins, and they run along the steps. Gao et al. 2023 (section 4.4) expect the peak of
k rounds of equal KL to be k times that of one: R(d) = d (alpha - beta log d + beta log k).
"""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.runs import along
from gold_sim import laws


def study(data, folder) -> Findings:
    found = rounds_of(data)
    once = next(iter(found.values()))[1]
    law = laws.fit("rl", list(np.sqrt(once["kl"])), list(once["gold"]))
    rows = [row(data.label(way), k, run) for way, rounds in found.items() for k, run in rounds.items()]
    title = "Rounds: gold from the reference policy (gold s.d.), at its peak within the round and at its end"
    summary = {"rounds": rows, "law_of_one_round": law}
    made = [tables.Table("rounds", title, pd.DataFrame(rows))]
    return Findings(summary, draw(folder, {data.label(way): rounds for way, rounds in found.items()}, law), made)


def row(way, k, run) -> dict:
    gold, kl = run["gold"], run["kl"]
    at = int(gold.mean(0).argmax())
    values = {"gold_peak": gold[:, at], "gold_final": gold[:, -1], "proxy_final": run["proxy"][:, -1]}
    out = {"way": way, "round": k, "pairs": int(run["num_pairs"][0, 0]), "peak at KL": float(kl[:, at].mean())}
    for name, of_seed in values.items():
        out |= tables.spread({name: float(of_seed.mean()), f"{name}_ci": curves.interval(of_seed)}, name)
    return out | {"kl_final": float(kl[:, -1].mean())}


def draw(folder, found, law) -> list[Figure]:
    several = {way: rounds for way, rounds in found.items() if len(rounds) > 1}
    figure, axes = figures.tiles(2 * len(several), len(several))
    tints = figures.colours(max(len(r) for r in several.values()))
    for column, (way, rounds) in enumerate(several.items()):
        steps, paths = axes[column], axes[column + len(several)]
        start = 0
        for (k, run), tint, marker in zip(rounds.items(), tints, figures.MARKERS, strict=False):
            control = start + run["control"].mean(0)
            figures.plain_line(steps, control, run["gold"], tint, marker)
            steps.plot(control, run["proxy"].mean(0), color=tint, ls="--", lw=1.2)
            start = control[-1]
            kl = run["kl"].mean(0)
            paths.plot(kl, run["gold"].mean(0), color=tint, lw=2, marker=marker, markevery=6, **figures.MARKED)
            d = np.sqrt(np.linspace(0.09, max(kl.max(), 0.1), 80))
            predicted = laws.evaluate("rl", d, law.alpha + law.beta * np.log(k), law.beta)
            paths.plot(d**2, predicted, color=tint, lw=1, ls=":")
        top = max(run["gold"].mean(0).max() for run in rounds.values())
        low = min(run["gold"].mean(0).min() for run in rounds.values())
        for ax in (steps, paths):
            ax.set_ylim(min(low, 0) - 0.3, 2.2 * top + 0.3)
        steps.set_title(way)
        steps.set_xlabel("policy steps, all rounds")
        figures.kl_axis(paths, max(run["kl"].mean(0).max() for run in rounds.values()))
    for row_of in (0, len(several)):
        axes[row_of].set_ylabel("score (gold s.d.)")
    keys = sorted({k for rounds in several.values() for k in rounds})
    figures.key_of(figure, keys, keys, "round")
    caption = (
        "Above: gold (solid, with intervals over seeds) and proxy (dashed) along the steps of all rounds. Below: the "
        "same gold against KL; dotted: k rounds as predicted from the first."
    )
    return [Figure(figures.save(figure, folder, "rounds"), caption)]


def rounds_of(read) -> dict[str, dict[int, dict]]:
    """way -> round -> column -> [S, T] of rounds of RLHF; gold from the reference policy's, of the same seeds.

    Ways may share their first round, which the records keep once, under the first way.
    """
    names = read.variants

    def one(way, k, start):
        columns = {c: along(read, way, "rl", c, round=k) for c in ("control", "kl", "num_pairs", *curves.SCORES)}
        if k > 1 and columns["kl"][0, 0] >= laws.AT_REFERENCE**2:  # goes on: scores are as recorded
            columns["gold"] = columns["gold"] - start
        return columns

    table = read.curves[(read.curves["variant"] == names[0]) & (read.curves["round"] == 1)]
    start = table[table["control"] == 0].sort_values("seed")["gold"].to_numpy()[:, None]
    out = {}
    for way in names:
        has = sorted(int(k) for k in set(read.curves.loc[read.curves["variant"] == way, "round"]))
        out[way] = ({} if 1 in has else {1: out[names[0]][1]}) | {k: one(way, k, start) for k in has}
    return out
