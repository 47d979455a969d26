"""Fit the laws to anyone's curves: points with a distance, gold, and the columns that tell groups and runs apart."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.findings import Table
from analysis.fit import bounded, odd
from analysis.fit import points as curves
from analysis.fit.points import COEFFICIENTS, RESULT, Options, ended_well
from analysis.fit.values import BadInput
from analysis.numbers import label
from gold_sim import laws
from gold_sim.laws import comparison, intervals, prediction, saturation

HIDDEN = ("robust", "at_bounds", "dispersion_p")  # of a group's entry: not in the table
__all__ = ["RESULT", "Options", "ended_well"]  # with what is defined here, all that a caller needs


def load(path: Path, options: Options) -> tuple[pd.DataFrame, list[str]]:
    """(points that a law may be fitted to, as `points.read` gives them; warnings).

    Where KL comes back with other gold than on the way out, the way back is left out.
    """
    return load_named(path, options)[:2]


def load_named(path: Path, options: Options) -> tuple[pd.DataFrame, list[str], Options]:
    """What `load` gives, and the options with the column of x that was found."""
    read = curves.read(path, options)
    kept = [*options.keys, *read.labels]
    returns = options.kind in ("kl", "sqrt_kl")
    points, said = odd.way_out(read.points, kept, read.in_time) if returns else (read.points, [])
    return points, read.warnings + said, read.options


def fit(points: pd.DataFrame, options: Options) -> dict:
    """The contract of `python -m analysis fit --json`: {form, share, n_points, groups, aicc, bic, warnings}.

    points: as `load` gives them. Intervals are between runs, or between the outermost units that differ
    (`intervals.top_level`); null where there is one. aicc, bic: of all points used, as if they were independent.
    """
    warnings, by = [], options.by or "group"
    runs = {key: _runs(rows, options) for key, rows in _groups(points, options)}
    if options.has_own_start:
        return bounded.fit(runs, options)
    empty = {key for key, group in runs.items() if not _has_distances(f"{by}={label(key)}", group, warnings)}
    far = {key: _outlying(group, options) for key, group in runs.items()}
    for key, group in runs.items():
        if off := [] if key in empty else _off_zero(f"{by}={label(key)}", group, far[key], options):
            warnings, far[key] = warnings + off, [one & False for one in far[key]]  # such gold is far off any law
    if options.share is not None:
        if empty:
            raise BadInput(f"--share {options.share}: {warnings[0]}")
        runs = _on_common_seeds(runs, options, warnings)
        groups = [(group.ds, group.golds) for group in runs.values()]
        fits = laws.fit_shared(options.form, groups, options.d_min, share=options.share)
    else:
        fits = [_fit_group(f"{by}={label(key)}", group, options, key in empty, warnings) for key, group in runs.items()]
    rows, residual, used = [], 0.0, 0
    for (key, group), found in zip(runs.items(), fits, strict=True):
        kept = [d >= options.least for d in group.ds]
        count = 0 if key in empty else int(sum(map(np.sum, kept)))
        robust = None if key in empty else _robust(f"{by}={label(key)}", group, far[key], found, options, warnings)
        rows.append({by: key} | entry(found) | {"runs": len(group.ds), "n_points": count, "robust": robust})
        warnings += [] if key in empty else complaints(f"{by}={label(key)}", found, options, max(map(np.max, group.ds)))
        inner = found.shape if np.isfinite(found.shape) else None
        if found.converged:
            used += count
            for d, gold, keep in zip(group.ds, group.golds, kept, strict=True):
                fitted = laws.evaluate(options.form, d[keep], found.alpha, found.beta, inner)
                residual += float(np.sum((gold[keep] - fitted) ** 2))
    each = laws.form_named(options.form).num_params
    known = comparison.information(residual, used, each * len(rows) if options.share is None else 1 + len(rows))
    return {
        "form": options.form,
        "share": options.share,
        "x": options.described_x,
        "y": options.y,
        "trends": trends(runs, fits),
        "n_points": sum(row["n_points"] for row in rows),
        "groups": rows,
        "log_likelihood": known.log_likelihood,
        "aicc": known.aicc,
        "bic": known.bic,
        "warnings": warnings,
    }


def on_intervals(result: dict, options: Options) -> list[str]:
    """A warning where a group of a fit has no interval, or one that means less, since it has one run alone."""
    shares_only = "intervals are those of binomial chance, for that run alone"
    means = "no intervals (points of one run are not independent)" if options.trials is None else shares_only
    if not options.seeds:
        return [f"no --seed-column: one run a group, so {means}"]
    by = options.by or "group"
    single = [label(row[by]) for row in result["groups"] if row["runs"] == 1]
    return [f"one run only, so {means}: {by}={', '.join(single[:5])}"] if single else []


def _has_distances(where: str, group, warnings: list) -> bool:
    line = odd.at_reference(where, group.ds)
    warnings += [line] if line else []
    return line is None


def _fit_group(where: str, group, options: Options, empty: bool, warnings: list) -> laws.LawFit:
    """The law of one group. Where a run ended far before the others, each run is fitted over its own range."""
    d_min = np.inf if empty else options.d_min
    together = laws.fit_seeds(options.form, group.ds, group.golds, d_min, group.ses, group.units)
    early = odd.ended_early(group.ds)
    if empty or not early.any():
        return laws.law_fit(together)
    reach = [float(np.max(d)) for d in group.ds]
    rest = float(np.median(reach))
    named = ", ".join(f"{group.seeds[i]} (at d = {reach[i]:.3g})" for i in np.flatnonzero(early))
    line = f"{where}: {', '.join(options.seeds)} {named} ended early, where the runs' median is d = {rest:.3g}"
    if laws.form_named(options.form).shape:
        warnings.append(f"{line}; {options.form} is fitted to the range that all reach: leave it out to use the rest")
        return laws.law_fit(together)
    alone = [
        laws.fit_seeds(options.form, [d], [gold], d_min, None if group.ses is None else [group.ses[i]])
        for i, (d, gold) in enumerate(zip(group.ds, group.golds, strict=True))
    ]
    known = [i for i, one in enumerate(alone) if np.isfinite(one.estimate[:2]).all()]
    if unknown := [str(group.seeds[i]) for i in range(len(alone)) if i not in known]:
        line += f"; {', '.join(unknown)} too early to be fitted"
    warnings.append(f"{line}; each run is fitted over its own range")
    if not known:
        return laws.law_fit(together)
    units = None if group.units is None else group.units[known]
    each = [np.array([getattr(alone[i], name)[0] for i in known]) for name in ("alphas", "betas")]
    own = replace(together, gold=together.gold[known], alphas=each[0], betas=each[1], units=units)
    return replace(laws.law_fit(own), d_max=rest)


def _outlying(group, options: Options) -> list[np.ndarray]:
    """Which points of each run lie far off a robust fit of it."""
    return [odd.outlying(options.form, d, gold, options.least) for d, gold in zip(group.ds, group.golds, strict=True)]


def _off_zero(where: str, group, far, options: Options) -> list[str]:
    """A warning if gold does not start at 0 and nobody said where it does."""
    if options.reference is not None:
        return []
    pick = lambda columns: [column[~one] for column, one in zip(columns, far, strict=True)]
    line = odd.off_zero(where, options.form, pick(group.ds), pick(group.golds), options.least)
    return [line] if line else []


def _robust(where: str, group, far, found: laws.LawFit, options: Options, warnings: list) -> dict | None:
    """The fit without points that lie far off a robust fit of their run, and a warning that names them.

    None where there are no such points, or where they do not change the group's coefficients.
    """
    if not any(one.any() for one in far):
        return None
    pick = lambda columns: None if columns is None else [c[~one] for c, one in zip(columns, far, strict=True)]
    without = laws.fit(
        options.form, pick(group.ds), pick(group.golds), options.d_min, ses=pick(group.ses), units=group.units
    )
    if np.allclose((without.alpha, without.beta), (found.alpha, found.beta), rtol=odd.MATTERS, equal_nan=True):
        return None
    named = [
        f"{group.places[s][t]} (KL {group.ds[s][t] ** 2:.3g}, gold {group.golds[s][t]:.3g})"
        for s, one in enumerate(far)
        for t in np.flatnonzero(one)
    ]
    some = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
    lies, it = ("lies far off the other points and bends the fit", "it")
    if len(named) > 1:
        lies, it = ("lie far off the other points and bend the fit", "them")
    warnings.append(
        f"{where}: {some} {lies}: without {it} alpha = {without.alpha:.3g}, beta = {without.beta:.3g}, "
        f"peak at d = {without.d_peak:.3g}"
    )
    return {
        "alpha": without.alpha,
        "beta": without.beta,
        "d_peak": without.d_peak,
        "gold_peak": without.gold_peak,
        "left_out": [place for s, one in enumerate(far) for place in np.array(group.places[s])[one]],
    }


def trends(runs: dict, fits: list) -> dict:
    """Slopes of alpha and beta against log10 of the grouping column, where it is a size (positive numbers).

    The interval is by the scatter of the groups about the line: their runs are independent of each other.
    """
    sizes = [key for key, found in zip(runs, fits, strict=True) if found.converged]
    numbers = [isinstance(size, int | float | np.number) and size > 0 for size in sizes]
    if len(sizes) < 3 or not all(numbers):
        return {}
    out = {}
    for name in COEFFICIENTS:
        line = laws.trend_over_groups(np.log10(sizes), [getattr(f, name) for f in fits if f.converged])
        out[name] = {"slope": line.slope, "slope_ci": line.slope_ci}
    return out


def _groups(points: pd.DataFrame, options: Options):
    return points.groupby(options.by, sort=True) if options.by else [("all", points)]


def entry(found: laws.LawFit) -> dict:
    """One group's line of the result."""
    names = ["alpha", "beta"] + ([laws.form_named(found.form).shape] if laws.form_named(found.form).shape else [])
    out = {}
    for name in names:
        source = name if name in ("alpha", "beta") else "shape"
        out |= {name: getattr(found, source), f"{name}_ci": getattr(found, f"{source}_ci")}
    out["r2"] = found.r2
    for name in ("d_peak", "gold_peak"):
        out |= {name: getattr(found, name), f"{name}_ci": getattr(found, f"{name}_ci")}
    return out | {"converged": found.converged}


