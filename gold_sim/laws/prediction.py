"""Does the first half of a curve predict the second?  A law fitted to one, and a band for the points of the other.

The band is for the mean curve of the same runs, had they gone on: what one asks in the middle of a run. So runs need
not agree with each other, and one run is enough. It holds the error of the fit and the noise of the new points. Noise
is taken for autoregressive of order 1 along a run: its size and correlation are what leaves the residuals of the runs
as large and as alike as they are, given how many coefficients were fitted (`noise_of`). Points that are shares of
successes scatter by their trials instead, times the overdispersion of the first half (`shares_band`).

The band is linear in the errors of the coefficients. A law whose bend lies beyond the first half bends it: see
`python -m analysis calibration --part bounded` for how often the bands hold.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from gold_sim.laws import fits, forms, saturation, saturation_fits, shares
from gold_sim.laws.intervals import LEVEL

MOST = 100  # points of a half; of longer curves neighbours are averaged
CORRELATIONS = np.linspace(0.0, 0.98, 50)
MANY = 5000  # trials; with more their number no longer matters beside the rest
FEWEST = 2  # points beyond those that determine the coefficients


@dataclass(frozen=True)
class Prediction:
    """The second half of a curve [X], and the band that its first half gave."""

    x: np.ndarray
    seen: np.ndarray
    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    correlation: float  # of the noise of neighbouring points; 0 for shares

    @property
    def covered(self) -> float:
        """Share of the second half's points within the band."""
        return float(np.mean((self.low <= self.seen) & (self.seen <= self.high)))

    @property
    def bias(self) -> float:
        """Mean of expected minus seen, in the units of the score."""
        return float(np.mean(self.expected - self.seen))


def halves(x) -> tuple[np.ndarray, np.ndarray]:
    """Which of x [T] lie in the first and in the second half of their range."""
    first = np.asarray(x) <= (np.min(x) + np.max(x)) / 2
    return first, ~first


def noise_of(residuals, j) -> tuple[float, float, float]:
    """(variance, correlation of neighbours, degrees of freedom) of the noise along runs, AR(1).

    residuals: [S, T] about one law whose Jacobian is j [T, P]; what each run's own coefficients explain is taken out.
    With M that projection, R the correlation matrix and L the neighbours, E e'e = s^2 tr(M R) and
    E e'L e = s^2 tr(M R M L): the correlation solves for their ratio. Degrees of freedom are Satterthwaite's (1946).

    One standard error is added to the correlation. Few points tell little of it, and a band is far too narrow where it
    is too small, little too wide where it is too large. Without, bands of single runs held 0.81 to 0.85 at 0.9.
    """
    count, points = residuals.shape
    project = np.eye(points) - j @ np.linalg.pinv(j)
    e = residuals @ project
    beside = 0.5 * (np.eye(points, k=1) + np.eye(points, k=-1))
    ratio = np.sum((e @ beside) * e) / max(np.sum(e**2), 1e-300)
    inner = project @ beside @ project
    apart = np.abs(np.subtract.outer(np.arange(points), np.arange(points))).ravel()
    traces = lambda m: CORRELATIONS[:, None] ** np.arange(points) @ np.bincount(apart, m.ravel())  # tr(M R) of each
    correlation = CORRELATIONS[int(np.argmin(np.abs(traces(inner) / traces(project) - ratio)))]
    error = np.sqrt((1 - correlation**2) / (count * max(points - j.shape[1], 1)))
    correlation = float(min(correlation + error, CORRELATIONS[-1]))
    mr = project @ correlations(points, correlation)
    spare = np.trace(mr)
    return float(np.sum(e**2) / (count * spare)), correlation, float(count * spare**2 / np.sum(mr * mr.T))


