"""Does the rule of decision err as rarely as it says, if a study stops because of what it saw?  And is it a good one?

    python -m analysis calibration [--replications 500]

Made values stand for differences paired by seed. An error is counted wherever a verdict is false at any of the looks,
so whatever lets a study stop, it errs no more often.
"""

import numpy as np
import pandas as pd
from scipy import special, stats

from analysis.findings import Table
from analysis.runs import peak_of_earlier
from gold_sim.laws import boundaries, decisions
from gold_sim.laws.decisions import LEVEL, LOOKS, MARGIN, Decision

MOST = max(LOOKS)
SPREAD = 2 * MARGIN  # standard deviation of the made values, gold s.d.: 64 seeds then tell the margin from 0
KINDS = {  # of values -> draws of standard deviation 1 and mean 0
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "exponential, mirrored": lambda rng, shape: 1 - rng.exponential(size=shape),
    "t, 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "log-normal": lambda rng, shape: (rng.lognormal(size=shape) - np.sqrt(np.e)) / np.sqrt(np.e * (np.e - 1)),
}
FAMILY, SHARED = 5, 0.5  # claims of a family, and the correlation between their values
AT_ONCE = 10_000  # studies that are made and judged together: more take memory, and a Ctrl-C would wait for them


def pooled(rows, replications: int) -> list[dict]:
    """The rows of many studies, whose numbers are means over studies.  rows: number of studies -> list of rows."""
    counts = [min(AT_ONCE, replications - done) for done in range(0, replications, AT_ONCE)]
    parts = list(zip(*map(rows, counts), strict=True))
    mean = lambda values: values[0] if isinstance(values[0], str) else np.average(values, weights=counts)
    return [{name: mean([row[name] for row in of_row]) for name in of_row[0]} for of_row in parts]


def p_at_looks(values) -> np.ndarray:
    """p-values [K, 4, ...] at every look, of values [..., 64]; the 4 are those of decisions.p_values."""
    return np.stack([decisions.p_values(values[..., :look]) for look in LOOKS])


def false_claims(kind: str, rng, replications: int) -> dict:
    """Shares of studies with a false verdict at some look, where the mean is 0 or at the margin."""
    values = SPREAD * KINDS[kind](rng, (replications, MOST))
    sure = lambda p: (2 * p <= LEVEL).any(0)
    at_zero, at_margin = p_at_looks(values), p_at_looks(values + MARGIN)
    above, below = sure(at_zero[:, 0]), sure(at_zero[:, 1])
    equivalent, fails = sure(at_margin[:, 2]), sure(at_margin[:, 1])
    outside = sure(at_margin[:, 3])
    return {
        "values": kind,
        "mean 0: above": above.mean(),
        "below": below.mean(),
        "either": (above | below).mean(),
        "mean at the margin: equivalent (TOST)": equivalent.mean(),
        "equivalent or below": (equivalent | fails).mean(),
        "equivalent or outside": (equivalent | outside).mean(),
    }


def family_verdicts(p) -> np.ndarray:
    """Verdicts [F] of directional claims with p-values [4, F] at one look."""
    blank = dict(estimate=0.0, interval=(0.0, 0.0), seeds=0, seeds_wanted=None)
    of_each = [Decision(p_above=a, p_below=b, p_equivalent=e, p_outside=o, **blank) for a, b, e, o in p.T.tolist()]
    return np.array(decisions.verdicts(of_each, "above"))


def false_families(kind: str, means, rng, replications: int) -> dict:
    """Share of studies in which a verdict of Holm's family is false at some look; means [F], gold s.d."""
    shared = KINDS[kind](rng, (replications, 1, MOST))
    own = KINDS[kind](rng, (replications, len(means), MOST))
    values = SPREAD * (np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own) + np.asarray(means)[:, None]
    p, wrong, right = p_at_looks(values), 0, 0
    allowed = [
        {"open"}
        | ({"holds"} if m > 0 else {"fails"} if m < 0 else set())
        | ({"equivalent"} if abs(m) < MARGIN else set())
        for m in means
    ]
    for one in np.moveaxis(p, 2, 0):  # [K, 4, F]
        found = [family_verdicts(look) for look in one]
        wrong += any(word not in of for look in found for word, of in zip(look, allowed, strict=True))
        right += (found[-1] != "open").mean()
    return {
        "values": kind,
        "means of the five (s.d.)": ", ".join(f"{m:g}" for m in means),
        "a false verdict": wrong / replications,
        "decided at the last look": right / replications,
    }


