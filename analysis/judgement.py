"""Whether an interval settles a question: yes, no, or open."""

import numpy as np

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


def surely(interval, threshold: float = 0.0):
    """True if an interval lies above, False if it lies at or below, None if it cannot be told."""
    low, high = interval
    return True if low > threshold else False if high <= threshold else None