def complaints(where: str, found: laws.LawFit, options: Options, reach: float = np.inf) -> list[str]:
    """What is odd in a group's fit.  reach: the largest d of its points, nats^0.5."""
    if not found.converged:
        wanted = laws.form_named(options.form).num_params
        line = f"{where}: not fitted, {wanted} distinct d >= {options.least:g} that all seeds reach are wanted"
        if reach < options.least:
            line += f"; the whole curve lies below, up to KL {reach**2:.3g}: is that KL a token (--kl-unit token "
            line += "--length COLUMN), or a form other than rl wanted, or a smaller --d-min?"
        return [line]
    law = laws.form_named(options.form)
    out = []
    if law.shape and not 1.001 * law.shapes[0] < found.shape < law.shapes[1] / 1.001:
        out.append(f"{where}: {law.shape} = {found.shape:.3g} is at the end of its range; another form may do as well")
    if not np.isfinite(found.d_peak):
        why = "alpha <= 0, it never gains" if np.isnan(found.d_peak) else "beta <= 0, it never turns"
        out += [f"{where}: the law has no peak ({why})"] if law.num_linear == 2 else []
    elif found.d_peak > found.d_max:
        where_from = f"beyond the data, which end at {found.d_max:.3g}"
        out.append(f"{where}: the law's peak at d = {found.d_peak:.3g} is {where_from}")
    return out


