"""Coefficients as functions of reward-model size, data and the like, fitted in one step to all runs at once.

R(d) = u(d) x' a - v(d) x' b with x = (1, log10 size, log10 pairs, ...). This is one linear regression over every point
of every run, so a cell with a short curve borrows from the others. (Gao et al. 2023 fit each cell alone and then a
line.) A term may also be a power law, size^-p, whose p alpha and beta share (`response`).

`surface` takes its intervals between seeds. `mixed` is the random-coefficients model of the same mean, and its profile
likelihood is the cross-check.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import optimize, stats

from gold_sim.laws import fits, response
from gold_sim.laws.forms import form_named
from gold_sim.laws.intervals import LEVEL, t_interval


@dataclass(frozen=True)
class Run:
    """One run: distances [T], gold [T], covariates (log10 of sizes), and the unit that is one independent draw."""

    d: np.ndarray
    gold: np.ndarray
    covariates: tuple[float, ...]
    unit: object


@dataclass(frozen=True)
class Surface:
    """alpha and beta as functions of the covariates: the sum of coefficient times term, term by term.

    The coefficient of a logarithm is the change per tenfold of its covariate, that of a power multiplies size^-p.
    """

    form: str
    terms: tuple[str, ...]  # "1", then the covariates' names
    alpha: np.ndarray  # [Q]
    beta: np.ndarray  # [Q]
    alpha_ci: np.ndarray  # [Q, 2]
    beta_ci: np.ndarray  # [Q, 2]
    r2: float  # of all points
    per_unit: np.ndarray  # [U, 2 Q] coefficients of each unit's own regression; empty if units differ in their cells

    kinds: tuple[str, ...] = ()  # of response.KINDS, one a covariate; all logarithms if empty
    exponents: np.ndarray = field(default_factory=lambda: np.empty(0))  # p of the power terms, in their order
    exponents_ci: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    at_bounds: np.ndarray = field(default_factory=lambda: np.empty(0, bool))  # exponents at an end of their range

    def coefficients(self, *covariates):
        """(alpha, beta) at given covariates (log10 values)."""
        kinds = self.kinds or ("log",) * len(covariates)
        x = np.array([1.0, *response.term_values(np.array(covariates, float), kinds, self.exponents)])
        return float(x @ self.alpha), float(x @ self.beta)


def surface(form: str, runs: list[Run], names: tuple[str, ...], d_min=None, level=LEVEL, kinds=()) -> Surface:
    """Least squares of all runs' points on the law with coefficients that are sums of terms in the covariates.

    kinds: of response.KINDS, one a covariate; all logarithms if empty.
    For intervals each unit (seed, or world) is fitted by itself, and Student's t is taken over units; NaN with one.
    With power terms each unit is left out instead (`response.solve`).
    ValueError where the cells cannot tell the coefficients apart.
    """
    if "power" in kinds:
        return _with_powers(form, runs, names, d_min, level, kinds)
    designs = [_design(form, run, d_min) for run in runs]
    q = 1 + len(names)
    theta = _solved(designs, f"{form} surface over {', '.join(names)}")
    units = sorted({run.unit for run in runs}, key=str)
    per_unit = []
    for unit in units:
        own = [design for design, run in zip(designs, runs, strict=True) if run.unit == unit]
        per_unit.append(_solved(own, f"unit {unit}"))
    per_unit = np.array(per_unit)
    low, high = t_interval(per_unit - per_unit.mean(0) + theta, level)
    ci = np.stack([low, high], -1)
    y, fitted = (np.concatenate([f(x, y) for x, y in designs]) for f in (lambda x, y: y, lambda x, y: x @ theta))
    r2 = float(fits.r_squared(y, fitted))
    return Surface(form, ("1", *names), theta[:q], theta[q:], ci[:q], ci[q:], r2, per_unit, tuple(kinds))


def _with_powers(form, runs, names, d_min, level, kinds) -> Surface:
    q = 1 + len(names)
    plain = [_design(form, replace(run, covariates=()), d_min) for run in runs]  # u and v of each point, and gold
    y, uv = np.concatenate([gold for _, gold in plain]), np.concatenate([terms for terms, _ in plain])
    z = np.concatenate([np.tile(run.covariates, (len(gold), 1)) for run, (_, gold) in zip(runs, plain, strict=True)])
    names_of = np.concatenate([[str(run.unit)] * len(gold) for run, (_, gold) in zip(runs, plain, strict=True)])

    def design(exponents):
        x = np.concatenate([np.ones((len(z), 1)), response.term_values(z, kinds, exponents)], -1)
        return np.concatenate([uv[:, :1] * x, uv[:, 1:] * x], -1)

    labels, what = np.unique(names_of, return_inverse=True)[1], f"{form} surface over {', '.join(names)}"
    one = response.solve(design, y, kinds.count("power"), labels, what, rows_alone=False, level=level)
    parts = (one.linear[:q], one.linear[q:], one.linear_ci[:q], one.linear_ci[q:])
    return Surface(
        form, ("1", *names), *parts, one.r2, np.empty((0, 2 * q)), tuple(kinds), one.exponents, one.exponents_ci,
        one.at_bounds,
    )  # fmt: skip


def _design(form, run, d_min):
    """(design [T, 2 Q], gold [T]) of the points that are used; the design's columns are u x and v x."""
    law = form_named(form)
    if law.shape or law.num_linear < 2:
        raise ValueError(f"form={form!r}: a surface is fitted for forms of two coefficients")
    keep = np.asarray(run.d) >= (law.d_min if d_min is None else d_min)
    u, v = law.basis(np.asarray(run.d, float)[keep])
    x = np.array([1.0, *run.covariates])
    return np.concatenate([u[:, None] * x, v[:, None] * x], 1), np.asarray(run.gold, float)[keep]


