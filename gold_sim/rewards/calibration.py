"""Calibration of a trained reward model on held-out pairs: its scale and shift, and measures of its quality.

It runs on the host, in numpy. Sorting and Newton's steps take no time to run, but as jax programs they took as long to
compile as a reward model's forward pass, anew for every size.
"""

import numpy as np
from scipy import special

from gold_sim.preferences import difference

BINS = 10  # equal-width bins of the calibration error
NEWTON_STEPS = 50


def calibrate(raw, labels, gold, lengths) -> dict[str, float]:
    """The metrics of columns.REWARD_MODEL_COLUMNS that are computed from D held-out pairs.

    raw: [D, 2] scores in the network's own units.  labels: [D], True where the second is preferred.
    gold: [D, 2] gold standard deviations.  lengths: [D, 2] tokens.
    """
    raw, gold = np.asarray(raw, float), np.asarray(gold, float)
    margin, soft = difference(raw), special.expit(difference(gold))
    scale = soft_scale(margin, soft)
    return dict(
        val_loss=np.mean(cross_entropy(margin, labels)),
        val_accuracy=np.mean((margin > 0) == (difference(gold) > 0)),
        ece=calibration_error(margin, labels),
        val_loss_soft=np.mean(cross_entropy(margin, soft)),
        val_loss_soft_calibrated=np.mean(cross_entropy(scale * margin, soft)),
        scale=scale,
        shift=np.mean(raw),
        rank_correlation=_correlation(_ranks(raw), _ranks(gold)),
        length_correlation=_correlation(raw, lengths),
    )


def cross_entropy(margin, probability):
    """-log P of pairs whose second response is preferred with `probability`, under sigmoid(margin), nats."""
    return np.logaddexp(0.0, margin) - probability * margin


def soft_scale(margin, probability) -> float:
    """The s that minimises the mean cross-entropy of sigmoid(s * margin) to `probability`; by Newton, convex in s."""
    unit = np.std(margin) + 1e-12
    x, s = margin / unit, 1.0
    for _ in range(NEWTON_STEPS):
        q = special.expit(s * x)
        slope, curve = np.mean((q - probability) * x), np.mean(q * (1 - q) * x * x) + 1e-6
        s -= np.clip(slope / curve, -1.0, 1.0)
    return s / unit


def calibration_error(margin, labels) -> float:
    """Expected calibration error of P(second) = sigmoid(margin) against labels, equal-width bins on [0, 1]."""
    p = special.expit(margin)
    at = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = np.bincount(at, weights=p - labels, minlength=BINS)
    return np.sum(np.abs(gaps)) / len(p)


def _ranks(x):
    """Ranks of all values, from 1; equal values share the mean of theirs.

    By hand, because scipy.stats takes every worker a second to import.
    """
    _, at, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[at.ravel()]


def _correlation(x, y) -> float:
    """Pearson correlation; 0 where one of the two does not vary."""
    x, y = np.ravel(x), np.ravel(y)
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0