def band(residuals, j_near, j_far, level: float = LEVEL):
    """(half width [X], correlation) for the mean curve beyond, from residuals [S, T] and the law's Jacobians."""
    variance, correlation, df = noise_of(residuals, j_near)
    error = np.sqrt(relative_variance(j_near, j_far, correlation) * variance / len(residuals))
    return special.stdtrit(max(df, 1.0), 0.5 + level / 2) * error, correlation


def relative_variance(j_near, j_far, correlation: float):
    """Var(y - fitted) / s^2 [X] of points beyond a least-squares fit: diag(R_ff - 2 R_fn H' + H R_nn H').

    H = J_far J_near^+, and R has the correlations of the noise along near [T] and far [X] points together.
    """
    points = len(j_near)
    r = correlations(points + len(j_far), correlation)
    h = j_far @ np.linalg.pinv(j_near)
    error = 1 - 2 * np.einsum("fn,fn->f", r[points:, :points], h) + np.einsum("fn,nm,fm->f", h, r[:points, :points], h)
    return np.maximum(error, 0.0)


def correlations(points: int, correlation: float) -> np.ndarray:
    """[T, T] correlation matrix of AR(1) noise."""
    return correlation ** np.abs(np.subtract.outer(np.arange(points), np.arange(points)))


def second_half(form: str, x, y, level: float = LEVEL, start: float | None = None) -> Prediction:
    """The band that a law, fitted to the first half of x, gives for the mean of runs y [S, T] on the second half.

    x: [T], ascending; for a form of `forms` it is KL's root d, and halves are of KL.  start: score at x = 0 of a
    sigmoid, if it is known. ValueError where either half has too few points.
    """
    law = _law_of(form, start)
    x, y = _thinned(np.asarray(x, float), np.asarray(y, float))
    near, far = halves(x**2 if form in forms.FORMS else x)
    if near.sum() < law.num_params + FEWEST or far.sum() < 1:
        raise ValueError(f"{near.sum()} points in the first half: {law.num_params + FEWEST} are wanted, and 1 beyond")
    theta = law.estimate(x[near], y[:, near].mean(0))
    expected = law.evaluate(x[far], theta)
    half, correlation = band(
        y[:, near] - law.evaluate(x[near], theta), law.jacobian(x[near], theta), law.jacobian(x[far], theta), level
    )
    return Prediction(x[far], y[:, far].mean(0), expected, expected - half, expected + half, level, correlation)


def second_half_of_shares(form, x, y, trials, level: float = LEVEL, start: float | None = None) -> Prediction:
    """The band that a law, fitted to the first half of x, gives for shares y of successes in the second.

    x, y, trials: [N] of all runs' points; where runs share x their trials are pooled. x and start are as for
    `second_half`. The band is of beta-binomial quantiles, so it lies in 0 to 1. Its variance is that of the fit, plus
    that of the trials times the dispersion of the first half, if that is above 1.
    """
    x, y, n = _pooled(np.asarray(x, float), np.asarray(y, float), np.asarray(trials, float))
    near, far = halves(x**2 if form in forms.FORMS else x)
    data = saturation.Data(x[near], y[near], np.ones(near.sum()), n[near])
    if form in saturation.FORMULAS:
        start = 0.0 if form == "hill" else start
        held = int(start is not None)
        if near.sum() < 4 - held + FEWEST or not far.any() or not np.ptp(data.y) > 0:
            raise ValueError(f"{near.sum()} points in the first half: {4 - held + FEWEST} that differ are wanted")
        theta = saturation.estimate(data, start)
        fitted, expected = saturation.at(data.x, theta), saturation.at(x[far], theta)
        j, beyond = (saturation.jacobian(at, theta)[:, held:] for at in (data.x, x[far]))
    else:
        found = shares.fit(form, [data.x], [data.y], [data.trials], None if start is None else [start])
        if not (found.converged and far.any()):
            raise ValueError(f"{near.sum()} points in the first half do not give the law")
        fitted, expected = found(data.x), found(x[far])
        design = lambda at: np.stack([*([np.ones(len(at))] if start is None else []), *_terms(form, at)], -1)
        j, beyond = (design(at) * (p * (1 - p))[:, None] for at, p in ((data.x, fitted), (x[far], expected)))
    weights = saturation.information_weights(data, fitted)
    dispersion = max(np.nan_to_num(saturation_fits.pearson(data, fitted, j.shape[1])[0], nan=1.0), 1.0)
    of_fit = np.einsum("xi,ij,xj->x", beyond, np.linalg.pinv(j.T @ (weights[:, None] * j)), beyond) * dispersion
    variance = of_fit + dispersion * expected * (1 - expected) / n[far]
    edges = zip(expected, n[far], variance, strict=True)
    low, high = np.array([beta_binomial_interval(*one, level) for one in edges]).T
    return Prediction(x[far], y[far], expected, low, high, level, 0.0)


