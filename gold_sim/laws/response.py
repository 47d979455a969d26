"""Surfaces of a score, or of a law's coefficients, over named columns: logarithms and power laws, added up.

y = c_0 + sum_i c_i t_i(x_i), with t = log10 x ("log": c is the change per tenfold), or t = x^-p ("power": it dies out,
with p fitted). Two power terms and a loss for y are E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, eq. 2); two
logarithms are the surfaces of `surface`. Given the exponents all else is linear, so they alone are searched: by a
grid, then by Nelder & Mead.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from gold_sim.laws.fits import r_squared
from gold_sim.laws.intervals import LEVEL

KINDS = ("log", "power")
EXPONENTS = (0.02, 3.0)  # range of p: below, a power law is a logarithm to within what data tell
SEARCHED = (25, 12, 8)  # exponents that are tried of one, of two, of more power terms, evenly in their logarithm


@dataclass(frozen=True)
class Fitted:
    """Coefficients of a model that is linear but for exponents, with intervals over independent units."""

    linear: np.ndarray  # [P]
    linear_ci: np.ndarray  # [P, 2]; NaN with one unit, or where a unit cannot be left out
    exponents: np.ndarray  # [E], of the power terms in their order
    exponents_ci: np.ndarray  # [E, 2]
    at_bounds: np.ndarray  # [E] whether an exponent lies at the end of EXPONENTS
    r2: float
    num_units: int


@dataclass(frozen=True)
class Response:
    """A score as the sum of a constant and one term for each column."""

    terms: tuple[tuple[str, str], ...]  # (column, kind)
    fitted: Fitted

    def __call__(self, *columns):
        """The score [N] at columns [N] each, in the order of the terms."""
        return _design(np.stack([np.asarray(c, float) for c in columns], -1), self.terms, self.fitted.exponents) @ (
            self.fitted.linear
        )


def response(columns, y, terms, units=None, level: float = LEVEL) -> Response:
    """Fit a score y [N] by terms of the columns [N, C], which are above 0.

    terms: C pairs (name, kind of KINDS).  units: [N] labels of independent draws, as seeds; None: every row is one.
    ValueError for an unknown kind, a column that is not above 0, or rows that cannot tell the coefficients apart.
    """
    x, y = np.asarray(columns, float), np.asarray(y, float)
    check(terms)
    for (name, _), column in zip(terms, x.T, strict=True):
        if not (column > 0).all():
            raise ValueError(f"{name}={column[~(column > 0)][0]:g}: allowed above 0")
    design = lambda exponents: _design(x, terms, exponents)
    labels = np.arange(len(y)) if units is None else np.unique(np.asarray(units), return_inverse=True)[1]
    what = f"surface over {', '.join(name for name, _ in terms)}"
    return Response(tuple(terms), solve(design, y, powers(terms), labels, what, units is None, level))


def check(terms) -> None:
    """ValueError unless every term has a kind of KINDS, and no column stands twice."""
    for name, kind in terms:
        if kind not in KINDS:
            raise ValueError(f"term {name}:{kind}: allowed are {', '.join(f'{name}:{k}' for k in KINDS)}")
    names = [name for name, _ in terms]
    if len(set(names)) < len(names):
        raise ValueError(f"terms of {', '.join(names)}: a column stands twice")


def powers(terms) -> int:
    return sum(kind == "power" for _, kind in terms)


def _design(x, terms, exponents):
    """[N, 1 + C]: 1, then a column a term."""
    return np.concatenate([np.ones((len(x), 1)), term_values(np.log10(x), [k for _, k in terms], exponents)], -1)


def term_values(logs, kinds, exponents):
    """Terms [..., C] from log10 of the columns [..., C]: the logarithm itself, or 10^(-p log10 x)."""
    left = iter(exponents)
    return np.stack([z if kind == "log" else 10 ** (-next(left) * z) for z, kind in zip(logs.T, kinds, strict=True)]).T


def solve(design: Callable, y, num_powers: int, labels, what: str, rows_alone: bool, level: float = LEVEL) -> Fitted:
    """Least squares of design(exponents) [N, P] on y [N], with intervals by leaving out one unit (label) at a time.

    The jackknife is taken in one step of Gauss and Newton, which is exact where nothing but linear coefficients is
    fitted. Student's t has U - 1 degrees of freedom; where every row is its own unit (rows_alone), as many as rows
    remain after the coefficients.
    """
    exponents = _searched(design, y, num_powers, what)
    linear = least_squares(design(exponents), y, what)
    jacobian = np.concatenate([design(exponents), _by_exponents(design, exponents, linear)], -1)
    residual, units = y - design(exponents) @ linear, int(labels.max()) + 1
    theta = np.concatenate([linear, np.log(exponents)])
    ci = np.full((len(theta), 2), np.nan)
    df = len(y) - len(theta) if rows_alone else units - 1
    if units > 1 and df > 0:
        changes = _left_out(jacobian, residual, labels, units)  # theta minus that without the unit
        pseudo = (units - 1) * changes
        error = np.sqrt(np.sum((pseudo - pseudo.mean(0)) ** 2, 0) / (units * (units - 1)))
        half = special.stdtrit(df, 0.5 + level / 2) * error
        ci = theta[:, None] + half[:, None] * np.array([-1, 1])
    p, ends = len(linear), np.log(EXPONENTS)
    at_bounds = np.isclose(np.log(exponents)[:, None], ends, atol=1e-3).any(-1)
    return Fitted(linear, ci[:p], exponents, np.exp(ci[p:]), at_bounds, float(r_squared(y, y - residual)), units)


def _left_out(jacobian, residual, labels, units):
    """[U, P]: (J'J - J_u'J_u)^-1 J_u' r_u, columns scaled; NaN where the other units cannot tell coefficients apart."""
    scale = np.linalg.norm(jacobian, axis=0)
    j = jacobian / np.where(scale > 0, scale, 1.0)
    whole, out = j.T @ j, []
    for unit in range(units):
        own = j[labels == unit]
        rest = whole - own.T @ own
        known = np.linalg.matrix_rank(rest, tol=1e-12) == len(rest)
        out.append(np.linalg.solve(rest, own.T @ residual[labels == unit]) if known else np.full(len(rest), np.nan))
    return np.array(out) / scale


