"""Intervals over independent runs, never over the points of one run.

The top level at which runs differ decides what one draw is. With several worlds (gold models) a draw is a world. With
one world a draw is a seed, and the interval then holds for that world alone. Runs that share a unit are averaged first,
so that what they have in common is not counted twice.
"""

import numpy as np
from scipy import stats

from gold_sim.laws import forms

LEVEL = 0.9  # default level of every interval


def t_interval(values, level: float = LEVEL):
    """Student-t interval of the mean over independent draws: values [S, ...] -> (low [...], high [...]).

    NaN with one draw. A coefficient of a fit is the mean of its seeds' coefficients, so this is the interval of a fit
    as well. Measured coverage of alpha and beta at a stated 90 %, with coefficients that vary between seeds and noise
    correlated along a run: 0.88-0.90 with 4 seeds, 0.90-0.91 with 2, 3, 8 and 16 (2000 replications, s.e. 0.007).
    Seeds that share gold, prompts and preferences vary less than fresh ones would.
    """
    values = np.asarray(values, float)
    n = values.shape[0]
    if n < 2:
        nothing = np.full(values.shape[1:], np.nan)[()]
        return nothing, nothing
    half = stats.t.ppf(0.5 + level / 2, n - 1) * values.std(0, ddof=1) / np.sqrt(n)
    return values.mean(0) - half, values.mean(0) + half


def crossed_interval(values, level: float = LEVEL):
    """Interval of the mean over S draws of one kind, crossed with P of another: [S, P, ...] -> (low [...], high [...]).

    As reward models that score the same prompts: value = mean + row + column + rest, each a random effect. The mean
    squares of rows, columns and rest estimate Var(mean) = (MS_rows + MS_columns - MS_rest) / (S P) without bias
    (Searle, Casella & McCulloch 1992, ch. 4). It counts as no less than rows or columns alone give. Student's t has
    the degrees of freedom of Satterthwaite (1946). With S = 1 or P = 1 it is `t_interval` over the other; NaN with
    S = P = 1.
    `python -m analysis calibration --part scores` measures its coverage.
    """
    values = np.asarray(values, float)
    s, p = values.shape[:2]
    if 1 in (s, p):
        return t_interval(values[0] if s == 1 else values[:, 0], level)
    rows = p * values.mean(1).var(0, ddof=1)
    columns = s * values.mean(0).var(0, ddof=1)
    rest = s * p * values.var((0, 1)) - (s - 1) * rows - (p - 1) * columns
    rest = np.maximum(rest, 0.0) / ((s - 1) * (p - 1))
    least, total = np.maximum(rows, columns), rows + columns - rest
    terms = rows**2 / (s - 1) + columns**2 / (p - 1) + rest**2 / ((s - 1) * (p - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(total > least, total**2 / terms, np.where(rows > columns, s - 1, p - 1))
    half = stats.t.ppf(0.5 + level / 2, np.maximum(df, 1)) * np.sqrt(np.maximum(total, least) / (s * p))
    return values.mean((0, 1)) - half, values.mean((0, 1)) + half


def predictive_interval(values, level: float = LEVEL):
    """Interval for one further draw: that of `t_interval`, wider by a factor of sqrt(n + 1)."""
    values = np.asarray(values, float)
    low, high = t_interval(values, level)
    middle, wider = values.mean(0), np.sqrt(len(values) + 1)
    return middle - (middle - low) * wider, middle + (high - middle) * wider


def top_level(*levels) -> np.ndarray | None:
    """The outermost of several labellings that gives the runs at least two different labels; None if none does.

    levels: arrays [R], outermost first, as (world, reward-model seed, policy seed). A label counts within the labels
    outside it, so seed 1 of two worlds is two seeds.
    """
    inside = None
    for level in levels:
        labels = np.asarray(level).astype(str)
        inside = labels if inside is None else np.char.add(np.char.add(inside, "/"), labels)
        if len(set(inside)) > 1:
            return inside
    return None


def by_unit(values, units=None):
    """Means [U, ...] over the runs of each unit, of values [R, ...]; units: [R] labels, None: a run is a unit."""
    values = np.asarray(values, float)
    if units is None:
        return values
    units = np.asarray(units)
    return np.stack([values[units == unit].mean(0) for unit in np.unique(units)])


def transformed_intervals(function, estimate, per_unit, level: float = LEVEL, interval=t_interval):
    """Intervals of function(*estimate), K values, from the coefficients [U, P] of the units: K pairs (low, high).

    The interval is Student's t over units of the logarithm, linearised at the estimate, then exponentiated. So units
    without a peak of their own do no harm. NaN with one unit, or where a value is not positive and finite.
    interval: (values [U, ...], level) -> (low, high), where units are no plain list of draws.
    """
    estimate, per_unit = np.asarray(estimate, float), np.asarray(per_unit, float)
    with np.errstate(all="ignore"):
        log_of = lambda p: np.log(np.asarray(function(*p), float))
        at = log_of(estimate)
        used = np.flatnonzero(np.isfinite(estimate))
        linear = np.broadcast_to(at, (len(per_unit), len(at))).copy()
        for i in used:
            step = 1e-5 * max(abs(estimate[i]), 1e-8) * np.eye(len(estimate))[i]
            slope = (log_of(estimate + step) - log_of(estimate - step)) / (2 * step[i])
            linear += (per_unit[:, i] - per_unit[:, i].mean())[:, None] * slope
        low, high = np.exp(interval(linear, level)) if len(per_unit) > 1 else np.full((2, len(at)), np.nan)
    nothing = ~(np.isfinite(low) & np.isfinite(high))
    low, high = np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def peak_intervals(form: str, alphas, betas, shapes=None, estimate=None, level: float = LEVEL, interval=t_interval):
    """Intervals of d_peak and gold_peak from the units' coefficients [U] each: ((low, high), (low, high)).

    estimate: (alpha, beta, shape) of the fit, the units' means if None. NaN where it has no peak.
    Measured coverage at a stated 90 %: 0.89-0.91 with 4 seeds.
    """
    per_unit = np.stack([alphas, betas] + ([] if shapes is None else [shapes]), -1)
    estimate = per_unit.mean(0) if estimate is None else np.asarray(estimate, float)[: per_unit.shape[1]]
    return transformed_intervals(lambda *p: forms.peak(form, *p), estimate, per_unit, level, interval)


def draws(estimate, per_unit, count: int = 4000, seed: int = 0):
    """Coefficients [count, P] drawn from the multivariate t of the mean over units [U, P].

    Its marginal quantiles are those of `t_interval`. The draws give probabilities of functions of coefficients.
    """
    estimate, per_unit = np.asarray(estimate, float), np.asarray(per_unit, float)
    n = len(per_unit)
    rng = np.random.default_rng(seed)
    spread = (per_unit - per_unit.mean(0)) / np.sqrt(n * (n - 1))  # [U, P]; spread' spread is the covariance
    scale = np.sqrt((n - 1) / rng.chisquare(n - 1, count))
    return estimate + (rng.standard_normal((count, n)) @ spread) * scale[:, None]
