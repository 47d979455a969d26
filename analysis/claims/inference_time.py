"""Claims on selection at inference time: best-of-n, its rivals and hedges."""

import numpy as np
import pandas as pd

from analysis.judgement import SMALL, every, surely_above, surely_at_most, told, told_each, told_share
from analysis.numbers import number
from analysis.runs import along, lost


def light_tails(read):
    share = lost(along(read, "best_of_n", "bon", error_kind="regressional"))
    return surely_at_most(share, 0.02), f"share of the peak lost at the largest n: {told_share(share)}"


def heavy_tails(read):
    gold = along(read, "best_of_n", "bon", error_kind="heavy_tailed")
    n = int(along(read, "best_of_n", "bon", "control", error_kind="heavy_tailed")[0][gold.mean(0).argmax()])
    share = lost(gold)
    says = f"peak {number(gold.mean(0).max())} at n = {n}; {told_share(share)} of it lost at the largest n"
    return every([n <= 64, surely_above(share, 0.5)]), says


def pessimism_keeps(read):
    gold = along(read, "pessimism_0_3", "bon", error_kind="heavy_tailed")
    plain = along(read, "best_of_n", "bon", error_kind="heavy_tailed")
    share = lost(gold)
    ends = f"gold at the largest n {told(gold[:, -1])}, best-of-n's {told(plain[:, -1])}"
    return surely_at_most(share, SMALL), f"{told_share(share)} of its peak lost; {ends}"


def poisson(read):
    worst = {}
    for size in sorted(read.curves["rm_params"].unique()):
        of = lambda name, column="gold", size=size: along(read, name, "bon", column, rm_params=size).mean(0)
        at = np.interp(np.sqrt(of("best_of_poisson", "kl")), np.sqrt(of("best_of_n", "kl")), of("best_of_n"))
        worst[size] = float(np.max(np.abs(of("best_of_poisson") - at)))  # of the same pools: no interval is wanted
    says = "; ".join(f"{size} parameters {gap:.3f} s.d." for size, gap in worst.items())
    return max(worst.values()) < SMALL, f"largest difference in mean gold at equal KL, the same pools: {says}"


def hedges(read) -> pd.DataFrame:
    """HedgeTune of every best-of-n run of the experiment: n, n_oracle, gold, ... (selection_rules.hedge)."""
    rows = []
    table = read.curves[read.curves["optimiser"] == "best_of_n"]
    for cell, part in table.groupby("cell"):
        record = read.record("best_of_n", cell)
        settings = part[["error_kind", "rm_params"]].iloc[0].to_dict()
        rows.append(pd.DataFrame(record["hedge"]).assign(**settings))
    return pd.concat(rows, ignore_index=True)


def hedge(read):
    found = hedges(read)
    ratio = found["n"] / found["n_oracle"]
    within = ((ratio >= 0.5) & (ratio <= 2)).mean()
    kept = (found["gold"] - found["gold_at_1"]) / (found["gold_oracle"] - found["gold_at_1"])
    says = (
        f"n within a factor 2 of the best in {within:.0%} of {len(found)} runs; {kept.mean():.0%} of the best gain kept"
    )
    return bool(within >= 0.5), says


def pessimism_small_proxy(read):
    small = int(read.curves["rm_params"].min())
    at_end = lambda name: along(read, name, "bon", rm_params=small)[:, -1]
    gain = {
        name: at_end(name) - at_end("best_of_n") for name in ("pessimism_0_3", "pessimism_0_1", "soft_temperature_0_5")
    }
    says = f"gold at the largest n minus best-of-n's, {small} parameters: {told_each(read, gain)}"
    return surely_above(gain["pessimism_0_3"]), says
