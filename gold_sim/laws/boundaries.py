"""Boundaries of a group-sequential test: how sure a look must be, so that all looks together err at most at a level.

A study looks at its data at n_1 < ... < n_K seeds and may stop at any of them. The statistics Z_k then have the
canonical joint distribution: Z_k sqrt(n_k) is a Brownian motion at times n_k (Jennison & Turnbull 2000, ch. 3).
The level is spent as information accrues (Lan & DeMets 1983). So looks may be left out or added, as long as what the
data show does not decide it.
"""

import functools

import numpy as np
from scipy import optimize, special
from scipy.interpolate import PchipInterpolator

GAMMAS = np.geomspace(1e-12, 0.5, 97)  # one-sided levels of the table that p-values are read from
NODES = 161  # of Simpson's rule, odd
REACH = 8.0  # standard deviations below 0 at which paths are cut off


def _beyond(z):
    """Share of the standard normal above z. scipy.stats gives the same, and checks 40,000 arguments a table for it."""
    return special.ndtr(-z)


def _density(z):
    return np.exp(-(z**2) / 2.0) / np.sqrt(2 * np.pi)


def pocock(fraction, level):
    """One-sided level spent at a fraction of the information: level log(1 + (e - 1) t) (Lan & DeMets 1983)."""
    return level * np.log1p((np.e - 1) * np.asarray(fraction))


def nominal_levels(fractions, level: float, spending=pocock) -> np.ndarray:
    """One-sided nominal level [K] of each look, for looks at these fractions [K] of the information, rising, up to 1.

    By the recursion of Armitage, McPherson & Rowe (1969), integrated by Simpson's rule (Jennison & Turnbull 2000,
    ch. 19): the density of the paths that have crossed no boundary is carried from look to look.
    """
    nodes, mass, before, levels = np.zeros(1), np.ones(1), 0.0, []
    for time, spends in zip(fractions, np.diff(spending(np.asarray(fractions), level), prepend=0.0), strict=True):
        step, width = np.sqrt(time - before), REACH * np.sqrt(time)
        crossing = lambda bound, nodes=nodes, mass=mass, step=step: mass @ _beyond((bound - nodes) / step)
        bound = optimize.brentq(lambda b, wants=spends: crossing(b) / wants - 1, -width, width, xtol=1e-12)
        levels.append(_beyond(bound / np.sqrt(time)))
        grid = np.linspace(-width, bound, NODES)
        weights = np.full(NODES, 2.0) + 2.0 * (np.arange(NODES) % 2)
        weights[[0, -1]] = 1.0
        density = _density((grid[:, None] - nodes) / step) @ mass / step
        nodes, mass, before = grid, density * weights * (grid[1] - grid[0]) / 3, time
    return np.array(levels)


@functools.cache
def _table(fractions: tuple[float, ...], spending) -> tuple:
    """Interpolators of log level -> log nominal level of the last look and back, and the range of the latter."""
    nominal = np.log([nominal_levels(fractions, gamma, spending)[-1] for gamma in GAMMAS])
    return PchipInterpolator(np.log(GAMMAS), nominal), PchipInterpolator(nominal, np.log(GAMMAS)), nominal[[0, -1]]


@functools.cache
def looks_so_far(seeds: int, looks: tuple[int, ...]) -> tuple[float, ...]:
    """Fractions of the information at the looks up to this one; a look that the plan lacks is one more.

    ValueError: more seeds than the last look has.
    """
    last = max(looks)
    if seeds > last:
        raise ValueError(f"seeds={seeds}: the rule looks at {', '.join(map(str, sorted(looks)))}, so {last} at most")
    return tuple(n / last for n in sorted({*(n for n in looks if n < seeds), seeds}))


@functools.cache
def nominal(seeds: int, looks: tuple[int, ...], level: float, spending=pocock) -> float:
    """One-sided nominal level of the look at `seeds`, for a one-sided level of all looks, up to 0.5."""
    forth, _, _ = _table(looks_so_far(seeds, looks), spending)
    return float(np.exp(forth(np.log(np.clip(level, GAMMAS[0], GAMMAS[-1])))))


def sequential(p, seeds: int, looks: tuple[int, ...], spending=pocock):
    """Sequential p-values of nominal one-sided ones: the smallest level at which this look is beyond its boundary.

    P(p <= level) <= level under the null hypothesis whenever the study stops. From 0.5 on they count as 1.
    """
    _, back, (least, most) = _table(looks_so_far(seeds, looks), spending)
    p = np.asarray(p, float)
    return np.where(p < np.exp(most), np.exp(back(np.clip(np.log(np.maximum(p, 1e-300)), least, most))), 1.0)
