"""Runs to score rules on, from the records of an experiment or from a file of anyone's."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import curves, others, records, sources
from analysis.fit import fits, odd
from analysis.fit import points as points_of_file
from analysis.fit.values import BadInput, close
from analysis.numbers import label
from analysis.stopping_rules.scoring import Run
from gold_sim.store import NotStored, Store

CONTROL = "negative_controls"  # the experiment in which policies optimise gold itself
START, FAR = 0.1, 0.5  # of the largest d of a run: from beyond FAR to within START in one row, another run begins
OF_GOLD = ("gold", "rubric", "implicit_accuracy")  # how the columns begin that no rule may see
COLUMNS = {  # option of a file's column -> the name by which rules know it
    "proxy": "proxy",
    "left_out": "proxy_left_out",
    "spread": "proxy_spread",
    "length": "attr_length",
    "repetition": "attr_repetition",
}


@dataclass(frozen=True)
class Group:
    """Runs that are compared with one another, and the law from which `advise` takes a KL."""

    key: dict  # column -> value, of the columns that tell groups apart
    form: str
    runs: list[Run]


@dataclass(frozen=True)
class Found:
    """Groups of runs, controls that optimise gold itself, and warnings."""

    groups: list[Group]
    controls: list[Run]
    warnings: list[str]


# --- records -------------------------------------------------------------------------------------


def of_records(store: Store, args) -> Found:
    """args: name, preset, set, world, seeds and method, as the command line has them.  StoreError; ValueError."""
    name = others.found(store, args.name, args.preset, args.set, args.world, args.seeds)
    read = records.load(store, name, args.preset, args.seeds)
    methods = curves.methods(read.curves[read.curves["reward"] != "gold"])
    if args.method not in methods:
        have = ", ".join(methods) or "none"
        raise BadInput(f"--method {args.method}: {args.name} has no such curves; allowed are {have}")
    groups = list(_groups(methods[args.method], read))
    worlds = {run.draw[:2] for group in groups for run in group.runs}
    rows = _controls(store, read, args)
    held = curves.methods(rows).get(args.method, rows[:0])
    controls = [_run(_rezeroed(run)) for _, run in held.groupby(["cell", *curves.WORLD, "seed"], sort=True)]
    return Found(groups, [run for run in controls if run.draw[:2] in worlds], read.warnings)


def _groups(rows: pd.DataFrame, read: records.Data) -> Iterator[Group]:
    """A group for each value of the compared column in each panel."""
    panels = read.manifest.get("panels")
    for panel, part in rows.groupby(panels, sort=True, observed=True) if panels else [(None, rows)]:
        for of_method in curves.groups(part, read.axis, labels=read.labels).values():
            for g in of_method:
                key = {read.axis: g.label} | ({panels: panel} if panels else {})
                yield Group(key, g.form, [_run(run) for run in g.runs])


def _controls(store: Store, read: records.Data, args) -> pd.DataFrame:
    """Rows of runs that optimise gold itself: the experiment's own, and those of the experiment of controls."""
    from analysis.studies.negative_controls import CONTROLS  # here, as it loads what draws figures

    parts = [read.curves]
    preset = read.manifest["preset"]
    name = others.found(store, CONTROL, preset, args.set, args.world, args.seeds)
    if name != read.manifest["experiment"]:
        with contextlib.suppress(NotStored, records.NoPoints):
            parts.append(records.load(store, name, preset).curves)
    _, of_gold = CONTROLS["proxy_is_gold"]
    parts = [part[of_gold(part)] for part in parts]
    return pd.concat([part for part in parts if len(part)] or parts[:1]).drop_duplicates([*curves.RUN, "control"])


def _rezeroed(run: pd.DataFrame) -> pd.DataFrame:
    """A run in order of control, its scores minus their value at the reference policy."""
    run = run.sort_values("control", ignore_index=True)
    return run.assign(**{name: run[name] - run[name].iloc[0] for name in curves.ZEROED})


def _run(rows: pd.DataFrame) -> Run:
    gold_sd = rows["gold_sd"].to_numpy()
    if not np.isfinite(gold_sd).all():  # of older records; responses of different prompts are independent
        gold_sd = (rows["gold_se"] * np.sqrt(rows["num_prompts"])).to_numpy()
    seen = {
        name: rows[name].to_numpy(float)
        for name in rows.select_dtypes("number").columns
        if not name.startswith(OF_GOLD)
    }
    if rows["ensemble_size"].iloc[0] < 2:
        del seen["proxy_spread"]  # of one reward model it is 0, and no news
    draw = tuple(int(rows[name].iloc[0]) for name in (*curves.WORLD, "seed"))
    known = gold_sd if np.isfinite(gold_sd).all() else None
    return Run(draw, rows["kl"].to_numpy(), rows["gold"].to_numpy(), seen, known)


# --- a file ----------------------------------------------------------------------------------------


