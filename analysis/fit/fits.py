"""Fit the laws to anyone's curves: a long table with a distance, a gold score and a grouping column."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import escaped
from analysis.findings import Table
from analysis.fit import importers
from analysis.fit.importers import BadInput
from gold_sim import laws
from gold_sim.laws import comparison, intervals

DISTANCES = {  # name -> (least value allowed, value -> d in nats^0.5)
    "kl": (0.0, np.sqrt),
    "sqrt_kl": (0.0, lambda d: d),
    "n": (1.0, lambda n: np.sqrt(np.maximum(np.log(n) - (n - 1) / n, 0.0))),  # best-of-n (Stiennon et al. 2020, G.3)
}
COEFFICIENTS = ("alpha", "beta")
COLUMNS = ("d", "gold", "se")  # of points, which are not to be hidden by a column of runs
SHAPES = tuple(law.shape for law in laws.FORMS.values() if law.shape)
# Of points and of a group's entry, which are not to be hidden by a column of groups.
RESULT = (*COLUMNS, *COEFFICIENTS, *SHAPES, "r2", "d_peak", "gold_peak", "converged", "runs", "n_points")
UNLIKE = 50.0  # times the median reach in KL; a group beyond it, either way, looks like another unit


@dataclass(frozen=True)
class Options:
    """What `python -m analysis fit` was asked for."""

    x: str  # kl, sqrt_kl or n, or one of these =COLUMN
    form: str
    y: str = "gold"
    by: str | None = None
    seeds: tuple[str, ...] = ()  # columns that tell runs apart, outermost first (world, seed)
    se: str | None = None  # column of standard errors of y
    share: str | None = None  # alpha or beta
    d_min: float | None = None  # nats^0.5; None takes the form's
    kl_unit: str | None = None  # response or token
    length: str | None = None  # column of tokens a response, for kl_unit token
    extra: tuple[str, ...] = ()  # further columns of numbers that the points are to have

    @property
    def keys(self) -> list[str]:
        return [c for c in (self.by, *self.seeds) if c is not None]

    @property
    def least(self) -> float:
        return laws.form_named(self.form).d_min if self.d_min is None else self.d_min


def load(path: Path, options: Options) -> tuple[pd.DataFrame, list[str]]:
    """(points with columns d, gold, se if given, and the keys; warnings)."""
    kind, _, column = options.x.partition("=")
    if kind not in DISTANCES:
        raise BadInput(f"--x {options.x}: allowed are {', '.join(DISTANCES)}, or one of them with =COLUMN")
    wanted = [column or kind, options.y, *options.keys, *options.extra, "status"]
    wanted += [c for c in (options.se, options.length) if c]
    log = importers.read(path, wanted)
    warnings = []
    if path.is_file() and path.stat().st_size >= importers.LARGE:
        warnings.append(f"{path.name} has {path.stat().st_size / 1e9:.1f} GB; only the columns asked for were kept")
    kept, left_out = ended_well(log.table, path)
    points = distances_and_gold(importers.Log(kept, log.of_trainer), path, options)
    return points, warnings + left_out + oddities(points, options)


def ended_well(table: pd.DataFrame, path) -> tuple[pd.DataFrame, list[str]]:
    """Rows whose status is ok, if there is such a column, and a warning that counts the others."""
    if "status" not in table.columns or not (bad := table["status"] != "ok").any():
        return table, []
    if bad.all():
        raise BadInput(
            f"{path}: status is {escaped.value(table['status'].iloc[0])} in all {len(table)} rows; some 'ok' are wanted"
        )
    return table[~bad], [f"left out {bad.sum()} of {len(table)} rows whose status is not ok"]


def distances_and_gold(log: importers.Log, path, options: Options) -> pd.DataFrame:
    """Columns d, gold, se and those of the keys, checked."""
    kind, _, column = options.x.partition("=")
    column, table = column or kind, log.table
    scores = [options.y] + ([options.se] if options.se else [])
    for name in (column, *scores, *options.keys, *options.extra):
        if name not in table.columns:
            raise BadInput(f"{path}: no column {name!r}; it has {', '.join(map(str, table.columns))}")
    if len({column, *scores}) < 1 + len(scores):
        raise BadInput(f"{path}: --x, --y and --se are to be of other columns, given {', '.join((column, *scores))}")
    if taken := [*((set(options.seeds) | {*options.extra}) & set(COLUMNS)), *({options.by} & set(RESULT))]:
        raise BadInput(f"{path}: {taken[0]!r} has a meaning in the result; another name is wanted for this column")
    if kind != "n":
        raw = importers.kl_per_response(log, path, column, options.kl_unit, options.length)
        if kind == "sqrt_kl" and options.kl_unit == "token":
            raise BadInput("--kl-unit token goes with --x kl: the root of a mean over tokens has no length to multiply")
        table = table.assign(**{column: raw})
    for name in options.keys:
        table = table.assign(**{name: importers.keys(path, table, name)})
    for name in (column, *scores):
        table = table.assign(**{name: importers.numbers(path, table, name)})
    least, to_d = DISTANCES[kind]
    for name, floor in ((column, least), *((s, 0.0) for s in scores[1:])):
        if (table[name] < floor).any():
            given = f"{name}={table[name][table[name] < floor].iloc[0]:g}"
            row = importers.data_row(table, table[name] < floor)
            raise BadInput(f"{path}: {given} in data row {row}; allowed from {floor:g}")
    out = table[list(dict.fromkeys(options.keys))].assign(d=to_d(table[column].to_numpy(float)))
    out["gold"] = table[options.y].to_numpy(float)
    for name in options.extra:
        out[name] = importers.numbers(path, table, name)
    if kind == "n":
        _check_n(path, column, table[column], table[options.keys])
    if options.se:
        out["se"] = table[options.se].to_numpy(float)
        if (none := (out["se"] == 0) & (out["d"] > laws.AT_REFERENCE)).any():
            row = importers.data_row(out, none)
            raise BadInput(f"{path}: {options.se}=0 in data row {row}; a standard error above 0 is wanted")
    return out


def _check_n(path, column: str, n: pd.Series, keys: pd.DataFrame) -> None:
    """BadInput where n counts 1, 2, 3, .. again and again within a run, as the number of a sample does."""
    times = n.value_counts()
    counts = len(times) > 2 and sorted(times.index) == list(range(1, len(times) + 1))
    if counts and keys.assign(n=n).duplicated().any():
        given = f"{column} counts 1 to {len(times)} in up to {times.max()} rows each, as the number of a sample does"
        raise BadInput(f"{path}: {given}; one row an n and run is wanted: python -m analysis scores makes it of scored "
                       "samples, and --seed-column tells runs apart")  # fmt: skip


def oddities(points: pd.DataFrame, options: Options) -> list[str]:
    """Warnings about a readable table: repeated distances, and groups whose KL looks like another unit."""
    found = []
    repeated = points.duplicated([*options.keys, "d"]).sum()
    if repeated:
        runs = f"one value of {', '.join(options.keys)}" if options.keys else "the table"
        found.append(f"{repeated} of {len(points)} points repeat a distance within {runs}: a fit averages them; "
                     "if they are different runs, name the column that tells them apart (--seed-column)")  # fmt: skip
    if options.by:
        reach = points.groupby(options.by, sort=True)["d"].max() ** 2
        middle = reach.median()
        for key, kl in reach.items():
            if middle > 0 and kl > 0 and not 1 / UNLIKE < kl / middle < UNLIKE:
                ends = f"KL ends at {kl:.3g} where the median group ends at {middle:.3g} nats"
                found.append(f"{options.by}={key}: {ends}; mixed units (a token, bits) would look like this")
    return found


def fit(points: pd.DataFrame, options: Options) -> dict:
    """The contract of `python -m analysis fit --json`: {form, share, n_points, groups, aicc, bic, warnings}.

    points: as `load` gives them. Intervals are between runs, or between the outermost units that differ
    (`intervals.top_level`); null where there is one. aicc, bic: of all points used, as if they were independent.
    """
    warnings, by = [], options.by or "group"
    runs = {key: _runs(rows, options) for key, rows in _groups(points, options)}
    for key, group in runs.items():
        at_zero = [gold[d < laws.AT_REFERENCE] for d, gold in zip(group.ds, group.golds, strict=True)]
        worst = max(np.concatenate(at_zero), key=abs, default=0.0)
        if abs(worst) > 1e-9:
            warnings.append(f"{by}={key}: gold is {worst:.3g} at KL 0 but the laws start at 0; subtract it")
    if options.share is not None:
        runs = _on_common_seeds(runs, options, warnings)
        groups = [(group.ds, group.golds) for group in runs.values()]
        fits = laws.fit_shared(options.form, groups, options.d_min, share=options.share)
    else:
        fits = [
            laws.fit(options.form, group.ds, group.golds, options.d_min, ses=group.ses, units=group.units)
            for group in runs.values()
        ]
    rows, residual, used = [], 0.0, 0
    for (key, group), found in zip(runs.items(), fits, strict=True):
        kept = [d >= options.least for d in group.ds]
        count = int(sum(map(np.sum, kept)))
        rows.append({by: key} | entry(found) | {"runs": len(group.ds), "n_points": count})
        warnings += complaints(f"{by}={key}", found, options)
        inner = found.shape if np.isfinite(found.shape) else None
        if found.converged:
            used += count
            for d, gold, keep in zip(group.ds, group.golds, kept, strict=True):
                fitted = laws.evaluate(options.form, d[keep], found.alpha, found.beta, inner)
                residual += float(np.sum((gold[keep] - fitted) ** 2))
    if not options.seeds:
        warnings.append("no --seed-column: one run a group, so no intervals (points of one run are not independent)")
    elif single := [key for key, group in runs.items() if len(group.ds) == 1]:
        warnings.append(f"one run only, so no intervals: {by}={', '.join(map(str, single[:5]))}")
    each = laws.form_named(options.form).num_params
    coefficients = each * len(rows) if options.share is None else 1 + len(rows)
    known = comparison.information(residual, used, coefficients)
    return {
        "form": options.form,
        "share": options.share,
        "trends": trends(runs, fits),
        "n_points": sum(row["n_points"] for row in rows),
        "groups": rows,
        "log_likelihood": known.log_likelihood,
        "aicc": known.aicc,
        "bic": known.bic,
        "warnings": warnings,
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


def complaints(where: str, found: laws.LawFit, options: Options) -> list[str]:
    if not found.converged:
        wanted = laws.form_named(options.form).num_params
        return [f"{where}: not fitted, {wanted} distinct d >= {options.least:g} that all seeds reach are wanted"]
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


def _runs(rows: pd.DataFrame, options: Options) -> Runs:
    seeds = list(options.seeds)
    parts = list(rows.groupby(seeds, sort=True)) if seeds else [((None,), rows)]
    column = lambda name: [part[name].to_numpy() for _, part in parts]
    levels = list(zip(*[label for label, _ in parts], strict=True))
    units = intervals.top_level(*levels) if seeds else None
    labels = tuple(label[0] if len(label) == 1 else label for label, _ in parts)
    return Runs(labels, column("d"), column("gold"), column("se") if options.se else None, units)


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
        out[key] = Runs(tuple(pick(group.seeds)), pick(group.ds), pick(group.golds), None, None)
    return out


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


def parts(points: pd.DataFrame, options: Options) -> list[tuple]:
    """(form, {by: key}, ds, golds, units) a group, as `advise` takes them."""
    grouped = [(key, _runs(rows, options)) for key, rows in _groups(points, options)]
    return [(options.form, {options.by or "group": key}, runs.ds, runs.golds, runs.units) for key, runs in grouped]


def table(result: dict) -> Table:
    """The fitted groups for a terminal."""
    rows = []
    for group in result["groups"]:
        row = {}
        for name, value in group.items():
            if not name.endswith("_ci"):
                row[name] = value
                if f"{name}_ci" in group:
                    row[f"{name}_low"], row[f"{name}_high"] = group[f"{name}_ci"]
        rows.append(row)
    shared = f", one {result['share']} for all" if result["share"] else ""
    return Table("fit", f"R(d) = {laws.FORMS[result['form']].formula}{shared}", pd.DataFrame(rows))
