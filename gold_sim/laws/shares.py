"""Laws of distance for shares of successes, such as win rates: logit p(d) = logit p0 + R(d), by binomial likelihood.

R is one of `forms`, p0 the share at the reference policy: 1/2 for a win rate against it. Under the Bradley-Terry model
the logit of a win rate is a difference of gold, so R keeps its meaning, in logits in place of standard deviations. A
share stays within 0 and 1 however far the law is drawn. It turns where R does. The fit is a logistic regression on the
law's two terms (McCullagh & Nelder 1989, chapter 4), so it is found from any start.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from gold_sim.laws import forms, intervals
from gold_sim.laws.fits import r_squared
from gold_sim.laws.intervals import LEVEL
from gold_sim.laws.saturation_fits import NOTHING, joined, log_likelihood, pearson, units_left_out

STEPS = 100  # of Fisher scoring; 5 to 10 are usual
FARTHEST = 25.0  # logits; beyond, all trials are successes or all are failures and no law can be fitted


@dataclass(frozen=True)
class ShareFit:
    """A law of distance fitted to shares of one group; what cannot be determined is NaN."""

    form: str
    p0: float  # share at the reference policy
    alpha: float  # logits a nat^0.5 (a nat for quadratic)
    beta: float
    p0_ci: tuple[float, float]
    alpha_ci: tuple[float, float]
    beta_ci: tuple[float, float]
    d_peak: float  # nats^0.5
    d_peak_ci: tuple[float, float]
    share_peak: float
    r2: float
    n_points: int
    d_max: float
    converged: bool
    num_units: int = 1
    log_likelihood: float = float("nan")
    dispersion: float = float("nan")
    dispersion_p: float = float("nan")

    def __call__(self, d):
        """The share at d [T]."""
        return special.expit(special.logit(self.p0) + forms.evaluate(self.form, d, self.alpha, self.beta))


def fit(form: str, ds, ys, trials, start=None, units=None, level: float = LEVEL) -> ShareFit:
    """Fit a law of distance to the shares of S runs.

    ds, ys, trials: S rows of distances (nats^0.5), shares from 0 to 1 and numbers of trials from 1.
    start: [S] shares at the reference policy, whose mean is p0; None: it is fitted.
    Intervals are between units by the jackknife, or for one unit from the likelihood's curvature times the dispersion.
    ValueError for a form with a shape, and for shares or trials that are not allowed.
    """
    law = forms.form_named(form)
    if law.shape:
        plain = ", ".join(name for name, one in forms.FORMS.items() if not one.shape)
        raise ValueError(f"form={form!r}: shares are fitted by {plain}")
    data, run = joined(ds, ys, None, trials)
    columns = list(law.basis(data.x))[: law.num_linear]
    design = np.stack(([np.ones(len(data.x))] if start is None else []) + columns, -1)
    kept = units_left_out(run, units)[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = 0.0 if start is None else special.logit(np.asarray(start, float)[run])
    if not np.isfinite(offset).all():
        given = next(s for s in np.asarray(start, float) if not 0 < s < 1)
        raise ValueError(f"share {given:g} at the reference policy: its logit is wanted; allowed are 0 < share < 1")
    if len(np.unique(data.x)) < design.shape[1]:
        return _nothing(form, data)
    found = np.stack([_scored(data, design, offset, k) for k in (np.ones(len(run)), *kept)])
    eta = design @ found[0] + offset
    if not np.isfinite(found).all() or np.abs(eta).max() > FARTHEST:
        return _nothing(form, data)
    return _described(form, data, design, special.expit(eta), found, start, level)


def _nothing(form, data) -> ShareFit:
    nan = float("nan")
    end = float(data.x.max()) if len(data.x) else nan
    return ShareFit(form, nan, nan, nan, *[NOTHING] * 3, nan, NOTHING, nan, nan, len(data.x), end, converged=False)


def _scored(data, design, offset, weights):
    """Coefficients [P] by Fisher scoring, halved where the likelihood would fall; NaN if they cannot be told apart."""
    if np.linalg.matrix_rank(design[weights > 0]) < design.shape[1]:
        return np.full(design.shape[1], np.nan)
    n = data.trials * weights
    loss = lambda b: float(n @ (np.logaddexp(0, design @ b + offset) - data.y * (design @ b + offset)))
    at = np.zeros(design.shape[1])
    for _ in range(STEPS):
        p = special.expit(design @ at + offset)
        information = design.T @ ((n * p * (1 - p))[:, None] * design)
        step = np.linalg.lstsq(information, design.T @ (n * (data.y - p)), rcond=None)[0]
        while np.abs(step).max() > 1e-12 and loss(at + step) > loss(at) + 1e-12 * abs(loss(at)):
            step = step / 2
        at = at + step
        if np.abs(step).max() < 1e-10:
            break
    return at


def _described(form, data, design, fitted, found, start, level) -> ShareFit:
    """The fit with its intervals, from coefficients found [1 + U, P]: those of all units, then with each left out."""
    thetas = _completed(form, found, start)
    theta, units = thetas[0], len(found) - 1
    dispersion, p = pearson(data, fitted, design.shape[1])
    peak = lambda alpha, beta: np.array([forms.peak(form, alpha, beta)[0]])
    ci, peak_ci = np.full((3, 2), np.nan), NOTHING
    if units:
        pseudo = units * theta - (units - 1) * thetas[1:]
        ci = np.stack(intervals.t_interval(pseudo, level), -1) + (theta - pseudo.mean(0))[:, None]
        (peak_ci,) = intervals.transformed_intervals(peak, theta[1:], pseudo[:, 1:], level)
    elif np.isfinite(dispersion):
        information = design.T @ ((data.trials * fitted * (1 - fitted))[:, None] * design)
        covariance, at = np.zeros((3, 3)), slice(start is not None, (start is not None) + design.shape[1])
        covariance[at, at] = np.linalg.pinv(information) * max(dispersion, 1.0)
        t = special.stdtrit(max(len(data.y) - design.shape[1], 1), 0.5 + level / 2)
        ci = theta[:, None] + t * np.sqrt(np.diag(covariance))[:, None] * np.array([-1, 1])
        peak_ci = _linearised(peak, theta[1:], covariance[1:, 1:], t)
    ci[[start is not None, False, forms.form_named(form).num_linear < 2]] = np.nan  # what was not fitted
    alpha, beta = float(theta[1]), float(theta[2])
    d_peak, gain = forms.peak(form, alpha, beta)
    return ShareFit(
        form,
        float(special.expit(theta[0])),
        alpha,
        beta,
        *(tuple(map(float, pair)) for pair in (special.expit(ci[0]), ci[1], ci[2])),
        d_peak=float(d_peak),
        d_peak_ci=peak_ci,
        share_peak=float(special.expit(theta[0] + gain)),
        r2=float(r_squared(data.y, fitted)),
        n_points=len(data.y),
        d_max=float(data.x.max()),
        converged=True,
        num_units=max(units, 1),
        log_likelihood=log_likelihood(data, fitted),
        dispersion=dispersion,
        dispersion_p=p,
    )


def _completed(form, found, start):
    """(logit p0, alpha, beta) [1 + U, 3] from the coefficients that were fitted [1 + U, P]."""
    if start is not None:
        found = np.concatenate([np.full((len(found), 1), special.logit(np.mean(start))), found], 1)
    return np.concatenate([found, np.zeros((len(found), 2 - forms.form_named(form).num_linear))], 1)


def _linearised(function, at, covariance, t) -> tuple[float, float]:
    """Interval of one positive function of coefficients, linear on the scale of its logarithm."""
    with np.errstate(all="ignore"):
        middle = np.log(function(*at)[0])
        slopes = []
        for i in range(len(at)):
            step = 1e-5 * max(abs(at[i]), 1e-8) * np.eye(len(at))[i]
            slopes.append((np.log(function(*(at + step))[0]) - np.log(function(*(at - step))[0])) / (2 * step[i]))
        half = t * np.sqrt(np.array(slopes) @ covariance @ np.array(slopes))
        low, high = np.exp(middle - half), np.exp(middle + half)
    return (float(low), float(high)) if np.isfinite([low, high]).all() else NOTHING
