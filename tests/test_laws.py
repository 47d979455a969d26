"""Fits recover the laws that made the curves, and intervals cover at the stated rate."""

import numpy as np
import pytest

from gold_sim import laws

D = np.linspace(0.0, 4.0, 17)
TRUTHS = {"bon": (0.6, 0.1), "rl": (0.7, 0.5)}


def correlated_noise(rng, shape, correlation=0.9):
    """AR(1) along the last axis with unit variance: points of one run are not independent."""
    white = rng.standard_normal(shape)
    out = white.copy()
    for t in range(1, shape[-1]):
        out[..., t] = correlation * out[..., t - 1] + np.sqrt(1 - correlation**2) * white[..., t]
    return out


def replicated_runs(form, rng, replications, seeds, noise=0.03):
    """[R, S, T] curves whose coefficients vary between seeds around TRUTHS, with noise along each run."""
    d = D[2:]
    alpha, beta = (
        t + s * rng.standard_normal((replications, seeds)) for t, s in zip(TRUTHS[form], (0.05, 0.02), strict=True)
    )
    return d, laws.evaluate(form, d, alpha, beta) + noise * correlated_noise(rng, (replications, seeds, len(d)))


# --- the laws ------------------------------------------------------------------------------------


def test_laws_by_hand():
    """bon: 2 (0.6 - 0.1 * 2) = 0.8.  rl: e (0.7 - 0.5 log e) = 0.2 e; at d = 1, alpha.  Both 0 at 0."""
    assert laws.overoptimization_bon(2.0, 0.6, 0.1) == pytest.approx(0.8)
    assert laws.overoptimization_rl(np.e, 0.7, 0.5) == pytest.approx(0.2 * np.e)
    assert laws.overoptimization_rl([0.0, 1.0], 0.7, 0.5) == pytest.approx([0.0, 0.7])
    assert laws.overoptimization_bon(0.0, 0.6, 0.1) == 0


def test_peaks_by_hand():
    """Gao et al.'s 3M reward model: alpha .508, beta .1286: d* = .508 / .2572 = 1.9751, R* = .258064 / .5144 = .5017.

    RL, alpha = beta = 0.5: d* = exp(0) = 1, R* = 0.5, zero at e.
    """
    assert laws.peak("bon", 0.508, 0.1286) == pytest.approx((1.9751, 0.5017), abs=1e-4)
    assert laws.zero_crossing("bon", 0.508, 0.1286) == pytest.approx(2 * 1.9751, abs=1e-3)
    assert laws.peak("rl", 0.5, 0.5) == pytest.approx((1.0, 0.5))
    assert laws.zero_crossing("rl", 0.5, 0.5) == pytest.approx(np.e)


@pytest.mark.parametrize("form", laws.FORMS)
def test_closed_forms_agree_with_a_fine_grid(form):
    rng = np.random.default_rng(0)
    alpha, beta = rng.uniform(0.3, 0.8, 20), rng.uniform(0.2, 0.5, 20)
    d = np.linspace(0, 30, 300_001)
    curve = laws.evaluate(form, d, alpha, beta)
    d_peak, gold_peak = laws.peak(form, alpha, beta)
    assert d[curve.argmax(-1)] == pytest.approx(d_peak, abs=1e-4)
    assert curve.max(-1) == pytest.approx(gold_peak, abs=1e-8)
    zero = laws.zero_crossing(form, alpha, beta)
    assert laws.evaluate(form, zero[:, None], alpha, beta)[:, 0] == pytest.approx(np.zeros(20), abs=1e-9)


@pytest.mark.parametrize("form", laws.FORMS)
def test_a_law_that_never_turns_has_no_peak(form):
    assert laws.peak(form, 0.5, -0.1) == (np.inf, np.inf) == laws.peak(form, 0.5, 0.0)
    assert np.isnan(laws.peak(form, -0.5, 0.1)).all() and np.isnan(laws.peak(form, 0.0, 0.1)).all()
    assert laws.zero_crossing(form, 0.5, -0.1) == np.inf
    assert np.isnan(laws.peak(form, np.nan, np.nan)).all() and np.isnan(laws.peak(form, 0.5, np.nan)).all()


