"""From a file of curves to points: a distance d and gold, run by run, with a line for everything that was decided."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import escaped
from analysis.fit import importers, odd, steps, trainers
from analysis.fit.values import BadInput, check_column, data_row, keys, measured, numbers
from gold_sim import laws
from gold_sim.laws import saturation

DISTANCES = {  # name -> (least value allowed, value -> d in nats^0.5)
    "kl": (0.0, np.sqrt),
    "sqrt_kl": (0.0, lambda d: d),
    "n": (1.0, lambda n: np.sqrt(np.maximum(np.log(n) - (n - 1) / n, 0.0))),  # best-of-n (Stiennon et al. 2020, G.3)
}
COUNTS = {  # name -> columns that have this where none has the name itself, as trainers write them
    "steps": steps.STEPS,
    "tokens": ("num_tokens", "num_input_tokens_seen", "total_tokens"),
    "flops": ("total_flos", "total_flops"),
    "samples": ("num_samples", "episode", "episodes", "consumed_samples"),
}
UNITS = {"kl": "nats a response", "sqrt_kl": "nats^0.5", "n": "samples a prompt"}
COEFFICIENTS = ("alpha", "beta")
COLUMNS = ("d", "gold", "se")  # of points, which are not to be hidden by a column of runs
SHAPES = tuple(law.shape for law in laws.FORMS.values() if law.shape)
# Of points and of a group's entry, which are not to be hidden by a column of groups.
RESULT = (*COLUMNS, *COEFFICIENTS, *SHAPES, "r2", "d_peak", "gold_peak", "converged", "runs", "n_points")
# The same where scores have a bound.
BOUNDED_COLUMNS = ("trials", "start")
BOUNDED_RESULT = (
    *(*RESULT, *BOUNDED_COLUMNS, *saturation.NAMES, "p0", "share_peak", "reached", "short", "at_bounds"),
    *("dispersion", "dispersion_p"),
)
START = "score at the reference policy"  # a column that is added, so named that no table has it
BELOW = 0.1  # nats a response; estimates of KL no further below 0 are read as 0, others refused


@dataclass(frozen=True)
class Options:
    """What `python -m analysis fit` was asked for."""

    x: str  # kl, sqrt_kl, n, steps, tokens, flops or samples, or one of these =COLUMN
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
    trials: str | float | None = None  # behind each y, a share of successes: a column, or one number for all
    x_min: float | None = None  # for laws that saturate: points below are left out
    extra: tuple[str, ...] = ()  # further columns of numbers that the points are to have

    @property
    def kind(self) -> str:
        return self.x.partition("=")[0]

    @property
    def column(self) -> str:
        return self.x.partition("=")[2] or self.kind

    @property
    def is_distance(self) -> bool:
        return self.kind in DISTANCES

    @property
    def saturates(self) -> bool:
        return self.form in saturation.FORMULAS

    @property
    def has_own_start(self) -> bool:
        """Whether the law holds the score at the reference itself, so that it is not subtracted."""
        return self.saturates or self.trials is not None

    @property
    def unit(self) -> str:
        return UNITS.get(self.kind, f"{self.kind}, as the column counts them")

    @property
    def described_x(self) -> dict:
        """What x is, in the result."""
        return {"of": self.kind, "column": self.column, "unit": self.unit}

    @property
    def keys(self) -> list[str]:
        return [c for c in (self.by, *self.seeds) if c is not None]

    @property
    def asked(self) -> list[str]:
        """All columns that were named."""
        trials = self.trials if isinstance(self.trials, str) else None
        return [self.column, self.y, *self.keys, *(c for c in (self.se, self.length, trials) if c)]

    @property
    def least(self) -> float:
        """Least x that is used, as the law takes it."""
        if self.saturates:
            return 0.0 if self.x_min is None else self.x_min
        return laws.form_named(self.form).d_min if self.d_min is None else self.d_min


@dataclass(frozen=True)
class Read:
    """What a file of curves holds."""

    points: pd.DataFrame  # columns d, gold, se if given, those of the keys, extra and labels, and step if there is one
    warnings: list[str]
    labels: list[str]  # columns that plainly tell runs apart, although nobody named them
    in_time: bool  # whether there are steps, by which the points are ordered
    options: Options  # as asked, with the column of x that was found


def read(path: Path, options: Options) -> Read:
    """The points in a file, all of them.

    Points are in the order of steps, or of the file. The index is that of their rows in the file.
    BadInput for what cannot be read for certain: one line with what was given, what is allowed, and where.
    """
    check_x(options)
    log = importers.read(path, [*options.asked, *options.extra, "status", *COUNTS.get(options.kind, ()), *steps.STEPS])
    warnings = list(log.warnings)
    if path.is_file() and path.stat().st_size >= importers.LARGE:
        warnings.append(f"{path.name} has {path.stat().st_size / 1e9:.1f} GB; only the columns asked for were kept")
    table, left_out = ended_well(log.table, path)
    warnings += left_out
    options = with_column(table, options)
    check_names(table, path, options)
    unit = None
    if options.kind in ("kl", "sqrt_kl"):
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
    return Read(points, warnings + odd.oddities(points, options), labels, step is not None, options)


def check_x(options: Options) -> None:
    """BadInput for an x that is none of ours, a law of distance over what is no distance, or options of KL there."""
    if options.kind not in (*DISTANCES, *COUNTS):
        raise BadInput(f"--x {options.x}: allowed are {', '.join((*DISTANCES, *COUNTS))}, or one of them with =COLUMN")
    if options.is_distance:
        return
    if not options.saturates:
        raise BadInput(
            f"--form {options.form} is a law of distance from the reference policy, and --x {options.kind} is none; "
            f"allowed are {', '.join(saturation.FORMULAS)}, or --x {', '.join(DISTANCES)}"
        )
    for name, given in (("--kl-unit", options.kl_unit), ("--length", options.length)):
        if given is not None:
            raise BadInput(f"{name} {given} goes with --x kl, given --x {options.kind}; leave it out")


def with_column(table: pd.DataFrame, options: Options) -> Options:
    """The options with the first column that counts x, where none was named and none has the name of x itself."""
    if options.column != options.kind or options.kind in table.columns:
        return options
    by_lower = {str(name).strip().lower(): str(name) for name in table.columns}
    known = (options.kind, *COUNTS.get(options.kind, ()))
    found = [by_lower[name] for name in known if name in by_lower and options.kind in COUNTS]
    return replace(options, x=f"{options.kind}={found[0]}") if found else options


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
    scores = [options.y, *(c for c in (options.se, options.trials) if isinstance(c, str))]
    for name in dict.fromkeys((*options.asked, *options.extra)):
        check_column(path, table, name)
    if len({options.column, *scores}) < 1 + len(scores):
        given = ", ".join((options.column, *scores))
        raise BadInput(f"{path}: --x, --y, --se and --trials are to be of other columns, given {given}")
    of_points = {*COLUMNS, *(BOUNDED_COLUMNS if options.has_own_start else ())}
    of_result = set(BOUNDED_RESULT if options.has_own_start else RESULT)
    if taken := [*((set(options.seeds) | {*options.extra}) & of_points), *({options.by} & of_result)]:
        raise BadInput(f"{path}: {taken[0]!r} has a meaning in the result; another name is wanted for this column")


def rows_joined(table, path, options: Options, unit: str | None):
    """(table of numbers with a row a step and run; name of its steps; labels that were not named; warnings).

    Without steps a row is a point, and a gap in it is refused. With steps a row without distance or gold stays in.
    """
    trials = options.trials if isinstance(options.trials, str) else None
    length = options.length if unit == "token" else None
    columns = [c for c in (options.column, options.y, options.se, trials, length) if c]
    columns += options.extra
    step = options.column if options.kind == "steps" else None
    if options.kind not in ("n", "steps"):
        step = steps.step_column(table, options.asked)
    if measured(path, table, options.column).isna().all() and options.kind != "n":
        none = f"{path}: {options.column} is nan or empty in all {len(table)} rows"
        if not options.is_distance:
            raise BadInput(f"{none}; some {options.kind} are wanted")
        raise BadInput(
            f"{none}: a run that logs no KL (without a reference model, as at beta 0) has no distance to fit"
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
    """The table with gold minus its value at the reference, where that was stated, or that value as a column START.

    The latter is for laws that hold it themselves. "first" is gold in a run's first row that has gold, in the order of
    steps; a warning has its distance.
    """
    if options.reference is None:
        return table, []
    if options.reference != "first":
        return _from(table, options, options.reference), []
    with_gold = table[table[options.y].notna()]
    runs = with_gold.groupby(of_run, sort=False) if of_run else [(None, with_gold)]
    first = pd.concat([rows.iloc[:1] for _, rows in runs])
    start = table[options.y] - table[options.y]
    for name, row in zip(first.index, first.to_dict("records"), strict=True):
        same = np.logical_and.reduce([table[key] == row[key] for key in of_run]) if of_run else slice(None)
        start.loc[same] = table[options.y].loc[name]
    near = odd.NEAR.get(options.kind, 0.0)
    far = [row[options.column] for row in first.to_dict("records") if row[options.column] > near]
    warnings = [f"--reference first: the first row of {len(far)} runs is not at the reference ({options.column} up to "
                f"{max(far):.3g}); what gold had gained by then is lost"] if far else []  # fmt: skip
    return _from(table, options, start), warnings


def _from(table: pd.DataFrame, options: Options, start) -> pd.DataFrame:
    if options.has_own_start:
        return table.assign(**{START: start})
    return table.assign(**{options.y: table[options.y] - start})


def distances_and_gold(table, path, options: Options, step: str | None):
    """(points: columns d, gold, se, those of the keys and step; warnings), of the rows that have all of them."""
    column = options.column
    table, warnings = without_gaps(table, path, options)
    table, said = at_least_zero(table, path, options)
    warnings += said
    least, to_d = DISTANCES.get(options.kind, (0.0, None))
    to_d = (lambda x: x) if options.saturates else to_d
    for name, floor in ((column, least), *((s, 0.0) for s in [options.se] if s)):
        if (table[name] < floor).any():
            given = f"{name}={table[name][table[name] < floor].iloc[0]:g}"
            row = data_row(table, table[name] < floor)
            raise BadInput(f"{path}: {given} in data row {row}; allowed from {floor:g}")
    out = table[list(dict.fromkeys(options.keys))].assign(d=to_d(table[column].to_numpy(float)))
    out["gold"] = table[options.y].to_numpy(float)
    if START in table:
        out["start"] = table[START].to_numpy(float)
    if options.trials is not None:
        out["trials"] = checked_trials(path, table, options)
    for name in options.extra:
        out[name] = numbers(path, table, name)
    if options.kind == "n":
        check_n(path, column, table[column], table[options.keys])
    if options.se:
        out["se"] = table[options.se].to_numpy(float)
        if (none := (out["se"] == 0) & (options.saturates | (out["d"] > laws.AT_REFERENCE))).any():
            row = data_row(out, none)
            raise BadInput(f"{path}: {options.se}=0 in data row {row}; a standard error above 0 is wanted")
    if step is not None and "step" not in (*options.keys, *options.extra):
        out["step"] = table[step].to_numpy(float)
    return out, warnings


def checked_trials(path, table: pd.DataFrame, options: Options):
    """Trials behind each share.  BadInput for shares outside 0 to 1, and for fewer trials than 1."""
    y = table[options.y]
    if (bad := (y < 0) | (y > 1)).any():
        given = f"{options.y}={y[bad].iloc[0]:g} in data row {data_row(table, bad)}"
        hint = " (percentages divided by 100)" if y.max() > 1 and y.min() >= 0 and y.max() <= 100 else ""
        raise BadInput(f"{path}: {given}; with --trials shares from 0 to 1 are wanted{hint}")
    if not isinstance(options.trials, str):
        return np.full(len(table), options.trials)
    trials = table[options.trials]
    if (bad := ~(trials >= 1)).any():
        given = f"{options.trials}={trials[bad].iloc[0]:g} in data row {data_row(table, bad)}"
        raise BadInput(f"{path}: {given}; at least 1 trial is wanted")
    return trials.to_numpy(float)


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
    beside = options.trials if isinstance(options.trials, str) else options.se
    if not (gap := ~(x & y)).any():
        gap = table[beside].isna() if beside else gap
        return table[~gap], [f"{gap.sum()} of {len(table)} steps have no {beside}: left out"] if gap.any() else []
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
    return (kept[kept[beside].notna()] if beside else kept), warnings


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
