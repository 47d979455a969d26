"""Verdicts that hold however long a study went on: a sequential interval, p-values, and families of claims.

A claim is about a mean over seeds. It is judged at looks that are fixed before, at 8, 16, 32 and 64 seeds, and the
study may stop at any of them because of what it saw. Levels of looks are in boundaries.py; they apply to Student's t
with S - 1 degrees of freedom (Jennison & Turnbull 2000, section 4.4). Skewed values make the t of few seeds too sure
on one side. So each side takes the less sure of t and of its transform by Hall (1992), which removes the skewness.
docs/decisions.md has the simulated errors, and why this rule was taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from gold_sim.laws import boundaries

LEVEL = 0.1  # chance that a verdict on one claim, or any of a family, is false; intervals are of 1 - LEVEL
MARGIN = 0.1  # gold s.d. within which a difference counts as none
LOOKS = (8, 16, 32, 64)  # seeds
POWER = 0.8  # chance of a decision at the number of seeds that is said to be wanted
MOST = 4096  # seeds; a claim that wants more is not to be decided by seeds
TINY = 1e-6  # skewness below which t needs no transform
SAYS = {  # what a claim says -> the decisions in the order in which they are taken, and whose p-value each has
    "above": {"equivalent": "p_equivalent", "holds": "p_above", "fails": "p_below"},
    "equal": {"holds": "p_equivalent", "fails": "p_outside"},
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a claim rests on: a quantity of each seed whose mean is above 0 if a directional claim holds.

    ValueError: no values, or not finite numbers in one dimension, a negative margin or variance, looks out of order.
    """

    values: np.ndarray  # [S] one a draw, in order of seeds: a difference paired by seed, in gold s.d. or margin's unit
    margin: float = MARGIN  # of equivalence, in the unit of the values; 0: nothing counts as equivalent
    extra_variance: float = 0.0  # of the mean, beside that between seeds: of prompts, say, which all seeds share
    looks: tuple[int, ...] = LOOKS  # numbers of seeds at which the study looked or may look

    def __post_init__(self):
        values = np.asarray(self.values, float)
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise ValueError(f"values={values}: at least one finite number, in one dimension, is wanted")
        if not (self.margin >= 0 and self.extra_variance >= 0):
            raise ValueError(f"margin={self.margin}, extra_variance={self.extra_variance}: allowed from 0")
        if list(self.looks) != sorted({int(n) for n in self.looks if n >= 1}) or not self.looks:
            raise ValueError(f"looks={self.looks}: allowed are rising numbers of seeds, from 1")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "looks", tuple(map(int, self.looks)))


@dataclass(frozen=True)
class Decision:
    """What the evidence says at this look; every number holds under optional stopping."""

    estimate: float  # the mean
    interval: tuple[float, float]  # repeated confidence interval: of 1 - level at all looks together; NaN of one seed
    p_above: float  # sequential, one-sided: of "the mean is at most 0"
    p_below: float  # of "it is at least 0"
    p_equivalent: float  # of "its size is at least the margin": the larger of two one-sided tests (TOST)
    p_outside: float  # of "its size is at most the margin": the smaller of two one-sided tests
    seeds: int
    seeds_wanted: int | None  # to decide a directional claim, if estimate and variance stay; None: above MOST


def decide(evidence: Evidence, level: float = LEVEL) -> Decision:
    """Judge the evidence at the look of its S seeds.  ValueError: more seeds than the last look has."""
    values, looks = evidence.values, evidence.looks
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Decision(mean, (np.nan, np.nan), 1.0, 1.0, 1.0, 1.0, n, None)
    p = map(float, p_values(values, evidence.margin, evidence.extra_variance, looks))
    return Decision(mean, _interval(evidence, level), *p, n, seeds_wanted(evidence, "above", level))


def p_values(values, margin: float = MARGIN, extra_variance: float = 0.0, looks: tuple[int, ...] = LOOKS) -> np.ndarray:
    """p_above, p_below, p_equivalent and p_outside of Decision, [4, ...], of values [..., S] with S of 2 or more."""
    n, each = np.shape(values)[-1], _with_and_without(values, extra_variance)
    least_sure = lambda side, at: np.max([one_sided(n - 1, *moments, side, at) for moments in each], axis=0)
    return of_sides(lambda side, at: boundaries.sequential(least_sure(side, at), n, looks), margin)


def of_sides(p, margin: float) -> np.ndarray:
    """p_above, p_below, p_equivalent and p_outside, [4, ...].  p: (side, at) -> one-sided p-values [...]."""
    equivalent, outside = np.maximum(p(1, -margin), p(-1, margin)), np.minimum(p(1, margin), p(-1, -margin))
    return np.stack([p(1, 0.0), p(-1, 0.0), equivalent, outside])


def verdicts(decisions: Sequence[Decision], says: Sequence[str] | str, level: float = LEVEL) -> list[str]:
    """Verdicts on a family of claims: "holds", "fails", "equivalent", "open"; any is false with chance `level` at most.

    says: of each claim, or of all. "above": the mean is above 0; it holds, or fails where the mean is below 0, or the
    mean is equivalent to 0, which is decided first: surely within the margin is no effect worth a claim.
    "equal": the mean is within the margin; it holds, or fails where it is surely outside.
    Holm's steps (1979): of m claims each has level / m, and a claim that is settled passes its share on to the others.
    """
    says = [says] * len(decisions) if isinstance(says, str) else list(says)
    if unknown := set(says) - set(SAYS):
        raise ValueError(f"says {', '.join(sorted(unknown))}: allowed are {', '.join(SAYS)}")
    ps = np.array([settled(d, of) for d, of in zip(decisions, says, strict=True)])
    share, before = level / max(len(ps), 1), -1
    while (done := int((2 * ps <= share).sum())) > before:
        share, before = level / max(len(ps) - done, 1), done
    words = [{word: getattr(d, p) for word, p in SAYS[of].items()} for d, of in zip(decisions, says, strict=True)]
    return [next((word for word, p in of.items() if 2 * p <= share), "open") for of in words]


