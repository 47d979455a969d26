"""Fit the laws to anyone's logs: a long table with a distance, a gold score and a grouping column."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.findings import Table, plain
from gold_sim import laws

DISTANCES = {  # name -> (least value allowed, value -> d in nats^0.5)
    "kl": (0.0, np.sqrt),
    "sqrt_kl": (0.0, lambda d: d),
    "n": (1.0, lambda n: np.sqrt(np.maximum(np.log(n) - (n - 1) / n, 0.0))),  # best-of-n (Stiennon et al. 2020, G.3)
}
READERS = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".ndjson": lambda path: pd.read_json(path, lines=True),
}


class BadInput(ValueError):
    """One line for the user: the value, what is allowed, where."""


def read(path: Path) -> pd.DataFrame:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path}: file type {path.suffix!r}; allowed are {', '.join(READERS)}")
    try:
        table = reader(path)
    except Exception as error:  # whatever the readers raise on what is no table
        raise BadInput(f"{path}: cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from error
    if table.empty:
        raise BadInput(f"{path}: no rows; a table with one row a point is wanted")
    return table


def ended_well(table: pd.DataFrame, path) -> tuple[pd.DataFrame, list[str]]:
    """Rows whose status is ok, if there is such a column, and a warning that counts the others."""
    if "status" not in table.columns or not (bad := table["status"] != "ok").any():
        return table, []
    if bad.all():
        raise BadInput(f"{path}: status is {table['status'].iloc[0]!r} in all {len(table)} rows; some 'ok' are wanted")
    return table[~bad], [f"left out {bad.sum()} of {len(table)} rows whose status is not ok"]


def distances_and_gold(table: pd.DataFrame, path, x: str, y: str, by: list[str]) -> pd.DataFrame:
    """Columns d and gold, and those of `by`, checked; x: "kl", "sqrt_kl" or "n", or one of these "=COLUMN"."""
    kind, _, column = x.partition("=")
    if kind not in DISTANCES:
        raise BadInput(f"--x {x}: allowed are {', '.join(DISTANCES)}, or one of them with =COLUMN")
    column = column or kind
    for name in (column, y, *by):
        if name not in table.columns:
            raise BadInput(f"{path}: no column {name!r}; it has {', '.join(map(str, table.columns))}")
    for name in by:  # grouping would drop these rows without a word
        if (empty := table[name].isna()).any():
            row = int(np.flatnonzero(empty)[0])
            raise BadInput(f"{path}: {name} is empty in data row {row + 1}; a value in every row is wanted")
    for name in (column, y):
        values = pd.to_numeric(table[name], errors="coerce")
        if (bad := ~np.isfinite(values)).any():
            row = int(np.flatnonzero(bad)[0])
            raise BadInput(f"{path}: {name}={table[name].iloc[row]!r} in data row {row + 1}; a finite number is wanted")
        table = table.assign(**{name: values})
    least, to_d = DISTANCES[kind]
    if (table[column] < least).any():
        row = int(np.flatnonzero(table[column] < least)[0])
        raise BadInput(f"{path}: {column}={table[column].iloc[row]:g} in data row {row + 1}; allowed from {least:g}")
    return table[list(dict.fromkeys(by))].assign(d=to_d(table[column].to_numpy(float)), gold=table[y].to_numpy(float))


def fit(
    points: pd.DataFrame, form: str, by: str | None, seed_column: str | None, share: str | None, d_min=None
) -> dict:
    """The contract of `python -m analysis fit --json`: {form, share, n_points, groups, warnings}.

    points: as `distances_and_gold` gives them.  Intervals are over the values of seed_column, null without one.
    """
    warnings, groups, seeds = [], {}, {}
    for key, rows in points.groupby(by, sort=True) if by else [("all", points)]:
        by_seed = dict(list(rows.groupby(seed_column, sort=True))) if seed_column else {None: rows}
        seeds[key], runs = list(by_seed), list(by_seed.values())
        groups[key] = ([run["d"].to_numpy() for run in runs], [run["gold"].to_numpy() for run in runs])
        starts = rows.loc[rows["d"] < laws.AT_REFERENCE, "gold"]
        if (starts.abs() > 1e-9).any():
            value = starts[starts.abs().idxmax()]
            warnings.append(f"{by or 'all'}={key}: gold is {value:.3g} at KL 0 but the laws start at 0; subtract it")
    if share is not None:
        groups = _on_common_seeds(groups, seeds, seed_column, warnings)
        fits = laws.fit_shared(form, list(groups.values()), d_min)
    else:
        fits = [laws.fit(form, *runs, d_min=d_min) for runs in groups.values()]
    least = laws.FORMS[form].d_min if d_min is None else d_min
    rows = []
    for key, found in zip(groups, fits, strict=True):
        row = {by or "group": key, "alpha": found.alpha, "alpha_ci": found.alpha_ci}
        row |= {"beta": found.beta, "beta_ci": found.beta_ci, "r2": found.r2}
        row |= {"d_peak": found.d_peak, "d_peak_ci": found.d_peak_ci}
        row |= {"gold_peak": found.gold_peak, "gold_peak_ci": found.gold_peak_ci}
        row |= {"converged": found.converged, "n_points": int(sum(np.sum(d >= least) for d in groups[key][0]))}
        rows.append(row)
        if not found.converged:
            warnings.append(
                f"{by or 'all'}={key}: not fitted, two distinct d >= {least:g} that all seeds reach are wanted"
            )
        elif not np.isfinite(found.d_peak):
            why = "alpha <= 0, it never gains" if np.isnan(found.d_peak) else "beta <= 0, it never turns"
            warnings.append(f"{by or 'all'}={key}: the law has no peak ({why})")
        elif found.d_peak > found.d_max:
            warnings.append(f"{by or 'all'}={key}: the law's peak at d = {found.d_peak:.3g} is beyond the data, "
                            f"which end at {found.d_max:.3g}")  # fmt: skip
    if seed_column is None:
        warnings.append("no --seed-column: one run a group, so no intervals (points of one run are not independent)")
    total = sum(row["n_points"] for row in rows)
    return {"form": form, "share": share, "n_points": total, "groups": rows, "warnings": warnings}


def _on_common_seeds(groups, seeds, seed_column, warnings):
    """The runs of the seeds that every group has: a shared alpha is fitted seed by seed, so seed must meet seed."""
    common = set.intersection(*map(set, seeds.values()))
    if not common:
        raise BadInput(f"--share alpha: no {seed_column} occurs in every group; at least one common value is wanted")
    if left := sorted(set().union(*seeds.values()) - common):
        warnings.append(f"left out {seed_column} {', '.join(map(str, left))}: not in every group, and alpha is shared")
    keep = {key: [i for i, seed in enumerate(own) if seed in common] for key, own in seeds.items()}
    return {key: ([ds[i] for i in keep[key]], [golds[i] for i in keep[key]]) for key, (ds, golds) in groups.items()}


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
    shared = ", one alpha for all" if result["share"] else ""
    return Table("fit", f"R(d) = {laws.FORMS[result['form']].formula}{shared}", pd.DataFrame(rows))


def to_json(result: dict) -> dict:
    return plain(result)
