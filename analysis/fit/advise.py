"""How far may I optimise?  The KL budget at the expected peak, the price of going past it, and whether gold has turned.

All intervals are for one further run: the scatter of runs about their mean law is in them, not only the uncertainty of
the mean. `backtest` checks them on real runs, each predicted from the others of its group.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.numbers import number, with_interval
from gold_sim import laws
from gold_sim.laws import comparison, intervals

TOO_FAR = np.sqrt(2.0)  # times d: twice the KL
PIECES = 8  # of the spline that reads a run's own peak; with 4 it is biased where an RL curve bends most
AT_END = 0.98  # of a run's reach; a peak beyond that is only known to be at least there


@dataclass(frozen=True)
class Advice:
    """Advice for one group of runs; fields are None where runs are too few or the law does not turn."""

    form: str
    runs: int
    kl_end: float  # nats a response, the largest that all runs reach
    kl_peak: float | None  # nats, where gold is expected to peak
    kl_peak_interval: tuple | None  # for one further run
    gold_peak: float | None  # gold s.d. above the reference policy
    gold_peak_interval: tuple | None
    loss_at_twice: float | None  # gold s.d. lost between the peak and twice its KL
    loss_at_twice_interval: tuple | None
    probability_turned: float | None  # that a further run has its peak before kl_end
    text: str


def advise(form: str, ds, golds, units=None, at_kl: float | None = None, level: float = laws.LEVEL) -> Advice:
    """ds, golds: S runs of one group, gold minus its value at the reference.

    at_kl: nats a response, where one stands; None: the largest KL that all runs reach.
    """
    seeds = laws.fit_seeds(form, ds, golds, units=units)
    found = laws.law_fit(seeds, level)
    kl_end = float(min(np.max(d) for d in ds) ** 2) if at_kl is None else float(at_kl)
    draws = seeds.per_unit
    if not found.converged:
        return _silent(form, draws, kl_end, "cannot be fitted: too few distances that all runs reach")
    inner = (lambda p: p[2:]) if laws.form_named(form).shape else lambda p: ()
    reading = lambda *p: (
        *laws.peak(form, p[0], p[1], *inner(p)),
        _loss_at_twice(form, *p),
    )
    value = np.array(reading(*seeds.estimate[: draws.shape[1]]), float)
    if not np.isfinite(value[:2]).all():
        why = "gold never gains" if np.isnan(value[0]) else "gold does not turn"
        return _silent(form, draws, kl_end, f"{why} by this law within the data, which end at {number(kl_end)} nats")
    if len(draws) < 2:
        text = f"gold is expected to peak at {number(value[0] ** 2)} nats ({number(value[1])} s.d.)"
        text += "; one run, so no interval: run more seeds before relying on it"
        plain = [float(v) for v in (value[0] ** 2, value[1], value[2])]
        return Advice(form, 1, kl_end, plain[0], None, plain[1], None, plain[2], None, None, text)
    wide = lambda pair: None if not np.isfinite(pair).all() else tuple(pair)
    peak, height, loss = map(wide, further(reading, seeds.estimate[: draws.shape[1]], draws, level))
    turned = probability_turned(form, seeds, np.sqrt(kl_end))
    with np.errstate(over="ignore"):  # an interval may end nowhere
        kl = tuple(np.square(peak).tolist()) if peak else None
    text = _sentence(value, kl, height, loss, turned, kl_end, level)
    return Advice(form, len(draws), kl_end, float(value[0] ** 2), kl, float(value[1]), height, float(value[2]), loss,
                  turned, text)  # fmt: skip


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
        out.append((np.exp(middle - wider * (middle - np.log(low))), np.exp(middle + wider * (np.log(high) - middle))))
    return out


def probability_turned(form: str, seeds: laws.SeedFits, d: float) -> float:
    """Probability that a further run's law has its peak before d, by Student's t of the linearised log of d_peak."""
    draws = seeds.per_unit
    function = lambda *p: (laws.peak(form, p[0], p[1], *p[2:])[0],)
    estimate = seeds.estimate[: draws.shape[1]]
    (low, high), middle = further(function, estimate, draws, laws.LEVEL)[0], np.log(function(*estimate)[0])
    half = 0.5 * (np.log(high) - np.log(low))
    if not half > 0:
        return float(middle < np.log(d))
    df = len(draws) - 1
    return float(stats.t.cdf((np.log(d) - middle) / half * stats.t.ppf(0.5 + laws.LEVEL / 2, df), df))


def _silent(form, draws, kl_end, text):
    return Advice(form, len(draws), kl_end, *[None] * 7, text)


def _sentence(value, kl, height, loss, turned, kl_end, level):
    where = with_interval(float(value[0] ** 2), kl) if kl else number(value[0] ** 2)
    how_high = with_interval(float(value[1]), height) if height else number(value[1])
    text = f"gold is expected to peak at {where} nats ({how_high} s.d.)"
    price = with_interval(float(value[2]), loss) if loss else number(float(value[2]))
    text += f"; at twice that KL {price} s.d. are lost"
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
    """Each run's peak against the interval predicted from the other runs of its group.

    groups: triples (form, ds, golds). Runs whose others' law does not turn give no interval and are counted apart.
    A peak at the end of a run is covered if the interval reaches that far.
    """
    covered, without = [], 0
    for form, ds, golds in groups:
        if len(ds) < 3:
            continue
        for s in range(len(ds)):
            rest = [i for i in range(len(ds)) if i != s]
            advice = advise(form, [ds[i] for i in rest], [golds[i] for i in rest], level=level)
            if advice.kl_peak_interval is None:
                without += 1
                continue
            (at, open_ended), (low, high) = seen_peak(ds[s], golds[s]), np.sqrt(advice.kl_peak_interval)
            covered.append(low <= at and (at <= high or (open_ended and high >= AT_END * at)))
    share = float(np.mean(covered)) if covered else None
    return {"level": level, "runs": len(covered), "covered": int(sum(covered)), "share": share, "no_interval": without}
