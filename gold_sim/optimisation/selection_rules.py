"""Optimisation at inference time: rules that choose one of n reference samples by their proxy scores.

Every rule is (proxy [P, N], scores {name: [P, N]}, ns [K], coef) -> ({name: [P, K]} expected scores, KL [K] nats), from
one pool of N samples a prompt.

The weights of some rules depend on the n samples drawn. Such a rule is averaged over a partition of the pool into sets
of n. It decides by a sample's rank in the pool alone, so its KL to the reference policy is that of the chosen rank.
Ranks are counted in bins that halve towards the top, which makes this KL a lower bound, and a close one.
"""

import numpy as np
from scipy.integrate import quad_vec
from scipy.optimize import brentq
from scipy.special import ndtri

from gold_sim.optimisation import best_of_n

BINS_PER_HALVING = 2


def best(proxy, scores, ns, coef):
    """Best-of-n, with KL = log n - (n - 1)/n."""
    return best_of_n.expected(proxy, scores, ns), best_of_n.kl_bound(ns)


def poisson_cdf(u, mean):
    """Distribution function of the chosen proxy quantile, n = 1 + Poisson(mean): u e^(mean (u - 1)).

    Best-of-Poisson, Khalaf et al. 2025: within 8e-4 nats of the KL-optimal tilt of the quantile at equal mean quantile.
    """
    return u * np.exp(mean * (u - 1))


def poisson_kl(mean):
    """KL of the chosen quantile to uniform: integral of q log q, q(u) = (mean u + 1) e^(mean (u - 1)), nats."""
    mean = np.asarray(mean, float)

    def integrand(u):
        log_q = np.log1p(mean * u) + mean * (u - 1)
        return np.exp(log_q) * log_q

    breaks = [1 - 2.0**-k for k in range(1, 16)]
    return quad_vec(integrand, 0.0, 1.0, points=breaks, epsabs=1e-10)[0]


def poisson(proxy, scores, ns, coef):
    """Best of 1 + Poisson(n - 1) samples."""
    num = np.shape(proxy)[-1]
    mean = np.asarray(ns, float)[:, None] - 1
    weights = np.diff(poisson_cdf(np.linspace(0.0, 1.0, num + 1)[None], mean), axis=1)
    return _expected(proxy, scores, weights), poisson_kl(mean[:, 0])


def tilt(proxy, scores, ns, coef):
    """The optimum of E[r] - c KL on the pool: weights exp(r / c) with 1 / c = sqrt(n) - 1, so that n = 1 is no tilt.

    KL is that of these weights to equal weights on the pool. It is a lower bound, and at most log N.
    """
    out = {name: np.empty((len(proxy), len(ns))) for name in scores}
    kls = np.zeros((len(proxy), len(ns)))
    for p, r in enumerate(np.asarray(proxy, float)):
        log_w = (np.sqrt(np.asarray(ns, float)) - 1)[:, None] * r[None]
        w = np.exp(log_w - log_w.max(1, keepdims=True))
        w /= w.sum(1, keepdims=True)
        kls[p] = np.sum(w * np.log(np.maximum(w * len(r), 1e-300)), 1)
        for name, values in scores.items():
            out[name][p] = w @ np.asarray(values[p], float)
    return out, kls.mean(0)


def soft_weights(proxy, coef):
    """exp(z / coef) normalised over the last axis (soft best-of-n: Verdun et al. 2025); z: normal scores of ranks.

    Ranks are used because the exponential of a raw heavy-tailed reward would be best-of-n again.
    """
    n = proxy.shape[-1]
    ranks = np.argsort(np.argsort(proxy, axis=-1), axis=-1)
    z = ndtri((ranks + 0.5) / n) / coef
    w = np.exp(z - z.max(-1, keepdims=True))
    return w / w.sum(-1, keepdims=True)


def pessimism_weights(proxy, coef):
    """relu((r - lambda) / coef) with lambda such that the mean is 1, over the last axis, normalised to sum 1.

    InferenceTimePessimism (Huang et al. 2025): the optimum of E[r] - coef / 2 chi2(pi || ref_policy) on the samples.
    lambda solves sum_{top k} (r - lambda) = coef n: for each k the candidate is (sum of top k - coef n) / k, and the
    right k is the last at which the k-th largest still exceeds it.
    """
    n = proxy.shape[-1]
    top = -np.sort(-proxy, axis=-1)
    candidates = (np.cumsum(top, -1) - coef * n) / np.arange(1, n + 1)
    k = np.sum(top > candidates, -1, keepdims=True)
    threshold = np.take_along_axis(candidates, k - 1, -1)
    w = np.maximum(proxy - threshold, 0)
    return w / w.sum(-1, keepdims=True)


