"""What a table of scored samples says of its proxy: best-of-n curves, law, HedgeTune's n, tails, agreement with gold.

Every estimate is a mean over pairs of a prompt and a reward model, or is linearised as one. So all intervals are of one
kind: between prompts, and between reward models where there are several (`intervals.crossed_interval`).
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from analysis.findings import Table
from analysis.fit import checklist, fits, pools
from analysis.fit.pools import Columns, Pool
from analysis.numbers import label
from gold_sim import laws
from gold_sim.laws import comparison, tails
from gold_sim.laws.intervals import crossed_interval
from gold_sim.optimisation import best_of_n, selection_rules

FORM = "bon"
HEDGE_STEP = 0.05  # in log n, of the grid on which HedgeTune's root is looked for
PAIRINGS = 64  # of every sample with others of its prompt; with up to twice as many samples these are all pairs
NOTED = 0.01  # share of KL lost to ties above which it is said


def scores(path: Path, columns: Columns) -> dict:
    """The contract of `python -m analysis scores --json`: {curve, fit, hedge, tail, agreement, warnings}.

    hedge, tail, agreement are of the table, or with groups a list of one entry a group.
    """
    groups, warnings = pools.load(path, columns)
    by, grid = columns.by or "group", [best_of_n.ns_up_to(pool.num_samples) for pool in groups]
    found = [curve(pool, ns) for pool, ns in zip(groups, grid, strict=True)]
    named = lambda entries: (
        [{by: pool.key} | entry for pool, entry in zip(groups, entries, strict=True)] if columns.by else entries[0]
    )
    result = {
        "curve": [
            {by: pool.key} | row for pool, one in zip(groups, found, strict=True) for row in one.to_dict("records")
        ],
        "fit": fit([(pool, per_pair(pool, fit_ns(pool))) for pool in groups], by),
        "hedge": named([hedge(pool) for pool in groups]),
        "tail": named([tail(pool) for pool in groups]),
        "agreement": named([agreement(pool) for pool in groups]),
    }
    for pool, one, hedged, tailed in zip(groups, found, *map(listed, (result["hedge"], result["tail"])), strict=True):
        warnings += oddities(pool, one, hedged["n"], tailed, columns)
    return result | {"warnings": missing_draws(groups) + warnings + result["fit"]["warnings"]}


def listed(entries) -> list[dict]:
    """One entry a group."""
    return entries if isinstance(entries, list) else [entries]


# --- the curve and its law -----------------------------------------------------------------------


def in_order(proxy, gold):
    """Gold [C, N] in ascending order of proxy [C, N], averaged over ties: best-of-n breaks them at random."""
    first = np.ones(proxy.shape, bool)
    first[:, 1:] = proxy[:, 1:] != proxy[:, :-1]
    if first.all():
        return gold
    run = np.cumsum(first) - 1
    return (np.bincount(run, gold.ravel()) / np.bincount(run))[run].reshape(gold.shape)


def per_pair(pool: Pool, ns) -> np.ndarray:
    """Expected gold of the best of n, of every pair: [S, P, K]."""
    return pool.each(lambda proxy, gold: in_order(proxy, gold) @ _weights(proxy, ns), len(ns))


def _weights(proxy, ns):
    return best_of_n.weights(proxy.shape[1], ns).T


def curve(pool: Pool, ns) -> pd.DataFrame:
    """One row an n: kl, gold with its interval, gain over n = 1 with its interval, proxy, and KL with ties."""
    gold = per_pair(pool, ns)
    proxy = pool.each(lambda proxy, _: proxy @ _weights(proxy, ns), len(ns)).mean((0, 1))
    lost = pool.each(lambda proxy, _: best_of_n.kl_lost_to_ties(proxy, ns), len(ns)).mean((0, 1))
    kl, gain = best_of_n.kl_bound(ns), gold - gold[..., :1]
    columns = {"n": ns, "kl": kl, "gold": gold.mean((0, 1)), "gold_ci": list(zip(*crossed_interval(gold), strict=True))}
    columns |= {"gain": gain.mean((0, 1)), "gain_ci": list(zip(*crossed_interval(gain), strict=True))}
    return pd.DataFrame(columns | {"proxy": proxy, "kl_with_ties": kl - lost})


def fit_ns(pool: Pool) -> np.ndarray:
    """The n that the law is fitted to: 1, 2, 4, 8, ... and N; those between repeat what these say."""
    return best_of_n.ns_up_to(pool.num_samples, per_octave=1)


def law(pool: Pool, gold) -> laws.LawFit:
    """The law fitted to gold [S, P, K] of `fit_ns` minus its value at n = 1, each pair's least squares one draw."""
    d, gain = np.sqrt(best_of_n.kl_bound(fit_ns(pool))), (gold - gold[..., :1]).reshape(-1, gold.shape[-1])
    each = laws.SeedFits(FORM, d, gain, *laws.least_squares(FORM, d, gain))
    return laws.law_fit(each, interval=between(pool))


