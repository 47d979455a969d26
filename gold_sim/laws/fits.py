"""Over-optimisation laws: their fits to gold as a function of distance from the reference policy.

Gao, Schulman & Hilton 2023 ("Scaling laws for reward model overoptimization"): best-of-n follows
R(d) = d (alpha - beta d) and RL follows R(d) = d (alpha - beta log d), with d = sqrt(KL(policy || ref_policy)).
Both, and the rivals in `forms`, are linear in alpha and beta, so every fit here is a closed-form least squares,
batched over leading axes; a form with an inner shape is solved at many shapes at once.

Points of one run are correlated (one reward model, one policy, one set of prompts), so uncertainty is only ever
taken between runs: a curve comes as [S, T], one row a seed, and intervals treat a row as one draw.
Units: d in nats^0.5; gold in standard deviations of gold on reference samples, minus its value at the reference.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from gold_sim.laws.forms import (
    FORMS,
    evaluate,
    form_named,
    overoptimization_bon,
    overoptimization_rl,
    peak,
    zero_crossing,
)
from gold_sim.laws.intervals import LEVEL, by_unit, peak_intervals, t_interval

__all__ = [  # forms and intervals as well, so that this module has all that a reader of laws needs
    "FORMS",
    "LEVEL",
    "evaluate",
    "form_named",
    "overoptimization_bon",
    "overoptimization_rl",
    "peak",
    "peak_intervals",
    "t_interval",
    "zero_crossing",
]

AT_REFERENCE = 3e-3  # nats^0.5; a smaller d is the reference policy itself: float32 leaves d = 6e-4 where KL is 0
GRID = 25  # points of the common grid, evenly spaced in d, when seeds do not share their d
SHAPES = 161  # of a form with an inner parameter, evenly spaced in its logarithm; refined by a parabola


@dataclass(frozen=True)
class LawFit:
    """The law fitted to one group of runs; a number that cannot be determined is NaN."""

    form: str  # a key of FORMS
    alpha: float  # least squares of the seed-averaged curve
    beta: float
    alpha_ci: tuple[float, float]  # over units (seeds, or worlds if there are several); (NaN, NaN) with one
    beta_ci: tuple[float, float]
    r2: float  # 1 - residual / total sum of squares about the mean, of the seed-averaged curve
    n_points: int  # of the seed-averaged curve
    d_peak: float  # nats^0.5, where the law turns; see `peak`
    d_peak_ci: tuple[float, float]
    gold_peak: float  # gold s.d.
    gold_peak_ci: tuple[float, float]
    d_max: float  # nats^0.5, end of the fitted range; a peak beyond it is an extrapolation
    converged: bool  # the coefficients could be told apart and are finite
    shape: float = float("nan")  # the form's inner parameter, if it has one
    shape_ci: tuple[float, float] = (float("nan"), float("nan"))
    num_units: int = 1  # independent draws behind the intervals


# --- least squares ----------------------------------------------------------------------------


def least_squares(form: str, d, gold, weights=None, shape=None):
    """(alpha, beta) minimising sum_t w_t (gold_t - R(d_t))^2, by the 2x2 normal equations.

    d, gold, weights: [..., T], broadcast together; each leading index is a fit of its own.
    shape: the form's inner parameter, if it has one, broadcast over the leading axes.
    Returns two arrays [...]; NaN where the points cannot tell the two coefficients apart.
    """
    return _solve(_moments(*_basis(form, d, shape), gold, weights), form_named(form).num_linear)


def estimate(form: str, d, gold, weights=None):
    """The least-squares (alpha, beta, shape), each [...]; shape is NaN for a form without one.

    d: [T], or [..., T] with the leading axes of gold [..., T]; weights: [T].
    """
    law, gold = form_named(form), np.asarray(gold, float)
    if not law.shape:
        alpha, beta = least_squares(form, d, gold, weights)
        return alpha, beta, np.full_like(alpha, np.nan)
    d = np.asarray(d, float)
    logs = np.linspace(*np.log(law.shapes), SHAPES)
    full = (*d.shape[:-1], SHAPES, d.shape[-1])
    u, v = (np.broadcast_to(x, full) for x in _basis(form, d[..., None, :], np.exp(logs)))
    w = np.ones(d.shape[-1]) if weights is None else np.asarray(weights, float)
    along = lambda x: gold @ (w * x).T if d.ndim == 1 else np.einsum("...t,...kt->...k", gold, w * x)  # [..., SHAPES]
    uy, vy = along(u), along(v)
    alpha, beta = _solve((np.sum(w * u * u, -1), np.sum(w * u * v, -1), np.sum(w * v * v, -1), uy, vy))
    explained = np.where(np.isfinite(alpha), alpha * uy + beta * vy, -np.inf)
    at = np.argmax(explained, -1)
    inner = np.clip(at, 1, SHAPES - 2)[..., None]
    left, middle, right = (np.take_along_axis(explained, inner + i, -1)[..., 0] for i in (-1, 0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ahead = np.nan_to_num(0.5 * (left - right) / (left - 2 * middle + right))
    ahead = np.where(at == inner[..., 0], np.clip(ahead, -1, 1), 0.0)  # at an end of the range there is no parabola
    shape = np.exp(logs[at] + ahead * (logs[1] - logs[0]))
    shape = np.where(np.isfinite(np.take_along_axis(explained, at[..., None], -1)[..., 0]), shape, np.nan)
    alpha, beta = least_squares(form, d, gold, weights, shape)
    return alpha, beta, shape


def least_squares_shared(form: str, ds, golds, weights=None, share: str = "alpha"):
    """One coefficient shared by all groups and the other one for each, by least squares over every group's points.

    ds, golds, weights: G arrays [..., T_g] with the same leading axes.  share: "alpha" or "beta".
    Returns the shared coefficient [...] and the others [..., G].
    """
    weights = [None] * len(ds) if weights is None else weights
    moments = [_moments(*_basis(form, d), y, w) for d, y, w in zip(ds, golds, weights, strict=True)]
    return _solve_shared(moments, share)


def _basis(form, d, shape=None):
    d = np.asarray(d, float)
    if np.any(d < 0):
        raise ValueError(f"d={d.min():g}: a distance is at least 0")
    return form_named(form).basis(d, None if shape is None else np.asarray(shape, float)[..., None])


def _moments(u, v, gold, weights=None):
    """Sums over points of uu, uv, vv, uy, vy, each [...]."""
    y = np.asarray(gold, float)
    w = np.ones(y.shape[-1]) if weights is None else np.asarray(weights, float)
    if u.shape[-1] != y.shape[-1] or w.shape[-1] != y.shape[-1]:
        raise ValueError(f"d, gold, weights of shapes {u.shape}, {y.shape}, {w.shape}: the last axes must agree")
    return np.broadcast_arrays(*[np.sum(w * a * b, -1) for a, b in ((u, u), (u, v), (v, v), (u, y), (v, y))])


def _solve(moments, num_linear=2):
    uu, uv, vv, uy, vy = moments
    if num_linear == 1:
        return uy / np.where(uu > 0, uu, np.nan), np.zeros(np.shape(uy))
    det = uu * vv - uv**2
    det = np.where(det > 1e-12 * uu * vv, det, np.nan)  # Cauchy-Schwarz: det >= 0, 0 when u and v are parallel
    return (uy * vv - vy * uv) / det, (vy * uu - uy * uv) / det


def _solve_shared(moments, share="alpha"):
    """The shared coefficient and the others, from the moments of every group.

    With beta_g = (v.y - alpha u.v) / v.v eliminated, alpha is the regression of y on u, v being projected out of both:

    alpha = sum_g (u.y - u.v v.y / v.v) / sum_g (u.u - (u.v)^2 / v.v).
    """
    uu, uv, vv, uy, vy = np.stack([np.stack(m) for m in moments], axis=-1)
    if share == "beta":  # the same with u and v in each other's place
        uu, vv, uy, vy = vv, uu, vy, uy
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
    """Runs of S seeds put on one set of distances: d [T], and [S, T] for each column. Their mean is the averaged curve.

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
    """One group's runs on common distances, and each seed's own least squares.

    The least squares of a form with a shape is not linear in gold. A seed's coefficients are then its jackknife
    pseudo-values: S times the fit of all seeds minus S - 1 times the fit of all other seeds. Their scatter between
    seeds is that of the fit (Tukey 1958). For the other forms pseudo-values equal the seed's own least squares.
    """

    form: str
    d: np.ndarray  # [T]
    gold: np.ndarray  # [S, T]
    alphas: np.ndarray  # [S]
    betas: np.ndarray  # [S]
    shapes: np.ndarray | None = None  # [S]
    fitted: tuple | None = None  # (alpha, beta, shape) of the seed-averaged curve; None: the means over seeds
    units: np.ndarray | None = None  # [S] labels of independent draws; None: a seed is one

    @property
    def estimate(self) -> tuple[float, float, float]:
        coefficients = self.fitted or (self.alphas.mean(), self.betas.mean(), np.nan)
        return tuple(float(x) for x in coefficients)

    @property
    def per_unit(self) -> np.ndarray:
        """Coefficients of the independent draws, [U, 2 or 3]."""
        columns = [self.alphas, self.betas] + ([] if self.shapes is None else [self.shapes])
        return by_unit(np.stack(columns, -1), self.units)


