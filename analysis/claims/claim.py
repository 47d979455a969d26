"""What a claim is: a sentence of the literature, what is measured of it, and how its comparisons decide it."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gold_sim.laws import decisions

KINDS = {  # of entries
    "claim": "a sentence that the records may refute",
    "check": "true by construction, so it tests this code",
    "premise": "what must hold for other claims to mean anything",
}
ALL, ANY = "all", "any"  # how several comparisons combine: each must show, or one of them


class NotMeasured(ValueError):
    """Records that cannot tell: a column that they lack, or runs that do not go as far as the claim asks."""


@dataclass(frozen=True)
class Part:
    """One comparison of a claim.

    It says that sign x (mean of values - threshold) is above 0; with `equal`, that the mean of values is within
    `margin` of the threshold.
    """

    what: str  # as tables say it
    values: pd.Series  # by seed; NaN where a run does not tell
    threshold: float = 0.0
    sign: int = 1
    margin: float = decisions.MARGIN  # within which an effect counts as none, where values are gold s.d.; 0: nothing
    equal: bool = False
    prompts: float = 0.0  # variance of the mean over prompts that all seeds share
    fixed: bool = False  # the number of draws was fixed before: no further look is planned
    exact: bool = False  # the values are known and not estimated: their mean decides by itself
    note: str = ""  # beside the figures: values at single KLs, runs that did not reach one

    def evidence(self) -> decisions.Evidence:
        """What is judged.  NotMeasured if no seed has a value."""
        values = self.values.dropna().to_numpy(float)
        if not len(values):
            raise NotMeasured(
                f"{self.what}: no seed tells ({self.note})" if self.note else f"{self.what}: no seed tells"
            )
        looks = (len(values),) if self.fixed else decisions.LOOKS
        return decisions.Evidence(self.sign * (values - self.threshold), self.margin, self.prompts, looks)

    def decide(self, level: float = decisions.LEVEL) -> decisions.Decision:
        """The decision on this comparison alone."""
        evidence = self.evidence()
        if not self.exact:
            return decisions.decide(evidence, level)
        mean, p = float(np.mean(evidence.values)), lambda true: 0.0 if true else 1.0
        inside, seeds = abs(mean) <= self.margin, len(evidence.values)
        return decisions.Decision(mean, (mean, mean), p(mean > 0), p(mean < 0), p(inside), p(not inside), seeds, seeds)


@dataclass(frozen=True)
class Claim:
    """An entry of the table of claims.

    measure: records of the experiment -> its comparisons; runs.Missing where runs that it asks for are not there,
    NotMeasured where the records cannot tell.
    variants: keys of the variants that `measure` asks for; "kl_*" stands for one or more that begin so.
    """

    name: str
    experiment: str
    source: str
    says: str
    estimand: str  # what is measured, in words
    measure: Callable  # records.Data -> list[Part]
    variants: tuple[str, ...] = ()
    kind: str = "claim"  # one of KINDS
    combine: str = ALL  # of several comparisons: ALL (intersection-union test) or ANY (Holm)
    premises: tuple[str, ...] = ()  # names of the entries that must hold first

    @property
    def family(self) -> str:
        """The claims among which Holm's steps share the level: those of one experiment."""
        return self.experiment

    def lacks(self, keys) -> list[str]:
        """The entries of `variants` that are not among these keys."""
        return [wanted for wanted in self.variants if not fnmatch.filter(keys, wanted)]


def combined(parts: list[Part], how: str, level: float = decisions.LEVEL) -> tuple[decisions.Decision, list]:
    """(the decision on a claim of several comparisons, put as "above"; the decision on each).

    ALL: it holds if every comparison shows (the largest p-value), and fails, or is equivalent, if one surely does (the
    smallest p-value times their number). ANY: the other way round.
    """
    each = [part.decide(level) for part in parts]
    ps = np.array([_ps(part, d) for part, d in zip(parts, each, strict=True)])  # holds, fails, equivalent
    one_of = np.minimum(1.0, len(parts) * ps.min(0))
    all_of = ps.max(0)
    above, below, equivalent = (all_of[0], *one_of[1:]) if how == ALL else (one_of[0], *all_of[1:])
    wanted = [d.seeds_wanted for d in each]
    return decisions.Decision(
        estimate=float("nan"),
        interval=(float("nan"),) * 2,
        p_above=float(above),
        p_below=float(below),
        p_equivalent=float(equivalent),
        p_outside=float(max(map(_settled, parts, each))),  # its share of the family's level passes on by this
        seeds=min(d.seeds for d in each),
        seeds_wanted=None if None in wanted else max(wanted),
    ), each


def decided_by(parts: list[Part], each: list, how: str) -> dict[str, str]:
    """Verdict -> the one of several comparisons that gives it alone; the others may show the contrary."""
    if len(parts) < 2:
        return {}
    surest = np.argmin([_ps(part, d) for part, d in zip(parts, each, strict=True)], 0)
    alone = ("fails", "equivalent") if how == ALL else ("holds",)
    of = dict(zip(("holds", "fails", "equivalent"), surest, strict=True))
    return {verdict: parts[of[verdict]].what for verdict in alone}


def _settled(part: Part, d: decisions.Decision) -> float:
    """p-value of "a verdict on this comparison may still be false"."""
    return decisions.settled(d, "equal" if part.equal else "above")


def _ps(part: Part, d: decisions.Decision) -> tuple[float, float, float]:
    return (d.p_equivalent, d.p_outside, 1.0) if part.equal else (d.p_above, d.p_below, d.p_equivalent)
