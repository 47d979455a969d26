"""Fits of the laws that saturate (`saturation`) to a group of runs, with intervals.

Runs count as one curve: all their points are fitted together, each run with the same weight. Where runs share their x
that is the fit of their mean. Intervals are between runs, by the jackknife, as for the other forms with a shape. Points
that are shares of successes have a likelihood of their own: the binomial one. A single run has intervals then, from
the likelihood's curvature, wider by the root of the overdispersion (McCullagh & Nelder 1989, section 4.5).
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from gold_sim.laws import saturation
from gold_sim.laws.fits import r_squared
from gold_sim.laws.intervals import LEVEL, t_interval
from gold_sim.laws.saturation import NAMES, Data

NOTHING = (float("nan"), float("nan"))


@dataclass(frozen=True)
class SaturationFit:
    """A law that saturates, fitted to one group of runs; what cannot be determined is NaN."""

    form: str
    R0: float  # at x = 0; 0 for hill
    A: float  # asymptote
    C_mid: float  # in the unit of x
    B: float
    R0_ci: tuple[float, float]
    A_ci: tuple[float, float]
    C_mid_ci: tuple[float, float]
    B_ci: tuple[float, float]
    r2: float  # of all points, 1 - residual / total sum of squares
    n_points: int
    x_max: float  # end of the data
    reached: float  # share of the way from R0 to A at the end of the data
    short: float  # A minus the law at the end of the data
    at_bounds: tuple[str, ...]  # coefficients that lie on the bounds of what was sought
    converged: bool
    num_units: int = 1
    log_likelihood: float = float("nan")  # binomial or Gaussian, with all constants
    dispersion: float = float("nan")  # Pearson's chi-squared over its degrees of freedom; NaN without trials
    dispersion_p: float = float("nan")  # probability of so large a dispersion by binomial chance alone

    @property
    def theta(self) -> np.ndarray:
        """(R0, A, log C_mid, log B)."""
        return np.array([self.R0, self.A, np.log(self.C_mid), np.log(self.B)])

    def __call__(self, x):
        """The law at x [T]."""
        return saturation.evaluate(x, self.R0, self.A, self.C_mid, self.B)


def num_params(form: str, held: bool = False) -> int:
    """Coefficients that are fitted; held: R0 is given."""
    return 3 if saturation.form_named(form) == "hill" or held else 4


def fit(form, xs, ys, ses=None, trials=None, start=None, units=None, level: float = LEVEL) -> SaturationFit:
    """Fit a law that saturates to S runs.

    xs, ys: S rows, which may differ in length, of x from 0 up and of scores.  ses: of standard errors, for weights
    1 / se^2.  trials: of numbers of trials; scores are then shares of successes, and the likelihood is binomial.
    start: [S] scores at x = 0, whose mean is R0; None: R0 is fitted, or 0 for hill.
    units: [S] labels; runs with the same label are one independent draw.
    ValueError for scores outside 0 to 1 or fewer trials than 1, for ses with trials, and for hill with a start.
    """
    held = saturation.form_named(form) == "hill" or start is not None
    if form == "hill" and start is not None:
        raise ValueError("form='hill': starts at 0; sigmoid has a start of its own")
    data, run = joined(xs, ys, ses, trials)
    if trials is not None and start is not None and not all(0 <= s <= 1 for s in start):
        raise ValueError(f"share {next(s for s in start if not 0 <= s <= 1):g} at x = 0: allowed are 0 to 1")
    if form == "hill" and trials is not None and (data.y[data.x == 0] > 0).any():
        above = data.y[(data.x == 0) & (data.y > 0)][0]
        raise ValueError(f"form='hill': is 0 at x = 0, where a share is {above:g}; sigmoid has a start of its own")
    if not _can_be_fitted(data, num_params(form, held)):
        return _nothing(form, data)
    labels, without = units_left_out(run, units)
    weights = np.concatenate([np.ones((1, len(run))), without])
    starts = None
    if held:
        given = np.zeros(len(xs)) if start is None else np.asarray(start, float)
        starts = np.array([given.mean(), *(given[labels != u].mean() for u in range(len(without)))])
    thetas = saturation.estimates(data, weights, starts)
    return _described(form, data, thetas, held, level)


def joined(xs, ys, ses, trials):
    """(all points, the run of each [N]); a run has the same weight as any other, however many points it has."""
    join = lambda rows: None if rows is None else np.concatenate([np.asarray(row, float) for row in rows])
    run = np.repeat(np.arange(len(xs)), [len(x) for x in xs])
    x, y, se, n = join(xs), join(ys), join(ses), join(trials)
    if se is not None and n is not None:
        raise ValueError("standard errors with trials: trials have standard errors of their own; leave one out")
    if n is not None and ((y < 0) | (y > 1)).any():
        raise ValueError(f"score {y[(y < 0) | (y > 1)][0]:g}: with trials allowed are 0 to 1")
    if n is not None and not (n >= 1).all():
        raise ValueError(f"trials {n[~(n >= 1)][0]:g}: allowed from 1")
    weights = np.ones(len(x)) if n is not None else np.concatenate([np.full(len(one), 1 / len(one)) for one in xs])
    weights = weights if se is None else 1 / np.maximum(se, 1e-12) ** 2
    return Data(x, y, weights / weights.mean(), n), run


def units_left_out(run, units=None):
    """(label [S] of each run's unit from 0 up; [U, N] points that are not the unit's, with U = 0 for one unit)."""
    labels = np.arange(run.max() + 1) if units is None else np.unique(np.asarray(units), return_inverse=True)[1]
    count = labels.max() + 1
    return labels, labels[run] != np.arange(count if count > 1 else 0)[:, None]


def _can_be_fitted(data: Data, wanted: int) -> bool:
    return len(np.unique(data.x)) >= wanted and (data.x > 0).any() and np.ptp(data.y) > 0


def _nothing(form, data):
    nan = float("nan")
    end = float(data.x.max()) if len(data.x) else nan
    return SaturationFit(
        form, *([nan] * 4), *([NOTHING] * 4), nan, len(data.x), end, nan, nan, at_bounds=(), converged=False
    )


def _described(form, data, thetas, held, level) -> SaturationFit:
    theta, box = thetas[0], saturation.bounds(data)
    free = np.array([not held, True, True, True])
    at_bound = free & ((theta <= box[0] + 1e-9 * np.ptp(box, 0)) | (theta >= box[1] - 1e-9 * np.ptp(box, 0)))
    fitted = saturation.at(data.x, theta)
    dispersion, p = pearson(data, fitted, int(free.sum()))
    if len(thetas) > 1:
        ci = _between(thetas, level)
    elif data.trials is not None:
        ci = _by_curvature(data, theta, free & ~at_bound, max(dispersion, 1.0), int(free.sum()), level)
    else:
        ci = np.full((4, 2), np.nan)
    ci[~free | at_bound] = np.nan
    ci[2:] = np.exp(np.clip(ci[2:], -700, 700))
    if data.trials is not None:
        ci[:2] = np.clip(ci[:2], 0, 1)
    end = float(saturation.at(np.array([data.x.max()]), theta)[0])
    way = theta[1] - theta[0]
    return SaturationFit(
        form,
        *map(float, (theta[0], theta[1], np.exp(theta[2]), np.exp(theta[3]))),
        *(tuple(map(float, pair)) for pair in ci),
        r2=float(r_squared(data.y, fitted)),
        n_points=len(data.x),
        x_max=float(data.x.max()),
        reached=float((end - theta[0]) / way) if way != 0 else float("nan"),
        short=float(theta[1] - end),
        at_bounds=tuple(name for name, there in zip(NAMES, at_bound, strict=True) if there),
        converged=True,
        num_units=max(len(thetas) - 1, 1),
        log_likelihood=log_likelihood(data, fitted),
        dispersion=dispersion,
        dispersion_p=p,
    )


def _between(thetas, level):
    """[4, 2]: Student's t over the jackknife's pseudo-values, about the fit of all units (Tukey 1958)."""
    count = len(thetas) - 1
    pseudo = count * thetas[0] - (count - 1) * thetas[1:]
    return np.stack(t_interval(pseudo, level), -1) + (thetas[0] - pseudo.mean(0))[:, None]


def _by_curvature(data, theta, free, dispersion, num_fitted, level):
    """[4, 2]: from the expected information times the dispersion, R0 and A on the scale of the logit."""
    j = saturation.jacobian(data.x, theta)[:, free]
    weights = saturation.information_weights(data, saturation.at(data.x, theta))
    variance = np.diag(np.linalg.pinv(j.T @ (weights[:, None] * j))) * dispersion
    half = special.stdtrit(max(len(data.x) - num_fitted, 1), 0.5 + level / 2) * np.sqrt(np.maximum(variance, 0))
    ci = np.full((4, 2), np.nan)
    for i, width in zip(np.flatnonzero(free), half, strict=True):
        if i > 1:
            ci[i] = theta[i] - width, theta[i] + width
        else:
            p = np.clip(theta[i], saturation.TINY, 1 - saturation.TINY)
            ci[i] = special.expit(special.logit(p) + np.array([-width, width]) / (p * (1 - p)))
    return ci


def pearson(data: Data, fitted, num_fitted: int) -> tuple[float, float]:
    """(Pearson's chi-squared of binomial shares over its degrees of freedom, its p-value); NaN without trials."""
    spare = len(data.y) - num_fitted
    if data.trials is None or spare < 1:
        return float("nan"), float("nan")
    squares = float(np.sum(saturation.information_weights(data, fitted) * (data.y - fitted) ** 2))
    return squares / spare, float(special.chdtrc(spare, squares))


def log_likelihood(data: Data, fitted) -> float:
    """Binomial, or Gaussian with the variance that fits best; with all constants."""
    if data.trials is None:
        mean = np.average((data.y - fitted) ** 2, weights=data.weights)
        constants = len(data.y) * (np.log(2 * np.pi * mean) + 1) - np.sum(np.log(data.weights)) if mean > 0 else np.nan
        return float(-0.5 * constants)
    p, n = np.clip(fitted, saturation.TINY, 1 - saturation.TINY), data.trials
    k = n * data.y
    choices = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return float(np.sum(choices + special.xlogy(k, p) + special.xlog1py(n - k, -p)))
