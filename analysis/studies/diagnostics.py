"""Measures of a reward model as predictors of its over-optimization under best-of-n.

A measure is known before policies are optimised (held-out loss, accuracy, calibration error, rank correlation) or early
(gold per proxy gained by best-of-16). Every reward model of the size-by-data grid is one point. The intervals draw
(size, data) cells and not reward models, since seeds of a cell are alike.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis import curves
from gold_sim import laws

TITLE = "What foretells the outcome: Spearman over reward models, interval over (size, data) cells"
MEASURES = {
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "val_loss_soft_calibrated": "calibrated soft loss",
    "ece": "calibration error",
    "rank_correlation": "rank correlation",
    "agreement": "gold per proxy, best of 16",
    "path_accuracy": "gold per proxy, n 16 to 256",
}
OUTCOMES = {"gold_far": "gold at the largest n", "d_peak": "distance of the peak", "lost": "gold lost after the peak"}
EARLY, MIDDLE = 16, 256  # n of best-of-n
RESAMPLES = 500


def score(data) -> pd.DataFrame:
    """A row a (diagnostic, outcome): Spearman with its interval, and the share of rank variance; empty if too few."""
    models = per_model(data)
    if models.groupby(["rm_params", "num_pairs"]).ngroups < 4:
        return pd.DataFrame()
    rng = np.random.default_rng(0)
    members = [rows.index.to_numpy() for _, rows in models.groupby(["rm_params", "num_pairs"])]
    count = len(members)
    draws = [np.concatenate([members[i] for i in rng.integers(count, size=count)]) for _ in range(RESAMPLES)]
    rows = []
    for measure, name in MEASURES.items():
        for outcome, what in OUTCOMES.items():
            both = models[[measure, outcome]].to_numpy(float)
            whole = _spearman(both)
            sample = np.array([_spearman(both[draw]) for draw in draws])
            tails = [(1 - laws.LEVEL) / 2, (1 + laws.LEVEL) / 2]
            low, high = np.nanquantile(sample, tails) if np.isfinite(sample).any() else (np.nan, np.nan)
            row = {"diagnostic": name, "outcome": what, "models": int(np.isfinite(both).all(1).sum())}
            rows.append(row | {"spearman": whole, "spearman_low": low, "spearman_high": high, "rank_r2": whole**2})
    return pd.DataFrame(rows)


def _spearman(both) -> float:
    kept = both[np.isfinite(both).all(1)]
    if len(kept) < 4 or np.ptp(kept[:, 0]) == 0 or np.ptp(kept[:, 1]) == 0:
        return float("nan")
    return float(stats.spearmanr(*kept.T).statistic)


def per_model(data) -> pd.DataFrame:
    """One row a reward model: measures and outcomes."""
    best = curves.methods(data.curves).get("bon", data.curves.iloc[:0])
    rows = []
    for (cell, seed), run in best[best["rm_cell"] != ""].groupby(["rm_cell", "seed"], sort=True):
        own = data.reward_models[(data.reward_models["cell"] == cell) & (data.reward_models["seed"] == seed)]
        if own.empty:
            continue
        run = run.sort_values("control")
        gold, proxy = (np.interp([1, EARLY, MIDDLE], run["control"], run[name]) for name in ("gold", "proxy"))
        top = run["gold"].to_numpy().argmax()
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes = np.diff(gold) / np.diff(proxy)
        row = {name: own[name].iloc[0] for name in MEASURES if name in own.columns}
        row |= {"rm_params": run["rm_params"].iloc[0], "num_pairs": run["num_pairs"].iloc[0], "seed": seed}
        row |= {"agreement": slopes[0], "path_accuracy": slopes[1]}
        row |= {"gold_far": run["gold"].iloc[-1] - gold[0], "d_peak": run["d"].iloc[top]}
        rows.append(row | {"lost": run["gold"].iloc[top] - run["gold"].iloc[-1]})
    return pd.DataFrame(rows).reset_index(drop=True)
