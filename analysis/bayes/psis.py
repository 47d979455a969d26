"""Leave-one-out by Pareto-smoothed importance sampling (Vehtari, Gelman & Gabry 2017; Vehtari et al. 2024)."""

import numpy as np
from scipy import special

RELIABLE = 0.7  # k-hat above which smoothed weights are not to be trusted


def smoothed(log_ratios) -> tuple[np.ndarray, float]:
    """(log weights [N] that sum to 1 after exp, k-hat) of log importance ratios [N].

    The largest min(N / 5, 3 sqrt(N)) ratios are replaced by the expected order statistics of a generalised Pareto
    distribution fitted to them, cut at the largest ratio. k-hat is its shape: the weights' mean has a finite variance
    below 1/2, and a usable finite-sample error below 0.7.
    """
    logs = np.asarray(log_ratios, float) - np.max(log_ratios)
    count = len(logs)
    tail = int(np.ceil(min(0.2 * count, 3 * np.sqrt(count))))
    k = np.inf
    if tail > 4:
        order = np.argsort(logs)
        last, cut = order[-tail:], np.exp(logs[order[-tail - 1]])
        beyond = np.exp(logs[last]) - cut
        if beyond[0] < beyond[-1]:
            k, scale = pareto(beyond)
            at = (np.arange(tail) + 0.5) / tail
            expected = scale * np.expm1(-k * np.log1p(-at)) / k if k != 0 else -scale * np.log1p(-at)
            logs[last] = np.minimum(np.log(expected + cut), 0.0)
        else:  # all alike: nothing to smooth
            k = -np.inf
    return logs - special.logsumexp(logs), float(k)


def pareto(beyond) -> tuple[float, float]:
    """(shape k, scale) of a generalised Pareto distribution, of ascending excesses above 0 (Zhang & Stephens 2009).

    k is drawn towards 1/2 by as much as ten excesses would (Vehtari et al. 2024, appendix C).
    """
    x = np.asarray(beyond, float)
    n = len(x)
    grid = 30 + int(np.sqrt(n))
    b = 1 / x[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * x[int(n / 4 + 0.5) - 1])
    k = np.mean(np.log1p(-b[:, None] * x), axis=1)
    likelihood = n * (np.log(-b / k) - k - 1)
    weights = np.exp(likelihood - special.logsumexp(likelihood))
    at = np.sum(b * weights)
    k = np.mean(np.log1p(-at * x))
    scale = -k / at
    return float((n * k + 5) / (n + 10)), float(scale)


def leave_one_out(log_densities) -> tuple[np.ndarray, np.ndarray]:
    """(log predictive density [S], k-hat [S]) of each unit from the others: log densities [N, S] of N draws."""
    out = []
    for column in np.asarray(log_densities, float).T:
        weights, k = smoothed(-column)
        out.append((special.logsumexp(weights + column), k))
    found = np.array(out)
    return found[:, 0], found[:, 1]
