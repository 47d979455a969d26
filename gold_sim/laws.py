"""Over-optimisation laws: gold as a function of distance from the reference policy, their fits and intervals.

Gao, Schulman & Hilton 2023 ("Scaling laws for reward model overoptimization"): best-of-n follows
R(d) = d (alpha - beta d) and RL follows R(d) = d (alpha - beta log d), with d = sqrt(KL(policy || ref_policy)).
Both are linear in alpha and beta, so every fit here is a closed-form least squares, batched over leading axes.

Points of one run are correlated (one reward model, one policy, one set of prompts), so uncertainty is only ever
taken between runs: a curve comes as [S, T], one row a seed, and intervals treat a row as one draw.
Units: d in nats^0.5; gold in standard deviations of gold on reference samples, minus its value at the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.9  # of every interval, unless told otherwise
AT_REFERENCE = 3e-3  # nats^0.5; nearer is the reference policy itself: float32 leaves d = 6e-4 where KL is 0
GRID = 25  # points of the common grid, evenly spaced in d, when seeds do not share their d


def overoptimization_bon(d, alpha, beta):
    """Gold score of best-of-n at distance d: R(d) = d (alpha - beta d)  (Gao, Schulman & Hilton 2023, eq. 1).

    d: [T] square root of KL(best-of-n || ref_policy), nats^0.5.  alpha: gold s.d. per nats^0.5; beta: per nat.
    Returns [T], gold minus its value at the reference policy, in gold standard deviations.
    """
    d = np.asarray(d, float)
    return d * (alpha - beta * d)


def overoptimization_rl(d, alpha, beta):
    """Gold score after RL at distance d: R(d) = d (alpha - beta log d)  (Gao, Schulman & Hilton 2023, eq. 2).

    d: [T] square root of KL(policy || ref_policy), nats^0.5; d = 0 gives 0, its limit.
    alpha, beta: gold s.d. per nats^0.5; natural log.  Returns [T], gold minus its value at the reference policy.
    The slope at 0 is infinite, so the authors do not trust the form there and fits leave out d < 0.3.
    """
    d = np.asarray(d, float)
    return d * alpha - beta * _d_log_d(d)


def _d_log_d(d):
    return d * np.log(np.where(d > 0, d, 1.0))


@dataclass(frozen=True)
class Form:
    """A law R(d) = alpha u(d) + beta v(d), and where it turns.  The closed forms need beta > 0 (see `peak`)."""

    formula: str
    basis: Callable  # d [..., T] -> (u, v), each [..., T]
    peak: Callable  # (alpha, beta) -> (d_peak, gold_peak)
    zero: Callable  # (alpha, beta) -> d > 0 at which gold is back at the reference policy's
    d_min: float  # nats^0.5; points nearer the reference policy are left out of fits


FORMS = {
    "bon": Form(
        formula="d (alpha - beta d)",
        basis=lambda d: (d, -(d**2)),
        peak=lambda a, b: (a / (2 * b), a**2 / (4 * b)),  # R' = a - 2 b d
        zero=lambda a, b: a / b,
        d_min=0.0,
    ),
    "rl": Form(
        formula="d (alpha - beta log d)",
        basis=lambda d: (d, -_d_log_d(d)),
        peak=lambda a, b: (np.exp(a / b - 1), b * np.exp(a / b - 1)),  # R' = a - b - b log d
        zero=lambda a, b: np.exp(a / b),
        d_min=0.3,
    ),
}


@dataclass(frozen=True)
class LawFit:
    """The law of one group of runs; NaN where there is nothing to say."""

    form: str  # a key of FORMS
    alpha: float  # mean over seeds of their least-squares coefficients
    beta: float
    alpha_ci: tuple[float, float]  # over seeds; (NaN, NaN) with one seed
    beta_ci: tuple[float, float]
    r2: float  # 1 - residual / total sum of squares about the mean, of the seed-averaged curve
    n_points: int  # of the seed-averaged curve
    d_peak: float  # nats^0.5, where the law turns; see `peak`
    d_peak_ci: tuple[float, float]
    gold_peak: float  # gold s.d.
    gold_peak_ci: tuple[float, float]
    d_max: float  # nats^0.5, end of the fitted range; a peak beyond it is an extrapolation
    converged: bool  # two coefficients could be told apart and are finite


def form_named(name: str) -> Form:
    if name not in FORMS:
        raise ValueError(f"form={name!r}: allowed are {', '.join(FORMS)}")
    return FORMS[name]


def evaluate(form: str, d, alpha, beta):
    """R(d) of the law `form`; d [..., T], coefficients broadcast over leading axes."""
    u, v = form_named(form).basis(np.asarray(d, float))
    return np.asarray(alpha)[..., None] * u + np.asarray(beta)[..., None] * v


def peak(form: str, alpha, beta):
    """Where the law turns: (d_peak, gold_peak), shaped as alpha and beta.

    best-of-n: d* = alpha / (2 beta), R* = alpha^2 / (4 beta).  RL: d* = exp(alpha / beta - 1), R* = beta d*.
    beta <= 0 < alpha never turns: (inf, inf).  alpha <= 0 never gains where the law is trusted: (NaN, NaN);
    the RL form then has a formal maximum at d < 1/e, in the region its authors give up.
    """
    return _where_it_turns(form_named(form).peak, alpha, beta)


def zero_crossing(form: str, alpha, beta):
    """Distance d > 0 at which the law is back at 0: 2 d* for best-of-n, e d* for RL; inf or NaN as in `peak`."""
    return _where_it_turns(lambda a, b: (form_named(form).zero(a, b),), alpha, beta)[0]


def _where_it_turns(closed_form, alpha, beta):
    alpha, beta = np.broadcast_arrays(np.asarray(alpha, float), np.asarray(beta, float))
    turns = (alpha > 0) & (beta > 0)
    with np.errstate(over="ignore"):
        values = closed_form(np.where(turns, alpha, 1.0), np.where(turns, beta, 1.0))
    other = np.where(alpha > 0, np.where(np.isnan(beta), np.nan, np.inf), np.nan)
    return tuple(np.where(turns, value, other)[()] for value in values)


# --- least squares ----------------------------------------------------------------------------


def least_squares(form: str, d, gold, weights=None):
    """(alpha, beta) minimising sum_t w_t (gold_t - R(d_t))^2, by the 2x2 normal equations.

    d, gold, weights: [..., T], broadcast together; each leading index is a fit of its own.
    Returns two arrays [...]; NaN where the points cannot tell the two coefficients apart.
    """
    return _solve(_moments(*_basis(form, d), gold, weights))


def least_squares_shared(form: str, ds, golds, weights=None):
    """One alpha for all groups and a beta each, minimising the summed squares over every group's points.

    ds, golds, weights: G arrays [..., T_g] with the same leading axes.  Returns alpha [...], betas [..., G].
    """
    weights = [None] * len(ds) if weights is None else weights
    return _solve_shared([_moments(*_basis(form, d), y, w) for d, y, w in zip(ds, golds, weights, strict=True)])


def _basis(form, d):
    d = np.asarray(d, float)
    if np.any(d < 0):
        raise ValueError(f"d={d.min():g}: a distance is at least 0")
    return form_named(form).basis(d)


def _moments(u, v, gold, weights=None):
    """Sums over points of uu, uv, vv, uy, vy, each [...]."""
    y = np.asarray(gold, float)
    w = np.ones(y.shape[-1]) if weights is None else np.asarray(weights, float)
    if u.shape[-1] != y.shape[-1] or w.shape[-1] != y.shape[-1]:
        raise ValueError(f"d, gold, weights of shapes {u.shape}, {y.shape}, {w.shape}: the last axes must agree")
    return np.broadcast_arrays(*[np.sum(w * a * b, -1) for a, b in ((u, u), (u, v), (v, v), (u, y), (v, y))])


def _solve(moments):
    uu, uv, vv, uy, vy = moments
    det = uu * vv - uv**2
    det = np.where(det > 1e-12 * uu * vv, det, np.nan)  # Cauchy-Schwarz: det >= 0, 0 when u and v are parallel
    return (uy * vv - vy * uv) / det, (vy * uu - uy * uv) / det


def _solve_shared(moments):
    """With beta_g = (v.y - alpha u.v) / v.v eliminated, alpha is the regression of what v leaves of y and u:

    alpha = sum_g (u.y - u.v v.y / v.v) / sum_g (u.u - (u.v)^2 / v.v).
    """
    uu, uv, vv, uy, vy = np.stack([np.stack(m) for m in moments], axis=-1)
    safe_vv = np.where(vv > 0, vv, 1.0)  # v = 0 at every point of a group: u.v = v.y = 0 too, and beta_g is undefined
    below = np.sum(uu - uv**2 / safe_vv, -1)
    below = np.where(below > 1e-12 * np.sum(uu, -1), below, np.nan)
    alpha = np.sum(uy - uv * vy / safe_vv, -1) / below
    return alpha, np.where(vv > 0, (vy - alpha[..., None] * uv) / safe_vv, np.nan)


def r_squared(gold, predicted):
    """1 - residual / total sum of squares about the mean, over the last axis; can be negative: no intercept."""
    gold = np.asarray(gold, float)
    if gold.shape[-1] == 0:
        return np.full(gold.shape[:-1], np.nan)[()]
    total = np.sum((gold - gold.mean(-1, keepdims=True)) ** 2, -1)
    return 1 - np.sum((gold - predicted) ** 2, -1) / np.where(total > 0, total, np.nan)


# --- intervals over seeds ---------------------------------------------------------------------


def t_interval(values, level: float = LEVEL):
    """Student-t interval of the mean over seeds: values [S, ...] -> (low [...], high [...]); NaN with one seed.

    A coefficient of a fit is the mean of its seeds' coefficients, so this is the interval of a fit as well.
    Measured coverage of alpha and beta at a stated 90 %, with coefficients that vary between seeds and noise
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