def fit_seeds(form: str, ds, golds, d_min: float | None = None, ses=None, units=None) -> SeedFits:
    """Fit one law to each of S runs.  ds, golds: S rows (they may differ in length) of distances and gold.

    golds: minus gold's value at the reference policy.  d_min: least distance used; None takes the form's (0.3 for RL,
    else 0).  ses: S rows of standard errors, for weights 1 / se^2 of the mean over seeds; None: equal weights.
    units: [S] labels; runs with the same label are one independent draw (`intervals.top_level`).
    Where runs are interpolated, u and v of the law are interpolated with gold, so that a law's own points give its
    coefficients back exactly.
    """
    law = form_named(form)
    d_min = law.d_min if d_min is None else d_min
    if not law.shape:
        d, gold, moments = _seed_moments(form, ds, golds, d_min, ses)
        return SeedFits(form, d, gold, *_solve(moments, law.num_linear), units=units)
    weights = None
    if ses is None:
        d, (gold,) = seed_averaged(ds, [golds], d_min)
    else:
        d, (gold, se) = seed_averaged(ds, [golds, ses], d_min)
        weights = _weights(d, se)
    if len(d) < law.num_params:
        return SeedFits(form, d, gold, *np.full((3, len(gold)), np.nan), fitted=(np.nan,) * 3, units=units)
    count = len(gold)
    curves = np.concatenate([gold.mean(0)[None], (gold.sum(0) - gold) / max(count - 1, 1)])
    estimates = np.stack(estimate(form, d, curves, weights), -1)  # [1 + S, 3]
    pseudo = count * estimates[0] - (count - 1) * estimates[1:]
    return SeedFits(form, d, gold, *pseudo.T, fitted=tuple(estimates[0]), units=units)


