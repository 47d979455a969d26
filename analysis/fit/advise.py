"""How far may I optimise?  The KL budget at the expected peak, the price of going past it, and whether gold has turned.

All intervals are for one further run: the scatter of runs is in them, not only the uncertainty of their mean. Where
gold peaks is read off each run by a spline. The interval is Student's t on the logarithm of these peaks. Few runs say
little of how much runs differ, so the variance is pooled over the groups that are given together. `backtest` checks it
on real runs, each predicted from the others. On the records of 2026-11-26 90 % intervals hold 90 % of best-of-n's peaks
and 91 % of RL's, where intervals from the laws' coefficients held 80 and 89 %.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from analysis import curves
from analysis.numbers import number, with_interval
from gold_sim import laws
from gold_sim.laws import comparison, intervals

TOO_FAR = np.sqrt(2.0)  # times d: twice the KL
PIECES = 8  # of the spline that reads a run's own peak; with 4 it is biased where an RL curve bends most
NEAREST = 0.05  # nats^0.5 that a peak counts as, at least: a run that only falls has its peak at 0
AT_END = 0.98  # of a run's reach; a peak beyond that is only known to be at least there


@dataclass(frozen=True)
class Advice:
    """Advice for one group of runs; fields are None where runs are too few or the law does not turn."""

    form: str
    runs: int
    kl_end: float  # nats a response, the largest that all runs reach
    kl_peak: float | None  # nats, where gold is expected to peak: the geometric mean of the runs' own peaks
    kl_peak_interval: tuple | None  # for one further run
    gold_peak: float | None  # gold s.d. above the reference policy
    gold_peak_interval: tuple | None
    loss_at_twice: float | None  # gold s.d. lost between the peak and twice its KL
    loss_at_twice_interval: tuple | None
    probability_turned: float | None  # that a further run has its peak before kl_end
    text: str
    fitted: bool = True  # whether there were points enough for the law
    kl_peak_beyond: float | None = None  # nats, where the law peaks if gold does not turn within the data


def parts(data) -> list[tuple]:
    """(form, {variant, method and axis: key}, ds, golds, units) of each group of an experiment's records.

    data: records.Data.  Groups are by its axis, each variant and method by itself.
    """
    out = []
    for variant, part in data.by_variant().items():
        named = {"variant": variant} if variant else {}
        for method, gs in curves.groups(part.curves, data.axis).items():
            out += [(g.form, named | {"method": method, data.axis: g.key}, *curves.gains(g), g.units) for g in gs]
    return out


@dataclass(frozen=True)
class Peaks:
    """log d of the peaks of S runs, each read off the run itself, and the variance of such a peak between runs."""

    logs: np.ndarray  # [S]
    squares: float = 0.0  # sum of squares about their means of the groups that share the variance, without this one
    df: int = 0  # degrees of freedom of that sum

    def predicted(self, level: float) -> tuple[float, float] | None:
        """Interval of log d of one further run's peak; None where no two runs tell how much runs differ."""
        half = self.spread()
        if half is None:
            return None
        half *= special.stdtrit(self.df + len(self.logs) - 1, 0.5 + level / 2)
        return float(self.logs.mean() - half), float(self.logs.mean() + half)

    def spread(self) -> float | None:
        """Standard error of the prediction of one further run's log d."""
        df = self.df + len(self.logs) - 1
        if df < 1:
            return None
        variance = (self.squares + squares_about_mean(self.logs)) / df
        return float(np.sqrt(variance * (1 + 1 / len(self.logs))))

    def turned(self, d: float) -> float | None:
        """Probability that a further run has its peak before d."""
        half, off = self.spread(), float(np.log(d) - self.logs.mean())
        if half is None:
            return None
        return float(off > 0) if half == 0.0 else float(special.stdtr(self.df + len(self.logs) - 1, off / half))


def squares_about_mean(logs) -> float:
    return float(np.square(logs - np.mean(logs)).sum())


