"""From a file of curves to points: a distance d and gold, run by run, with a line for everything that was decided."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import escaped
from analysis.fit import importers, odd, steps, trainers
from analysis.fit.values import BadInput, check_column, data_row, keys, measured, numbers
from gold_sim import laws

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
BELOW = 0.1  # nats a response; estimates of KL no further below 0 are read as 0, others refused


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
    reference: float | str | None = None  # gold at the reference policy: a number, or "first" row of each run
    extra: tuple[str, ...] = ()  # further columns of numbers that the points are to have

    @property
    def kind(self) -> str:
        return self.x.partition("=")[0]

    @property
    def column(self) -> str:
        return self.x.partition("=")[2] or self.kind

    @property
    def keys(self) -> list[str]:
        return [c for c in (self.by, *self.seeds) if c is not None]

    @property
    def asked(self) -> list[str]:
        """All columns that were named."""
        return [self.column, self.y, *self.keys, *(c for c in (self.se, self.length) if c)]

    @property
    def least(self) -> float:
        return laws.form_named(self.form).d_min if self.d_min is None else self.d_min


@dataclass(frozen=True)
class Read:
    """What a file of curves holds."""

    points: pd.DataFrame  # columns d, gold, se if given, those of the keys, extra and labels, and step if there is one
    warnings: list[str]
    labels: list[str]  # columns that plainly tell runs apart, although nobody named them
    in_time: bool  # whether there are steps, by which the points are ordered


def read(path: Path, options: Options) -> Read:
    """The points in a file, all of them.

    Points are in the order of steps, or of the file. The index is that of their rows in the file.
    BadInput for what cannot be read for certain: one line with what was given, what is allowed, and where.
    """
    if options.kind not in DISTANCES:
        raise BadInput(f"--x {options.x}: allowed are {', '.join(DISTANCES)}, or one of them with =COLUMN")
    log = importers.read(path, [*options.asked, *options.extra, "status", *steps.STEPS])
    warnings = list(log.warnings)
    if path.is_file() and path.stat().st_size >= importers.LARGE:
        warnings.append(f"{path.name} has {path.stat().st_size / 1e9:.1f} GB; only the columns asked for were kept")
    table, left_out = ended_well(log.table, path)
    warnings += left_out
    check_names(table, path, options)
    unit = None
    if options.kind != "n":
        unit, said = trainers.checked_unit(path, log.names, options.column, options.kind, options, log.of_trainer)
        warnings += said
    table = table.assign(**{name: keys(path, table, name) for name in options.keys})
    table, step, labels, said = rows_joined(table, path, options, unit)
    warnings += said
    if unit is not None:
        table = table.assign(**{options.column: trainers.in_nats(path, table, options.column, unit, options.length)})
    table, said = centred(table, options, [*options.keys, *labels])
    warnings += said
    points, said = distances_and_gold(table, path, options, step)
    warnings += said
    points = points.assign(**{name: table[name] for name in labels})
    return Read(points, warnings + odd.oddities(points, options), labels, step is not None)


def ended_well(table: pd.DataFrame, path) -> tuple[pd.DataFrame, list[str]]:
    """Rows whose status is ok, if there is such a column, and a warning that counts the others."""
    if "status" not in table.columns or not (bad := table["status"] != "ok").any():
        return table, []
    if bad.all():
        raise BadInput(
            f"{path}: status is {escaped.value(table['status'].iloc[0])} in all {len(table)} rows; some 'ok' are wanted"
        )
    return table[~bad], [f"left out {bad.sum()} of {len(table)} rows whose status is not ok"]


def check_names(table, path, options: Options) -> None:
    """BadInput unless the named columns are there, differ, and hide nothing of the result."""
    scores = [options.y] + ([options.se] if options.se else [])
    for name in dict.fromkeys((*options.asked, *options.extra)):
        check_column(path, table, name)
    if len({options.column, *scores}) < 1 + len(scores):
        given = ", ".join((options.column, *scores))
        raise BadInput(f"{path}: --x, --y and --se are to be of other columns, given {given}")
    if taken := [*((set(options.seeds) | {*options.extra}) & set(COLUMNS)), *({options.by} & set(RESULT))]:
        raise BadInput(f"{path}: {taken[0]!r} has a meaning in the result; another name is wanted for this column")


def rows_joined(table, path, options: Options, unit: str | None):
    """(table of numbers with a row a step and run; name of its steps; labels that were not named; warnings).

    Without steps a row is a point, and a gap in it is refused. With steps a row without distance or gold stays in.
    """
    columns = [c for c in (options.column, options.y, options.se, options.length if unit == "token" else None) if c]
    columns += options.extra
    step = steps.step_column(table, options.asked) if options.kind != "n" else None
    if measured(path, table, options.column).isna().all() and options.kind != "n":
        raise BadInput(
            f"{path}: {options.column} is nan or empty in all {len(table)} rows: a run that logs no KL (without a "
            "reference model, as at beta 0) has no distance to fit"
        )
    read = numbers if step is None else measured
    table = table.assign(**{name: read(path, table, name) for name in dict.fromkeys(columns)})
    if step is None:
        return table, None, [], []
    columns = [name for name in dict.fromkeys(columns) if name != step]
    table, warnings, labels = steps.one_row_a_step(table, step, options.keys, columns)
    if labels:
        named = ",".join(map(str, labels))
        warnings.append(f"several runs share their steps and differ in {named}: name it (--seed-column {named}), or "
                        "they count as one run")  # fmt: skip
    return table, step, labels, warnings


def centred(table: pd.DataFrame, options: Options, of_run: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The table with gold minus its value at the reference, where that was stated.

    "first" is gold in a run's first row that has gold, in the order of steps; a warning has its distance.
    """
    if options.reference is None:
        return table, []
    if options.reference != "first":
        return table.assign(**{options.y: table[options.y] - options.reference}), []
    with_gold = table[table[options.y].notna()]
    runs = with_gold.groupby(of_run, sort=False) if of_run else [(None, with_gold)]
    first = pd.concat([rows.iloc[:1] for _, rows in runs])
    start = table[options.y] - table[options.y]
    for name, row in zip(first.index, first.to_dict("records"), strict=True):
        same = np.logical_and.reduce([table[key] == row[key] for key in of_run]) if of_run else slice(None)
        start.loc[same] = table[options.y].loc[name]
    far = [row[options.column] for row in first.to_dict("records") if row[options.column] > odd.NEAR[options.kind]]
    warnings = [f"--reference first: the first row of {len(far)} runs is not at the reference ({options.column} up to "
                f"{max(far):.3g}); what gold had gained by then is lost"] if far else []  # fmt: skip
    return table.assign(**{options.y: table[options.y] - start}), warnings