def fit_seeds_shared(form: str, groups, d_min: float | None = None, share: str = "alpha") -> list[SeedFits]:
    """Fits as by `fit_seeds` for G groups (ds, golds), where each seed has one alpha (or beta) for all groups.

    Row s of every group is seed s: S must agree.  Raises ValueError for a form of one coefficient or with a shape.
    """
    if form_named(form).shape or form_named(form).num_linear < 2:
        plain = [name for name, law in FORMS.items() if not law.shape and law.num_linear == 2]
        raise ValueError(f"form={form!r}: a shared coefficient is fitted for {', '.join(plain)}")
    if share not in ("alpha", "beta"):
        raise ValueError(f"share={share!r}: allowed are alpha, beta")
    counts = {len(ds) for ds, _ in groups}
    if len(counts) != 1:
        raise ValueError(f"groups of {sorted(counts)} seeds: {share} is shared seed by seed, so all must agree")
    d_min = form_named(form).d_min if d_min is None else d_min
    parts = [_seed_moments(form, ds, golds, d_min) for ds, golds in groups]
    shared, others = _solve_shared([moments for _, _, moments in parts], share)
    pair = lambda g: (shared, others[:, g]) if share == "alpha" else (others[:, g], shared)
    return [SeedFits(form, d, gold, *pair(g)) for g, (d, gold, _) in enumerate(parts)]


