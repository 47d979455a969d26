"""A wrong form loses; where noise hides the difference the verdict is that it cannot tell."""

from collections import Counter

import numpy as np
import pytest

from analysis.fit.coverage import D, replicated_runs
from gold_sim import laws
from gold_sim.laws import comparison

CLEAR, NOISY = 0.003, 0.1  # gold s.d. of the noise along a run; peaks here are 0.9 to 1.3


@pytest.mark.parametrize("form", laws.FORMS)
def test_curves_are_attributed_to_the_form_that_made_them(form):
    """Eight runs: at least 90 of 100 at low noise; at high noise another form is named in at most 20."""
    clear, noisy = (
        Counter(comparison.verdict(d, one).form for one in gold)
        for d, gold in (replicated_runs(form, np.random.default_rng(2), 100, 8, noise=n) for n in (CLEAR, NOISY))
    )
    assert clear[form] >= 90
    assert sum(count for name, count in noisy.items() if name not in (form, None)) <= 20


def test_two_runs_cannot_tell():
    found = comparison.verdict(D, np.stack([laws.overoptimization_rl(D, 0.7, 0.5)] * 2))
    assert found.form is None and found.text.startswith("cannot tell: 2 runs")


def test_information_by_hand():
    """RSS 0.4 of 10 points, 2 coefficients and the variance: -2 log L = 10 (log(2 pi 0.04) + 1) = -3.8100.

    AIC = 6 - 3.8100, AICc adds 2 * 3 * 4 / 6 = 4: 6.1900. BIC = 3 log 10 - 3.8100 = 3.0978.
    """
    found = comparison.information(0.4, 10, 2)
    assert (-2 * found.log_likelihood, found.aicc, found.bic) == pytest.approx((-3.8100, 6.1900, 3.0977), abs=1e-3)
    assert np.isnan(comparison.information(0.4, 3, 2).aicc) and np.isnan(comparison.information(0.0, 10, 2).bic)


def test_the_spline_passes_through_the_reference_policy_and_follows_any_form():
    d = np.linspace(0, 4, 25)
    for gold in (laws.overoptimization_bon(d, 0.6, 0.1), np.sin(d)):
        at = comparison.predictor("spline", d, gold)
        assert at(np.array([0.0])) == pytest.approx([0.0], abs=1e-12) and at(d) == pytest.approx(gold, abs=0.02)
        ahead = at(np.array([4.0, 4.5, 5.0]))
        assert ahead[2] - ahead[1] == pytest.approx(ahead[1] - ahead[0])  # a straight line beyond the data


def test_leaving_out_a_size_wants_the_right_form():
    """alpha and beta straight in log size: the form that made the curves predicts a left-out size exactly."""
    groups = [(x, D[2:], laws.evaluate("rl", D[2:], 0.6 + 0.1 * x, 0.4 - 0.05 * x)) for x in range(4)]
    errors = comparison.leave_out_sizes(groups)
    assert errors["rl"] == pytest.approx(np.zeros(4), abs=1e-10)
    assert min(errors["bon"].min(), errors["linear"].min()) > 0.01
    assert np.isnan(comparison.leave_out_sizes(groups[:2])["rl"]).all()


def test_extrapolation_of_the_right_form_covers_and_of_a_wrong_one_does_not():
    d, gold = replicated_runs("rl", np.random.default_rng(4), 60, 8, noise=0.01, d=np.linspace(0.1, 6, 40))
    right = [comparison.extrapolate("rl", d, one, cut=3.0) for one in gold]
    wrong = [comparison.extrapolate("bon", d, one, cut=3.0) for one in gold]
    assert np.mean([r.error for r in right]) < 0.25 * np.mean([w.error for w in wrong])
    assert 0.84 < np.mean([r.coverage for r in right]) < 0.96 and np.mean([w.coverage for w in wrong]) < 0.6
    assert np.mean([w.bias for w in wrong]) < -0.1  # a parabola falls too fast
    with pytest.raises(ValueError, match="cut=9"):
        comparison.extrapolate("rl", d, gold[0], cut=9.0)