def peaks(groups) -> list[Peaks]:
    """Peaks of each of several groups (form, ds, golds, units); groups of one form share their variance."""
    forms = [group[0] for group in groups]
    logs = [own_peaks(*group[1:]) for group in groups]
    squares = [squares_about_mean(own) for own in logs]
    same = lambda i: [j for j in range(len(groups)) if j != i and forms[j] == forms[i]]
    pooled = lambda i: (sum(squares[j] for j in same(i)), sum(len(logs[j]) - 1 for j in same(i)))
    return [Peaks(own, *pooled(i)) for i, own in enumerate(logs)]


def own_peaks(ds, golds, units=None) -> np.ndarray:
    """log d of each run's own peak [S]; means over the runs of a unit, where units are given."""
    at = np.log([max(seen_peak(d, gold)[0], NEAREST) for d, gold in zip(ds, golds, strict=True)])
    return intervals.by_unit(at, units)


def advise(
    form: str, ds, golds, units=None, at_kl=None, level: float = laws.LEVEL, own: Peaks | None = None, of: str = "s.d."
) -> Advice:
    """ds, golds: S runs of one group, gold minus its value at the reference.

    at_kl: nats a response, where one stands; None: the largest KL that all runs reach.
    own: the group's peaks with the variance of other groups (`peaks`); None: of this group alone.
    of: the unit of gold, as the text says it.
    """
    seeds = laws.fit_seeds(form, ds, golds, units=units)
    found = laws.law_fit(seeds, level)
    data_end = float(min(np.max(d) for d in ds) ** 2)
    kl_end = data_end if at_kl is None else float(at_kl)
    draws = seeds.per_unit
    if not found.converged:
        few = "cannot be fitted: too few distances that all runs reach"
        return replace(_silent(form, draws, kl_end, few), fitted=False)
    inner = (lambda p: p[2:]) if laws.form_named(form).shape else lambda p: ()
    reading = lambda *p: (laws.peak(form, p[0], p[1], *inner(p))[1], _loss_at_twice(form, *p))
    estimate = seeds.estimate[: draws.shape[1]]
    height, loss = (float(x) for x in reading(*estimate))
    at = float(laws.peak(form, estimate[0], estimate[1], *inner(estimate))[0])
    if not np.isfinite([at, height]).all():
        why = "gold never gains" if np.isnan(at) else "gold does not turn"
        return _silent(form, draws, kl_end, f"{why} by this law within the data, which end at {number(data_end)} nats")
    if at > found.d_max and _rise_to_their_ends(ds, golds):
        with np.errstate(over="ignore"):
            beyond = float(np.square(np.float64(at)))
        text = (
            f"gold does not turn within the data, which end at {number(data_end)} nats; the law's peak at "
            f"{number(beyond)} nats is {number(beyond / data_end)} times as far: an extrapolation, and no budget"
        )
        return replace(_silent(form, draws, kl_end, text), kl_peak_beyond=beyond)
    own = Peaks(own_peaks(ds, golds, units)) if own is None else own
    kl_peak, predicted = float(np.exp(2 * own.logs.mean())), own.predicted(level)
    if predicted is None:
        text = f"gold is expected to peak at {number(kl_peak)} nats ({number(height)} {of})"
        text += "; one run, so no interval: run more seeds before relying on it"
        return Advice(form, 1, kl_end, kl_peak, None, height, None, loss, None, None, text)
    wide = lambda pair: None if not np.isfinite(pair).all() else tuple(pair)
    heights, losses = map(wide, further(reading, estimate, draws, level))
    kl, turned = tuple(np.exp(2 * np.array(predicted)).tolist()), own.turned(np.sqrt(kl_end))
    text = _sentence((kl_peak, height, loss), kl, heights, losses, turned, kl_end, level, of)
    return Advice(form, len(draws), kl_end, kl_peak, kl, height, heights, loss, losses, turned, text)