ALONG = np.linspace(0, 1, 35)  # distances of made curves, as shares of the way to the end
SOUGHT = {  # where a peak is sought -> up to which distance: as analysis.claims.measured does it
    "half of the KL": np.sqrt(0.5),  # 25 distances
    "half of the way": 0.5,  # as along steps, at which RL's points are about even in distance
}
CHOSEN = {  # on which seeds a peak's place is chosen -> its index [R, S] of curves [R, S, T]
    "the earlier seeds": peak_of_earlier,
    "all other seeds": lambda curves: np.argmax(curves.sum(1, keepdims=True) - curves, -1),  # as was done before
}
SEEN = 0.4  # gold s.d.: a fall that power is shown of
WANDER, POINT = 0.3, 0.03  # gold s.d.: how far a seed has wandered from the mean curve at the end; noise of a point


def made_falls(kind: str, fall: float, until: float, chosen: str, rng, replications: int) -> np.ndarray:
    """Falls [K, R, 64] of every seed at every look, NaN of seeds not yet drawn, as claims measure them.

    The mean curve rises over the first quarter of the way and then falls in a straight line, by `fall` in all. Seeds
    wander from it. Where it falls by 0 its highest place is of noise.
    until: the distance, as in ALONG, up to which a peak is sought.  chosen: one of CHOSEN.
    """
    steps = KINDS[kind](rng, (replications, MOST, len(ALONG) - 1)) * WANDER / np.sqrt(len(ALONG) - 1)
    mean = np.where(ALONG < 0.25, 4 * ALONG, 1.0) - fall * np.clip((ALONG - 0.25) / 0.75, 0, 1)
    curves = mean + POINT * rng.standard_normal((replications, MOST, len(ALONG)))
    curves[..., 1:] += np.cumsum(steps, -1)
    to_peak = curves[..., until >= ALONG]
    out = np.full((len(LOOKS), replications, MOST), np.nan)
    for falls, look in zip(out, LOOKS, strict=True):
        drawn = to_peak[:, :look]
        peak = np.take_along_axis(drawn, CHOSEN[chosen](drawn)[..., None], -1)[..., 0]
        falls[:, :look] = peak - curves[:, :look, -1]
    return out


def false_falls(kind: str, sought: str, chosen: str, rng, replications: int) -> dict:
    """Shares of studies with a false verdict on a fall at some look: one of 0, or one at the margin.

    And the share that finds a fall of SEEN at 8 seeds.
    """
    p = lambda falls, looks: [decisions.p_values(of[:, :n]) for of, n in zip(falls, looks, strict=True)]
    sure = lambda falls, i, looks=LOOKS: np.any([2 * of[i] <= LEVEL for of in p(falls, looks)], axis=0).mean()
    at_zero, at_margin, seen = (
        made_falls(kind, fall, SOUGHT[sought], chosen, rng, replications) for fall in (0.0, MARGIN, SEEN)
    )
    few = at_zero[0, :, : LOOKS[0]]
    return {
        "peak sought up to": sought,
        "chosen on": chosen,
        "steps of a seed": kind,
        "no fall: holds": sure(at_zero, 0),
        "no fall: fails": sure(at_zero, 1),
        "at the margin: equivalent": sure(at_margin, 2),
        "mean of the fall at 8 seeds": few.mean(),
        "at the margin": at_margin[0, :, : LOOKS[0]].mean(),
        "error shown over true": np.sqrt(few.var(1, ddof=1).mean() / LOOKS[0]) / few.mean(1).std(),
        f"found at 8 seeds: a fall of {SEEN:g}": sure(seen[:1], 0, LOOKS[:1]),
    }


def mixture_t(t, seeds, level: float, scale: float):
    """Whether an anytime-valid test rejects: Robbins' normal mixture (1970) for t-statistics (Lai 1976).

    The mixture is over effects, normal with variance `scale` in units of the values' own. Two-sided.
    """
    wide = 1 + seeds * scale
    inside = np.log1p(t**2 / (seeds - 1)) - np.log1p(t**2 / ((seeds - 1) * wide))
    return seeds / 2 * inside - np.log(wide) / 2 >= np.log(1 / level)


def _obrien_fleming(fraction, level):
    return 2 * special.ndtr(special.ndtri(level / 2) / np.sqrt(fraction))


