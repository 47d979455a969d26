"""The sequential rule: its boundaries against published ones, and its errors under optional stopping by simulation."""

import numpy as np
import pytest
from scipy import stats

from analysis.fit import decision_errors
from gold_sim.laws import boundaries, decisions
from gold_sim.laws.decisions import Evidence, decide, verdicts


def obrien_fleming(fraction, level):
    return 2 * stats.norm.sf(stats.norm.isf(level / 2) / np.sqrt(fraction))


@pytest.mark.parametrize(
    ("spending", "published"),
    [  # five equal looks at a one-sided 0.025: tables of Lan & DeMets (1983), as their program LanDem prints them
        (obrien_fleming, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        (boundaries.pocock, [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_boundaries_are_the_published_ones(spending, published):
    levels = boundaries.nominal_levels(np.arange(1, 6) / 5, 0.025, spending)
    np.testing.assert_allclose(stats.norm.isf(levels), published, atol=2e-4)


def test_p_values_and_levels_are_each_others_inverse():
    for seeds in (8, 12, 64):
        for level in (1e-6, 0.01, 0.05):
            nominal = boundaries.nominal(seeds, decisions.LOOKS, level)
            exact = boundaries.nominal_levels(boundaries.looks_so_far(seeds, decisions.LOOKS), level)[-1]
            assert nominal == pytest.approx(exact, rel=2e-3)  # the table is interpolated
            assert boundaries.sequential(nominal, seeds, decisions.LOOKS) == pytest.approx(level, rel=1e-3)


@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.05, 1.0])
def test_interval_p_values_and_verdicts_agree(mean):
    """Each decision at a level is that of the interval at that level, whatever the values are."""
    rng, margin = np.random.default_rng(0), 0.3
    for seeds in (8, 16, 64):
        for values in (rng.standard_normal(seeds), rng.exponential(size=seeds) - 1):
            evidence = Evidence(mean + 0.3 * values, margin, extra_variance=1e-4)
            d = decide(evidence)
            low, high = d.interval
            assert (low > 0, high < 0) == (2 * d.p_above <= 0.1, 2 * d.p_below <= 0.1)
            assert (-margin < low and high < margin) == (2 * d.p_equivalent <= 0.1)
            assert (low > margin or high < -margin) == (2 * d.p_outside <= 0.1)
            assert (d.seeds_wanted == seeds) == (verdicts([d], "above") != ["open"])


def test_first_look_by_hand():
    """Eight seeds of 64 spend 0.05 log(1 + (e - 1) / 8) = 0.00973; symmetric values have no skewness to remove."""
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    d = decide(Evidence(values))
    t = stats.t.isf(0.05 * np.log1p((np.e - 1) / 8), 7)
    half = t * values.std(ddof=1) / np.sqrt(8)
    np.testing.assert_allclose(d.interval, [0.5 - half, 0.5 + half], rtol=1e-4)
    assert verdicts([d], "above") == ["holds"]
    assert verdicts([decide(Evidence(-values))], "above") == ["fails"]


def test_holm_passes_on_the_levels_of_claims_that_are_settled():
    """Two-sided p 0.018, 0.048, 0.06 against 0.1 / 3, 0.1 / 2, 0.1, where the values lie far beyond the margin."""
    of = lambda p, outside: decisions.Decision(1.0, (0.0, 1.0), p, 1.0, 1.0, outside, 8, 8)
    assert verdicts([of(0.03, 0.03), of(0.009, 0.009), of(0.024, 0.024)], "above") == ["holds"] * 3
    assert verdicts([of(0.03, 0.03), of(0.009, 0.009), of(0.026, 0.026)], "above") == ["open", "holds", "open"]
    # Above 0, and not surely beyond the margin: that claim may yet be equivalent, and keeps its share.
    assert verdicts([of(0.03, 0.03), of(0.009, 0.2), of(0.024, 0.024)], "above") == ["open", "holds", "open"]


def test_equivalent_comes_before_holds():
    sure = decisions.Decision(0.04, (0.03, 0.05), 1e-9, 1.0, 1e-9, 1.0, 8, 8)
    assert verdicts([sure, sure], ["above", "equal"]) == ["equivalent", "holds"]
    with pytest.raises(ValueError, match="says below: allowed are above, equal"):
        verdicts([sure], "below")


def test_seeds_that_are_alike_and_few_seeds():
    alike = lambda n: verdicts([decide(Evidence(np.full(n, 0.5)))], "above")
    assert (alike(8), alike(4), alike(1)) == (["holds"], ["open"], ["open"])  # 1/2^8 = 0.004 < 0.0097 < 1/2^4
    with pytest.raises(ValueError, match="seeds=65: the rule looks at 8, 16, 32, 64, so 64 at most"):
        decide(Evidence(np.arange(65.0)))
    with pytest.raises(ValueError, match="finite number"):
        Evidence(np.array([1.0, np.nan]))


def test_shared_variance_widens_the_interval_and_may_leave_no_hope():
    values = np.random.default_rng(1).standard_normal(16) * 0.1 + 0.03
    plain, wide = decide(Evidence(values)), decide(Evidence(values, extra_variance=0.01))
    assert np.ptp(wide.interval) > 3 * np.ptp(plain.interval)
    assert plain.seeds_wanted is not None and wide.seeds_wanted is None


def test_shared_variance_makes_no_side_surer():
    """A sum is less skewed than its skewed part, so that with little shared variance alone one side would be surer."""
    values = np.append(np.full(7, 0.5) + np.linspace(-0.1, 0.1, 7), 1.0)
    plain = decide(Evidence(values))
    for share in (0.1, 1.0, 2.0):  # of the variance of the mean
        wide = decide(Evidence(values, extra_variance=share * values.var(ddof=1) / 8))
        assert wide.interval[0] <= plain.interval[0] and wide.interval[1] >= plain.interval[1]
        assert wide.p_above >= plain.p_above and wide.p_below >= plain.p_below
    alike = decide(Evidence(np.full(4, 0.5), extra_variance=1e-4))  # seeds that differ in nothing tell nothing alone
    assert np.isfinite(alike.interval).all() and alike.p_above < 0.5


# --- errors under optional stopping: a verdict counts as false if it is so at any of the looks ----------------------

STUDIES = 3000  # s.e. of an error of 0.1: 0.0055
ALLOWED = decisions.LEVEL + 2.5 * 0.0055


@pytest.mark.parametrize("kind", ["normal", "exponential", "exponential, mirrored", "t, 3 degrees of freedom"])
def test_a_verdict_is_false_as_rarely_as_it_says_at_any_look(kind):
    found = decision_errors.false_claims(kind, np.random.default_rng(7), STUDIES)
    either = {what: found[what] for what in ("either", "equivalent or below", "equivalent or outside")}
    assert all(share <= ALLOWED for share in either.values()), found


def test_looks_judged_one_by_one_err_twice_as_often():
    """The negative control: Student's t at 0.1 at each look."""
    values = np.random.default_rng(7).standard_normal((STUDIES, 64))
    ps = [stats.ttest_1samp(values[:, :look], 0, axis=1).pvalue for look in decisions.LOOKS]
    assert (np.array(ps) <= decisions.LEVEL).any(0).mean() > 2 * decisions.LEVEL


@pytest.mark.parametrize("means", [(0.0,) * 5, (0.0, 0.3, 0.3, 0.3, 0.3), (0.1, 0.1, -0.1, 0.0, 0.3)])
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_families_of_correlated_claims_err_as_rarely_as_one(kind, means):
    """s.e. 0.0095.  Levels passed on after any verdict, as Holm's steps would at first sight, err at 0.13."""
    found = decision_errors.false_families(kind, means, np.random.default_rng(8), 1000)
    assert found["a false verdict"] <= decisions.LEVEL + 2.5 * 0.0095


@pytest.mark.parametrize("kind", ["normal", "exponential"])
@pytest.mark.parametrize("sought", decision_errors.SOUGHT)
def test_a_fall_is_found_as_rarely_as_the_level_says_where_there_is_none(sought, kind):
    """Each side may err in 0.05; s.e. 0.009."""
    found = decision_errors.false_falls(kind, sought, "the earlier seeds", np.random.default_rng(10), 600)
    assert max(found["no fall: holds"], found["no fall: fails"]) < 0.05 + 2.5 * 0.009
    assert abs(found["mean of the fall at 8 seeds"]) < 0.015 and 0.06 < found["at the margin"] < 0.1
    assert 0.92 < found["error shown over true"] < 1.08


def test_places_chosen_on_all_other_seeds_hang_on_one_another():
    """The negative control: so the level was not kept, and the error shown too small; and it found hardly more."""
    both = [
        decision_errors.false_falls("normal", "half of the KL", chosen, np.random.default_rng(10), 600)
        for chosen in decision_errors.CHOSEN
    ]
    earlier, others = ({name: one[name] for name in list(one)[3:]} for one in both)
    assert others["no fall: fails"] > 2 * earlier["no fall: fails"] and others["error shown over true"] < 0.93
    found = f"found at 8 seeds: a fall of {decision_errors.SEEN:g}"
    assert earlier[found] > others[found] - 0.08


def test_the_rule_wants_fewer_seeds_than_an_anytime_valid_one():
    rows = {row["rule"]: row for row in decision_errors.power(0.5, np.random.default_rng(9), STUDIES)}
    best = max((rows[name] for name in rows if name.startswith("anytime")), key=lambda row: row["decided"])
    assert rows["this rule"]["decided"] > best["decided"] + 0.05
    assert rows["this rule"]["seeds"] < best["seeds"] - 5
