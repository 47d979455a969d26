"""Fits of scores that have a bound: laws that saturate, over any x, and shares of successes by binomial likelihood."""

import numpy as np

from analysis.fit import odd
from analysis.fit.points import Options
from analysis.numbers import label
from gold_sim import laws
from gold_sim.laws import saturation, saturation_fits, shares

NEAR = 0.9  # of the way from R0 to A; a curve that ends before has not reached its asymptote
CHANCE = 0.01  # that trials alone scatter so; below, the dispersion is told
WHERE = {  # coefficient -> what its bound is
    "C_mid": "of what is sought, a tenth of the least x to 100 times the largest: the data do not hold the midpoint",
    "B": f"of what is sought, {saturation.EXPONENTS[0]:g} to {saturation.EXPONENTS[1]:g}",
}


def fit(runs: dict, options: Options) -> dict:
    """The contract of `python -m analysis fit --json`, with the coefficients of these laws.

    runs: group -> `fits.Runs`.  Intervals are between runs, or for one run of shares from the likelihood.
    """
    by, warnings, rows, likelihood, used, fitted = options.by or "group", [], [], 0.0, 0, 0
    for key, group in runs.items():
        where, (xs, ys, ses, trials) = f"{by}={label(key)}", kept_points(group, options)
        start = group.starts
        if options.saturates:
            found = saturation_fits.fit(options.form, xs, ys, ses, trials, start, group.units)
        else:
            found = shares.fit(options.form, xs, ys, trials, start, group.units)
        warnings += _complaints(where, found, options, group)
        rows.append({by: key} | entry(found) | {"runs": len(xs), "n_points": found.n_points})
        if found.converged:
            likelihood, used, fitted = likelihood + found.log_likelihood, used + found.n_points, fitted + 1
    return {
        "form": options.form,
        "share": None,
        "x": options.described_x,
        "y": options.y,
        "likelihood": "least squares" if options.trials is None else "binomial",
        "trends": _trends(rows, by, options),
        "n_points": used,
        "groups": rows,
        **_information(likelihood, used, fitted * num_params(options) + (fitted if options.trials is None else 0)),
        "warnings": warnings,
    }


def num_params(options: Options) -> int:
    """Coefficients of a group; an error variance that is fitted is one more."""
    held = options.reference is not None
    if options.saturates:
        return saturation_fits.num_params(options.form, held)
    return laws.form_named(options.form).num_linear + (not held)


def kept_points(group, options: Options):
    """(xs, ys, ses, trials), each S rows or None, of the points that are used."""
    keep = [d >= options.least for d in group.ds]
    pick = lambda columns: None if columns is None else [c[k] for c, k in zip(columns, keep, strict=True)]
    return pick(group.ds), pick(group.golds), pick(group.ses), pick(group.trials)


def entry(found) -> dict:
    """One group's line of the result."""
    saturates = isinstance(found, saturation_fits.SaturationFit)
    names = saturation.NAMES if saturates else ("p0", "alpha", "beta", "d_peak")
    out = {}
    for name in names:
        out |= {name: getattr(found, name), f"{name}_ci": getattr(found, f"{name}_ci")}
    others = ("reached", "short", "at_bounds") if saturates else ("share_peak",)
    return out | {name: getattr(found, name) for name in ("r2", *others, "dispersion", "dispersion_p", "converged")}


def _complaints(where: str, found, options: Options, group) -> list[str]:
    of = options.column if options.saturates else "d"
    if not found.converged:
        wanted = f"{num_params(options)} distinct {of} >= {options.least:g} with scores that differ"
        return [f"{where}: not fitted, {wanted} are wanted"]
    out = []
    if np.isfinite(found.dispersion_p) and found.dispersion_p < CHANCE:
        more = f"{where}: the shares scatter {found.dispersion:.2g} times as much (variance) as their trials explain"
        wider = "intervals are wider by the root of that" if found.num_units == 1 else "intervals between runs hold it"
        out.append(f"{more} (p = {found.dispersion_p:.1g}); {wider}")
    early = odd.ended_early(group.ds)
    if early.any():
        named = ", ".join(str(group.seeds[i]) for i in np.flatnonzero(early))
        out.append(f"{where}: {', '.join(options.seeds)} {named} ended early; all points are fitted together")
    return out + (_of_saturation if options.saturates else _of_peak)(where, found, options)


def _of_saturation(where: str, found, options: Options) -> list[str]:
    out = []
    for name in found.at_bounds:
        edge = WHERE.get(name, "0 to 1 of a share" if options.trials is not None else "of what is sought")
        out.append(f"{where}: {name} = {getattr(found, name):.4g} lies on a bound, {edge}; it has no interval")
    end = f"{options.column} = {found.x_max:.4g}"
    if found.reached < NEAR:
        beyond = f"the asymptote {found.A:.4g} is beyond the data by {abs(found.short):.3g}"
        out.append(f"{where}: A not reached: {beyond}; at {end} the law is {found.reached:.0%} of the way from R0")
    if found.C_mid > found.x_max:
        out.append(f"{where}: C_mid = {found.C_mid:.4g} is beyond the data, which end at {end}")
    return out


def _of_peak(where: str, found, options: Options) -> list[str]:
    if np.isfinite(found.d_peak) and found.d_peak > found.d_max:
        return [f"{where}: the law's peak at d = {found.d_peak:.3g} is beyond the data, which end at {found.d_max:.3g}"]
    if not np.isfinite(found.d_peak) and laws.form_named(options.form).num_linear == 2:
        why = "alpha <= 0, it never gains" if np.isnan(found.d_peak) else "beta <= 0, it never turns"
        return [f"{where}: the law has no peak ({why})"]
    return []


def _trends(rows: list[dict], by: str, options: Options) -> dict:
    """Slopes of coefficients against log10 of the grouping column, where it is a size (positive numbers)."""
    rows = [row for row in rows if row["converged"]]
    sizes = [row[by] for row in rows]
    if len(sizes) < 3 or not all(isinstance(size, int | float | np.number) and size > 0 for size in sizes):
        return {}
    out = {}
    for name in ("A", "B") if options.saturates else ("alpha", "beta"):
        line = laws.trend_over_groups(np.log10(sizes), [row[name] for row in rows])
        out[name] = {"slope": line.slope, "slope_ci": line.slope_ci}
    return out


def _information(likelihood: float, points: int, k: int) -> dict:
    """Log-likelihood, AICc and BIC of all points, as if they were independent; k fitted parameters."""
    if points <= k + 1 or not k:
        return {"log_likelihood": likelihood, "aicc": float("nan"), "bic": float("nan")}
    aicc = 2 * k - 2 * likelihood + 2 * k * (k + 1) / (points - k - 1)
    return {"log_likelihood": likelihood, "aicc": aicc, "bic": float(k * np.log(points) - 2 * likelihood)}
