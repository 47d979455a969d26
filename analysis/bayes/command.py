"""python -m analysis bayes NAME|FILE: hierarchical fits, their diagnostics, and how they agree with least squares."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.bayes import agreement, arguments, chains, design, posterior
from analysis.drawing import tables
from analysis.escaped import say
from analysis.findings import Table
from analysis.fit import checklist
from analysis.numbers import label, number, with_interval
from gold_sim import laws

PRIOR_INSIDE = 0.8  # share of points that the prior predictive interval is to hold; below, the priors are strong


@dataclass(frozen=True)
class Part:
    """The runs of one method."""

    method: str
    form: str
    runs: list[design.Run]
    keys: tuple
    sizes: dict  # name -> [G] numbers; empty where the groups are no sizes
    by: str
    d_min: float | None = None
    options: object = None  # `points.Options` of a file


def work(args) -> tuple[dict, Path | None, bool]:
    """Fit, say, and return (what --json holds, where, whether all chains are good).  ValueError; StoreError."""
    effort, compare = _checked(args)
    posterior.the_model()
    parts, warnings = of_records(args) if hasattr(args, "name") else of_file(args)
    fits = []
    for part in parts:
        where = f"{part.method}: " if len(parts) > 1 else ""
        one, said, drawn = fit_part(part, effort, compare)
        fits.append(one)
        warnings += [where + line for line in said]
        if args.figure:
            from analysis.drawing import posterior as drawing

            say(f"figure  {args.figure / drawing.draw(args.figure, drawn, part.method)}.png")
    return {"fits": fits, "warnings": warnings}, args.json, all(one["diagnostics"]["good"] for one in fits)


def _checked(args) -> tuple[posterior.Effort, tuple[str, ...]]:
    for option, least in (("chains", 2), ("warmup", 50), ("samples", 50)):
        if getattr(args, option) < least:
            raise ValueError(f"--{option} {getattr(args, option)}: allowed from {least}")
    compare = () if args.compare_forms is None else tuple(args.compare_forms or arguments.FORMS)
    for form in (*compare, *([args.form] if args.form else [])):
        if form not in design.FORMS:
            raise ValueError(f"form={form!r}: allowed here are {', '.join(design.FORMS)}, linear in alpha and beta")
    if len(compare) == 1:
        raise ValueError(f"--compare-forms {compare[0]}: two forms or more are wanted")
    return posterior.Effort(args.chains, args.warmup, args.samples, args.draws_seed), compare


# --- input --------------------------------------------------------------------------------------------

SIZES = ("rm_params", "num_pairs", "policy_params")  # columns of records that are sizes


def of_records(args) -> tuple[list[Part], list[str]]:
    """The methods of an experiment, each with its groups by all the sizes that differ."""
    from analysis import curves, records, sources

    with sources.opened(args.runs, makes=args.name) as [source]:
        read = records.load(source.store, args.name, args.preset)
    panel, parts = read.manifest.get("panels"), []
    by = [column for column in (read.axis, panel) if column]
    tables_of = [((), read.curves)] if panel is None else list(read.curves.groupby([panel], sort=True, observed=True))
    found = {}
    for value, rows in tables_of:
        for method, gs in curves.groups(rows, read.axis).items():
            found.setdefault(method, []).extend(((group.key, *value), group) for group in gs)
    if unknown := sorted(set(args.method or ()) - set(found)):
        raise ValueError(f"--method {unknown[0]}: {args.name} has {', '.join(found)}")
    for method in [method for method in found if method in (args.method or found)]:
        runs = []
        for g, (_, group) in enumerate(found[method]):
            units = group.seeds if group.units is None else group.units
            runs += [design.Run(g, str(u), d, y) for u, d, y in zip(units, *curves.gains(group), strict=True)]
        columns = zip(*[key for key, _ in found[method]], strict=True)
        sizes = {name: values for name, values in zip(by, columns, strict=True) if name in SIZES}
        form = args.form or found[method][0][1].form
        parts.append(Part(method, form, runs, _named([key for key, _ in found[method]]), sizes, "/".join(by)))
    return parts, list(read.warnings)


def _named(keys: list[tuple]) -> tuple:
    """What tables call the groups."""
    return tuple(key[0] if len(key) == 1 else " / ".join(map(label, key)) for key in keys)


def of_file(args) -> tuple[list[Part], list[str]]:
    """The points of a file as `fit` takes them, grouped by --by and --data."""
    from analysis.fit import fits, options

    chosen = options.chosen(args)
    if args.data:
        chosen = replace(chosen, seeds=(*chosen.seeds, args.data))
    points, warnings, chosen = fits.load_named(args.file, chosen)
    by = [column for column in (args.by, args.data) if column]
    seeds = [column for column in chosen.seeds if column != args.data]
    found = list(points.groupby(by, sort=True)) if by else [(("all",), points)]
    unit = next((c for c in seeds if points[c].nunique() > 1), None)
    runs = []
    for g, (_, rows) in enumerate(found):
        for _, run in rows.groupby(seeds, sort=True) if seeds else [(None, rows)]:
            label = f"group {g}" if unit is None else str(run[unit].iloc[0])
            run = run.sort_values("d", kind="stable")
            se = run["se"].to_numpy() if chosen.se else None
            runs.append(design.Run(g, label, run["d"].to_numpy(), run["gold"].to_numpy(), se))
    keys = [key for key, _ in found]
    columns = zip(*keys, strict=True) if by else []
    sizes = {name: values for name, values in zip(by, columns, strict=False) if _are_sizes(values)}
    warnings += fits.fit(points, replace(chosen, seeds=tuple(seeds)))["warnings"] if not args.data else []
    if len(runs) == len(found):
        warnings.append("one run a group: only the priors tell the spread of runs from that of groups")
    return [
        Part(args.form, args.form, runs, _named(keys), sizes, "/".join(by) or "group", chosen.d_min, chosen)
    ], warnings


def _are_sizes(values) -> bool:
    return all(isinstance(x, int | float | np.number) and x > 0 for x in values)


# --- one part -----------------------------------------------------------------------------------------


def fit_part(part: Part, effort: posterior.Effort, compare: tuple[str, ...]):
    """(entry of the result, warnings, the posterior) of one method; prints it."""
    began = time.perf_counter()
    made = design.made(part.form, part.runs, part.keys, part.sizes, part.d_min)
    found = posterior.fitted(made, effort)
    check, rows = posterior.prior_check(made), agreement.compared(found)
    entry = {
        "method": part.method,
        "form": part.form,
        "groups": [{part.by: key} | row for key, row in zip(made.keys, posterior.groups(found), strict=True)],
        "trends": posterior.trends(found),
        "scales": posterior.scales(found),
        "diagnostics": found.diagnostics | vars(effort),
        "prior_check": check,
        "agreement": rows,
    }
    warnings = [line for line in [chains.complaint(found.diagnostics)] if line]
    if check["inside"] < PRIOR_INSIDE:
        warnings.append(f"priors hold {check['inside']:.0%} of the points: they are strong here, as to gold's scale")
    if compare:
        entry["comparison"] = posterior.compared(compare, part.runs, part.keys, part.sizes, part.d_min, effort)
        warnings += entry["comparison"].pop("warnings")
    entry["seconds"] = round(time.perf_counter() - began, 1)
    entry["checklist"] = checklist.of_bayes(part.form, part.by, made, effort, bool(compare), part.options)
    _tell(entry, part, made)
    return entry, warnings, found


def _tell(entry: dict, part: Part, made: design.Design) -> None:
    title = f"R(d) = {laws.FORMS[part.form].formula}, {part.method}: hierarchical fit of {len(made.runs)} runs"
    rows = []
    for group in entry["groups"]:
        row = {part.by: label(group[part.by])}
        for name, value in group.items():
            if not name.endswith("_ci") and name != part.by:
                row[name] = value
                if f"{name}_ci" in group:
                    row[f"{name}_low"], row[f"{name}_high"] = group[f"{name}_ci"]
        rows.append(row)
    shown = [Table("bayes", title, pd.DataFrame(rows))]
    shown.append(agreement.table(entry["agreement"], "The same by least squares, with intervals between runs"))
    for table in shown:
        for line in (*tables.plain_text(table), ""):
            say(line)
    for size, of in entry["trends"].items():
        for name, line in of.items():
            say(f"{name} a tenfold {size}, of sizes in general: {with_interval(line['slope'], line['slope_ci'])}")
    for name, one in entry["scales"].items():
        say(f"{name.replace('_', ' ')}: {with_interval(float(one['mean']), one['ci'])}")
    d, check = entry["diagnostics"], entry["prior_check"]
    ess = f"effective sample size at least {d['min_ess']:.0f}"
    say(f"chains: {d['chains']} of {d['samples']} draws, {d['divergences']} divergent, R-hat at most "
        f"{d['max_rhat']:.3f}, {ess}; {entry['seconds']:.0f} s")  # fmt: skip
    times = f"{number(check['wider'])} times as wide as gold's range"
    say(f"priors: {check['inside']:.0%} of points within their 90 % interval, {times}")
    if "comparison" in entry:
        say(entry["comparison"]["text"])
    for line in checklist.lines(entry["checklist"]):
        say(line)
    say()