def between(pool: Pool):
    """An interval of the mean of values [S P, ...], between prompts and reward models."""
    shape = (pool.num_seeds, pool.num_prompts)
    return lambda values, level: crossed_interval(np.reshape(values, (*shape, *values.shape[1:])), level)


def fit(curves: list, by: str) -> dict:
    """The law of every group as `fits.fit` gives it, with intervals between prompts and reward models.

    curves: (pool, gold [S, P, K] of `fit_ns`) of each group.
    """
    found, rows, residual, warnings = {}, [], 0.0, []
    options = fits.Options(x="n", form=FORM, y="gain", by=by)
    for pool, gold in curves:
        one = found[pool.key] = law(pool, gold)
        rows.append(
            {by: pool.key} | fits.entry(one) | {"runs": pool.num_seeds, "n_points": one.n_points, "robust": None}
        )
        warnings += fits.complaints(f"{by}={label(pool.key)}", one, options)
        if one.converged:
            mean, d = gold.mean((0, 1)), np.sqrt(best_of_n.kl_bound(fit_ns(pool)))
            residual += float(np.sum((mean - mean[0] - laws.evaluate(FORM, d, one.alpha, one.beta)) ** 2))
    points = sum(one.n_points for one in found.values() if one.converged)
    known = comparison.information(residual, points, laws.FORMS[FORM].num_params * len(rows))
    result = {
        "form": FORM,
        "share": None,
        "x": options.described_x,
        "y": options.y,
        "trends": fits.trends(found, list(found.values())),
        "n_points": sum(row["n_points"] for row in rows),
        "groups": rows,
        **vars(known),
        "warnings": warnings,
    }
    stated = checklist.of_fit(options, result, compared=False)
    between_models = " and reward models" if any(pool.num_seeds > 1 for pool, _ in curves) else ""
    stated["stated"] |= {
        "variables": "d from n of best-of-n, column n; gold minus that of n = 1, column gain",
        "uncertainty": f"{laws.LEVEL:.0%} between prompts{between_models}, Student t",
        "validation": "R² of the same points alone",
    }
    return result | {"checklist": stated}


# --- HedgeTune, tails, agreement -----------------------------------------------------------------


def hedge(pool: Pool) -> dict:
    """HedgeTune's n (Khalaf et al. 2025), and the n at which gold may have stopped rising: an interval at 90 %."""
    end = np.log(pool.num_samples)
    log_ns = np.linspace(0.0, end, int(np.ceil(end / HEDGE_STEP)) + 1)
    gain = lambda proxy, gold: in_order(proxy, gold - gold.mean(1, keepdims=True))
    slopes = pool.each(lambda *of: selection_rules.hedge_slopes(gain(*of), log_ns), len(log_ns))
    roots = selection_rules.hedge_roots(log_ns, slopes.mean((0, 1)), *crossed_interval(slopes))
    n, *interval = (float(pool.num_samples) if np.isclose(x, pool.num_samples, rtol=1e-9) else x for x in roots)
    alone = pool.num_seeds == pool.num_prompts == 1
    return {"n": n, "n_ci": (np.nan, np.nan) if alone else tuple(interval)}


