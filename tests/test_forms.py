"""Every form's peak, height and zero against a fine grid, and by hand."""

import numpy as np
import pytest

from gold_sim.laws import forms

TURNING = [name for name in forms.FORMS if name != "linear"]


def test_laws_by_hand():
    """bon: 2 (0.6 - 0.1 * 2) = 0.8.  rl: e (0.7 - 0.5 log e) = 0.2 e; at d = 1, alpha.  Both 0 at 0."""
    assert forms.overoptimization_bon(2.0, 0.6, 0.1) == pytest.approx(0.8)
    assert forms.overoptimization_rl(np.e, 0.7, 0.5) == pytest.approx(0.2 * np.e)
    assert forms.overoptimization_rl([0.0, 1.0], 0.7, 0.5) == pytest.approx([0.0, 0.7])
    assert forms.overoptimization_bon(0.0, 0.6, 0.1) == 0
    assert forms.overoptimization_rl(np.e, 0.7, 0.5).shape == forms.overoptimization_bon(2.0, 0.6, 0.1).shape == ()


def test_rivals_by_hand():
    """At d = e - 1: log1p (e - 1)(0.8 - 0.5) = 0.5155; offset 1 is the same. power: 4 (0.7 - 0.2 * 4^0.5) = 1.2.

    quadratic at d = 2: 0.25 * 4 - 0.012 * 16 = 0.808. linear: 0.3 * 2.
    """
    assert forms.evaluate("log1p", [np.e - 1], 0.8, 0.5) == pytest.approx([0.3 * (np.e - 1)])
    assert forms.evaluate("offset", [np.e - 1], 0.8, 0.5, 1.0) == pytest.approx([0.3 * (np.e - 1)])
    assert forms.evaluate("power", [4.0], 0.7, 0.2, 0.5) == pytest.approx([1.2])
    assert forms.evaluate("quadratic", [2.0], 0.25, 0.012) == pytest.approx([0.808])
    assert forms.evaluate("linear", [2.0], 0.3, 0.0) == pytest.approx([0.6])


def test_peaks_by_hand():
    """Gao et al.'s 3M reward model: alpha .508, beta .1286: d* = .508 / .2572 = 1.9751, R* = .258064 / .5144 = .5017.

    RL, alpha = beta = 0.5: d* = exp(0) = 1, R* = 0.5, zero at e. Power with gamma 1 is best-of-n.
    """
    assert forms.peak("bon", 0.508, 0.1286) == pytest.approx((1.9751, 0.5017), abs=1e-4)
    assert forms.peak("power", 0.508, 0.1286, 1.0) == pytest.approx((1.9751, 0.5017), abs=1e-4)
    assert forms.zero_crossing("bon", 0.508, 0.1286) == pytest.approx(2 * 1.9751, abs=1e-3)
    assert forms.peak("rl", 0.5, 0.5) == pytest.approx((1.0, 0.5))
    assert forms.zero_crossing("rl", 0.5, 0.5) == pytest.approx(np.e)


@pytest.mark.parametrize("form", TURNING)
def test_closed_forms_agree_with_a_fine_grid(form):
    rng = np.random.default_rng(0)
    alpha, beta = rng.uniform(0.3, 0.8, 20), rng.uniform(0.2, 0.5, 20)
    shape = rng.uniform(0.3, 1.5, 20) if forms.FORMS[form].shape else None
    d = np.linspace(0, 60, 600_001)
    curve = forms.evaluate(form, d, alpha, beta, shape)
    d_peak, gold_peak = forms.peak(form, alpha, beta, shape)
    assert d[curve.argmax(-1)] == pytest.approx(d_peak, abs=1e-4)
    assert curve.max(-1) == pytest.approx(gold_peak, abs=1e-8)
    zero = forms.zero_crossing(form, alpha, beta, shape)
    back = (zero > 0) & np.isfinite(zero)
    assert back.sum() > 10
    at_zero = forms.evaluate(form, np.where(back, zero, 0.0)[:, None], alpha, beta, shape)[:, 0]
    assert at_zero == pytest.approx(np.zeros(20), abs=1e-9)


@pytest.mark.parametrize("form", forms.FORMS)
def test_a_law_that_never_turns_has_no_peak(form):
    shape = 0.7 if forms.FORMS[form].shape else None
    peak, zero = (lambda a, b: forms.peak(form, a, b, shape)), (lambda a, b: forms.zero_crossing(form, a, b, shape))
    assert peak(0.5, -0.1) == (np.inf, np.inf) == peak(0.5, 0.0)
    assert np.isnan(peak(-0.5, 0.1)).all() and np.isnan(peak(0.0, 0.1)).all()
    assert zero(0.5, -0.1) == np.inf
    assert np.isnan(peak(np.nan, np.nan)).all() and np.isnan(peak(0.5, np.nan)).all()


def test_a_form_within_another_is_its_special_case():
    """rl is the offset form at offset 0, log1p at 1; best-of-n is the power form at gamma 1; linear has beta 0."""
    d = np.linspace(0.3, 5, 9)
    offset = lambda s: forms.evaluate("offset", d, 0.7, 0.5, s)
    power = lambda s: forms.evaluate("power", d, 0.7, 0.1, s)
    assert offset(0.0) == pytest.approx(forms.evaluate("rl", d, 0.7, 0.5))
    assert offset(1.0) == pytest.approx(forms.evaluate("log1p", d, 0.7, 0.5))
    assert power(1.0) == pytest.approx(forms.evaluate("bon", d, 0.7, 0.1))
    for name in forms.FORMS["linear"].within:
        shape = 0.7 if forms.FORMS[name].shape else None
        assert forms.evaluate(name, d, 0.4, 0.0, shape) == pytest.approx(0.4 * d)
