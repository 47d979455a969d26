"""Curves made by known laws, for tests of fits: runs that scatter, with noise correlated along each."""

import numpy as np

from gold_sim import laws

D = np.linspace(0.0, 4.0, 17)
TRUTHS = {  # (alpha, beta, shape)
    "bon": (0.6, 0.1, None),
    "rl": (0.7, 0.5, None),
    "log1p": (0.8, 0.5, None),
    "offset": (0.7, 0.45, 0.3),
    "power": (0.7, 0.2, 0.6),
    "quadratic": (0.25, 0.012, None),
    "linear": (0.3, 0.0, None),
}
SPREADS = {"quadratic": (0.015, 0.001), "linear": (0.05, 0.0)}  # of alpha, beta between runs; else 0.05, 0.02


def correlated_noise(rng, shape, correlation=0.9):
    """AR(1) along the last axis with unit variance: points of one run are not independent."""
    white = rng.standard_normal(shape)
    out = white.copy()
    for t in range(1, shape[-1]):
        out[..., t] = correlation * out[..., t - 1] + np.sqrt(1 - correlation**2) * white[..., t]
    return out


def replicated_runs(form, rng, replications, seeds, noise=0.03, d=D[2:], spread=1.0):
    """d, and [R, S, T] curves whose coefficients vary between seeds around TRUTHS, with noise along each run."""
    *linear, shape = TRUTHS[form]
    scatters = SPREADS.get(form, (0.05, 0.02))
    alpha, beta = (
        t + spread * s * rng.standard_normal((replications, seeds)) for t, s in zip(linear, scatters, strict=True)
    )
    inner = None if shape is None else np.full((replications, seeds), shape)
    gold = laws.evaluate(form, d, alpha, beta, inner)
    return d, gold + noise * correlated_noise(rng, (replications, seeds, len(d)))
