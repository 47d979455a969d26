"""Best-of-n: expected scores for every n and every proxy, from one pool of reference samples a prompt.

The estimator is the unbiased one over all subsets of size n of the sorted pool (Nakano et al. 2021,
appendix I). It needs no loop over n. Tied proxies share their weight equally, which is best-of-n
with ties broken at random.
"""

import numpy as np
from scipy.special import gammaln


def ns_up_to(num_samples: int, per_octave: int = 2) -> np.ndarray:
    """The n at which best-of-n is measured: 1, 2, 3, 4, 6, 8, ..., about evenly spaced in log n, up to num_samples."""
    grid = np.exp2(np.arange(0, np.log2(num_samples) * per_octave + 1e-9) / per_octave)
    return np.unique(np.append(np.round(grid), num_samples).astype(int))


def kl_bound(n):
    """KL(best-of-n || ref_policy) = log n - (n - 1)/n nats: exact for proxies without ties, else an upper bound.

    Stiennon et al. 2020, appendix G.3; Beirami et al. 2024 for the bound.
    """
    n = np.asarray(n, float)
    return np.log(n) - (n - 1) / n


def weights(num_samples: int, ns) -> np.ndarray:
    """Probability that the k-th smallest of the pool is the best of n drawn without replacement, [K, N].

    w[n, k] = C(k - 1, n - 1) / C(N, n), by log-gamma: exact to 1e-11 relative at N = 60,000, and no
    big integers.
    """
    k = np.arange(1, num_samples + 1)[None, :]
    n = np.asarray(ns, float)[:, None]
    log_choose = lambda a, b: gammaln(a + 1) - gammaln(b + 1) - gammaln(np.maximum(a - b, 0) + 1)
    log_w = log_choose(k - 1, n - 1) - log_choose(num_samples, n)
    return np.where(k >= n, np.exp(np.minimum(log_w, 0.0)), 0.0)


def expected(proxy, scores: dict, ns) -> dict:
    """Expected scores of the best of n by proxy, for each prompt.

    proxy: [P, N] pool rewards.  scores: name -> [P, N].  ns: [K] <= N.
    Returns name -> [P, K].  ValueError if an n exceeds the pool.
    """
    proxy, ns = np.asarray(proxy), np.asarray(ns)
    num_prompts, num_samples = proxy.shape
    if ns.max() > num_samples or ns.min() < 1:
        raise ValueError(f"n from {ns.min()} to {ns.max()}: a pool of {num_samples} samples allows 1 to {num_samples}")
    table = weights(num_samples, ns)
    out = {name: np.empty((num_prompts, len(ns))) for name in scores}
    for p in range(num_prompts):
        order = np.argsort(proxy[p], kind="stable")
        w = _share_ties(proxy[p][order], table)
        for name, values in scores.items():
            out[name][p] = w @ np.asarray(values[p], float)[order]
    return out


def products(gold, rubric) -> dict:
    """Products of the pool's scores [P, N], of which `spread` wants the expected values."""
    return dict(gold_squared=gold * gold, rubric_squared=rubric * rubric, gold_rubric=gold * rubric)


def spread(gold, rubric, gold_squared, rubric_squared, gold_rubric) -> dict:
    """Columns gold_sd, rubric_sd and gold_rubric_correlation, [K], over prompts and the law of the selected sample.

    Each argument [K] is the mean over prompts of expected values. The correlation is NaN where one does not vary.
    """
    gold_sd = np.sqrt(np.maximum(gold_squared - gold * gold, 0.0))
    rubric_sd = np.sqrt(np.maximum(rubric_squared - rubric * rubric, 0.0))
    scale = gold_sd * rubric_sd
    correlation = np.divide(gold_rubric - gold * rubric, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return dict(gold_sd=gold_sd, rubric_sd=rubric_sd, gold_rubric_correlation=correlation)


def kl_lost_to_ties(ordered, ns):
    """Nats by which KL is below `kl_bound` as proxies of the pool tie: ascending rows [P, N], ns [K] -> [P, K].

    A run of ties that holds the quantiles from a to b is chosen with probability q = b^n - a^n, all of it alike, where
    without ties the density n u^(n-1) rises within it. So its share of KL is q log(q / (b - a)), not H(b) - H(a), with
    H(u) = u^n (log n + (n - 1) (log u - 1/n)) the integral of that density times its logarithm.
    """
    ordered = np.asarray(ordered)
    num_prompts, num_samples = ordered.shape
    starts = np.flatnonzero(np.append(np.ones((num_prompts, 1), bool), ordered[:, 1:] != ordered[:, :-1], axis=1))
    sizes = np.diff(np.append(starts, ordered.size))
    starts, sizes = starts[sizes > 1], sizes[sizes > 1]
    prompt, first = np.divmod(starts, num_samples)
    a, b = first / num_samples, (first + sizes) / num_samples
    out = np.zeros((num_prompts, len(ns)))
    for k, n in enumerate(np.asarray(ns, float)):
        integral = lambda u, n=n: u**n * (np.log(n) + (n - 1) * (np.log(np.where(u > 0, u, 1.0)) - 1 / n))
        q = b**n - a**n
        tied = q * np.log(np.where(q > 0, q, 1.0) / (b - a))
        out[:, k] = np.bincount(prompt, integral(b) - integral(a) - tied, num_prompts)
    return out


def _share_ties(ordered, table):
    """Equal weight within each run of equal proxies: [N] ascending, [K, N] -> [K, N]."""
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    if len(starts) == len(ordered):
        return table
    sizes = np.diff(np.append(starts, len(ordered)))
    return np.repeat(np.add.reduceat(table, starts, axis=1) / sizes, sizes, axis=1)


def exact_distribution(ref_probs, proxy, n: int):
    """Best-of-n over a listed response set: [R] probabilities and proxies -> [R] probabilities.

    P(best = y) = F(y)^n - F(y-)^n over the proxy order; ties at random, i.e. in proportion to ref_probs.
    """
    values, group = np.unique(np.asarray(proxy), return_inverse=True)
    mass = np.bincount(group, weights=ref_probs, minlength=len(values))
    upper = np.cumsum(mass) / mass.sum()
    lower = np.append(0.0, upper[:-1])
    won = upper**n - lower**n
    return np.where(mass[group] > 0, np.asarray(ref_probs) * (won / np.maximum(mass, 1e-300))[group], 0.0)


def exact_kl(ref_probs, proxy, n: int) -> float:
    """KL(best-of-n || ref_policy) in nats on a listed response set, exact with ties and atoms."""
    best = exact_distribution(ref_probs, proxy, n)
    keep = best > 0
    return float(np.sum(best[keep] * np.log(best[keep] / np.asarray(ref_probs)[keep])))
