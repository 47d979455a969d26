"""What held-out pairs tell of a reward model, by hand."""

import numpy as np
import pytest
from scipy import stats

from gold_sim.rewards import calibration

LOG3 = np.log(3.0)  # sigmoid(log 3) = 3/4


def test_the_scale_is_what_soft_labels_ask_for():
    """Probabilities sigmoid(2.5 margin) ask for 2.5, whatever the unit of the margins."""
    margin = np.random.default_rng(0).normal(size=2000)
    for unit in (0.01, 1.0, 30.0):
        probability = 1 / (1 + np.exp(-2.5 * margin))
        assert calibration.soft_scale(unit * margin, probability) == pytest.approx(2.5 / unit, rel=1e-4)


def test_calibration_error_by_hand():
    """Margin log 3 says 3/4. Three of four right: 0. All right: 1/4, and so where half are at 1/4 and all wrong."""
    error = lambda margin, labels: calibration.calibration_error(np.array(margin), np.array(labels))
    assert error([LOG3] * 4, [1, 1, 1, 0]) == pytest.approx(0, abs=1e-12)
    assert error([LOG3] * 4, [1, 1, 1, 1]) == pytest.approx(0.25)
    assert error([LOG3, LOG3, -LOG3, -LOG3], [1, 1, 0, 0]) == pytest.approx(0.25)


def test_metrics_by_hand():
    """Raw margins log 3, -log 3, log 3; gold agrees with the first two; the first label alone is wrong."""
    raw = np.array([[0.0, LOG3], [2 * LOG3, LOG3], [-LOG3, 0.0]])
    gold = np.array([[0.0, 1.0], [5.0, 2.0], [0.5, -4.0]])
    lengths = np.array([[1, 2], [3, 2], [0, 1]])  # 1 + raw / log 3
    told = calibration.calibrate(raw, np.array([False, False, False]), gold, lengths)
    wrong, right = np.log(4.0), np.log(4 / 3)
    assert told["val_loss"] == pytest.approx((wrong + right + wrong) / 3)
    assert told["val_accuracy"] == pytest.approx(2 / 3)
    assert told["shift"] == pytest.approx(LOG3 * 3 / 6)
    assert told["length_correlation"] == pytest.approx(1)
    assert told["val_loss_soft_calibrated"] <= told["val_loss_soft"]
    flat = calibration.calibrate(0 * raw, np.array([True, False, True]), gold, lengths)
    assert flat["rank_correlation"] == flat["length_correlation"] == 0 and flat["val_loss"] == pytest.approx(np.log(2))


def test_rank_correlation_is_of_ranks():
    raw = np.arange(8.0).reshape(4, 2)
    rho = lambda gold: calibration.calibrate(raw, np.ones(4), gold, raw + 1)["rank_correlation"]
    assert rho(np.exp(raw)) == pytest.approx(1) and rho(-(raw**3)) == pytest.approx(-1)


def test_correlations_are_scipys():
    """Of values with ties, and of lengths."""
    rng = np.random.default_rng(1)
    raw, gold, lengths = rng.integers(0, 9, (200, 2)), rng.integers(-3, 4, (200, 2)), rng.integers(1, 17, (200, 2))
    told = calibration.calibrate(raw, np.ones(200), gold, lengths)
    for name, correlation, of in (("rank", stats.spearmanr, gold), ("length", stats.pearsonr, lengths)):
        wanted = correlation(raw.ravel(), of.ravel()).statistic
        assert told[f"{name}_correlation"] == pytest.approx(wanted, abs=1e-12)