def _rise_to_their_ends(ds, golds) -> bool:
    """Whether more than half of the runs peak at their ends, as far as a spline tells."""
    return np.mean([seen_peak(d, gold)[1] for d, gold in zip(ds, golds, strict=True)]) > 0.5


def _loss_at_twice(form, *p):
    """R(d*) - R(sqrt(2) d*), gold s.d."""
    inner = p[2] if laws.form_named(form).shape else None
    d, height = laws.peak(form, p[0], p[1], inner)
    if not np.isfinite(d):
        return np.nan
    return height - laws.evaluate(form, np.array([TOO_FAR * d]), p[0], p[1], inner)[..., 0]


def further(function, estimate, draws, level):
    """Intervals of function(*coefficients) for one further draw: those of the mean, wider by sqrt(S + 1) in the log."""
    estimate = np.asarray(estimate, float)
    centre = np.log(np.array(function(*estimate), float))
    of_mean, wider, out = intervals.transformed_intervals(function, estimate, draws, level), np.sqrt(len(draws) + 1), []
    for middle, (low, high) in zip(centre, of_mean, strict=True):
        with np.errstate(over="ignore"):  # an interval may end nowhere
            out.append(
                (np.exp(middle - wider * (middle - np.log(low))), np.exp(middle + wider * (np.log(high) - middle)))
            )
    return out


def _silent(form, draws, kl_end, text):
    return Advice(form, len(draws), kl_end, *[None] * 7, text)


def _sentence(value, kl, height, loss, turned, kl_end, level, of):
    where = with_interval(value[0], kl)
    how_high = with_interval(float(value[1]), height) if height else number(value[1])
    text = f"gold is expected to peak at {where} nats ({how_high} {of})"
    price = with_interval(float(value[2]), loss) if loss else number(float(value[2]))
    text += f"; at twice that KL {price} {of} are lost"
    text += f"; by {number(kl_end)} nats it has turned with probability {turned:.2f}"
    return f"{text} ({level:.0%}, for one further run)"


# --- back-testing ------------------------------------------------------------------------------------


def seen_peak(d, gold) -> tuple[float, bool]:
    """(d of a run's own peak by a spline, whether it lies at the end of the run).

    The true peak of a run that ends at its peak may lie further out.
    """
    x = np.linspace(0, np.max(d), 400)
    at = float(x[np.argmax(comparison.predictor(comparison.SPLINE, d, gold, pieces=PIECES)(x))])
    return at, bool(at > AT_END * np.max(d))


def backtest(groups, level: float = laws.LEVEL) -> dict:
    """Each run's peak against the interval predicted from the other runs of its group, and the others' variance.

    groups: (form, ds, golds) or (form, ds, golds, units). Groups of fewer than three runs give no interval. Nor do
    those whose others' law does not turn, which are counted apart.
    A peak at the end of a run is covered if the interval reaches that far.
    """
    whole = peaks([(form, ds, golds, None) for form, ds, golds, *_ in groups])
    covered, without = [], 0
    for (form, ds, golds, *_), own in zip(groups, whole, strict=True):
        for s in range(len(ds) if len(ds) >= 3 else 0):
            rest = [i for i in range(len(ds)) if i != s]
            others = replace(own, logs=own.logs[rest])
            law = laws.fit(form, [ds[i] for i in rest], [golds[i] for i in rest])
            predicted = others.predicted(level) if np.isfinite([law.d_peak, law.gold_peak]).all() else None
            if predicted is None:
                without += 1
                continue
            (at, open_ended), (low, high) = seen_peak(ds[s], golds[s]), np.exp(predicted)
            covered.append(low <= at and (at <= high or (open_ended and high >= AT_END * at)))
    share = float(np.mean(covered)) if covered else None
    return {"level": level, "runs": len(covered), "covered": int(sum(covered)), "share": share, "no_interval": without}
