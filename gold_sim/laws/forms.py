"""Functional forms of over-optimisation: gold as a function R(d) of the distance from the reference policy.

d = sqrt(KL(policy || ref_policy)), nats^0.5; R is gold minus its value at the reference, so R(0) = 0. Every form is
R(d) = alpha u(d) + beta v(d), linear in alpha and beta; two of them have one more parameter inside u, v, the shape.
Sources: Gao, Schulman & Hilton 2023 (arXiv 2210.10760), section 3.1 ("bon", "rl") and appendix B ("log1p", "power");
Rafailov et al. 2024 (arXiv 2406.02900) compare "rl" with a quadratic in KL.
Note that the paper's figure 12 plots alpha / 2 beta as a gold score, although it is a distance d.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import lambertw


@dataclass(frozen=True)
class Form:
    """A functional form, and where it turns.  peak and zero are closed forms for alpha, beta > 0 (see `peak`)."""

    formula: str
    basis: Callable  # (d [..., T], shape) -> (u, v), each [..., T]
    peak: Callable  # (alpha, beta, shape) -> d of the largest R, nats^0.5
    zero: Callable  # (alpha, beta, shape) -> d > 0 at which R is back at 0, nats^0.5
    d_min: float = 0.0  # nats^0.5; points nearer the reference policy are left out of fits
    shape: str = ""  # name of the inner parameter, if there is one
    shapes: tuple[float, float] = (1.0, 1.0)  # its range; searched evenly in its logarithm
    num_linear: int = 2  # 1: beta is 0
    within: tuple[str, ...] = ()  # forms that hold this one as a special case, or as a limit

    @property
    def num_params(self) -> int:
        return self.num_linear + bool(self.shape)


def _d_log(d, offset=0.0):
    """d log(offset + d), 0 at d = 0, its limit."""
    return d * np.log(np.where(d + offset > 0, d + offset, 1.0))


def _peak_of_log(alpha, beta, offset):
    """The d at which R' = alpha - beta (log(offset + d) + d / (offset + d)) = 0.

    With w = offset / (offset + d): w e^w = offset e^(1 - alpha / beta), so w is Lambert's function of that.
    """
    w = lambertw(offset * np.exp(1 - alpha / beta)).real
    return np.maximum(offset / np.where(w > 0, w, np.nan) - offset, 0.0)


FORMS = {
    "bon": Form(
        formula="d (alpha - beta d)",
        basis=lambda d, shape=None: (d, -(d**2)),
        peak=lambda a, b, shape=None: a / (2 * b),  # R' = a - 2 b d; height a^2 / (4 b)
        zero=lambda a, b, shape=None: a / b,
        within=("power", "offset"),
    ),
    "rl": Form(
        formula="d (alpha - beta log d)",
        basis=lambda d, shape=None: (d, -_d_log(d)),
        peak=lambda a, b, shape=None: np.exp(a / b - 1),  # R' = a - b - b log d; height b exp(a / b - 1)
        zero=lambda a, b, shape=None: np.exp(a / b),
        within=("offset", "power"),
        d_min=0.3,  # the slope at 0 is infinite: its authors do not trust it there
    ),
    "log1p": Form(
        formula="d (alpha - beta log(1 + d))",
        basis=lambda d, shape=None: (d, -_d_log(d, 1.0)),
        peak=lambda a, b, shape=None: _peak_of_log(a, b, 1.0),
        zero=lambda a, b, shape=None: np.expm1(a / b),
        within=("offset",),
    ),
    "offset": Form(
        formula="d (alpha - beta log(offset + d))",
        basis=lambda d, shape: (d, -_d_log(d, shape)),
        peak=_peak_of_log,
        zero=lambda a, b, shape: np.exp(a / b) - shape,
        shape="offset",
        shapes=(1e-3, 10.0),  # nats^0.5; below it is "rl", above nearly "bon"
    ),
    "power": Form(
        formula="d (alpha - beta d^gamma)",
        basis=lambda d, shape: (d, -(d ** (1 + shape))),
        peak=lambda a, b, shape: (a / (b * (1 + shape))) ** (1 / shape),  # height alpha d* gamma / (1 + gamma)
        zero=lambda a, b, shape: (a / b) ** (1 / shape),
        shape="gamma",
        shapes=(0.05, 5.0),  # towards 0 it is "rl" with other coefficients; 1 is "bon"
    ),
    "quadratic": Form(
        formula="alpha KL - beta KL^2",
        basis=lambda d, shape=None: (d**2, -(d**4)),
        peak=lambda a, b, shape=None: np.sqrt(a / (2 * b)),
        zero=lambda a, b, shape=None: np.sqrt(a / b),
    ),
    "linear": Form(
        formula="alpha d",
        basis=lambda d, shape=None: (d, np.zeros_like(d)),
        peak=lambda a, b, shape=None: np.full_like(a, np.inf),
        zero=lambda a, b, shape=None: np.full_like(a, np.inf),
        num_linear=1,
        within=("bon", "rl", "log1p", "offset", "power"),
    ),
}


def form_named(name: str) -> Form:
    if name not in FORMS:
        raise ValueError(f"form={name!r}: allowed are {', '.join(FORMS)}")
    return FORMS[name]


def evaluate(form: str, d, alpha, beta, shape=None):
    """R(d) of a form, in gold s.d.; d: [..., T], coefficients are broadcast over leading axes."""
    law = form_named(form)
    inner = None if not law.shape else np.asarray(shape)[..., None]
    u, v = law.basis(np.asarray(d, float), inner)
    return np.asarray(alpha)[..., None] * u + np.asarray(beta)[..., None] * v


def peak(form: str, alpha, beta, shape=None):
    """Where the law turns: (d_peak in nats^0.5, gold_peak in gold s.d.), shaped as alpha and beta.

    best-of-n: d* = alpha / (2 beta), R* = alpha^2 / (4 beta).  RL: d* = exp(alpha / beta - 1), R* = beta d*.
    With beta <= 0 < alpha the law never turns: (inf, inf).  With alpha <= 0 it never gains where the law is trusted:
    (NaN, NaN).  The RL form then has a formal maximum at d < 1/e, in the region that its authors exclude.
    """
    d = _where_it_turns(form_named(form).peak, alpha, beta, shape)
    turns = np.isfinite(d)
    height = evaluate(form, np.where(turns, d, 1.0)[..., None], alpha, beta, shape)[..., 0]
    return d, np.where(turns, height, d)[()]


def zero_crossing(form: str, alpha, beta, shape=None):
    """Distance d > 0 at which the law is back at 0: 2 d* for best-of-n, e d* for RL; inf or NaN as in `peak`."""
    return _where_it_turns(form_named(form).zero, alpha, beta, shape)


def _where_it_turns(closed_form, alpha, beta, shape):
    alpha, beta = np.broadcast_arrays(np.asarray(alpha, float), np.asarray(beta, float))
    turns = (alpha > 0) & (beta > 0)
    with np.errstate(over="ignore", invalid="ignore"):
        value = closed_form(np.where(turns, alpha, 1.0), np.where(turns, beta, 1.0), shape)
    other = np.where(alpha > 0, np.where(np.isnan(beta), np.nan, np.inf), np.nan)
    return np.where(turns, value, other)[()]


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
    return d * alpha - beta * _d_log(d)
