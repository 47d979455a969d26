"""What tests of claims ask of the records: runs, peaks, falls, and whether an interval tells.

A test (evidence_of_methods.py, evidence_of_data.py) goes from an experiment's records to (holds, found);
holds is True, False, or None where the records cannot tell. Intervals are over seeds, differences in pairs of seeds.
"""

import numpy as np

from analysis import curves
from gold_sim import laws

SCORES = (*curves.SCORES, "proxy_left_out")


def along(read, variant, form: str, name: str = "gold", **where) -> np.ndarray:
    """[S, T] of one column along the control, of the runs of one variant; ValueError if there are none.

    where: column = value, to choose a panel.  Scores are minus their start, where a run starts at the reference policy.
    """
    table = curves.methods(read.curves).get(form, read.curves[:0])
    for column, value in {read.axis: variant, **where}.items():
        same = np.isclose(table[column], value) if isinstance(value, float) else table[column] == value
        table = table[same]
    if table.empty:
        raise ValueError(f"no {form} runs of {variant} {where or ''}")
    if len(table[[*curves.WORLD, *curves.RUN, "optimiser"]].drop_duplicates()) > len(
        table[[*curves.WORLD, "seed"]].drop_duplicates()
    ):
        raise ValueError(f"several {form} runs a seed of {variant} {where or ''}: say which")
    runs = [run.sort_values("control") for _, run in table.groupby([*curves.WORLD, "seed"], sort=True)]
    start = lambda run: run[name].iloc[0] if name in SCORES and run["d"].iloc[0] < laws.AT_REFERENCE else 0.0
    return np.stack([run[name].to_numpy() - start(run) for run in runs])


def peak(gold) -> np.ndarray:
    """[S] gold at the peak of the mean curve."""
    return gold[:, int(np.argmax(gold.mean(0)))]


def fall(gold) -> np.ndarray:
    """[S] gold at the peak of the mean curve minus gold at the end."""
    return gold[:, int(np.argmax(gold.mean(0)))] - gold[:, -1]


def fall_share(gold) -> float:
    """Fall of the mean curve as a share of its peak."""
    mean = gold.mean(0)
    return float((mean.max() - mean[-1]) / mean.max()) if mean.max() > 0 else float("nan")


def lost(gold) -> np.ndarray:
    """[S] fall as a share of the mean curve's peak; NaN where the mean never rises."""
    top = gold.mean(0).max()
    return fall(gold) / top if top > 0 else np.full(len(gold), np.nan)
