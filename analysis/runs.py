"""The runs of one variant, by seed or as arrays over seeds."""

import functools

import numpy as np
import pandas as pd

from analysis import curves
from gold_sim import laws

SCORES = (*curves.ZEROED, "proxy_left_out", "proxy_training", "gold_training")


class Missing(ValueError):
    """Runs that are asked for by key are not in the records."""


def by_seed(read, variant, method: str, names=("gold",), **where) -> dict[tuple, pd.DataFrame]:
    """(world, gold, seed) -> a variant's run in order of control; scores are minus their start at the reference.

    variant: its key, or the value of another compared column.  method: one of curves.METHODS' values.
    names: columns beside control, kl and d.  where: column = value, to choose a panel.
    Missing if there are no such runs; ValueError if there are several a seed.
    """
    own = curves.of_a_run(method)
    wanted = np.isin(read.curves["stage"].to_numpy(), [s for s, of in curves.METHODS.items() if of == method])
    if method == "frontier":
        wanted &= read.curves["kl_drift"].notna().to_numpy()
    for column, value in {read.axis: variant, **where}.items():
        found = read.curves[column].to_numpy()
        wanted &= np.isclose(found, value) if isinstance(value, float) else found == value
    columns = dict.fromkeys((*curves.WORLD, *own, "optimiser", "control", "kl", "d", *names))
    table = read.curves.loc[wanted, [*columns]]
    if table.empty:
        raise Missing(f"no {curves.METHOD_NAMES[method]} runs of {_named(variant, where)}")
    if len(table[[*curves.WORLD, *own, "optimiser"]].drop_duplicates()) > len(
        table[[*curves.WORLD, "seed"]].drop_duplicates()
    ):
        raise ValueError(f"several {curves.METHOD_NAMES[method]} runs a seed of {_named(variant, where)}")
    return _apart(table.sort_values([*curves.WORLD, "seed", "control"], ignore_index=True), {*names} & {*SCORES})


def _apart(table, scores) -> dict[tuple, pd.DataFrame]:
    """A table sorted by draw and control, as one of each draw, with scores from their start.

    Scores are shifted in the whole table, since pandas takes as long for one run as for all.
    """
    draws = table[[*curves.WORLD, "seed"]]
    starts = np.flatnonzero(~draws.duplicated())
    ends = [*starts[1:], len(table)]
    start = np.repeat(starts, np.subtract(ends, starts))
    at_reference = table["d"].to_numpy()[start] < laws.AT_REFERENCE
    for name in scores:
        score = table[name].to_numpy()
        table[name] = np.where(at_reference, score - score[start], score)
    named = draws.iloc[starts].itertuples(index=False)
    return {
        tuple(map(int, draw)): table.iloc[a:b].reset_index(drop=True)
        for draw, a, b in zip(named, starts, ends, strict=True)
    }


def along(read, variant, method: str, name: str = "gold", **where) -> np.ndarray:
    """One column of a variant's runs at the controls that all have, [S, T], as `by_seed` gives them."""
    return together(by_seed(read, variant, method, (name,), **where).values(), name)


def together(tables, name: str) -> np.ndarray:
    """[R, T] of one column of R tables in order of control, at the controls (steps, or n) that all of them have."""
    tables = list(tables)
    common = functools.reduce(np.intersect1d, [table["control"] for table in tables])
    return np.stack([table.loc[np.isin(table["control"], common), name].to_numpy() for table in tables])


def _named(variant, where: dict) -> str:
    return ", ".join([str(variant), *(f"{column} {value}" for column, value in where.items())])


def peak(gold) -> np.ndarray:
    """Gold at the peak of the mean curve, [S]."""
    return gold[:, int(np.argmax(gold.mean(0)))]


FIRST = 4  # runs whose peaks are chosen on one another


def peak_of_earlier(values) -> np.ndarray:
    """Where the mean of all earlier runs is highest: an index [..., S] along the curve.

    Each of the FIRST runs takes the place of the others among them.
    values: [..., S, T] without NaN, in the order of seeds, S of 2 or more.

    A peak that a run has a part in choosing lies too high, by the noise that made it the highest. So a fall would be
    found where nothing falls. Chosen on all others, the places would hang on one another where a curve is flat, and the
    spread between seeds would be too small (docs/decisions.md). A place that earlier runs choose is known before its
    run is drawn, so there the values are differences of a martingale (Luedtke & van der Laan 2016). One run alone would
    choose badly for the next.
    """
    values = np.asarray(values, float)
    first = values[..., :FIRST, :]
    others = np.cumsum(values, -2) - values  # the sum of those that choose
    others[..., :FIRST, :] = first.sum(-2, keepdims=True) - first
    return np.argmax(others, axis=-1)


def fall_from_peak(values) -> np.ndarray:
    """Fall from `peak_of_earlier` to the end, [S].  values: [S, T].  NaN with one run."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return np.full(len(values), np.nan)
    return values[np.arange(len(values)), peak_of_earlier(values)] - values[:, -1]
