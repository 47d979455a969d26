"""Comparison of functional forms: likelihoods, cross-validation over whole runs and sizes, extrapolation.

Information criteria count points. The points of a run are not independent, so these criteria overstate the evidence.
They are reported all the same, with all constants. The verdict rests on runs: each form is fitted to all runs but one,
and its error on that run is compared. The differences between forms are paired over runs.
"""

from dataclasses import dataclass

import numpy as np

from gold_sim.laws import fits
from gold_sim.laws.forms import FORMS, evaluate, form_named
from gold_sim.laws.intervals import LEVEL, predictive_interval, t_interval

LEANING = 0.8  # one-sided level at which a larger form that is not surely better still puts the smaller one in doubt
SPLINE = "spline"  # the non-parametric reference
SPLINE_PIECES = 4


@dataclass(frozen=True)
class Information:
    """Information criteria of a least-squares fit with Gaussian errors; the error variance is one more parameter."""

    log_likelihood: float
    aicc: float  # NaN with too few points
    bic: float


def information(residual_squares: float, n_points: int, num_params: int) -> Information:
    """log L = -n/2 (log(2 pi RSS / n) + 1); AICc = 2 k - 2 log L + 2 k (k + 1) / (n - k - 1); BIC = k log n - 2 log L.

    num_params: coefficients of the mean; k is one more, the variance. NaN where the residuals are exactly 0.
    """
    k = num_params + 1
    if n_points <= k or not residual_squares > 0:
        return Information(float("nan"), float("nan"), float("nan"))
    log_likelihood = -0.5 * n_points * (np.log(2 * np.pi * residual_squares / n_points) + 1)
    aic = 2 * k - 2 * log_likelihood
    correction = 2 * k * (k + 1) / (n_points - k - 1) if n_points > k + 1 else np.nan
    return Information(float(log_likelihood), float(aic + correction), float(k * np.log(n_points) - 2 * log_likelihood))


def predictor(form: str, d, gold, weights=None, pieces: int = SPLINE_PIECES):
    """A function d [X] -> gold [..., X]: `form`, or a spline of so many pieces, fitted to gold [..., T] at d [T]."""
    if form == SPLINE:
        return _spline(d, gold, pieces)
    alpha, beta, shape = fits.estimate(form, d, gold, weights)
    return lambda at: evaluate(form, at, alpha, beta, shape if form_named(form).shape else None)


