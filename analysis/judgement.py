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


def mean_in_words(values) -> str:
    """Mean over seeds with its interval.  values: [S]."""
    return with_interval(float(np.mean(values)), curves.interval(values))


def surely_within(values, low: float, high: float) -> bool | None:
    """True if the interval of the mean lies in [low, high], False if it lies outside, None if it cannot be told."""
    return every([_at_most(-values, -low), _at_most(values, high)])


def _at_most(values, threshold: float) -> bool | None:
    above = surely(curves.interval(values), threshold)
    return None if above is None else not above


def surely(interval, threshold: float = 0.0):
    """True if an interval lies above, False if it lies at or below, None if it cannot be told."""
    low, high = interval
    return True if low > threshold else False if high <= threshold else None


def every(found) -> bool | None:
    """The verdict on several statements together: true if all hold, false if one fails, else None (open)."""
    found = list(found)
    return False if False in found else None if None in found else True
