"""Whether chains can be trusted: rank-normalised R-hat, bulk and tail effective sample size (Vehtari et al. 2021)."""

import numpy as np
from scipy import special, stats

HIGHEST_RHAT, LEAST_ESS = 1.01, 400
SHARE = 0.9  # of the central interval whose ends tail ESS is of


def diagnosed(draws: dict, diverging) -> dict:
    """{divergences, max_rhat, min_ess, worst, good} of draws {name: [C, N, ..]} and diverging [C, N].

    worst: the parameter with the highest R-hat.  good: whether all are within the limits that Vehtari et al. name.
    """
    worst, rhat, ess = "", 1.0, np.inf
    for name, values in draws.items():
        values = np.asarray(values, float)
        for index in np.ndindex(values.shape[2:]):
            column = values[(..., *index)]
            if not np.ptp(column) > 0 and np.isfinite(column).all():
                continue
            one, count = r_hat(column), min(effective(_ranked(column)), tail_effective(column))
            ess = count if not count >= ess else ess
            if not one <= rhat:
                worst, rhat = name + "".join(f"[{i}]" for i in index), one
    divergences = int(np.sum(diverging))
    good = bool(rhat <= HIGHEST_RHAT and ess >= LEAST_ESS and divergences == 0)
    return {"divergences": divergences, "max_rhat": float(rhat), "min_ess": float(ess), "worst": worst, "good": good}


def complaint(found: dict) -> str | None:
    """The one line that a bad chain is told in, or None."""
    if found["good"]:
        return None
    said = [f"{found['divergences']} divergent transitions"] if found["divergences"] else []
    if not found["max_rhat"] <= HIGHEST_RHAT:
        said.append(f"R-hat {found['max_rhat']:.4g} of {found['worst']} (wanted at most {HIGHEST_RHAT})")
    if not found["min_ess"] >= LEAST_ESS:
        said.append(f"effective sample size {found['min_ess']:.0f} (wanted at least {LEAST_ESS})")
    return f"bad chains, so these intervals are not to be used: {', '.join(said)}; more draws: --samples, --warmup"


def r_hat(x) -> float:
    """Potential scale reduction of chains [C, N]: the larger of that of ranks and of folded ranks, each split."""
    folded = np.abs(x - np.median(x))
    return max(_reduction(_split(_ranked(x))), _reduction(_split(_ranked(folded))))


def tail_effective(x) -> float:
    """The smaller effective sample size of the indicators below the ends of the central interval."""
    ends = np.quantile(x, [0.5 - SHARE / 2, 0.5 + SHARE / 2])
    return min(effective((x <= end) * 1.0) for end in ends)


def _ranked(x):
    return special.ndtri((stats.rankdata(x).reshape(x.shape) - 0.375) / (x.size + 0.25))


def _split(x):
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, -half:]])


def _reduction(x) -> float:
    n = x.shape[1]
    within = x.var(1, ddof=1).mean()
    return float(np.sqrt((n - 1) / n + x.mean(1).var(ddof=1) / within)) if within > 0 else float("inf")


def effective(x) -> float:
    """Effective sample size of chains [C, N], split; sums of pairs of autocorrelations up to the first below 0 (Geyer).

    NaN where nothing varies.
    """
    x = _split(np.asarray(x, float))
    chains, n = x.shape
    centred = x - x.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    covariance = np.fft.irfft(power)[:, :n].mean(0) / n
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + (x.mean(1).var(ddof=1) if chains > 1 else 0.0)
    if not total > 0:
        return float("nan")
    rho = 1 - (within - covariance) / total
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(1)
    stop = np.argmax(pairs < 0) if (pairs < 0).any() else len(pairs)
    time = -1 + 2 * np.minimum.accumulate(pairs[:stop]).sum() if stop else 1.0
    return float(chains * n / max(time, 1 / np.log10(chains * n)))
