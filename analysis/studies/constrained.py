"""Constrained optimisation: variants compared, thresholds and what runs end at, gold as a surface over components."""

import numpy as np
import pandas as pd

from analysis import runs
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.studies import proxy_points
from analysis.templates import variants

PATHS = ("composite", "words_alone", "manners_alone")  # variants without a constraint, whose runs make the surface
COMPONENTS = ("component_0", "component_1")
LABELS = ("words component (gold s.d.)", "manners component (gold s.d.)")


def study(data, folder) -> Findings:
    found = variants.study(data, folder)
    points, surface, warnings = of_runs(data)
    rows = [held for variant in data.variants for held in held_at(data, variant)]
    if rows:
        title = "Thresholds and where runs end (gold s.d., not re-zeroed)"
        found.tables.append(tables.Table("thresholds", title, pd.DataFrame(rows)))
    if points:
        frame = pd.DataFrame([{"point": k, "words": float(a), "manners": float(b)} for k, (a, b) in points.items()])
        found.tables.append(tables.Table("proxy_points", "Proxy points of this world's runs (gold s.d.)", frame))
        found.figures.append(draw(data, folder, points, surface))
    summary = {"proxy_points": {k: list(v) for k, v in points.items()}, "surface_r2": surface.r2 if points else None}
    found.warnings.extend(warnings)
    return Findings(found.summary | summary, found.figures, found.tables, found.warnings)


def components(data, variant) -> np.ndarray:
    """[2, S, T] of a variant's runs."""
    return np.stack([runs.along(data, variant, "rl", name) for name in COMPONENTS])


def of_runs(data) -> tuple[dict, proxy_points.Surface | None, list[str]]:
    """Proxy points of the unconstrained runs, name -> (words, manners); empty, with a warning, where they give none."""
    try:
        parts = {variant: components(data, variant) for variant in PATHS}
        gold = {variant: runs.along(data, variant, "rl") for variant in PATHS}
        visited = np.concatenate([parts[variant].reshape(2, -1).T for variant in PATHS])
        surface = proxy_points.surface(visited, np.concatenate([gold[variant].ravel() for variant in PATHS]))
    except ValueError as error:
        return {}, None, [f"no proxy points: {error}"]
    alone = [proxy_points.independent(parts[PATHS[1 + i]][i], gold[PATHS[1 + i]]) for i in range(2)]
    return {"independent": tuple(alone), "joint": tuple(proxy_points.joint(surface))}, surface, []


def held_at(data, variant) -> list[dict]:
    """One row a component of a variant with thresholds: threshold, mean at the end with interval over seeds."""
    rows = []
    for name, threshold in zip(COMPONENTS, thresholds(data, variant), strict=False):
        ends = at_the_end(runs.along(data, variant, "rl", name))
        row = {"variant": data.label(variant), "component": name, "threshold": threshold, "end": float(ends.mean())}
        row["end_ci"] = runs.curves.interval(ends)
        rows.append({k: row[k] for k in ("variant", "component", "threshold")} | tables.spread(row, "end"))
    return rows


def draw(data, folder, points, surface) -> Figure:
    """Gold over the plane of components, and the mean path of every variant in it."""
    shown = data.variants
    figure, axes = figures.tiles(1, 1, width=5.6, height=4.6)
    ax, paths = axes[0], {variant: components(data, variant).mean(1) for variant in shown}
    every = np.concatenate([*(p.T for p in paths.values()), surface.visited.points])
    low, high = every.min(0), every.max(0)
    x, y = np.meshgrid(np.linspace(low[0], high[0], 80), np.linspace(low[1], high[1], 80))
    at = np.stack([x.ravel(), y.ravel()], 1)
    gold = np.where(surface.inside(at), surface.gold(at), np.nan).reshape(x.shape)
    figure.colorbar(ax.contourf(x, y, gold, 12, cmap="Greys", alpha=0.5), ax=ax, label="gold, fitted (gold s.d.)")
    for variant, tint in zip(shown, figures.colours(len(shown)), strict=True):
        ax.plot(*paths[variant], color=tint, lw=1.4, label=data.label(variant))
        ax.plot(*paths[variant][:, -1], "o", color=tint, **figures.MARKED)
    for (name, point), marker in zip(points.items(), "X*", strict=True):
        ax.plot(*point, marker, color="#c0392b", ms=10, mec="white", label=f"{name} point")
    ax.set_xlabel(LABELS[0])
    ax.set_ylabel(LABELS[1])
    figure.legend(loc="outside right upper")
    caption = "Gold as a quadratic surface over both components, within what unconstrained runs visited; the mean path "
    caption += "of every variant to its end (dot); independent (cross) and joint (star) proxy points."
    return Figure(figures.save(figure, folder, "proxy_points"), caption)


def thresholds(read, variant) -> tuple[float, ...]:
    """Of one variant's cell, () where it has none; runs.Missing if the variant was not run."""
    cell = next((c for c in read.manifest["cells"] if c["variant"] == variant), None)
    if cell is None:
        raise runs.Missing(f"no runs of {variant}")
    record = read.record(cell["stage"], cell["fingerprint"])
    return tuple(record["config"]["optimiser"].get("thresholds", ()))


def at_the_end(values) -> np.ndarray:
    """[S] mean over the last tenth of [S, T]: single points of a held component waver."""
    return values[:, -max(1, values.shape[1] // 10) :].mean(1)