def _linear(fraction, level):
    return level * np.asarray(fraction)


SPENDINGS = {
    "spending as Pocock": boundaries.pocock,
    "spending in proportion": _linear,
    "spending as O'Brien-Fleming": _obrien_fleming,
}
MIXTURES = (0.25, 0.5, 1.0)
EFFECTS = (0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)  # mean over standard deviation


def power(effect: float, rng, replications: int) -> list[dict]:
    """How often, and at how many seeds, each rule finds a mean above 0; normal values."""
    values = effect + rng.standard_normal((replications, MOST))
    seeds = np.array(LOOKS)[:, None]
    part = [values[:, :look] for look in LOOKS]
    t = np.stack([v.mean(1) / v.std(1, ddof=1) for v in part]) * np.sqrt(seeds)
    levels = {name: boundaries.nominal_levels(np.array(LOOKS) / MOST, LEVEL / 2, s) for name, s in SPENDINGS.items()}
    rules = {"this rule": 2 * np.stack([decisions.p_values(v)[0] for v in part]) <= LEVEL}
    rules |= {f"t, {name}": t > stats.t.isf(of, np.array(LOOKS) - 1)[:, None] for name, of in levels.items()}
    rules |= {f"anytime-valid, scale {s:g}": mixture_t(t, seeds, LEVEL, s) & (t > 0) for s in MIXTURES}
    rules["64 seeds, one look"] = (t > stats.t.isf(LEVEL / 2, MOST - 1)) & (seeds == MOST)
    return [{"rule": name, "effect": effect} | _stopped(rejects) for name, rejects in rules.items()]


def _stopped(rejects) -> dict:
    """Share decided and mean seeds, where a study stops at its first rejection; rejects [K, R]."""
    stops = np.where(rejects.any(0), np.array(LOOKS)[rejects.argmax(0)], MOST)
    return {"decided": rejects.any(0).mean(), "seeds": stops.mean()}


def power_table(rng, replications: int) -> pd.DataFrame:
    """One row a rule, one column an effect: "share decided, mean seeds"."""
    of = lambda effect: pooled(lambda n: power(effect, rng, n), replications)
    rows = pd.DataFrame([row for effect in EFFECTS for row in of(effect)])
    rows["text"] = [f"{d:.0%}, {n:.0f}" for d, n in zip(rows["decided"], rows["seeds"], strict=True)]
    wide = rows.pivot(index="rule", columns="effect", values="text").reindex(rows["rule"].unique())
    return wide.rename(columns=lambda effect: f"effect {effect:g}").reset_index()


def tables(replications: int) -> list[Table]:
    """Errors of one claim, of families and of falls, and power; `replications` studies each."""
    rng, few = np.random.default_rng(4), max(20, replications // 4)
    claims = [pooled(lambda n, kind=kind: [false_claims(kind, rng, n)], replications)[0] for kind in KINDS]
    means = ((0.0,) * FAMILY, (0.0, 0.0, 0.0, 0.3, 0.3), (0.0, 0.3, 0.3, 0.3, 0.3), (MARGIN, MARGIN, -MARGIN, 0.0, 0.3))
    kinds = ("normal", "exponential", "t, 3 degrees of freedom")
    one = lambda m, kind: pooled(lambda n: [false_families(kind, m, rng, n)], few)[0]
    families = [one(m, kind) for m in means for kind in kinds]
    own = np.random.default_rng(5)
    of_falls = lambda n, *what: [false_falls(*what, own, n)]
    ways = [(kind, sought, chosen) for sought in SOUGHT for chosen in CHOSEN for kind in kinds]
    falls = [pooled(lambda n, way=way: of_falls(n, *way), few)[0] for way in ways]
    looks = ", ".join(map(str, LOOKS))
    title = f"False verdicts at any look ({looks} seeds), allowed {LEVEL:g}"
    return [
        Table("stopping", f"{title}: one claim, {replications} studies", pd.DataFrame(claims)),
        Table("families", f"{title}: Holm's families of {FAMILY}, correlation {SHARED:g}, {few} studies",
              pd.DataFrame(families)),
        Table("falls", f"{title}: falls, {few} studies", pd.DataFrame(falls)),
        Table("power", f"Share decided, and seeds, by effect (mean over s.d.), {replications} studies",
              power_table(rng, replications), of_words=True),
    ]  # fmt: skip
