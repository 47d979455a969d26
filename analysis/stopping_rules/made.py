"""Do thresholds keep false alarms as rare as they say?  Checked on made controls, whose gold only rises.

python -m analysis calibration --part alarms [--replications 500]
"""

import itertools

import numpy as np
import pandas as pd

from analysis.findings import Table
from analysis.fit.coverage import correlated_noise
from analysis.stopping_rules import rules, scoring, thresholds

RATE = 0.1
D = np.linspace(0.0, 5.0, 37)  # nats^0.5
COUNTS = (4, 8, 20)  # controls of a data set; from 9 others on the threshold is one of their values
FURTHER = 500  # controls that a threshold is tried on
OF_LABELS, LABELS = 8, 16  # controls of a data set, and labels a checkpoint, of gold_labels
FEW = 100  # data sets with simulated labels, of which each has scoring.LABEL_DRAWS
SLOPES = {  # of length on d between seeds, tokens a nat^0.5
    "normal": lambda rng, count: 0.8 + 0.2 * rng.standard_normal(count),
    "log-normal": lambda rng, count: 0.8 * np.exp(0.5 * rng.standard_normal(count)),
}


def lengths(slope: str, rng, count: int) -> np.ndarray:
    """[C, T] mean tokens of controls: length drifts with d at a rate of each run's own."""
    return 14 + SLOPES[slope](rng, count)[:, None] * D + 0.2 * correlated_noise(rng, (count, len(D)))


def study(length) -> scoring.Study:
    """Controls of these lengths but the last, which stands for the run that thresholds are learned for."""
    run = lambda i: scoring.Run((i,), D**2, 0.5 * D, {"attr_length": length[i]}, np.ones(len(D)))
    runs = [run(i) for i in range(len(length))]
    return scoring.Study(runs[-1:], runs[:-1], "rl", RATE)


def of_drift(slope: str, rng, count: int) -> tuple[float, float, bool]:
    """One data set: (cross-fitted rate, rate of FURTHER controls, whether the former's interval holds the latter)."""
    found = scoring.score(study(lengths(slope, rng, count + 1)), "length_drift", rules.length_drift)
    low, high = thresholds.rate_interval(found.alarms.sum(), count)
    further = lengths(slope, rng, FURTHER)
    moved = np.abs(further - further[:, :1])[:, :-1].max(1)  # largest alarm of length_drift before a run's end
    rate = np.mean(moved > found.threshold)
    return found.alarms.mean(), rate, low <= rate <= high


def of_labels(rng, count: int) -> float:
    """One data set: cross-fitted rate of gold_labels, a mean over simulated labels."""
    found = scoring.score(study(lengths("normal", rng, count + 1)), "gold_labels", rules.gold_labels, LABELS)
    return float(found.alarms.mean())


def tables(replications: int) -> list[Table]:
    rows = []
    for slope, count in itertools.product(SLOPES, COUNTS):
        rng = np.random.default_rng(5)
        cross, further, held = np.mean([of_drift(slope, rng, count) for _ in range(replications)], axis=0)
        row = {"rule": "length_drift", "rates of drift": slope, "controls": count, "data sets": replications}
        rows.append(row | {"cross-fitted": cross, "further controls": further, "intervals that hold it": held})
    rng, few = np.random.default_rng(6), min(replications, FEW)
    cross = np.mean([of_labels(rng, OF_LABELS) for _ in range(few)])
    row = {"rule": f"gold_labels {LABELS}", "rates of drift": "–", "controls": OF_LABELS, "data sets": few}
    rows.append(row | {"cross-fitted": cross})
    title = f"False alarms of stopping rules on made controls, stated rate {RATE:g}; 90% intervals of the cross-fitted"
    return [Table("alarms", title, pd.DataFrame(rows))]