def _terms(form, d):
    return list(forms.form_named(form).basis(d))[: forms.form_named(form).num_linear]


def _pooled(x, y, n):
    """Points of equal x as one, with all their trials, in order of x."""
    at, where = np.unique(x, return_inverse=True)
    total = np.bincount(where, n)
    return at, np.bincount(where, n * y) / total, total


def beta_binomial_interval(mean: float, trials: float, variance: float, level: float) -> tuple[float, float]:
    """Quantiles of a share of successes of this mean and variance: beta-binomial, or beta with very many trials."""
    mean = float(np.clip(mean, 1e-9, 1 - 1e-9))
    tails, n = np.array([(1 - level) / 2, (1 + level) / 2]), max(int(round(trials)), 1)
    excess = variance * n / (mean * (1 - mean)) - 1
    within = np.clip(excess / max(n - 1, 1), 1e-9, 0.999)  # correlation of two trials
    a, b = mean * (1 / within - 1), (1 - mean) * (1 / within - 1)
    if n > MANY:
        return tuple(special.betaincinv(a, b, tails))
    k = np.arange(n + 1)
    logs = special.betaln(k + a, n - k + b) - special.betaln(a, b)
    logs = logs - np.log(n + 1) - special.betaln(n - k + 1, k + 1)
    return tuple(np.minimum(np.searchsorted(np.cumsum(np.exp(logs)), tails), n) / n)


def _thinned(x, y):
    """x [T] and y [S, T] with neighbours averaged, at most 2 MOST of them."""
    blocks = np.array_split(np.arange(len(x)), min(len(x), 2 * MOST))
    return np.array([x[b].mean() for b in blocks]), np.stack([y[:, b].mean(1) for b in blocks], 1)


# --- what a prediction needs of a law --------------------------------------------------------------


@dataclass(frozen=True)
class _Law:
    num_params: int
    estimate: Callable  # (x [T], y [T]) -> theta [P]
    evaluate: Callable  # (x [T], theta [P]) -> [T]
    jacobian: Callable  # (x [T], theta [P]) -> [T, P]


def _law_of(form: str, start: float | None) -> _Law:
    if form in saturation.FORMULAS:
        start = 0.0 if form == "hill" else start
        held = int(start is not None)
        return _Law(
            4 - held,
            lambda x, y: saturation.estimate(saturation.Data(x, y, np.ones(len(x))), start),
            saturation.at,
            lambda x, theta: saturation.jacobian(x, theta)[:, held:],
        )
    law = forms.form_named(form)
    shape = lambda theta: theta[2] if law.shape else None
    value = lambda x, theta: forms.evaluate(form, x, theta[0], theta[1], shape(theta))

    def jacobian(x, theta):
        columns = list(law.basis(x, shape(theta)))[: law.num_linear]
        if law.shape:
            step = 1e-4 * theta[2] * np.eye(3)[2]
            columns.append((value(x, theta + step) - value(x, theta - step)) / (2 * step[2]))
        return np.stack(columns, -1)

    return _Law(law.num_params, lambda x, y: np.array(fits.estimate(form, x, y)), value, jacobian)
