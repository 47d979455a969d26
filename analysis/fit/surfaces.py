"""Surfaces over named columns: a score itself, or a law's coefficients, as a sum of logarithms and power laws."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.findings import Table
from analysis.fit import fits, importers, options
from analysis.fit.points import Options, ended_well
from analysis.fit.values import BadInput, check_column, data_row, keys, numbers
from gold_sim import laws
from gold_sim.laws import response, saturation, surface
from gold_sim.laws.intervals import top_level


def terms_of(given: str) -> tuple[tuple[str, str], ...]:
    """(column, kind) pairs of "size:log,data:power".  ValueError for anything else."""
    terms = tuple((name.strip(), kind.strip()) for name, _, kind in (part.rpartition(":") for part in given.split(",")))
    if not all(name for name, _ in terms):
        wanted = " or ".join(f"COLUMN:{kind}" for kind in response.KINDS)
        raise ValueError(f"--surface {given}: {wanted} is wanted, with a comma between two")
    response.check(terms)
    return terms


def command(args) -> dict:
    """The result of parsed arguments of `fit` with --surface.  ValueError for options that do not go with it."""
    terms = terms_of(args.surface)
    unused = ("by", "share", "se", "trials", "x_min", "compare", "halves")
    if given := [name for name in unused if getattr(args, name) not in (None, False)]:
        raise ValueError(f"--{given[0].replace('_', '-')} does not go with --surface; leave it out")
    if (args.x is None) != (args.form is None):
        raise ValueError("--surface: --x and --form go together, for a law's coefficients; neither is for y itself")
    seeds = tuple(args.seed_column.split(",")) if args.seed_column else ()
    if args.x is None:
        return of_score(args.file, args.y, terms, seeds)
    if args.form in saturation.FORMULAS:
        raise ValueError(f"--surface with --form {args.form}: coefficients of laws of distance alone are surfaces")
    return of_law(args.file, options.chosen(args), terms)


def of_score(path: Path, y: str, terms, seeds: tuple[str, ...]) -> dict:
    """A surface of a score: one row a cell.  Intervals are between seeds, or between rows where no seeds are named."""
    names = [name for name, _ in terms]
    log = importers.read(path, [y, *names, *seeds, "status"])
    table, left_out = ended_well(log.table, path)
    for name in (y, *names, *seeds):
        check_column(path, table, name)
    x = np.stack([_above_zero(path, table, name) for name in names], -1)
    units = top_level(*(keys(path, table, name) for name in seeds)) if seeds else None
    if seeds and units is None:
        units = np.zeros(len(table), int)
    found = response.response(x, numbers(path, table, y).to_numpy(), terms, units)
    fitted, warnings = found.fitted, [*log.warnings, *left_out]
    if not seeds:
        warnings.append("no --seed-column: every row counts as an independent run; name what tells runs apart, if any")
    rows = [
        {"of": y, "term": term, "value": value, "value_ci": tuple(pair)}
        for term, value, pair in zip(_texts(terms), fitted.linear, fitted.linear_ci, strict=True)
    ]
    return _result(None, None, y, terms, rows, fitted, len(table), warnings)


def of_law(path: Path, chosen: Options, terms) -> dict:
    """alpha and beta of a law of distance as surfaces: one row a point of a run.  Intervals are between seeds."""
    names, seeds = [name for name, _ in terms], chosen.seeds
    points, warnings, chosen = fits.load_named(path, replace(chosen, seeds=(*names, *seeds)))
    for name in names:
        _above_zero(path, points, name)
    runs, labels = [], []
    for key, rows in points.groupby([*names, *seeds], sort=True):
        at = tuple(float(value) for value in np.log10(np.array(key[: len(names)], float)))
        runs.append(surface.Run(rows["d"].to_numpy(), rows["gold"].to_numpy(), at, "all"))
        labels.append(key[len(names) :])
    units = top_level(*zip(*labels, strict=True)) if seeds else None
    if units is not None:
        runs = [replace(run, unit=unit) for run, unit in zip(runs, units, strict=True)]
    found = surface.surface(chosen.form, runs, tuple(names), chosen.d_min, kinds=tuple(kind for _, kind in terms))
    rows = [
        {"of": name, "term": term, "value": value, "value_ci": tuple(pair)}
        for name in ("alpha", "beta")
        for term, value, pair in zip(_texts(terms), getattr(found, name), getattr(found, f"{name}_ci"), strict=True)
    ]
    if units is None:
        warnings.append("no --seed-column with two values: no intervals (points of one run are not independent)")
    used = int(sum((run.d >= chosen.least).sum() for run in runs))
    return _result(chosen.form, chosen.described_x, chosen.y, terms, rows, found, used, warnings)


def _above_zero(path, table: pd.DataFrame, name: str):
    values = numbers(path, table, name)
    if (bad := values <= 0).any():
        given = f"{name}={values[bad].iloc[0]:g} in data row {data_row(table, bad)}"
        raise BadInput(f"{path}: {given}; a term of --surface is of numbers above 0")
    return values.to_numpy()


def _texts(terms) -> list[str]:
    return ["1", *(f"log10 {name}" if kind == "log" else f"{name}^-p" for name, kind in terms)]


def _result(form, x, y, terms, rows, found, points, warnings) -> dict:
    of_power = [name for name, kind in terms if kind == "power"]
    for name, p, ci, edge in zip(of_power, found.exponents, found.exponents_ci, found.at_bounds, strict=True):
        rows.append({"of": f"p of {name}", "term": "", "value": p, "value_ci": tuple(ci)})
        if edge:
            ends = " to ".join(f"{end:g}" for end in response.EXPONENTS)
            said = f"{name}: p = {p:.3g} lies on a bound of what is sought, {ends}"
            warnings.append(said + ("; --surface with log in its place may do" if p < 1 else ""))
    return {
        "form": form,
        "x": x,
        "y": y,
        "surface": ",".join(f"{name}:{kind}" for name, kind in terms),
        "groups": rows,
        "r2": found.r2,
        "n_points": points,
        "warnings": warnings,
    }


def table(result: dict) -> Table:
    """The coefficients for a terminal."""
    rows = [
        {"coefficient of": row["of"], "term": row["term"], "value": row["value"]}
        | dict(zip(("value_low", "value_high"), row["value_ci"], strict=True))
        for row in result["groups"]
    ]
    what = result["y"] if result["form"] is None else f"R(d) = {laws.FORMS[result['form']].formula}"
    return Table("surface", f"{what} over {result['surface']} (R² {result['r2']:.3f})", pd.DataFrame(rows))