def tail(pool: Pool) -> dict:
    """Tail index of the proxy and of its error, within prompts, of the samples of all pairs.

    Both are minus the prompt's median, and in interquartile ranges of the reward model. The error is the proxy minus
    what its least squares on gold, within prompts, explain.
    """
    numbers = np.concatenate([np.repeat(pairs, proxy.shape[1]) for pairs, proxy, _ in pool.blocks])
    seeds = numbers // pool.num_prompts
    centred = lambda scores: np.concatenate([(x - np.median(x, 1, keepdims=True)).ravel() for x in scores])
    proxy = centred([proxy for _, proxy, _ in pool.blocks])
    error = proxy.copy()
    gold = centred([gold for _, _, gold in pool.blocks])
    slopes = [_slope(pool, s) for s in range(pool.num_seeds)]
    error -= np.take(slopes, seeds) * gold
    del gold
    return {name: _tail(pool, values, numbers, seeds) for name, values in (("proxy", proxy), ("error", error))}


def _slope(pool: Pool, seed: int) -> float:
    """Least squares of the proxy on gold within prompts, of one reward model; 0 where gold does not vary."""
    above = below = 0.0
    for pairs, proxy, gold in pool.blocks:
        of = pairs // pool.num_prompts == seed
        x = gold[of] - gold[of].mean(1, keepdims=True)
        above, below = above + np.sum(x * proxy[of]), below + np.sum(x * x)
    return above / below if below > 0 else 0.0


def _tail(pool: Pool, values, numbers, seeds) -> dict:
    for s in range(pool.num_seeds):
        of = seeds == s
        spread = stats.iqr(values[of])
        values[of] /= spread if spread > 0 else np.nan
    found = tails.fit(values) if np.isfinite(values).all() else tails.fit([])
    count, pairs, half = len(found.where), pool.num_seeds * pool.num_prompts, np.nan
    if count:
        half = stats.norm.ppf(0.5 + laws.LEVEL / 2) * found.error
        if pairs > 1 and np.isfinite(found.influence).all():
            each = pairs / count * np.bincount(numbers[found.where], found.influence, pairs)
            low, high = between(pool)(each, laws.LEVEL)
            # A few large excesses make the scatter of prompts: where chance keeps it small, independent ones count.
            # Between few reward models t is wide enough. Coverage without this: 0.80; with it for all: 0.95.
            half = max(half, (high - low) / 2) if pool.num_seeds == 1 else (high - low) / 2
    interval = (float(found.xi - half), float(found.xi + half))
    return {"xi": found.xi, "xi_ci": interval, "threshold": found.threshold, "excesses": count}


def agreement(pool: Pool) -> dict:
    """How well the proxy orders the samples of a prompt: accuracy on pairs, and Spearman's rank correlation."""
    out = {}
    for name, function in (("accuracy", accuracy), ("rank_correlation", rank_correlation)):
        each = pool.each(function)
        each = each[:, np.isfinite(each).all(0)]  # a prompt whose gold or proxy is constant has none
        known = each.size > 0
        low, high = crossed_interval(each) if known else (np.nan, np.nan)
        out |= {name: float(each.mean()) if known else np.nan, f"{name}_ci": (float(low), float(high))}
    return out