def bootstrap(form: str, d, gold, level: float = LEVEL, resamples: int = 2000, seed: int = 0) -> dict:
    """Percentile bootstrap over seeds of the fit to the seed-averaged curve.

    d: [T]; gold: [S, T].  Whole seeds are drawn with replacement, never points.
    Returns (low, high) of alpha, beta, d_peak, gold_peak; NaN with one seed.
    Undercovers with few seeds: at a stated 90 %, measured 0.71-0.77 with 4 seeds, 0.81-0.86 with 8, 0.84-0.89 with
    16. So `fit` uses `t_interval`; this is for many seeds of skewed coefficients.
    """
    gold = np.asarray(gold, float)
    names = ("alpha", "beta", "d_peak", "gold_peak")
    if len(gold) < 2:
        return dict.fromkeys(names, (np.nan, np.nan))
    draws = np.random.default_rng(seed).integers(len(gold), size=(resamples, len(gold)))
    coefficients = least_squares(form, d, gold[draws].mean(1))
    tails = [(1 - level) / 2, (1 + level) / 2]
    samples = (*coefficients, *peak(form, *coefficients))
    return {
        name: tuple(np.quantile(np.sort(x), tails, method="nearest")) for name, x in zip(names, samples, strict=True)
    }


def peak_intervals(form: str, alphas, betas, level: float = LEVEL):
    """Intervals of d_peak and gold_peak from the seeds' coefficients [S] each: ((low, high), (low, high)).

    Student-t over seeds of the logarithm, linearised at the mean coefficients, then exponentiated: a seed
    without a peak of its own is no trouble. NaN with one seed or where the mean coefficients have no peak.
    Measured coverage at a stated 90 %: 0.89-0.91 with 4 seeds.
    """
    alphas, betas = np.asarray(alphas, float), np.asarray(betas, float)
    a, b = alphas.mean(), betas.mean()
    nothing = ((np.nan, np.nan),) * 2
    if len(alphas) < 2 or not (a > 0 and b > 0):
        return nothing
    log_peak = lambda a, b: np.log(peak(form, a, b))
    step = 1e-5
    with np.errstate(over="ignore", invalid="ignore"):
        by_a = (log_peak(a * (1 + step), b) - log_peak(a * (1 - step), b)) / (2 * step * a)
        by_b = (log_peak(a, b * (1 + step)) - log_peak(a, b * (1 - step))) / (2 * step * b)
        per_seed = log_peak(a, b) + (alphas - a)[:, None] * by_a + (betas - b)[:, None] * by_b
        low, high = np.exp(t_interval(per_seed, level))
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