def _seed_moments(form, ds, golds, d_min, ses=None):
    us, vs = zip(*[_basis(form, d) for d in ds], strict=True)
    columns = [us, vs, golds] + ([] if ses is None else [ses])
    d, (u, v, gold, *se) = seed_averaged(ds, columns, d_min)
    return d, gold, _moments(u, v, gold, _weights(d, se[0]) if se else None)


def _weights(d, se):
    """Weights [T] of mean 1: inverse variances of the seeds' mean. The reference policy, where R = 0, has weight 0."""
    weights = np.where(d > AT_REFERENCE, 1 / np.maximum((se**2).mean(0), 1e-24), 0.0)
    return weights / weights.mean() if len(d) and weights.any() else weights


def fit(form: str, ds, golds, d_min=None, level: float = LEVEL, ses=None, units=None) -> LawFit:
    """Fit one law to one group's runs as `fit_seeds` does; alpha and beta are the means over seeds."""
    return law_fit(fit_seeds(form, ds, golds, d_min, ses, units), level)


def fit_shared(form: str, groups, d_min: float | None = None, level: float = LEVEL, share="alpha") -> list[LawFit]:
    """Fit one law to several groups with one alpha for all (Gao et al. 2023, figure 3c): a LawFit for each group.

    groups: G pairs (ds, golds) as for `fit`; row s of every group is seed s, so S must agree.
    """
    return [law_fit(one, level) for one in fit_seeds_shared(form, groups, d_min, share)]


def law_fit(seeds: SeedFits, level: float = LEVEL, interval=t_interval) -> LawFit:
    """Mean law of a group's seeds, with intervals over them.

    interval: (values [U], level) -> (low, high), where units are no plain list of draws.
    """
    form, d, per_unit = seeds.form, seeds.d, seeds.per_unit
    alpha, beta, shape = seeds.estimate
    inner = shape if form_named(form).shape else None
    d_peak, gold_peak = peak(form, alpha, beta, inner)
    d_peak_ci, gold_peak_ci = peak_intervals(form, *per_unit.T, estimate=seeds.estimate, level=level, interval=interval)
    around = lambda x, i: tuple(float(x + e - per_unit[:, i].mean()) for e in interval(per_unit[:, i], level))
    return LawFit(
        form=form,
        alpha=alpha,
        beta=beta,
        alpha_ci=around(alpha, 0),
        beta_ci=around(beta, 1),
        r2=float(r_squared(seeds.gold.mean(0), evaluate(form, d, alpha, beta, inner))),
        n_points=len(d),
        d_peak=float(d_peak),
        d_peak_ci=d_peak_ci,
        gold_peak=float(gold_peak),
        gold_peak_ci=gold_peak_ci,
        d_max=float(d.max()) if len(d) else float("nan"),
        converged=bool(np.isfinite(alpha) and np.isfinite(beta) and (inner is None or np.isfinite(inner))),
        shape=shape,
        shape_ci=around(shape, 2) if inner is not None else (float("nan"), float("nan")),
        num_units=len(per_unit),
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


def trend_over_groups(log10_params, values, level: float = LEVEL) -> Trend:
    """Least-squares line through one value a group [G], interval by the scatter of groups about it (t, G - 2)."""
    x, y = np.asarray(log10_params, float), np.asarray(values, float)
    if len(np.unique(x)) < 2 or not np.isfinite(y).all():
        return Trend(np.nan, (np.nan, np.nan), np.nan)
    about = x - x.mean()
    slope = float(about @ y / (about @ about))
    intercept = float(y.mean() - slope * x.mean())
    if len(x) < 3:
        return Trend(slope, (np.nan, np.nan), intercept)
    variance = np.sum((y - intercept - slope * x) ** 2) / (len(x) - 2) / (about @ about)
    half = float(stats.t.ppf(0.5 + level / 2, len(x) - 2) * np.sqrt(variance))
    return Trend(slope, (slope - half, slope + half), intercept)