def distances_and_gold(table, path, options: Options, step: str | None):
    """(points: columns d, gold, se, those of the keys and step; warnings), of the rows that have all of them."""
    column = options.column
    table, warnings = without_gaps(table, path, options)
    table, said = at_least_zero(table, path, options)
    warnings += said
    least, to_d = DISTANCES[options.kind]
    for name, floor in ((column, least), *((s, 0.0) for s in [options.se] if s)):
        if (table[name] < floor).any():
            given = f"{name}={table[name][table[name] < floor].iloc[0]:g}"
            row = data_row(table, table[name] < floor)
            raise BadInput(f"{path}: {given} in data row {row}; allowed from {floor:g}")
    out = table[list(dict.fromkeys(options.keys))].assign(d=to_d(table[column].to_numpy(float)))
    out["gold"] = table[options.y].to_numpy(float)
    for name in options.extra:
        out[name] = numbers(path, table, name)
    if options.kind == "n":
        check_n(path, column, table[column], table[options.keys])
    if options.se:
        out["se"] = table[options.se].to_numpy(float)
        if (none := (out["se"] == 0) & (out["d"] > laws.AT_REFERENCE)).any():
            row = data_row(out, none)
            raise BadInput(f"{path}: {options.se}=0 in data row {row}; a standard error above 0 is wanted")
    if step is not None and "step" not in (*options.keys, *options.extra):
        out["step"] = table[step].to_numpy(float)
    return out, warnings


def check_n(path, column: str, n: pd.Series, keys: pd.DataFrame) -> None:
    """BadInput where n counts 1, 2, 3, .. again and again within a run, as the number of a sample does."""
    times = n.value_counts()
    counts = len(times) > 2 and sorted(times.index) == list(range(1, len(times) + 1))
    if counts and keys.assign(n=n).duplicated().any():
        given = f"{column} counts 1 to {len(times)} in up to {times.max()} rows each, as the number of a sample does"
        raise BadInput(f"{path}: {given}; one row an n and run is wanted: python -m analysis scores makes it of scored "
                       "samples, and --seed-column tells runs apart")  # fmt: skip


def without_gaps(table, path, options: Options) -> tuple[pd.DataFrame, list[str]]:
    """The rows that have both a distance and gold, and warnings that count the others.  BadInput if none has both."""
    x, y = table[options.column].notna(), table[options.y].notna()
    if not (gap := ~(x & y)).any():
        gap = table[options.se].isna() if options.se else gap
        return table[~gap], [f"{gap.sum()} of {len(table)} steps have no {options.se}: left out"] if gap.any() else []
    if gap.all():
        if not y.any():
            raise BadInput(f"{path}: {options.y} is nan or empty in all {len(table)} steps; some gold is wanted")
        at = f"{options.column} (at {x.sum()} steps) and {options.y} (at {y.sum()})"
        raise BadInput(f"{path}: no step has both {at}; rows are joined by step")
    warnings = []
    for bad, what in (
        (x & ~y, f"{options.column} but no {options.y}"),
        (y & ~x, f"{options.y} but no {options.column}"),
        (~x & ~y, f"neither {options.column} nor {options.y}"),
    ):
        if bad.any():
            rows = f"{bad.sum()} of {len(table)} steps have {what} (the first in data row {data_row(table, bad)})"
            warnings.append(f"{rows}: left out, {(x & y).sum()} steps are fitted")
    kept = table[~gap]
    return (kept[kept[options.se].notna()] if options.se else kept), warnings


def at_least_zero(table, path, options: Options) -> tuple[pd.DataFrame, list[str]]:
    """KL with values a little below 0 set to 0, and a warning that counts them.  BadInput beyond BELOW."""
    column = options.column
    if options.kind != "kl" or not (low := table[column] < 0).any():
        return table, []
    if (bad := table[column] < -BELOW).any():
        given = f"{column}={table[column][bad].iloc[0]:g}"
        where = f"in data row {data_row(table, bad)}"
        raise BadInput(f"{path}: {given} nats a response {where}; allowed from 0, and estimates from -{BELOW:g}")
    least, row = table[column].min(), data_row(table, low)
    said = f"{column} is below 0 in {low.sum()} of {len(table)} rows (down to {least:.3g}, the first in data row {row})"
    return table.assign(**{column: table[column].clip(lower=0.0)}), [f"{said}: read as 0"]