def of_file(path: Path, options: fits.Options, args) -> Found:
    """args: gold_sd, step, control (COLUMN=VALUE) and the options of COLUMNS, as the command line has them."""
    wanted = {rule: getattr(args, option) for option, rule in COLUMNS.items() if getattr(args, option)}
    wanted |= {name: name for name in args.see}
    extra = [*wanted.values(), *(name for name in (args.step, args.gold_sd) if name)]
    column, _, value = (args.control or "").partition("=")
    if args.control and not (column and value):
        raise BadInput(f"--control {args.control}: COLUMN=VALUE is wanted, as in reward=gold")
    keys = options.seeds + ((column,) if column and column not in options.keys else ())
    read = points_of_file.read(path, replace(options, seeds=keys, extra=tuple(dict.fromkeys(extra))))
    in_order = read.points.sort_values(args.step, kind="stable") if args.step else read.points
    points, said = _whole_runs(path, in_order, list(dict.fromkeys((*options.keys, *keys))), read.labels)
    warnings = read.warnings + said
    is_control = points[column].astype(str) == value if column else pd.Series(False, points.index)
    if column and not is_control.any():
        have = list(map(str, points[column].unique()))
        meant = close(value, have)
        hint = f"; is {' or '.join(meant)} meant?" if meant else ""
        raise BadInput(f"{path}: no row has {column}={value}; it has {', '.join(have[:5])}{hint}")
    if is_control.all():
        raise BadInput(f"{path}: all rows are controls ({args.control}); some runs are wanted that are none")
    by = options.by or "group"
    parts = points[~is_control].groupby(options.by, sort=True) if options.by else [("all", points[~is_control])]
    groups = [
        Group({by: key}, options.form, _runs_of(rows, options.seeds, options, wanted, args)) for key, rows in parts
    ]
    apart = tuple(dict.fromkeys(options.keys))  # controls of one seed and of different groups are different runs
    controls = _runs_of(points[is_control], apart, options, wanted, args)
    warnings += [line for key, rows in parts for line in _oddities(f"{by}={label(key)}", rows, options)]
    return Found(groups, controls, warnings)


def _whole_runs(path, points: pd.DataFrame, apart: list[str], labels: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The points of runs of several checkpoints, and a warning that counts the others.

    points: in the order of time.  apart: columns that tell runs apart.  labels: others that seem to.
    BadInput where rows of several runs stand as one, since a rule would walk from one into the next.
    """
    wanted = "name the column that tells runs apart (--seed-column, or --by)"
    if labels:
        raise BadInput(f"{path}: several runs share their steps and differ in {', '.join(map(str, labels))}; {wanted}")
    for _, run in points.groupby(apart, sort=False) if apart else [((), points)]:
        d, far = run["d"].to_numpy(), run["d"].max()
        if len(falls := np.flatnonzero((d[1:] <= START * far) & (d[:-1] >= FAR * far) & (far > 0))):
            ends = f"from {d[falls[0]] ** 2:.3g} to {d[falls[0] + 1] ** 2:.3g} nats"
            fall = f"KL falls {ends} at data row {run.index[falls[0] + 1] + 1}, as where another run begins"
            raise BadInput(f"{path}: {fall}; {wanted}, or the order of rows (--step)")
    sizes = points.groupby(apart)["d"].transform("size") if apart else pd.Series(len(points), points.index)
    if (sizes < 2).all():
        raise BadInput(f"{path}: one row a run; a run is several checkpoints, which --seed-column and --by tell apart")
    few = int((sizes < 2).sum())
    return points[sizes > 1], [f"left out {few} runs of one row: a run is several checkpoints"] if few else []


def _oddities(where: str, rows: pd.DataFrame, options: fits.Options) -> list[str]:
    """What `fit` would say of a group's points, as far as it bears on rules; nothing is left out."""
    seeds = list(options.seeds)
    named = [(label, run) for label, run in rows.groupby(seeds, sort=True)] if seeds else [((), rows)]
    ds, golds = ([run[name].to_numpy() for _, run in named] for name in ("d", "gold"))
    if line := odd.at_reference(where, ds, "neither leads nor fixed_kl mean anything"):
        return [line]
    far = [odd.outlying(options.form, d, gold, options.least) for d, gold in zip(ds, golds, strict=True)]
    pick = lambda columns: [column[~one] for column, one in zip(columns, far, strict=True)]
    out = []
    if line := options.reference is None and odd.off_zero(where, options.form, pick(ds), pick(golds), options.least):
        out, far = [line], [one & False for one in far]  # off a law that starts elsewhere are many points
    if (early := odd.ended_early(ds)).any():
        which = ", ".join("/".join(map(str, named[i][0])) for i in np.flatnonzero(early))
        ends = "its end counts as a peak where fixed_kl learns from it, and its regret is that of a shorter run"
        out.append(f"{where}: {', '.join(seeds)} {which} ended early: {ends}")
    if rows_far := [row + 1 for (_, run), one in zip(named, far, strict=True) for row in run.index[one]]:
        what = "lies far off the other points: as a run's best checkpoint it makes regret too large"
        out.append(f"{where}: data row {', '.join(map(str, rows_far[:3]))} {what}")
    return out


def _runs_of(rows: pd.DataFrame, apart: tuple, options: fits.Options, wanted: dict, args) -> list[Run]:
    """apart: columns that tell the runs apart, the last of them those of the draw."""
    if not len(rows):
        return []
    out = []
    for key, run in rows.groupby(list(apart), sort=True) if apart else [((), rows)]:
        column = lambda name, run=run: run[name].to_numpy(float)
        gold_sd = column(args.gold_sd) if args.gold_sd else None
        seen = {rule: column(name) for rule, name in wanted.items()}
        draw = tuple(map(str, key[len(apart) - len(options.seeds) :]))
        out.append(Run(draw, column("d") ** 2, column("gold"), seen, gold_sd))
    return out


def opened(args):
    """A context with the store that `--runs` names."""
    return sources.opened(args.runs, makes=args.name)
