"""Laws of a score that saturates: gold, a proxy or a pass rate as a function of compute, steps, tokens, samples or KL.

"sigmoid" is R(C) = R0 + (A - R0) / (1 + (C_mid / C)^B) (ScaleRL: Khatri et al. 2025, arXiv 2510.13786, eq. 1). C is x
in its own unit, A the asymptote, C_mid the x at which half of A - R0 is gained, and B > 0 the exponent.
"hill" is the equation of Hill (1910), R(C) = A / (1 + (C_mid / C)^B). It is the sigmoid with R0 = 0, and nothing else:
what pharmacology calls the four-parameter Hill or sigmoid Emax model, R0 + E_max C^B / (C_mid^B + C^B), is the sigmoid
with E_max = A - R0. So hill suits scores that are 0 without compute, such as gains; it has one coefficient fewer.

Coefficients are sought in (R0, A, log C_mid, log B): both logarithms make the problem nearly quadratic. Given C_mid and
B the law is linear in R0 and A. So a grid of both with exact least squares finds every valley, and the best of each
quarter of the grid is refined (`_starts`, `_refined`).
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

NAMES = ("R0", "A", "C_mid", "B")
FORMULAS = {"sigmoid": "R0 + (A - R0) / (1 + (C_mid / x)^B)", "hill": "A / (1 + (C_mid / x)^B)"}
EXPONENTS = (0.1, 10.0)  # range of B; those of ScaleRL's fits lie between 0.8 and 3
BEYOND = (0.1, 100.0)  # range of C_mid: times the least and the largest x above 0
REACH = 100.0  # range of R0 and A, in ranges of the scores about their middle; 0 to 1 by binomial likelihood
GRID = (41, 21)  # of log C_mid and log B
THINNED = 400  # points that the grid is judged on
STEPS = 300  # of the refinement; most fits need 5 to 30
TINY = 1e-9  # a probability is at least this, and at most 1 minus this


@dataclass(frozen=True)
class Data:
    """Points of all runs of a group.  All arrays are [N]."""

    x: np.ndarray  # at least 0
    y: np.ndarray
    weights: np.ndarray  # of mean 1; 1 / se^2 where standard errors are known
    trials: np.ndarray | None = None  # behind each y; y is then a share of successes, from 0 to 1


def form_named(name: str) -> str:
    if name not in FORMULAS:
        raise ValueError(f"form={name!r}: allowed are {', '.join(FORMULAS)}")
    return name


def evaluate(x, R0, A, C_mid, B):  # noqa: N803, the paper's letters
    """R(x) = R0 + (A - R0) / (1 + (C_mid / x)^B) (Khatri et al. 2025, eq. 1); its limit R0 at x = 0.

    x: [..., T], at least 0; coefficients are broadcast over leading axes. Returns [..., T].
    """
    theta = np.stack(np.broadcast_arrays(R0, A, np.log(C_mid), np.log(B)), -1)
    return _law(np.asarray(x, float), theta)[0]


def _law(x, theta):
    """(R, share of the way s, log x - log C_mid), each [..., T], at x [T] with theta [..., 4]."""
    r0, a, log_c, log_b = (theta[..., i, None] for i in range(4))
    past = np.log(np.where(x > 0, x, 1.0)) - log_c
    share = np.where(x > 0, special.expit(np.exp(log_b) * past), 0.0)
    return r0 + (a - r0) * share, share, past


def jacobian(x, theta):
    """dR / d(R0, A, log C_mid, log B) at x [T]: [..., T, 4]."""
    _, share, past = _law(x, theta)
    slope = (theta[..., 1] - theta[..., 0])[..., None] * share * (1 - share) * np.exp(theta[..., 3])[..., None]
    return np.stack([1 - share, share, -slope, slope * past], -1)


# --- one fit -------------------------------------------------------------------------------------


def bounds(data: Data) -> np.ndarray:
    """[2, 4]: least and largest (R0, A, log C_mid, log B) that a fit may give."""
    positive = data.x[data.x > 0]
    ends = np.log([positive.min() * BEYOND[0], positive.max() * BEYOND[1]])
    level = (0.0, 1.0)
    if data.trials is None:
        middle, half = (data.y.max() + data.y.min()) / 2, REACH * np.ptp(data.y)
        level = (middle - half, middle + half)
    return np.stack([level, level, ends, np.log(EXPONENTS)], -1)


def estimate(data: Data, start: float | None = None) -> np.ndarray:
    """The best theta = (R0, A, log C_mid, log B), by least squares, or by binomial likelihood where there are trials.

    start: a value at which R0 is held; None: R0 is free.
    """
    given = None if start is None else np.array([start])
    return estimates(data, np.ones((1, len(data.x))), given)[0]


def estimates(data: Data, weights, starts=None) -> np.ndarray:
    """The best theta [K, 4] for each row of weights [K, N], the later rows in the valley of the first.

    Weights multiply those of the data: 0 leaves a point out.  starts: [K] values at which R0 is held; None: R0 is free.
    """
    box = bounds(data)
    tried = _starts(data, weights[:1], None if starts is None else starts[:1], box)
    found, loss = _refined(data, np.repeat(weights[:1], len(tried), 0), tried, starts is None, box)
    first = found[np.argmin(loss)]
    rest = np.repeat(first[None], len(weights) - 1, 0)
    if starts is not None:
        rest[:, 0] = starts[1:]
    return np.concatenate([first[None], _refined(data, weights[1:], rest, starts is None, box)[0]])


def at(x, theta) -> np.ndarray:
    """R(x) at x [T] with theta [..., 4]: [..., T]."""
    return _law(x, theta)[0]


def _starts(data, weights, start, box):
    """Four thetas [4, 4]: the best of each quarter of the grid of C_mid and B, with R0 and A by least squares.

    weights: [1, N]; start: [1] or None.
    """
    log_c, log_b = (np.linspace(*box[:, 2 + i], GRID[i]) for i in range(2))
    grid = np.stack(np.meshgrid(log_c, log_b, indexing="ij"), -1).reshape(-1, 2)
    some = np.argsort(data.x, kind="stable")[:: 1 + len(data.x) // THINNED]
    x, y = data.x[some], data.y[some]
    w = (weights * data.weights * (1.0 if data.trials is None else data.trials))[:, some]
    share = _law(x, np.concatenate([np.zeros((len(grid), 1)), np.ones((len(grid), 1)), grid], -1))[1]  # [G, T]
    total, ws, wss = w.sum(-1)[:, None], w @ share.T, w @ (share**2).T
    wy, wsy = (w @ y)[:, None], (w * y) @ share.T
    if start is None:
        det = total * wss - ws**2
        det = np.where(det > 1e-10 * total * wss, det, np.nan)
        gain = (total * wsy - ws * wy) / det
        r0 = (wy - gain * ws) / total
    else:
        r0 = np.broadcast_to(np.asarray(start, float)[:, None], ws.shape)
        gain = (wsy - r0 * ws) / np.where(wss > 0, wss, np.nan)
    low, high = box[:, 1]
    r0, a = (r0 if start is not None else np.clip(r0, low, high)), np.clip(r0 + gain, low, high)
    gain = a - r0
    loss = r0**2 * total + 2 * r0 * gain * ws + gain**2 * wss - 2 * r0 * wy - 2 * gain * wsy
    loss = np.where(np.isfinite(loss), loss, np.inf)
    out = []
    for late in (False, True):
        for steep in (False, True):
            inside = ((grid[:, 0] > box[:, 2].mean()) == late) & ((grid[:, 1] > box[:, 3].mean()) == steep)
            best = int(np.argmin(np.where(inside, loss[0], np.inf)))
            out.append([r0[0, best], a[0, best], *grid[best]])
    return np.where(np.isfinite(out), out, box.mean(0))


def _loss(data, weights, fitted):
    """Weighted sum of squares, or the binomial deviance, [M], of fitted values [M, N]."""
    w = weights * data.weights
    if data.trials is None:
        return np.sum(w * (data.y - fitted) ** 2, -1)
    p, y = np.clip(fitted, TINY, 1 - TINY), data.y
    return 2 * np.sum(w * data.trials * (special.rel_entr(y, p) + special.rel_entr(1 - y, 1 - p)), -1)


def information_weights(data, fitted):
    """Inverse variances [..., N] of y but for a constant: the weights, or n / (p (1 - p)) of binomial shares."""
    if data.trials is None:
        return np.broadcast_to(data.weights, np.shape(fitted))
    p = np.clip(fitted, TINY, 1 - TINY)
    return data.weights * data.trials / (p * (1 - p))


def _refined(data, weights, theta, free_start, box):
    """(theta [M, 4], loss [M]) by Levenberg's damped Fisher scoring within the box, all rows at once.

    A coefficient at its bound is left there while the gradient points outward.
    """
    low, high = box
    free = np.array([free_start, True, True, True])
    theta = np.where(free, np.clip(theta, low, high), theta)
    loss, damp = _loss(data, weights, _law(data.x, theta)[0]), np.full(len(theta), 1e-3)
    active = np.ones(len(theta), bool)
    for _ in range(STEPS):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        fitted, j = _law(data.x, theta[rows])[0], jacobian(data.x, theta[rows])
        w = weights[rows] * information_weights(data, fitted)
        gradient = np.einsum("mn,mni->mi", w * (data.y - fitted), j)
        outward = ((theta[rows] <= low) & (gradient < 0)) | ((theta[rows] >= high) & (gradient > 0)) | ~free
        j = np.where(outward[:, None, :], 0.0, j)
        hessian = np.einsum("mn,mni,mnj->mij", w, j, j)
        scale = np.maximum(np.einsum("mii->mi", hessian), 1e-12 * np.einsum("mii->m", hessian)[:, None] + 1e-300)
        damped = hessian + np.eye(4) * (damp[rows, None] * scale + np.where(outward, 1.0, 0.0) * scale)[:, None, :]
        step = np.linalg.solve(damped, np.where(outward, 0.0, gradient)[..., None])[..., 0]
        step[:, 2:] = np.clip(step[:, 2:], -2.0, 2.0)
        new = np.where(free, np.clip(theta[rows] + step, low, high), theta[rows])
        gained = _loss(data, weights[rows], _law(data.x, new)[0])
        better = gained <= loss[rows]
        small = np.abs(new - theta[rows]).max(-1) < 1e-10
        flat = better & (loss[rows] - gained <= 1e-14 * np.abs(loss[rows])) & (damp[rows] < 1e-6)
        theta[rows[better]], loss[rows[better]] = new[better], gained[better]
        damp[rows] = np.clip(damp[rows] * np.where(better, 0.2, 5.0), 1e-12, 1e12)
        active[rows] = ~(small | flat | (damp[rows] >= 1e12))
    return theta, loss