def _over_subsets(weigh):
    def rule(proxy, scores, ns, coef):
        rng = np.random.default_rng(0)
        proxy = np.asarray(proxy, float)
        num_prompts, num = proxy.shape
        order = np.argsort(proxy, axis=1, kind="stable")
        halvings = np.arange(int(np.log2(num)) * BINS_PER_HALVING) / BINS_PER_HALVING
        edges = np.append(1 - 2.0**-halvings, 1.0)
        share = np.diff(np.round(edges * num)) / num
        keep = share > 0
        bins = np.repeat(np.arange(keep.sum()), np.round(share[keep] * num).astype(int))  # of a rank
        out = {name: np.empty((num_prompts, len(ns))) for name in scores}
        chosen = np.zeros((len(ns), keep.sum()))  # share of choices in each bin of ranks
        for p in range(num_prompts):
            ordered = {name: np.asarray(values[p], float)[order[p]] for name, values in scores.items()}
            ranked = proxy[p][order[p]]
            for k, n in enumerate(np.asarray(ns)):
                if n == 1:  # the mean of the pool, without drawing
                    chosen[k] += share[keep] / num_prompts
                    for name, values in ordered.items():
                        out[name][p, k] = values.mean()
                    continue
                picks = rng.permutation(num)[: num // n * n].reshape(-1, n)
                w = weigh(ranked[picks], coef) / len(picks)
                for name, values in ordered.items():
                    out[name][p, k] = np.sum(w * values[picks])
                chosen[k] += np.bincount(bins[picks].ravel(), w.ravel(), keep.sum()) / num_prompts
        return out, np.sum(chosen * np.log(np.maximum(chosen, 1e-300) / share[keep]), 1)

    return rule


def _expected(proxy, scores, weights):
    """Expected scores, name -> [P, K], under weights [K, N] on samples in ascending order of the proxy."""
    order = np.argsort(proxy, axis=1, kind="stable")
    take = lambda values: np.take_along_axis(np.asarray(values, float), order, axis=1)
    return {name: take(values) @ weights.T for name, values in scores.items()}


RULES = dict(
    best_of_n=best,
    poisson=poisson,
    soft=_over_subsets(soft_weights),
    pessimism=_over_subsets(pessimism_weights),
    tilt=tilt,
)


# --- HedgeTune ----------------------------------------------------------------------------------


def hedge_n(quantile, gold, n_max: float) -> float:
    """n of best-of-n at which gold stops rising, from calibration samples (HedgeTune: Khalaf et al. 2025).

    The root of E[gold(u) (1/n + log u)] under the density n u^(n-1) of the chosen proxy quantile u: the derivative of
    expected gold by n. quantile, gold: [samples]. Returns n_max if gold still rises there, 1 if it never does.
    """
    gold = np.asarray(gold, float).ravel()
    # Samples of one quantile weigh alike, so their mean stands for them: a pool has far fewer quantiles than samples.
    u, at, count = np.unique(np.asarray(quantile, float).ravel(), return_inverse=True, return_counts=True)
    g = np.bincount(at, gold - gold.mean()) / count

    def slope(log_n):
        n = np.exp(log_n)
        w = count * u ** (n - 1)
        w = w / w.sum()
        return np.sum(w * (g - w @ g) * (1 / n + np.log(u)))

    grid = np.linspace(0.0, np.log(n_max), 60)
    values = np.array([slope(x) for x in grid])
    falling = np.flatnonzero((values[:-1] > 0) & (values[1:] <= 0))
    if not len(falling):
        return float(n_max) if values[-1] > 0 else 1.0
    return float(np.exp(brentq(slope, grid[falling[0]], grid[falling[0] + 1])))


def hedge_slopes(gold, log_ns):
    """The derivative by n whose root is `hedge_n`, of each prompt: [P, N] in ascending order of proxy -> [P, K].

    The root of its mean over prompts is `hedge_n` of them all. It is a mean over prompts, so an interval of n is the n
    at which an interval of it holds 0.
    """
    u = (np.arange(np.shape(gold)[1]) + 0.5) / np.shape(gold)[1]
    n = np.exp(np.asarray(log_ns, float))[:, None]
    w = u ** (n - 1)
    w /= w.sum(1, keepdims=True)
    psi = 1 / n + np.log(u)
    return np.asarray(gold, float) @ (w * (psi - np.sum(w * psi, 1, keepdims=True))).T


def hedge_roots(log_ns, slope, low, high) -> tuple[float, float, float]:
    """n at which the slope [K] first falls to 0, and the ends of the n about it at which its interval holds 0.

    low, high: [K] interval of the slope. Between the log n [K] all are straight lines. An end that is not reached is
    the first n or the last. Where the slope never falls to 0, n is as by `hedge_n`.
    """
    falling = np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0))
    at = falling[0] if len(falling) else (len(slope) - 1 if slope[-1] > 0 else 0)
    cross = lambda y, i: log_ns[i] + (log_ns[i + 1] - log_ns[i]) * y[i] / (y[i] - y[i + 1])
    below, above = np.flatnonzero(low[: at + 1] > 0), np.flatnonzero(high[at:] < 0)
    first = log_ns[0]
    if len(below):
        first = cross(low, below[-1]) if below[-1] < len(slope) - 1 else log_ns[-1]
    last = log_ns[-1]
    if len(above):
        last = cross(high, at + above[0] - 1) if at + above[0] else log_ns[0]
    ends = (cross(slope, at) if len(falling) else log_ns[at], first, last)
    return tuple(float(np.exp(x)) for x in ends)


def hedge(proxy, gold, n_max: int) -> dict:
    """HedgeTune on every second prompt, judged on the others.

    Returns the n chosen, the best n on the others, and gold at these two and at n_max.
    """
    proxy, gold = np.asarray(proxy, float), np.asarray(gold, float)
    num = proxy.shape[1]
    quantile = (np.argsort(np.argsort(proxy, axis=1), axis=1) + 0.5) / num
    chosen = hedge_n(quantile[::2], gold[::2] - gold[::2].mean(1, keepdims=True), n_max)
    ns = np.unique(np.append(best_of_n.ns_up_to(n_max), max(1, round(chosen))))
    curve = best_of_n.expected(proxy[1::2], {"gold": gold[1::2]}, ns)["gold"].mean(0)
    at = lambda n: float(curve[np.searchsorted(ns, n)])
    return dict(
        n=chosen,
        n_oracle=int(ns[np.argmax(curve)]),
        gold=at(max(1, round(chosen))),
        gold_oracle=float(curve.max()),
        gold_at_largest_n=float(curve[-1]),
        gold_at_1=float(curve[0]),
    )
