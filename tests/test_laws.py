"""Fits recover the laws that made the curves."""

import numpy as np
import pytest

from analysis.fit.coverage import TRUTHS, D
from gold_sim import laws

TWO = [name for name, law in laws.FORMS.items() if not law.shape and law.num_linear == 2]


# --- fits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", laws.FORMS)
def test_fit_recovers_its_own_curves(form):
    alpha, beta, shape = TRUTHS[form]
    found = laws.fit(form, [D, D], [laws.evaluate(form, D, alpha, beta, shape)] * 2)
    near = 1e-12 if shape is None else 1e-3  # the search of the shape
    assert (found.alpha, found.beta, found.r2) == pytest.approx((alpha, beta, 1.0), abs=near)
    assert shape is None or found.shape == pytest.approx(shape, abs=1e-3)
    assert found.alpha_ci == pytest.approx((alpha, alpha), abs=near) and found.converged
    assert (found.d_peak, found.gold_peak) == pytest.approx(laws.peak(form, alpha, beta, shape), rel=100 * near)
    assert found.n_points == np.sum(laws.FORMS[form].d_min <= D)


@pytest.mark.parametrize("form", TWO)
def test_fit_is_exact_also_where_seeds_do_not_share_their_distances(form):
    """Interpolation bends a law, but the same interpolation of its basis gives the coefficients back."""
    alpha, beta, _ = TRUTHS[form]
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


@pytest.mark.parametrize("share", ["alpha", "beta"])
@pytest.mark.parametrize("form", TWO)
def test_a_shared_coefficient_is_the_joint_least_squares(form, share):
    rng = np.random.default_rng(2)
    ds = [np.linspace(0.5, 3, 6), np.linspace(0.4, 5, 9), np.linspace(0.3, 4, 7)]
    golds = [rng.standard_normal(len(d)) for d in ds]
    one, each = laws.least_squares_shared(form, ds, golds, share=share)
    design = np.zeros((22, 4))  # columns: u of all, v of each group; for a shared beta v of all, u of each
    for g, rows in enumerate(np.split(np.arange(22), [6, 15])):
        design[rows, 0], design[rows, 1 + g] = laws.FORMS[form].basis(ds[g])[:: 1 if share == "alpha" else -1]
    expected = np.linalg.lstsq(design, np.concatenate(golds), rcond=None)[0]
    assert np.append(one, each) == pytest.approx(expected)


def test_fit_shared_recovers_one_alpha_and_many_betas():
    betas = (0.5, 0.4, 0.3)
    groups = [([D, D[:-2]], [laws.overoptimization_rl(d, 0.7, b) for d in (D, D[:-2])]) for b in betas]
    found = laws.fit_shared("rl", groups)
    assert [f.alpha for f in found] == pytest.approx([0.7] * 3) and [f.beta for f in found] == pytest.approx(betas)
    with pytest.raises(ValueError, match=r"\[1, 2\] seeds"):
        laws.fit_shared("rl", [([D], [D]), ([D, D], [D, D])])
    for form in ("power", "linear"):
        with pytest.raises(ValueError, match="bon, rl"):
            laws.fit_shared(form, groups)


def test_standard_errors_weigh_the_points():
    """A point that is far off but known to be bad hardly moves the fit; the same point unweighted does."""
    gold, se = laws.overoptimization_bon(D, 0.6, 0.1), np.full(len(D), 0.01)
    gold[8] += 1.0
    se[8] = 10.0
    weighed = laws.fit("bon", [D, D], [gold, gold], ses=[se, se])
    assert (weighed.alpha, weighed.beta) == pytest.approx((0.6, 0.1), abs=1e-4)
    assert laws.fit("bon", [D, D], [gold, gold]).alpha > 0.65


def test_a_shape_at_the_end_of_its_range_is_found_there():
    """Best-of-n curves fitted by the offset form: the larger the offset the better, up to the range's end."""
    found = laws.fit("offset", [D], [laws.overoptimization_bon(D, 0.6, 0.1)])
    assert found.shape == pytest.approx(laws.FORMS["offset"].shapes[1])


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


# --- trends ---------------------------------------------------------------------------------------


def test_trend_by_hand():
    """Seeds 0, 1, 2 and 0, 2, 4 at 10, 100, 1000: slopes 1 and 2 a decade; t(0.95, 1) = 6.3138, half width
    6.3138 * 0.7071 / 1.4142 = 3.1569. Means 0, 1.5, 3 at 1, 2, 3: intercept 1.5 - 1.5 * 2 = -1.5.
    """
    found = laws.trend([1, 2, 3], [[0, 1, 2], [0, 2, 4]])
    assert (found.slope, found.intercept) == pytest.approx((1.5, -1.5))
    assert found.slope_ci == pytest.approx((1.5 - 3.1569, 1.5 + 3.1569), abs=1e-3)
    assert np.isnan(laws.trend([1], [[2.0], [3.0]]).slope)