# --- fits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", laws.FORMS)
def test_fit_recovers_its_own_curves(form):
    alpha, beta = TRUTHS[form]
    found = laws.fit(form, [D, D], [laws.evaluate(form, D, alpha, beta)] * 2)
    assert (found.alpha, found.beta, found.r2) == pytest.approx((alpha, beta, 1.0), abs=1e-12)
    assert found.alpha_ci == pytest.approx((alpha, alpha)) and found.converged
    assert (found.d_peak, found.gold_peak) == pytest.approx(laws.peak(form, alpha, beta))
    assert found.n_points == np.sum(laws.FORMS[form].d_min <= D)


@pytest.mark.parametrize("form", laws.FORMS)
def test_fit_is_exact_also_where_seeds_do_not_share_their_distances(form):
    """Interpolation bends a law, but the same interpolation of its basis gives the coefficients back."""
    alpha, beta = TRUTHS[form]
    ds = [np.linspace(0, end, points) for end, points in ((3.0, 7), (4.0, 9), (5.5, 30))]
    found = laws.fit(form, ds, [laws.evaluate(form, d, alpha, beta) for d in ds])
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta), abs=1e-12)
    assert found.n_points == laws.GRID and found.d_max == 3.0


def test_least_squares_by_hand():
    """bon at d = 1, 2 passes through both points: a - b = 1, 2a - 4b = 1 => b = 0.5, a = 1.5.

    With a third point (1, 2) of weight 3 the value at d = 1 becomes (1 + 3 * 2) / 4 = 1.75: b = 1.25, a = 3.
    """
    assert laws.least_squares("bon", [1.0, 2], [1.0, 1]) == pytest.approx((1.5, 0.5))
    assert laws.least_squares("bon", [1.0, 2, 1], [1.0, 1, 2], [1, 1, 3]) == pytest.approx((3.0, 1.25))


def test_least_squares_maps_over_leading_axes():
    rng = np.random.default_rng(1)
    gold = rng.standard_normal((3, 5, len(D)))
    alphas, betas = laws.least_squares("rl", D, gold)
    assert alphas.shape == betas.shape == (3, 5)
    design = np.stack([D, -D * np.log(np.where(D > 0, D, 1))], -1)
    expected = np.linalg.lstsq(design, gold[2, 4], rcond=None)[0]
    assert (alphas[2, 4], betas[2, 4]) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("form", laws.FORMS)
def test_shared_alpha_is_the_joint_least_squares(form):
    rng = np.random.default_rng(2)
    ds = [np.linspace(0.5, 3, 6), np.linspace(0.4, 5, 9), np.linspace(0.3, 4, 7)]
    golds = [rng.standard_normal(len(d)) for d in ds]
    alpha, betas = laws.least_squares_shared(form, ds, golds)
    design = np.zeros((22, 4))  # columns: u of all, v of each group
    for g, rows in enumerate(np.split(np.arange(22), [6, 15])):
        design[rows, 0], design[rows, 1 + g] = laws.FORMS[form].basis(ds[g])
    expected = np.linalg.lstsq(design, np.concatenate(golds), rcond=None)[0]
    assert np.append(alpha, betas) == pytest.approx(expected)


def test_fit_shared_recovers_one_alpha_and_many_betas():
    betas = (0.5, 0.4, 0.3)
    groups = [([D, D[:-2]], [laws.overoptimization_rl(d, 0.7, b) for d in (D, D[:-2])]) for b in betas]
    found = laws.fit_shared("rl", groups)
    assert [f.alpha for f in found] == pytest.approx([0.7] * 3) and [f.beta for f in found] == pytest.approx(betas)
    with pytest.raises(ValueError, match=r"\[1, 2\] seeds"):
        laws.fit_shared("rl", [([D], [D]), ([D, D], [D, D])])


@pytest.mark.parametrize(("form", "wrong"), [("bon", "rl"), ("rl", "bon")])
def test_the_wrong_law_fits_worse(form, wrong):
    gold = laws.evaluate(form, D, *TRUTHS[form])
    assert laws.fit(wrong, [D], [gold], d_min=0.3).r2 < 0.99 < laws.fit(form, [D], [gold], d_min=0.3).r2


def test_what_cannot_be_fitted_is_said_not_made_up():
    for ds in ([np.array([2.0])], [np.array([2.0, 2.0])], [np.array([0.1, 0.2])], [D[:3], D[8:]]):
        found = laws.fit("rl", ds, [0.5 * d for d in ds])
        assert not found.converged and np.isnan([found.alpha, found.beta, found.d_peak, found.gold_peak]).all()
    with pytest.raises(ValueError, match="form='cubic'"):
        laws.fit("cubic", [D], [D])
    with pytest.raises(ValueError, match="d=-1"):
        laws.least_squares("bon", [-1.0, 1.0], [0.0, 1.0])


