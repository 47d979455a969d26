"""The threshold of an alarm, from runs on which it should be silent, or from runs whose gold is known."""

import math

import numpy as np
from scipy import stats

from gold_sim import laws


def at_rate(largest, rate: float) -> float:
    """Threshold that one further control exceeds at most at a rate.

    largest: [C] the largest alarm of each of C >= 2 controls.  From 1 / rate - 1 controls on it is the
    ceil((1 - rate)(C + 1))-th smallest, which holds for whatever distribution (split conformal prediction, Vovk et al.
    2005). Fewer controls have no such value: then the bound is Student's t for one further normal value.
    """
    largest = np.sort(np.asarray(largest, float))
    count = len(largest)
    rank = math.ceil((1 - rate) * (count + 1) - 1e-9)
    if rank <= count:
        return float(largest[rank - 1])
    wide = stats.t.isf(rate, count - 1) * np.sqrt(1 + 1 / count)
    bound = lambda values: float(values.mean() + wide * values.std(ddof=1))
    return max(bound(largest), math.exp(bound(np.log(largest)))) if largest[0] > 0 else bound(largest)


def of_least_regret(walks, golds) -> float:
    """Threshold with which runs whose gold is known lose least on average; of several, the highest.

    walks: (alarms [T], checkpoints kept [T]) of each run.  golds: gold [T] of each.
    """
    tried = np.unique(np.concatenate([alarms for alarms, _ in walks]))
    tried = tried[np.isfinite(tried)]
    lost = np.zeros(len(tried))
    for walk, gold in zip(walks, golds, strict=True):
        lost += np.max(gold) - gold[walk[1][stops(walk[0], tried)]]
    return float(tried[np.flatnonzero(lost <= lost.min() + 1e-12)[-1]])


def stops(alarms, thresholds) -> np.ndarray:
    """Index of the first point whose alarm exceeds each threshold; the last point where none does."""
    first = np.searchsorted(np.maximum.accumulate(alarms), thresholds, side="right")
    return np.minimum(first, len(alarms) - 1)


def rate_interval(alarms: float, count: int, level: float = laws.LEVEL) -> tuple[float, float]:
    """Interval of Clopper and Pearson (1934) of a rate, of which `alarms` of `count` controls were seen.

    alarms may be a fraction: a mean over simulated labels.
    """
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, alarms, count - alarms + 1) if alarms > 0 else 0.0
    high = stats.beta.isf(tail, alarms + 1, count - alarms) if alarms < count else 1.0
    return float(low), float(high)
