"""Proxy points: the values of a composite's components past which gold falls (Moskovitz et al. 2024, section 3).

The independent proxy point of a component is its value where gold peaks while it alone is optimised. The joint proxy
point is where a smooth surface of gold over both components is highest. Where components are correlated, they differ.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import Delaunay, QhullError

GRID = 201  # points a component on which the surface's highest point is sought


@dataclass(frozen=True)
class Surface:
    """gold = c_0 + c_1 r_0 + c_2 r_1 + c_3 r_0^2 + c_4 r_0 r_1 + c_5 r_1^2, of points that runs visited."""

    coefficients: np.ndarray  # [6]
    r2: float
    visited: Delaunay  # the convex region that holds the points

    def gold(self, components) -> np.ndarray:
        """Gold of the surface [K] at components [K, 2]."""
        return _terms(np.asarray(components, float)) @ self.coefficients

    def inside(self, components) -> np.ndarray:
        return self.visited.find_simplex(np.asarray(components, float)) >= 0


def _terms(r):
    a, b = r[:, 0], r[:, 1]
    return np.stack([np.ones(len(r)), a, b, a * a, a * b, b * b], 1)


def independent(component, gold) -> float:
    """The component's mean at the peak of mean gold, from runs [S, T] that optimise it alone."""
    return float(np.mean(component, 0)[np.argmax(np.mean(gold, 0))])


def surface(components, gold) -> Surface:
    """Least squares over all points of runs, components [K, 2] and gold [K]; ValueError where they span no surface."""
    components, gold = np.asarray(components, float), np.asarray(gold, float)
    if len(gold) < 6:
        raise ValueError(f"{len(gold)} points: a quadratic surface has 6 coefficients")
    try:
        visited = Delaunay(components)
    except QhullError as error:
        raise ValueError("the runs' components lie on one line: no surface") from error
    terms = _terms(components)
    coefficients = np.linalg.lstsq(terms, gold, rcond=None)[0]
    rest = gold - terms @ coefficients
    return Surface(coefficients, float(1 - np.sum(rest**2) / np.sum((gold - gold.mean()) ** 2)), visited)


def joint(found: Surface) -> np.ndarray:
    """The highest point of the surface in the convex region that was visited, [2]."""
    low, high = found.visited.points.min(0), found.visited.points.max(0)
    points = np.stack(np.meshgrid(*np.linspace(low, high, GRID).T, indexing="ij"), -1).reshape(-1, 2)
    points = np.concatenate([points[found.inside(points)], found.visited.points])
    return points[np.argmax(found.gold(points))]