# --- from curves per seed to a fit --------------------------------------------------------------


def common_grid(ds, d_min: float = 0.0, points: int = GRID):
    """[points] distances evenly spaced over the range that every seed's curve covers, from d_min up.

    ds: S arrays of distances.  Empty where the seeds have no common range.
    """
    low, high = max(d_min, max(np.min(d) for d in ds)), min(np.max(d) for d in ds)
    return np.linspace(low, high, points) if low < high else np.empty(0)


def on_grid(d, values, grid):
    """Linear interpolation of one run's points onto grid, in order of d; points of equal d are averaged first."""
    at, where = np.unique(np.asarray(d, float), return_inverse=True)
    values = np.bincount(where, np.asarray(values, float)) / np.bincount(where)
    return np.interp(grid, at, values)


def seed_averaged(ds, columns, d_min: float = 0.0, points: int = GRID):
    """Runs of S seeds on one set of distances: d [T], and per column [S, T]; the mean over S is the averaged curve.

    ds: S arrays of distances.  columns: K lists of S arrays beside them.
    Seeds that share their d (best-of-n) keep their points with d >= d_min; others (RL) are interpolated onto
    `common_grid`.
    """
    ds = [np.asarray(d, float) for d in ds]
    if all(len(d) == len(ds[0]) and np.allclose(d, ds[0], rtol=1e-9, atol=1e-12) for d in ds):
        keep = ds[0] >= d_min
        return ds[0][keep], [np.stack([np.asarray(x, float) for x in column])[:, keep] for column in columns]
    grid = common_grid(ds, d_min, points)
    return grid, [np.stack([on_grid(d, x, grid) for d, x in zip(ds, column, strict=True)]) for column in columns]