def test_near_points_are_left_out_of_rl_fits():
    gold = laws.overoptimization_rl(D, 0.7, 0.5)
    gold[D < 0.3] += 5.0
    assert laws.fit("rl", [D], [gold]).alpha == pytest.approx(0.7)
    assert laws.fit("rl", [D], [gold], d_min=0.0).alpha != pytest.approx(0.7, abs=0.05)


# --- intervals ------------------------------------------------------------------------------------


def test_t_interval_by_hand():
    """1, 2, 3: mean 2, s.d. 1, t(0.95, 2) = 2.9200, half width 2.92 / sqrt(3) = 1.6859."""
    assert laws.t_interval([1.0, 2, 3]) == pytest.approx((0.3141, 3.6859), abs=1e-4)
    assert np.isnan(laws.t_interval([1.0])).all()


def test_one_seed_has_no_interval():
    found = laws.fit("bon", [D], [laws.overoptimization_bon(D, 0.6, 0.1)])
    assert np.isnan([*found.alpha_ci, *found.beta_ci, *found.d_peak_ci, *found.gold_peak_ci]).all()
    assert found.converged and np.isnan(laws.bootstrap("bon", D, [D])["alpha"]).all()


@pytest.mark.parametrize("form", laws.FORMS)
def test_intervals_cover_at_the_stated_rate_with_four_seeds(form):
    """800 replications at 90 %: s.e. 0.0106, so 0.86 to 0.94 is four of them to either side."""
    d, gold = replicated_runs(form, np.random.default_rng(3), 800, 4)
    alphas, betas = laws.least_squares(form, d, gold)
    for per_seed, truth in zip((alphas, betas), TRUTHS[form], strict=True):
        low, high = laws.t_interval(per_seed.T)
        assert 0.86 < np.mean((low <= truth) & (truth <= high)) < 0.94
    intervals = np.array([laws.peak_intervals(form, a, b) for a, b in zip(alphas, betas, strict=True)])  # [R, 2, 2]
    inside = (intervals[..., 0] <= laws.peak(form, *TRUTHS[form])) & (
        laws.peak(form, *TRUTHS[form]) <= intervals[..., 1]
    )
    assert np.all((inside.mean(0) > 0.86) & (inside.mean(0) < 0.94))


def test_percentile_bootstrap_undercovers_with_four_seeds():
    """Why `fit` does not use it: the measured 0.71-0.77 of its docstring."""
    d, gold = replicated_runs("bon", np.random.default_rng(4), 150, 4)
    found = [laws.bootstrap("bon", d, curves, resamples=300)["alpha"] for curves in gold]
    assert np.mean([low <= 0.6 <= high for low, high in found]) < 0.85


def test_bootstrap_agrees_with_the_t_interval_for_many_seeds():
    d, gold = replicated_runs("bon", np.random.default_rng(5), 1, 60)
    found = laws.fit("bon", [d] * 60, gold[0])
    intervals = laws.bootstrap("bon", d, gold[0])
    for name in ("alpha", "beta", "d_peak", "gold_peak"):
        (low, high), (t_low, t_high) = intervals[name], getattr(found, f"{name}_ci")
        assert abs(low - t_low) + abs(high - t_high) < 0.4 * (t_high - t_low)


# --- trends ---------------------------------------------------------------------------------------


def test_trend_by_hand():
    """Seeds 0, 1, 2 and 0, 2, 4 at 10, 100, 1000: slopes 1 and 2 a decade; t(0.95, 1) = 6.3138, half width
    6.3138 * 0.7071 / 1.4142 = 3.1569. Means 0, 1.5, 3 at 1, 2, 3: intercept 1.5 - 1.5 * 2 = -1.5.
    """
    found = laws.trend([1, 2, 3], [[0, 1, 2], [0, 2, 4]])
    assert (found.slope, found.intercept) == pytest.approx((1.5, -1.5))
    assert found.slope_ci == pytest.approx((1.5 - 3.1569, 1.5 + 3.1569), abs=1e-3)
    assert np.isnan(laws.trend([1], [[2.0], [3.0]]).slope)