def _solved(designs, what):
    return response.least_squares(*(np.concatenate(part) for part in zip(*designs, strict=True)), what)


# --- the random-coefficients model ---------------------------------------------------------------


@dataclass(frozen=True)
class Mixed:
    """Maximum likelihood of y_r = Z_r (X_r theta + eta_r) + e, eta ~ N(0, Sigma), e ~ N(0, sigma^2)."""

    theta: np.ndarray  # [2 Q], alpha's coefficients, then beta's
    theta_ci: np.ndarray  # [2 Q, 2] profile likelihood
    between: np.ndarray  # [2, 2] Sigma, of (alpha, beta) between runs
    noise: float  # sigma, gold s.d.
    log_likelihood: float


def mixed(form: str, runs: list[Run], d_min: float | None = None, level: float = LEVEL) -> Mixed:
    """Random coefficients by maximum likelihood, each run with its own deviation (alpha, beta) from the surface.

    Its intervals invert the likelihood ratio. In place of chi-squared's quantile they use that of F, whose degrees are
    the number of runs minus the number of coefficients. Given a run's deviation, its points are taken to have
    independent noise. That is an approximation, which is why this is a cross-check of `surface` and not the source of
    intervals.
    """
    law = form_named(form)
    stats_of = []
    for run in runs:
        keep = np.asarray(run.d) >= (law.d_min if d_min is None else d_min)
        z = np.stack(law.basis(np.asarray(run.d, float)[keep]), -1)
        y = np.asarray(run.gold, float)[keep]
        x = np.kron(np.eye(2), np.array([1.0, *run.covariates]))  # [2, 2 Q]
        stats_of.append((z.T @ z, z.T @ y, y @ y, x, len(y)))
    zz, zy, yy, x, count = (np.array(part) for part in zip(*stats_of, strict=True))
    total, p = int(count.sum()), x.shape[-1]

    def solve(parameters, held=None):
        """(-2 log L, theta, sigma^2, ratio) at ratio = Sigma / sigma^2 by log-Cholesky, the rest profiled out."""
        a, b, c = parameters
        root = np.array([[np.exp(a), 0.0], [c, np.exp(b)]])
        inner = np.linalg.inv(root @ root.T) + zz  # [R, 2, 2]
        inverse = np.linalg.inv(inner)
        # M = Z' V^-1 Z = zz - zz inner^-1 zz, and likewise for Z' V^-1 y and y' V^-1 y
        m = zz - zz @ inverse @ zz
        my = zy - np.einsum("rij,rjk,rk->ri", zz, inverse, zy)
        my2 = yy - np.einsum("ri,rij,rj->r", zy, inverse, zy)
        left = np.einsum("rip,rij,rjq->pq", x, m, x)
        right = np.einsum("rip,ri->p", x, my)
        free = np.arange(p) if held is None else np.delete(np.arange(p), held[0])
        theta = np.zeros(p)
        if held is not None:
            theta[held[0]] = held[1]
        theta[free] = np.linalg.solve(left[np.ix_(free, free)], right[free] - left[free] @ theta)
        rss = max(my2.sum() - 2 * theta @ right + theta @ left @ theta, 1e-300)
        logdet = np.sum(np.linalg.slogdet(inner)[1]) + 2 * len(zz) * (a + b)
        return total * np.log(rss / total) + logdet, theta, rss / total, root @ root.T

    def best(held=None, start=(2.0, 2.0, 0.0)):
        optimum = optimize.minimize(lambda q: solve(q, held)[0], start, method="Nelder-Mead", options={"xatol": 1e-3})
        return optimum.fun, optimum.x

    deviance, at = best()
    _, theta, variance, ratio = solve(at)
    df = max(len(zz) - p // 2, 1)
    cut = len(zz) * np.log1p(stats.f.ppf(level, 1, df) / df)
    ci = np.array([_profile_interval(i, theta, deviance, at, cut, best) for i in range(p)])
    log_likelihood = -0.5 * (deviance + total * (1 + np.log(2 * np.pi)))
    return Mixed(theta, ci, variance * ratio, float(np.sqrt(variance)), float(log_likelihood))


def _profile_interval(i, theta, deviance, at, cut, best):
    """The two values, on either side of theta[i], at which the profiled deviance exceeds its minimum by `cut`."""
    lost = lambda value: best((i, value), at)[0] - deviance - cut
    edges = []
    for sign in (-1, 1):
        step = 0.02 * max(abs(theta[i]), 0.05)
        for _ in range(40):
            if lost(theta[i] + sign * step) > 0:
                break
            step *= 1.7
        else:
            edges.append(sign * np.inf)
            continue
        low, high = sorted((theta[i], theta[i] + sign * step))
        edges.append(optimize.brentq(lost, low, high, xtol=1e-4 * step))
    return edges