@dataclass(frozen=True)
class SeedFits:
    """One group's runs on common distances, and each seed's own least squares."""

    form: str
    d: np.ndarray  # [T]
    gold: np.ndarray  # [S, T]
    alphas: np.ndarray  # [S]
    betas: np.ndarray  # [S]


def fit_seeds(form: str, ds, golds, d_min: float | None = None) -> SeedFits:
    """Fit one law to each of S runs.  ds, golds: S rows (they may differ in length) of distances and gold.

    d_min: least distance used; None takes the form's (0 for best-of-n, 0.3 for RL). Gold is minus its value at the
    reference policy. Where runs are interpolated, u and v of the law are interpolated with gold, so that a law's own
    points give its coefficients back exactly.
    """
    d, gold, moments = _seed_moments(form, ds, golds, d_min)
    return SeedFits(form, d, gold, *_solve(moments))


def fit_seeds_shared(form: str, groups, d_min: float | None = None) -> list[SeedFits]:
    """As `fit_seeds` for G groups (ds, golds), with one alpha a seed for all groups; S must agree between groups."""
    counts = {len(ds) for ds, _ in groups}
    if len(counts) != 1:
        raise ValueError(f"groups of {sorted(counts)} seeds: a shared alpha is fitted seed by seed, so all must agree")
    parts = [_seed_moments(form, ds, golds, d_min) for ds, golds in groups]
    alphas, betas = _solve_shared([moments for _, _, moments in parts])
    return [SeedFits(form, d, gold, alphas, betas[:, g]) for g, (d, gold, _) in enumerate(parts)]


def _seed_moments(form, ds, golds, d_min):
    us, vs = zip(*[_basis(form, d) for d in ds], strict=True)
    d, (u, v, gold) = seed_averaged(ds, [us, vs, golds], form_named(form).d_min if d_min is None else d_min)
    return d, gold, _moments(u, v, gold)


def fit(form: str, ds, golds, d_min: float | None = None, level: float = LEVEL) -> LawFit:
    """Fit one law to one group's runs, see `fit_seeds`; alpha and beta are the means over seeds."""
    return law_fit(fit_seeds(form, ds, golds, d_min), level)


def fit_shared(form: str, groups, d_min: float | None = None, level: float = LEVEL) -> list[LawFit]:
    """Fit one law to several groups with one alpha for all (Gao et al. 2023, figure 3c), a LawFit a group.

    groups: G pairs (ds, golds) as for `fit`; row s of every group is seed s, so S must agree.
    """
    return [law_fit(one, level) for one in fit_seeds_shared(form, groups, d_min)]


def law_fit(seeds: SeedFits, level: float = LEVEL) -> LawFit:
    """Mean law of a group's seeds, with intervals over them."""
    form, d = seeds.form, seeds.d
    alpha, beta = float(seeds.alphas.mean()), float(seeds.betas.mean())
    d_peak, gold_peak = peak(form, alpha, beta)
    d_peak_ci, gold_peak_ci = peak_intervals(form, seeds.alphas, seeds.betas, level)
    return LawFit(
        form=form,
        alpha=alpha,
        beta=beta,
        alpha_ci=tuple(float(x) for x in t_interval(seeds.alphas, level)),
        beta_ci=tuple(float(x) for x in t_interval(seeds.betas, level)),
        r2=float(r_squared(seeds.gold.mean(0), evaluate(form, d, alpha, beta))),
        n_points=len(d),
        d_peak=float(d_peak),
        d_peak_ci=d_peak_ci,
        gold_peak=float(gold_peak),
        gold_peak_ci=gold_peak_ci,
        d_max=float(d.max()) if len(d) else float("nan"),
        converged=bool(np.isfinite(alpha) and np.isfinite(beta)),
    )


# --- trends of coefficients ---------------------------------------------------------------------


@dataclass(frozen=True)
class Trend:
    """A straight line of a coefficient against log10 of a size; slope per decade."""

    slope: float
    slope_ci: tuple[float, float]  # over seeds; (NaN, NaN) with one seed
    intercept: float


def trend(log10_params, values_per_seed, level: float = LEVEL) -> Trend:
    """Least-squares line through values_per_seed [S, G] against log10_params [G], Student-t over the seeds' slopes."""
    x, values = np.asarray(log10_params, float), np.asarray(values_per_seed, float)
    if len(np.unique(x)) < 2:
        return Trend(np.nan, (np.nan, np.nan), np.nan)
    slopes = (values - values.mean(1, keepdims=True)) @ (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    low, high = t_interval(slopes, level)
    slope = float(slopes.mean())
    return Trend(slope, (float(low), float(high)), float(values.mean() - slope * x.mean()))
