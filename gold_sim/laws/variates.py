"""Control variates: a mean over seeds with less noise, by a second quantity whose mean is known more precisely.

The second quantity is best-of-n gold of the same reward model, say. Its mean is known from the S seeds, and from M
further reward models that have no RL. That is a regression estimator of two phases (Cochran 1977, section 12.6), with
Student's t of S - 2 degrees of freedom, as its slope is estimated (Lavenberg & Welch 1981). docs/decisions.md has its
simulated errors, and says where it pays.
"""

import numpy as np
from scipy import special

from gold_sim.laws import boundaries, decisions
from gold_sim.laws.decisions import LEVEL, LOOKS, MARGIN

FEWEST = 5  # seeds: with fewer the slope costs more than any control removes on average


def adjusted(values, control, others) -> tuple:
    """Mean, its standard error, and the skewness of its error, [...] each: means of `values` as if controls were even.

    values, control: [..., S], paired by seed.  others: [..., M] controls of further draws; none leaves the mean as is.
    ValueError: fewer than FEWEST seeds, or shapes that differ.
    """
    values, control, others = (np.asarray(a, float) for a in (values, control, others))
    n = values.shape[-1]
    if values.shape != control.shape or n < FEWEST:
        raise ValueError(f"values {values.shape}, control {control.shape}: one control a seed, {FEWEST} seeds or more")
    off, around = values - values.mean(-1, keepdims=True), control - control.mean(-1, keepdims=True)
    squares = np.square(around).sum(-1)
    slope = np.divide((off * around).sum(-1), squares, out=np.zeros(squares.shape), where=squares > 0)
    everyone = np.concatenate([control, others], -1)
    moved = control.mean(-1) - everyone.mean(-1)
    rest = off - slope[..., None] * around
    residual = np.square(rest).sum(-1) / (n - 2)
    of_slope = np.divide(residual, squares, out=np.zeros(squares.shape), where=squares > 0)  # its variance
    own = residual / n + of_slope * np.square(moved)
    squared = np.maximum(np.square(slope) - of_slope, 0.0)  # the slope's square without what its error adds to it
    error = np.sqrt(own + squared * everyone.var(-1, ddof=1) / everyone.shape[-1])
    third, second = (rest**3).mean(-1), np.square(rest).mean(-1)
    with np.errstate(all="ignore"):
        skew = third / second**1.5 * np.sqrt(n * (n - 1)) / (n - 2) / np.sqrt(n) * (own / error**2) ** 1.5
    return values.mean(-1) - slope * moved, error, np.where(second > 0, skew, 0.0)


def p_values(values, control, others, margin: float = MARGIN, looks: tuple[int, ...] = LOOKS) -> np.ndarray:
    """p_above, p_below, p_equivalent and p_outside, [4, ...], as decisions.p_values has them, of the adjusted mean.

    The boundaries are those of the look of S seeds. Each side takes the less sure of t and of its transform by Hall.
    """
    seeds, moments = np.shape(values)[-1], adjusted(values, control, others)
    one_sided = lambda side, at: decisions.one_sided(seeds - 2, *moments, side, at)
    return decisions.of_sides(lambda *of: boundaries.sequential(one_sided(*of), seeds, looks), margin)


def r_squared(values, control) -> float:
    """Share of the variance between seeds that a control explains, unbiased, so that it may lie below 0.

    values, control: [S], paired by seed, S of 4 or more. Olkin & Pratt (1958).
    """
    n, rest = len(values), 1 - np.corrcoef(values, control)[0, 1] ** 2
    return float(1 - (n - 3) / (n - 2) * rest * special.hyp2f1(1, 1, n / 2, rest))


def variance_ratio(share: float, seeds: int, more: float) -> float:
    """Expected variance of the adjusted mean over that of the plain one; normal values (Cochran 1977, section 12.6).

    share: of the variance that the control explains.  more: draws of it beyond the seeds'; inf: its mean is known.
    """
    unseen = 1.0 if np.isinf(more) else more / (seeds + more)  # the share of the control's error that goes
    return (1 - share) * (1 + unseen / (seeds - 3)) + share * (1 - unseen)


def width_ratio(share: float, seeds: int, more: float, level: float = LEVEL) -> float:
    """Expected squared width of the adjusted mean's interval over the plain one's: a degree of freedom is lost."""
    p = boundaries.nominal(seeds, (*(look for look in LOOKS if look < seeds), max(seeds, *LOOKS)), level / 2)
    lost = special.stdtrit(seeds - 2, p) / special.stdtrit(seeds - 1, p)
    return float(variance_ratio(share, seeds, more) * lost**2)


def cheapest(share: float, of_value: float, of_control: float, seeds: int) -> tuple[float, float]:
    """(further draws of the control a seed, cost over the plain mean's) for as narrow an interval, at the best number.

    of_value: CPU-seconds that a seed takes beyond its control.  of_control: those of a control, which every seed has
    anyway. (0, 1) where no number of further draws pays.
    """
    best = (0.0, 1.0)
    for more in np.geomspace(0.1, 100, 61):
        extra = more * of_control / (of_value + of_control)
        cost = width_ratio(share, seeds, more * seeds) * (1 + extra)
        best = min(best, (float(more), float(cost)), key=lambda one: one[1])
    return best