def accuracy(proxy, gold) -> np.ndarray:
    """Share of pairs of a prompt's samples that proxy [C, N] orders as gold does, [C]; a tie of proxies counts half.

    Pairs of equal gold are left out. Of more than 2 PAIRINGS samples each is paired with 2 PAIRINGS others, at random.
    """
    size = proxy.shape[1]
    shuffled = np.random.default_rng(0).permutation(size)
    proxy, gold = (np.take(scores, np.tile(shuffled, 2), 1) for scores in (proxy, gold))  # so that lags are slices
    right, pairs = np.zeros(len(proxy)), np.zeros(len(proxy))
    for lag in range(1, min(PAIRINGS, size // 2) + 1):
        once = size // 2 if 2 * lag == size else size  # half way round each pair would be met twice
        left, other = slice(0, once), slice(lag, lag + once)
        by_gold = np.sign(gold[:, left] - gold[:, other])
        right += 0.5 * np.sum(by_gold * np.sign(proxy[:, left] - proxy[:, other]) + by_gold**2, 1)
        pairs += np.sum(by_gold**2, 1)
    return np.divide(right, pairs, out=np.full(len(right), np.nan), where=pairs > 0)


def rank_correlation(proxy, gold) -> np.ndarray:
    """Spearman's correlation within prompts, [C, N] -> [C]; NaN where proxy or gold is constant."""
    x, y = (ranks - ranks.mean(1, keepdims=True) for ranks in (stats.rankdata(v, axis=1) for v in (proxy, gold)))
    scale = np.sqrt(np.sum(x * x, 1) * np.sum(y * y, 1))
    return np.divide(np.sum(x * y, 1), scale, out=np.full(len(x), np.nan), where=scale > 0)


# --- what is said --------------------------------------------------------------------------------


def missing_draws(groups: list[Pool]) -> list[str]:
    """Which variance the intervals lack."""
    out = []
    if any(pool.num_seeds == 1 for pool in groups):
        out.append("one reward model: its seed's variance is not in these intervals")
    if any(pool.num_prompts == 1 for pool in groups):
        out.append("one prompt: the variance of prompts is not in these intervals")
    return out


def oddities(pool: Pool, of: pd.DataFrame, hedged: float, tailed: dict, columns: Columns) -> list[str]:
    """Warnings about one group's curve, HedgeTune's n and tails."""
    where = f"{columns.by}={label(pool.key)}: " if columns.by else ""
    out, last = [], of.iloc[-1]
    if last["kl"] - last["kl_with_ties"] > NOTED * last["kl"]:
        given = f"{columns.proxy} ties: KL at n = {int(last['n'])} is {last['kl_with_ties']:.3g} nats (kl_with_ties)"
        out.append(f"{where}{given}, not {last['kl']:.3g}, which is an upper bound; curve and law take the bound")
    if hedged >= pool.num_samples:
        best = int(of["n"].iloc[of["gold"].argmax()])
        out.append(f"{where}HedgeTune's n is all {pool.num_samples:,} samples of a prompt: gold's peak may lie beyond "
                   f"(the curve is highest at n = {best:,})")  # fmt: skip
    if none := [name for name in ("proxy", "error") if not tailed[name]["excesses"]]:
        wanted = f"{tails.FEWEST} that stand out are wanted, as about 1,000 samples have"
        out.append(f"{where}no tail index of {' and '.join(none)}: {wanted}")
    return out


def tables(result: dict) -> list[Table]:
    """Curves, law, and the rest for a terminal."""
    by = next(iter(result["curve"][0]))
    folded = lambda row: {k: label(v) if k == by else v for k, v in row.items() if not k.endswith("_ci")} | {
        f"{k.removesuffix('_ci')}_{end}": v for k, pair in row.items() if k.endswith("_ci")
        for end, v in zip(("low", "high"), pair, strict=True)
    }  # fmt: skip
    rest = []
    for hedged, tailed, agreed in zip(*(listed(result[name]) for name in ("hedge", "tail", "agreement")), strict=True):
        row = {by: hedged.get(by, "all"), "hedge_n": hedged["n"], "hedge_n_ci": hedged["n_ci"]}
        for of in ("proxy", "error"):
            row |= {f"tail_of_{of}": tailed[of]["xi"], f"tail_of_{of}_ci": tailed[of]["xi_ci"]}
        rest.append(folded(row | {k: v for k, v in agreed.items() if k != by}))
    return [
        Table("curve", "Best-of-n by the unbiased estimator", pd.DataFrame([folded(row) for row in result["curve"]])),
        fits.table(result["fit"]),
        Table("rest", "HedgeTune's n, tail index xi, agreement within prompts", pd.DataFrame(rest)),
    ]
