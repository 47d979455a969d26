"""python -m analysis stopping NAME|FILE: rules for when to stop optimising, scored by the gold that they lose."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.drawing import tables
from analysis.escaped import say
from analysis.findings import Table
from analysis.fit import fits, options, points
from analysis.numbers import label
from analysis.stopping_rules import arguments, rules, scoring, sources
from gold_sim import laws, named

REACH = 0.8  # of the runs' KL, to which controls are to go if they are to say how often a rule errs there


def is_experiment(name: str) -> bool:
    """Whether NAME|FILE names an experiment."""
    return re.fullmatch(r"[A-Za-z]\w*", name) is not None and not Path(name).exists()


def work(args) -> dict:
    """Score the rules, say the table, and return what --json holds.  ValueError; StoreError."""
    chosen = _checked(args)
    if is_experiment(args.name):
        with sources.opened(args) as [source]:
            found = sources.of_records(source.store, args)
    else:
        found = sources.of_file(Path(args.name), _options(args), args)
    rows, lacking = _scored(found, chosen, args.rate)
    unit = "s.d." if is_experiment(args.name) else args.y
    for line in tables.plain_text(table(rows, args.rate, unit)) if rows else []:
        say(line)
    for (name, what), keys in lacking.items():
        where = "" if len(keys) == len(found.groups) else f" for {'; '.join(map(_words, keys))}"
        say(f"{name}: not scored{where}: {_why(what, is_experiment(args.name))}")
    missing = [{"rule": name, "lacks": what, "groups": keys} for (name, what), keys in lacking.items()]
    warnings = found.warnings + _oddities(found, args)
    return {"rate": args.rate, "rules": rows, "not_scored": missing, "warnings": warnings}


def _words(key: dict) -> str:
    return " ".join(f"{column} {label(value)}" for column, value in key.items())


WHY = {
    "kl_budget": "no run of another draw from which a KL is learned",
    "threshold": "no two controls and no run of another draw from which a threshold is learned",
    "gold_sd": "no standard deviation of gold",
}


def _why(what: str, of_records: bool) -> str:
    """Why a rule is not scored, with the option that names its column in a file."""
    option = next((name for name, rule in sources.COLUMNS.items() if rule == what), what).replace("_", "-")
    of_file = option in arguments.COLUMNS and not of_records
    return WHY.get(what, f"no column {what}") + (f" (--{option} COLUMN names it)" if of_file else "")


def _checked(args) -> list[tuple]:
    """(name, function, k or None) of the rules that are asked for."""
    if not 0 < args.rate < 0.5:
        raise ValueError(f"--rate {args.rate:g}: allowed are rates above 0 and below 0.5")
    if bad := [k for k in args.labels if k < 1]:
        raise ValueError(f"--labels {bad[0]}: allowed from 1")
    out = []
    for name in args.rule or rules.RULES:
        function = named.find("--rule", name, rules.RULES, "curve")
        labels = args.labels if name == "gold_labels" else (None,)
        out += [(name if k is None else f"{name} {k}", function, k) for k in dict.fromkeys(labels)]
    return out


def _options(args) -> fits.Options:
    if args.x is None:
        raise ValueError(f"{args.name}: neither an experiment's name nor a file with --x, which is wanted")
    laws.form_named(args.form)
    seeds = tuple(args.seed_column.split(",")) if args.seed_column else ()
    of_token = args.length if args.kl_unit == "token" else None
    start = options.reference(args.reference)
    chosen = fits.Options(
        args.x, args.form, args.y, args.by, seeds, kl_unit=args.kl_unit, length=of_token, reference=start
    )
    if not chosen.is_distance:
        raise ValueError(f"--x {args.x}: allowed are {', '.join(points.DISTANCES)}, or one of them with =COLUMN")
    return chosen


def _scored(found: sources.Found, chosen, rate: float) -> tuple[list[dict], dict]:
    """Rows of the result, and (rule, what it lacks) -> keys of the groups."""
    rows, lacking = [], {}
    for group in found.groups:
        study = scoring.Study(group.runs, found.controls, group.form, rate)
        for name, function, labels in chosen:
            try:
                score = scoring.score(study, name, function, labels)
            except rules.Lacking as what:
                lacking.setdefault((name, str(what)), []).append(group.key)
                continue
            rows.append({"key": group.key, "rule": name} | scoring.row(study, score))
    return rows, lacking


def table(rows: list[dict], rate: float, unit: str) -> Table:
    """The scores for a terminal.  unit: of gold."""
    lines = []
    for row in rows:
        line = {column: label(value) for column, value in row["key"].items()} | {"rule": row["rule"]}
        for name, heading in (("regret", f"regret ({unit})"), ("lead", "lead (nats)")):
            line |= tables.spread({heading: row[name], f"{heading}_ci": row[f"{name}_ci"]}, heading)
        line |= {"KL kept": row["kl"], "stopped": row["stopped"]}
        rate_of = {"false alarms": np.nan if row["false_alarms"] is None else row["false_alarms"]}
        line |= tables.spread(rate_of | {"false alarms_ci": row["false_alarms_ci"] or (np.nan, np.nan)}, "false alarms")
        line |= {"lost on controls": row["lost_on_controls"], "threshold": row["threshold"]}
        lines.append(line | {"from": row["threshold_from"]})
    title = "Stopping rules: gold lost against a run's best checkpoint; lead > 0: stopped before gold's peak; false "
    title += f"alarms: controls that are stopped, thresholds set to {rate:g}"
    return Table("stopping", title, pd.DataFrame(lines))


def _oddities(found: sources.Found, args) -> list[str]:
    """What a reader is to know before the table is believed."""
    out = []
    if not found.controls:
        how = "name their rows with --control COLUMN=VALUE"
        if is_experiment(args.name):
            given = (("preset", args.preset), ("world", args.world), ("seeds", args.seeds))
            words = [f"--set {shlex.quote(text)}" for text in args.set]
            words += [f"--{option} {value}" for option, value in given if value is not None]
            how = " ".join([f"python -m experiments {sources.CONTROL}", *words]) + " makes them"
        out.append("no controls, which are runs that optimise gold itself: false alarms are not known, and thresholds "
                   f"are those with which runs of other draws lose least gold; {how}")  # fmt: skip
    elif len(found.controls) <= scoring.LEAST_CONTROLS:
        out.append(f"controls: {len(found.controls)}; a threshold of a stated rate of false alarms is learned from "
                   f"at least {scoring.LEAST_CONTROLS} of other draws, so some are those with which other runs lose "
                   "least")  # fmt: skip
    end = lambda runs: float(np.median([np.max(run.kl) for run in runs]))
    for group in found.groups:
        if found.controls and end(found.controls) < REACH * end(group.runs):
            out.append(f"{_words(group.key)}: controls end at {end(found.controls):.3g} nats, its runs at "
                       f"{end(group.runs):.3g}: false alarms beyond the former are not in their rate")  # fmt: skip
    if single := [_words(group.key) for group in found.groups if len({run.draw for run in group.runs}) < 2]:
        out.append(f"{'; '.join(single)}: one run, so no intervals, and nothing learned from other runs")
    return out
