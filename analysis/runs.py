"""The runs of one variant as arrays over seeds, with their peaks, falls and shares lost."""

import numpy as np

from analysis import curves
from gold_sim import laws

SCORES = (*curves.ZEROED, "proxy_left_out")


class Missing(ValueError):
    """Runs that are asked for by key are not in the records."""


def along(read, variant, method: str, name: str = "gold", **where) -> np.ndarray:
    """One column of a variant's runs along the control, [S, T]; scores are minus their start at the reference.

    variant: its key, or the value of another compared column.  method: one of curves.METHODS' values.
    where: column = value, to choose a panel.
    Missing if there are no such runs; ValueError if there are several a seed.
    """
    own = curves.of_a_run(method)
    wanted = np.isin(read.curves["stage"].to_numpy(), [s for s, of in curves.METHODS.items() if of == method])
    if method == "frontier":
        wanted &= read.curves["kl_drift"].notna().to_numpy()
    for column, value in {read.axis: variant, **where}.items():
        found = read.curves[column].to_numpy()
        wanted &= np.isclose(found, value) if isinstance(value, float) else found == value
    columns = dict.fromkeys((*curves.WORLD, *own, "optimiser", "control", "d", name))
    table = read.curves.loc[wanted, [*columns]]
    if table.empty:
        raise Missing(f"no {curves.METHOD_NAMES[method]} runs of {_named(variant, where)}")
    if len(table[[*curves.WORLD, *own, "optimiser"]].drop_duplicates()) > len(
        table[[*curves.WORLD, "seed"]].drop_duplicates()
    ):
        raise ValueError(f"several {curves.METHOD_NAMES[method]} runs a seed of {_named(variant, where)}")
    runs = [run.sort_values("control") for _, run in table.groupby([*curves.WORLD, "seed"], sort=True)]
    start = lambda run: run[name].iloc[0] if name in SCORES and run["d"].iloc[0] < laws.AT_REFERENCE else 0.0
    return np.stack([run[name].to_numpy() - start(run) for run in runs])


def _named(variant, where: dict) -> str:
    return ", ".join([str(variant), *(f"{column} {value}" for column, value in where.items())])


def peak(gold) -> np.ndarray:
    """Gold at the peak of the mean curve, [S]."""
    return gold[:, int(np.argmax(gold.mean(0)))]


def fall(gold) -> np.ndarray:
    """Gold at the peak of the mean curve minus gold at the end, [S]."""
    return peak(gold) - gold[:, -1]


def cross_fitted_fall(values) -> np.ndarray:
    """Fall from the peak to the end, [S]: where the peak of a run lies, the mean of the other runs says.

    A peak that a run has a part in choosing lies too high, by the noise that made it the highest. So a fall would be
    found where nothing falls. values: [S, T].  NaN with one run.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return np.full(len(values), np.nan)
    at = np.argmax(values.sum(0) - values, axis=1)
    return values[np.arange(len(values)), at] - values[:, -1]


def fall_share(gold) -> float:
    """Fall of the mean curve as a share of its peak."""
    mean = gold.mean(0)
    return float((mean.max() - mean[-1]) / mean.max()) if mean.max() > 0 else float("nan")


def lost(gold) -> np.ndarray:
    """Fall as a share of the mean curve's peak, [S]; NaN where the mean never rises."""
    top = gold.mean(0).max()
    return fall(gold) / top if top > 0 else np.full(len(gold), np.nan)
