"""Whether an interval settles a question: yes, no, or open."""

import numpy as np

from analysis import curves
from analysis.numbers import with_interval

VERDICTS = {True: "holds", False: "fails", None: "open"}  # an interval on both sides of what is claimed is open


def check(holds, found: str, verdict: str | None = None, **figures) -> dict:
    """One expected phenomenon: holds is True, False, or None where the records cannot tell.

    verdict: the same in a word, where that says more than VERDICTS.
    """
    holds = None if holds is None else bool(holds)
    return {"holds": holds, "verdict": verdict or VERDICTS[holds], "found": found, **figures}


def above(interval, threshold: float = 0.0):
    """Whether a whole interval lies above threshold; None without an interval (one seed)."""
    return None if not np.isfinite(interval).all() else bool(interval[0] > threshold)


def excludes_zero(interval):
    return None if not np.isfinite(interval).all() else bool(interval[0] > 0 or interval[1] < 0)


def disjoint_and_above(high, low):
    """Whether interval `high` lies wholly above interval `low`."""
    return None if not np.isfinite([*high, *low]).all() else bool(high[0] > low[1])


def told_share(values) -> str:
    low, high = curves.interval(values)
    return f"{np.mean(values):.1%} [{low:.1%}, {high:.1%}]"


def told(values) -> str:
    return with_interval(float(np.mean(values)), curves.interval(values))


def told_each(read, values: dict, one=told, between: str = "; ") -> str:
    """The values [S] of several variants in words, each by its label: "mean 0.1 [0.0, 0.2]; worst case ..."."""
    return between.join(f"{read.label(key)} {one(of_seed)}" for key, of_seed in values.items())


def surely_above(values, threshold: float = 0.0):
    """True if the interval of the mean lies above, False if it lies at or below, None if it cannot be told."""
    return surely(curves.interval(values), threshold)


def surely(interval, threshold: float = 0.0):
    """The verdict of `surely_above` for an interval that is given."""
    low, high = interval
    return True if low > threshold else False if high <= threshold else None


def surely_at_most(values, threshold: float):
    """True if the interval of the mean lies at or below, False if it lies above, None if it cannot be told."""
    above = surely_above(values, threshold)
    return None if above is None else not above


def surely_within(values, low: float, high: float):
    """True if the interval of the mean lies in [low, high], False if it lies outside, None if it cannot be told."""
    return every([surely_at_most(-values, -low), surely_at_most(values, high)])


def every(found) -> bool | None:
    """The verdict on several statements together: true if all hold, false if one fails, else None (open)."""
    found = list(found)
    return False if False in found else None if None in found else True


SMALL = 0.05  # share of a peak that counts as no fall