def _spline(d, gold, pieces):
    """Least-squares cubic spline through R(0) = 0, linear beyond the last distance."""
    from scipy.interpolate import BSpline  # here, as it takes a quarter of a second to import

    d, end = np.asarray(d, float), float(np.max(d))
    pieces = int(np.clip(len(d) // 4, 1, pieces))
    knots = np.concatenate([np.zeros(4), np.linspace(0, end, pieces + 1)[1:-1], np.full(4, end)])
    design = lambda x: BSpline.design_matrix(np.clip(x, 0, end), knots, 3).toarray()[:, 1:]  # without the value at 0
    coefficients = np.linalg.lstsq(design(d), np.moveaxis(np.atleast_2d(gold), -1, 0), rcond=None)[0]
    slope = (design(np.array([end])) - design(np.array([end * (1 - 1e-4)]))) / (end * 1e-4)

    def at(x):
        x = np.asarray(x, float)
        rows = design(x) + np.maximum(x - end, 0)[:, None] * slope
        return np.moveaxis(rows @ coefficients, 0, -1).reshape(*np.shape(gold)[:-1], len(x))

    return at


def num_params(form: str, n_points: int | None = None) -> int:
    if form == SPLINE:
        return SPLINE_PIECES + 2 if n_points is None else int(np.clip(n_points // 4, 1, SPLINE_PIECES)) + 2
    return form_named(form).num_params


def leave_out_runs(d, gold, forms=(*FORMS, SPLINE)) -> dict[str, np.ndarray]:
    """Mean squared error on each run [S] of the form fitted to the mean of the other runs.  d: [T]; gold: [S, T]."""
    gold = np.asarray(gold, float)
    if len(gold) < 2:
        return {form: np.full(len(gold), np.nan) for form in forms}
    others = (gold.sum(0) - gold) / (len(gold) - 1)
    return {form: np.mean((gold - predictor(form, d, others)(d)) ** 2, -1) for form in forms}


def leave_out_sizes(groups, forms=("bon", "rl", "log1p", "quadratic", "linear")) -> dict[str, np.ndarray]:
    """Root mean squared error of each form on each size [G], its coefficients predicted from the other sizes.

    groups: G triples (log10 size, d [T], gold [T] averaged over seeds). The coefficients are straight lines in log size
    through the other sizes' own fits; at least three sizes are wanted, else NaN.
    """
    sizes = np.array([size for size, _, _ in groups], float)
    out = {}
    for form in forms:
        coefficients = np.array([fits.estimate(form, d, gold)[:2] for _, d, gold in groups])
        errors = []
        for g, (size, d, gold) in enumerate(groups):
            rest = np.arange(len(groups)) != g
            if rest.sum() < 2:
                errors.append(np.nan)
                continue
            design = np.stack([np.ones(rest.sum()), sizes[rest]], -1)
            line = np.linalg.lstsq(design, coefficients[rest], rcond=None)[0]
            errors.append(np.sqrt(np.mean((evaluate(form, d, *(np.array([1.0, size]) @ line)) - gold) ** 2)))
        out[form] = np.array(errors)
    return out


@dataclass(frozen=True)
class Extrapolation:
    """The errors of a form that is fitted to d <= cut and judged on the points beyond."""

    form: str
    cut: float  # nats^0.5
    error: float  # root mean square of the averaged curve beyond the cut, gold s.d.
    bias: float  # mean of predicted minus seen
    coverage: float  # share of points beyond the cut, over left-out runs, in the predictive interval; NaN with < 3 runs


def extrapolate(form: str, d, gold, cut: float, level: float = LEVEL) -> Extrapolation:
    """The errors of a form that is fitted up to `cut` and predicts the points beyond.  d: [T]; gold: [S, T].

    Coverage: each run in turn is left out; the others' own fits give, at every point beyond the cut, a predictive
    interval for one further run.  ValueError if either side of the cut has fewer points than the form wants.
    """
    d, gold = np.asarray(d, float), np.asarray(gold, float)
    near, far = d <= cut, d > cut
    if near.sum() < num_params(form, near.sum()) + 1 or not far.any():
        raise ValueError(f"cut={cut:g}: {near.sum()} points of d up to {d.max():.3g} lie below it, {far.sum()} beyond")
    seen = gold.mean(0)[far]
    miss = predictor(form, d[near], gold.mean(0)[near])(d[far]) - seen
    coverage = np.nan
    if len(gold) > 2:
        per_run = predictor(form, d[near], gold[:, near])(d[far])  # [S, X]
        inside = []
        for s in range(len(gold)):
            low, high = predictive_interval(np.delete(per_run, s, 0), level)
            inside.append((low <= gold[s, far]) & (gold[s, far] <= high))
        coverage = float(np.mean(inside))
    return Extrapolation(form, float(cut), float(np.sqrt(np.mean(miss**2))), float(miss.mean()), coverage)


@dataclass(frozen=True)
class Verdict:
    """The form that the curves follow, or None where they cannot tell, and the evidence."""

    form: str | None
    rivals: tuple[str, ...]  # forms that are not beaten
    text: str
    scores: dict  # form -> root mean squared error on left-out runs, gold s.d.
    against: dict  # form -> (mean excess of its squared error over the best's, low, high)


def verdict(d, gold, forms=tuple(FORMS), level: float = LEVEL) -> Verdict:
    """The form that runs gold [S, T] follow on distances d [T].

    The form with the least error on left-out runs is the best. Another form is beaten if its excess error, paired over
    runs, has a one-sided t interval above 0. The unbeaten form of fewest parameters is chosen if every other unbeaten
    form holds it as a special case and the errors do not lean towards that other form (LEANING). Else the data cannot
    tell.
    """
    gold = np.asarray(gold, float)
    errors = leave_out_runs(d, gold, forms)
    scores = {form: float(np.sqrt(e.mean())) for form, e in errors.items()}
    if len(gold) < 3:
        text = f"cannot tell: {len(gold)} run{'s' * (len(gold) != 1)}, and at least 3 are wanted to leave one out"
        return Verdict(None, tuple(forms), text, scores, {})
    best = min(forms, key=lambda form: scores[form])
    against, unbeaten = {}, []
    for form in forms:
        excess = errors[form] - errors[best]
        low, high = t_interval(excess, 2 * level - 1)  # one-sided at `level`
        against[form] = (float(excess.mean()), float(low), float(high))
        if form == best or not low > 0:
            unbeaten.append(form)
    simple = min(unbeaten, key=num_params)
    rivals = [form for form in unbeaten if form != simple and not _holds(form, simple, errors)]
    chosen = None if rivals else simple
    return Verdict(chosen, tuple(unbeaten), _words(chosen, best, unbeaten, scores, level), scores, against)


def _holds(larger: str, simple: str, errors) -> bool:
    """Whether `larger` has `simple` as a special case and the errors do not lean towards `larger`."""
    if larger not in form_named(simple).within:
        return False
    low, _ = t_interval(errors[simple] - errors[larger], 2 * LEANING - 1)  # one-sided
    return not low > 0


def _words(chosen, best, unbeaten, scores, level):
    error = lambda form: f"{form} {scores[form]:.3g}"
    if chosen is None:
        return f"cannot tell {', '.join(map(error, unbeaten))} apart: errors on left-out runs differ by chance alone"
    text = f"{chosen}, R(d) = {form_named(chosen).formula}: error on left-out runs {scores[chosen]:.3g} gold s.d."
    if best != chosen:
        text += f"; {error(best)}, which holds it, is not better by more than runs scatter"
    beaten = [form for form in scores if form not in unbeaten]
    if beaten:
        text += f"; beaten at {level:.0%}: {', '.join(map(error, sorted(beaten, key=lambda form: scores[form])))}"
    return text