@dataclass(frozen=True)
class Runs:
    """The runs of one group."""

    seeds: tuple  # labels, one a run
    ds: list
    golds: list
    ses: list | None
    units: np.ndarray | None
    places: list  # names of the points of each run, as a message gives them
    trials: list | None = None
    starts: np.ndarray | None = None  # score of each run at the reference, where the law is to start there


def _runs(rows: pd.DataFrame, options: Options) -> Runs:
    seeds = list(options.seeds)
    parts = list(rows.groupby(seeds, sort=True)) if seeds else [((None,), rows)]
    column = lambda name: [part[name].to_numpy() for _, part in parts]
    levels = list(zip(*[label for label, _ in parts], strict=True))
    units = intervals.top_level(*levels) if seeds else None
    labels = tuple(label[0] if len(label) == 1 else label for label, _ in parts)
    places = [[f"data row {row + 1}" for row in part.index] for _, part in parts]
    if_given = lambda name, given: None if given is None else column(name)
    ses, trials = if_given("se", options.se), if_given("trials", options.trials)
    has_start = options.has_own_start and options.reference is not None
    starts = np.array([start[0] for start in column("start")]) if has_start else None
    return Runs(labels, column("d"), column("gold"), ses, units, places, trials, starts)


def _on_common_seeds(runs: dict, options: Options, warnings: list) -> dict:
    """The runs of the seeds that every group has: a shared coefficient is fitted seed by seed."""
    common = set.intersection(*(set(group.seeds) for group in runs.values()))
    name = ", ".join(options.seeds)
    if not common:
        raise BadInput(f"--share {options.share}: no {name} occurs in every group; at least one common value is wanted")
    everything = set().union(*(group.seeds for group in runs.values()))
    if left := sorted(everything - common):
        labels = ", ".join(map(str, left))
        warnings.append(f"left out {name} {labels}: not in every group, and {options.share} is shared")
    out = {}
    for key, group in runs.items():
        keep = [i for i, seed in enumerate(group.seeds) if seed in common]
        pick = lambda values, keep=keep: [values[i] for i in keep]
        out[key] = Runs(tuple(pick(group.seeds)), pick(group.ds), pick(group.golds), None, None, pick(group.places))
    return out


