"""The runs of a finished cell as sinks show them: settings, curve and summary, all read from its records."""

import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gold_sim.store.columns import RUN_COLUMNS, SETTING_COLUMNS
from gold_sim.store.files import sha256, to_json
from gold_sim.store.store import Store

if typing.TYPE_CHECKING:
    import pandas as pd

UNDATED = "1970-01-01T00:00:00+00:00"
KEPT = ("created", "commit", "device", "precision", "wall_seconds", "cpu_seconds")  # of record.json


@dataclass(frozen=True)
class Run:
    """One run of a cell: a seed, and a coefficient where the cell has several."""

    path: str  # names it among all runs: stage/name-fingerprint/[kl_coef_0.1/]seed_200
    digest: str  # of the cell's records
    created: str  # when they were made, ISO 8601
    settings: dict  # column of SETTING_COLUMNS -> value, of those that have one
    config: dict  # dotted field -> value
    curve: "pd.DataFrame"  # index control, rising; a column for everything that was measured
    summary: dict  # where the run ended, its highest gold, and what the cell took


def runs_of(store: Store, stage: str, fingerprint: str) -> Iterator[Run]:
    """The runs of a finished cell; none if it has no curves, or is not there.  StoreError: it cannot be trusted."""
    if (folder := store.find(stage, fingerprint)) is None:
        return
    record = store.record(folder)
    if "curves.parquet" not in record["files"]:
        return
    table = store.table("curves", [fingerprint])
    # Along a frontier the coefficient is measured: every seed passes through all of them.
    apart = [name for name in RUN_COLUMNS if name != "kl_coef" or stage != "frontier"]
    config, digest = flat(record.get("config", {})), sha256(to_json(record))
    for key, rows in table.groupby(apart, sort=True, dropna=False):
        of = dict(zip(apart, key, strict=True))
        several = [n for n in apart[1:] if table[n].nunique(dropna=False) > 1 and np.isfinite(of[n])]
        own = [*(f"{name}_{of[name]:g}" for name in several), f"seed_{of['seed']}"]
        rows = rows.sort_values("control")
        constant = [name for name in SETTING_COLUMNS if name != "kl_coef" or "kl_coef" in apart]
        first = rows[constant].iloc[0]
        settings = {name: plain(first[name]) for name in constant if not _is_nan(first[name])}
        curve = rows.set_index("control").drop(columns=constant).dropna(axis=1, how="all")
        path = "/".join([stage, folder.name, *own])
        yield Run(path, digest, record.get("created", UNDATED), settings, config, curve, summary(curve, record))


def summary(curve: "pd.DataFrame", record: dict) -> dict:
    """What a table of runs shows: the last point, the highest gold and its KL, and where the records come from.

    The highest gold of one run is that of its luckiest point. Analysis reads peaks off the mean of the seeds.
    """
    out = {f"last/{name}": float(curve[name].iloc[-1]) for name in ("kl", "gold", "proxy", "rubric") if name in curve}
    if "gold" in curve and curve["gold"].notna().any():
        at = int(np.nanargmax(curve["gold"]))
        out |= {"highest/gold": float(curve["gold"].iloc[at]), "highest/gold_at_kl": float(curve["kl"].iloc[at])}
    return out | {name: record[name] for name in KEPT if record.get(name) is not None}


def flat(tree: dict, prefix: str = "") -> dict:
    """Nested settings by dotted field; a list is its JSON."""
    out = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = json.dumps(value) if isinstance(value, list) or value is None else value
    return out


def plain(value):
    """A value of a table as Python has it."""
    return value.item() if hasattr(value, "item") else value


def _is_nan(value) -> bool:
    return isinstance(value, float) and np.isnan(value)