def least_squares(x, y, what: str):
    """Coefficients [P] of y [N] on x [N, P].  ValueError if they cannot be told apart."""
    scale = np.linalg.norm(x, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    if len(x) < x.shape[1] or np.linalg.matrix_rank(x / scale) < x.shape[1]:
        raise ValueError(f"{what}: {x.shape[1]} coefficients cannot be told apart by these {len(x)} points")
    return np.linalg.lstsq(x / scale, y, rcond=None)[0] / scale


def _searched(design, y, count: int, what: str):
    """The exponents [E] of the least squares."""
    if not count:
        return np.empty(0)

    def loss(logs):
        x = design(np.exp(np.clip(logs, *np.log(EXPONENTS))))
        x = x / np.linalg.norm(x, axis=0)
        return float(np.sum((y - x @ np.linalg.lstsq(x, y, rcond=1e-12)[0]) ** 2))

    tried = np.linspace(*np.log(EXPONENTS), SEARCHED[min(count, 3) - 1])
    start = min(itertools.product(tried, repeat=count), key=loss)
    options = {"xatol": 1e-9, "fatol": 0.0, "maxiter": 2000}
    found = optimize.minimize(
        lambda q: loss(q) / max(loss(start), 1e-300), start, method="Nelder-Mead", options=options
    )
    return np.exp(np.clip(found.x, *np.log(EXPONENTS)))


def _by_exponents(design, exponents, linear):
    """[N, E]: derivative of the fitted values by the logarithm of each exponent."""
    columns = []
    for i in range(len(exponents)):
        step = np.exp(1e-5 * np.eye(len(exponents))[i])
        columns.append((design(exponents * step) - design(exponents / step)) @ linear / 2e-5)
    return np.stack(columns, -1) if columns else np.empty((len(design(exponents)), 0))