def add_halves(result: dict, points: pd.DataFrame, options: Options) -> list[str]:
    """Adds `second_half` to each group: how the law of the first half of x predicts the second; a line for each.

    Runs count as their mean curve, on x that all reach; shares of successes point by point.
    """
    lines, by = [], options.by or "group"
    for row, (key, rows) in zip(result["groups"], _groups(points, options), strict=True):
        where = f"{by}={label(key)}"
        try:
            one = _second_half(_runs(rows, options), options)
        except ValueError as error:
            row["second_half"] = None
            lines.append(f"{where}: the second half is not predicted: {error}")
            continue
        count, inside = len(one.x), int(round(one.covered * len(one.x)))
        row["second_half"] = {"points": count, "covered": one.covered, "level": one.level, "bias": one.bias}
        halves = f"the {one.level:.0%} band of the law of the first half of {options.column}"
        lines.append(f"{where}: {halves} holds {inside} of {count} points of the second; it is {one.bias:+.3g} off")
    return lines


def _second_half(group, options: Options) -> prediction.Prediction:
    xs, ys, _, trials = bounded.kept_points(group, options)
    start = None if group.starts is None else float(np.mean(group.starts))
    if trials is not None:
        x, y, n = (np.concatenate(column) for column in (xs, ys, trials))
        return prediction.second_half_of_shares(options.form, x, y, n, start=start)
    order = [np.argsort(x, kind="stable") for x in xs]
    pick = lambda columns: [column[at] for column, at in zip(columns, order, strict=True)]
    x, (y,) = laws.seed_averaged(pick(xs), [pick(ys)], options.least)
    if not len(x):
        raise ValueError(f"the runs have no {options.column} in common")
    return prediction.second_half(options.form, x, y, start=start)


def compare(points: pd.DataFrame, options: Options) -> list[dict]:
    """The form that each group's runs follow (`comparison.verdict`).

    All forms are fitted to the same points, those from the rl form's least d on.
    """
    out = []
    for key, rows in _groups(points, options):
        runs = _runs(rows, options)
        d_min = laws.FORMS["rl"].d_min if options.d_min is None else options.d_min
        d, (gold,) = laws.seed_averaged(runs.ds, [runs.golds], d_min)
        if len(d) < 5:
            text = f"cannot tell: {len(d)} common distances, at least 5 are wanted"
            judged = {"verdict": None, "text": text, "errors": {}}
        else:
            which = comparison.verdict(d, gold)
            judged = {"verdict": which.form, "text": which.text, "errors": which.scores}
        out.append({options.by or "group": key} | judged)
    return out


def parts(points: pd.DataFrame, options: Options) -> tuple[list[tuple], list[str]]:
    """((form, {by: key}, ds, golds, units) a group, as `advise` takes them; warnings).

    Groups that lie at the reference are left out, and so are runs that ended early and points that bend a fit.
    """
    out, warnings, by = [], [], options.by or "group"
    for key, rows in _groups(points, options):
        group, where = _runs(rows, options), f"{by}={label(key)}"
        if not _has_distances(where, group, warnings):
            continue
        each = _outlying(group, options)
        if off := _off_zero(where, group, each, options):
            warnings, each = warnings + off, [one & False for one in each]  # such gold is far off any law
        early = odd.ended_early(group.ds)
        if early.any():
            named = ", ".join(str(group.seeds[i]) for i in np.flatnonzero(early))
            warnings.append(f"{where}: {', '.join(options.seeds)} {named} ended early and is left out")
        kept = np.flatnonzero(~early)
        far = [each[i] for i in kept]
        if named := [group.places[i][t] for i, one in zip(kept, far, strict=True) for t in np.flatnonzero(one)]:
            warnings.append(f"{where}: {', '.join(named[:3])} lies far off the other points and is left out")
        pick = lambda columns, kept=kept, far=far: [columns[i][~one] for i, one in zip(kept, far, strict=True)]
        units = None if group.units is None else group.units[kept]
        out.append((options.form, {by: key}, pick(group.ds), pick(group.golds), units))
    return out, warnings


def table(result: dict) -> Table:
    """The fitted groups for a terminal."""
    rows, by = [], next(iter(result["groups"][0]))
    for group in result["groups"]:
        row = {by: label(group[by])}
        for name, value in group.items():
            if not name.endswith("_ci") and name not in (by, *HIDDEN):
                row[name] = value
                if f"{name}_ci" in group:
                    row[f"{name}_low"], row[f"{name}_high"] = group[f"{name}_ci"]
        rows.append(row)
    return Table("fit", title(result), pd.DataFrame(rows))


def title(result: dict) -> str:
    """The law with its x, for a table."""
    form, of = result["form"], result["x"]
    if form in saturation.FORMULAS:
        return f"R(x) = {saturation.FORMULAS[form]}, x = {of['column']} ({of['unit']})"
    law = f"R(d) = {laws.FORMS[form].formula}"
    if "p0" in result["groups"][0]:
        return f"logit p(d) = logit p0 + R(d), {law}"
    return law + (f", one {result['share']} for all" if result["share"] else "")