def settled(d: Decision, says: str) -> float:
    """One-sided p-value of "some verdict may still be false": small where none changes at any laxer level.

    The interval then lies between two neighbours of -margin, 0 and margin. To pass a level on after any verdict is not
    enough: of claims whose mean is 0, those that are not yet equivalent are those that chance drove away from 0.
    """
    return min(d.p_outside, d.p_equivalent if says == "equal" else max(min(d.p_above, d.p_below), d.p_equivalent))


def seeds_wanted(evidence: Evidence, says: str = "above", level: float = LEVEL) -> int | None:
    """Number of seeds that decides the claim four times in five, if mean and variance stay; S if it is decided now.

    A directional claim with a margin can be decided, whatever its mean. One that says "equal" cannot where the mean is
    at the margin. None if more than MOST seeds were wanted. Beyond the last look its nominal level is kept.
    """
    n, mean, margin, looks = len(evidence.values), abs(np.mean(evidence.values)), evidence.margin, evidence.looks
    if n < 2:
        return None
    low, high = _interval(evidence, level)
    within, outside = -margin < low and high < margin, low > margin or high < -margin
    if within or (outside if says == "equal" else low > 0 or high < 0):
        return n
    distance = abs(mean - margin) if says == "equal" else max(mean, margin - mean)
    variance = np.var(evidence.values, ddof=1)

    def enough(seeds: int) -> bool:
        look = next((look for look in looks if look >= seeds), max(looks))
        t = -special.stdtrit(seeds - 1, boundaries.nominal(look, looks, level / 2))
        return (t + special.ndtri(POWER)) * np.sqrt(variance / seeds + evidence.extra_variance) < distance

    if not enough(MOST):
        return None
    few, many = n, MOST  # n is too few, as the interval says; `enough` is true from some number on
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


def _moments(values, extra_variance: float) -> tuple:
    """Mean, its standard error, and the skewness of its error, [...] each, of values [..., S].

    The skewness is the sample's, corrected for its bias, over the square root of S; 0 of two seeds.
    """
    values = np.asarray(values, float)
    n, mean = values.shape[-1], values.mean(-1)
    off = values - mean[..., None]
    second, third = (off**2).mean(-1), (off**3).mean(-1)
    alike = np.ptp(values, axis=-1) <= 1e-12 * np.abs(values).max(-1)  # but for rounding
    of_seeds = np.where(alike, 0.0, second / (n - 1))
    error = np.sqrt(of_seeds + extra_variance)
    if n < 3:
        return mean, error, np.zeros_like(mean)
    with np.errstate(all="ignore"):
        skewness = third / second**1.5 * np.sqrt(n * (n - 1)) / (n - 2) / np.sqrt(n)
        return mean, error, np.where(alike, 0.0, skewness * (of_seeds / error**2) ** 1.5)


def _with_and_without(values, extra_variance: float) -> list[tuple]:
    """`_moments` without the extra variance and, if there is any, with it; the less sure of both counts on each side.

    The extra variance takes of the skewness, so that with it alone a side might be surer than without.
    """
    whole = _moments(values, extra_variance)
    if extra_variance == 0.0:
        return [whole]
    alone = _moments(values, 0.0)
    return [whole, tuple(np.where(alone[1] > 0, a, b) for a, b in zip(alone, whole, strict=True))]


def _without_skew(t, skew):
    """Hall's (1992) cubic transform of t-statistics of a mean whose error has this skewness; it rises everywhere."""
    skew = np.where(np.abs(skew) > TINY, skew, TINY)
    return ((1 + skew * t / 3) ** 3 - 1) / skew + skew / 6


def _with_skew(t, skew):
    """The inverse of `_without_skew`."""
    skew = np.where(np.abs(skew) > TINY, skew, TINY)
    return 3 * (np.cbrt(1 + skew * (t - skew / 6)) - 1) / skew


def one_sided(degrees: int, mean, error, skew, side: int, at: float):
    """Nominal p-values [...] that a mean lies on a side (1: above, -1: below) of `at`, by Student's t.

    Values that are all alike have no t. Theirs is the sign test's: 1/2 to the power of their number.
    """
    off = side * (mean - at)
    with np.errstate(all="ignore"):
        t = off / error
        p = special.stdtr(degrees, -np.minimum(t, _without_skew(t, side * skew)))
    return np.where(error > 0, p, np.where(off > 0, 0.5 ** (degrees + 1), 1.0))


def _interval(evidence: Evidence, level: float) -> tuple[float, float]:
    """All means that no side rejects, which `one_sided` says at half the level."""
    n, sides = len(evidence.values), []
    allowed = boundaries.nominal(n, evidence.looks, level / 2)
    t = -special.stdtrit(n - 1, allowed)
    for mean, error, skew in _with_and_without(evidence.values, evidence.extra_variance):
        if error == 0.0 and 0.5**n > allowed:
            return -np.inf, np.inf
        below, above = np.maximum(t, _with_skew(t, np.array([skew, -skew])))
        sides.append((float(mean - error * below), float(mean + error * above)))
    return min(low for low, _ in sides), max(high for _, high in sides)
