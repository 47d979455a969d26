"""Control variates: by hand, errors under optional stopping by simulation, and what records say that they save."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.__main__ import main
from analysis.claims import savings
from analysis.fit import variate_errors
from gold_sim.laws import decisions, variates
from tests.test_claims import ending_at, made
from tests.test_decisions import ALLOWED, STUDIES

ROOT = Path(__file__).parent.parent
ARCHIVES = ("2026-12-01-golds-and-data", "2026-11-30-a-world-with-room")


def test_the_adjusted_mean_by_hand():
    """x -2..2, y = 1, 0, 2, 4, 3: slope 8 / 10, mean 2. Five more x of mean 1: all x have mean 0.5, so y has 2.4.

    Residuals y - 2 - 0.8 x = 0.6, -1.2, 0, 1.2, -0.6 have squares 3.6, over 3 degrees 1.2. The slope has variance 0.12.
    The mean of five has 1.2 / 5, and the slope's error 0.12 x 0.5^2: together 0.27. The ten x have squares
    10 + 10 + 10 x 0.5^2 = 22.5 about their mean, 2.5 over 9; times (0.8^2 - 0.12) / 10 that is 0.13.
    """
    x = np.arange(-2.0, 3.0)
    mean, error, skew = variates.adjusted(np.array([1.0, 0, 2, 4, 3]), x, x + 1)
    assert mean == pytest.approx(2.4) and error == pytest.approx(np.sqrt(0.27 + 0.13)) and skew == pytest.approx(0.0)


def test_without_further_draws_nothing_is_removed_and_few_seeds_are_refused():
    x, y = np.random.default_rng(0).standard_normal((2, 8))
    assert variates.adjusted(y, x, [])[0] == pytest.approx(y.mean(), abs=1e-15)
    assert variates.variance_ratio(0.5, 8, 0) == 1.0
    with pytest.raises(ValueError, match="one control a seed, 5 seeds or more"):
        variates.adjusted(y[:4], x[:4], x)


@pytest.mark.parametrize("kind", ["normal", "exponential", "t, 3 degrees of freedom", "curved"])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_verdict_with_a_control_is_false_as_rarely_as_the_rule_says(kind, share):
    found = variate_errors.false_claims(kind, share, np.random.default_rng(7), STUDIES)
    assert all(found[what] <= ALLOWED for what in found if what.startswith(("mean 0", "at the", "equiv"))), found


def test_the_variance_is_the_expected_one_and_a_degree_of_freedom_has_to_be_paid():
    """At one look of 8 normal seeds t with 6 degrees covers at its level. As if the slope were known it does not."""
    y, x, others = variate_errors.made("normal", 0.3, np.random.default_rng(1), 20_000)
    y, x = y[:, :8], x[:, :8]
    mean, _, _ = variates.adjusted(y, x, others[:, :24])
    assert mean.var() / y.mean(1).var() == pytest.approx(variates.variance_ratio(0.3, 8, 24), abs=0.02)
    mean, error, _ = variates.adjusted(y, x, others)  # 192 more: the control's mean is as good as known
    rejects = lambda t, degrees: (2 * stats.t.sf(abs(t), degrees) <= 0.05).mean()
    assert rejects(mean / error, 6) == pytest.approx(0.05, abs=0.005)
    # As if the slope were known: residuals over S - 1, and t of as many degrees.
    assert rejects(mean / error * np.sqrt(7 / 6), 7) > 0.06
    p, least = variates.p_values(y, x, others, looks=(8,))[0], stats.t.sf(mean / error, 6)
    ordinary = (least > 0.001) & (least < 0.4)
    assert (p > 0.99 * least)[ordinary].all() and 0.3 < np.isclose(p, least, rtol=0.01)[ordinary].mean() < 0.7


def test_what_a_control_explains_is_corrected_for_chance():
    x, y = np.random.default_rng(2).standard_normal((2, 4000, 8))
    assert np.mean([variates.r_squared(*pair) for pair in zip(y, x, strict=True)]) == pytest.approx(0.0, abs=0.01)
    one = [variates.r_squared(*pair) for pair in zip(y + x, x, strict=True)]
    assert np.mean(one) == pytest.approx(0.5, abs=0.03)


def test_a_control_pays_where_it_is_cheap():
    """Half of the variance at a hundredth of the cost pays; a quarter at the same cost does not."""
    more, cost = variates.cheapest(0.5, of_value=99.0, of_control=1.0, seeds=64)
    assert more > 3 and 0.5 < cost < 0.65
    assert variates.cheapest(0.25, of_value=1.0, of_control=1.0, seeds=8) == (0.0, 1.0)


# --- what records say -----------------------------------------------------------------------------


def test_shared_seeds_and_controls_of_made_records():
    """Curves of a seed share half of their noise: a difference has half of the variance. Best-of-n tells all of it."""
    rng, runs = np.random.default_rng(3), {}
    common = 0.05 * rng.standard_normal(8)
    for key in ("one", "other"):
        each = 0.05 * rng.standard_normal(8)
        runs[key] = [
            run.assign(gold=run["gold"] + (c + e) * np.minimum(run["d"], 1), label_noise=0.0)
            for run, c, e in zip(ending_at(5.0), common, each, strict=True)
        ]
        runs[key] += [run.assign(stage="best_of_n", optimiser="", kl_coef=np.nan) for run in runs[key]]
    found = savings.comparisons(made(runs)).set_index("what")
    row = found.loc["other minus one"]
    assert row["variance"] < 0.9 * row["apart"] and row["seeds"] == 8
    assert row["apart"] == pytest.approx(found.loc["one", "variance"] + found.loc["other", "variance"])
    assert (found["share"] > 0.8).all()
    with pytest.raises(savings.NoRuns, match="no 5 seeds reach 5 nats"):
        savings.comparisons(made({"one": [run.assign(label_noise=0.0) for run in ending_at(1.0)]}))


def test_earlier_ends_and_fewer_points_by_hand():
    """One cell of two runs, 100 s, a quarter of them measurements; RL is all that is spent.

    The runs pass 22 nats at points 3 and 2 of 5 and 3. The point that ended each is not recorded: 6 and 4 were driven.
    Until both are at 22: 3 of 6. Idle: (6 + 4) / 2 of 6. Beside 5, 12 and 22: points 1 to 3, with 0 four of seven.
    """
    cell = savings.Cell(100.0, 0.25, [np.array([0.0, 4, 10, 23, 27, 29]), np.array([0.0, 11, 25, 28])], whole=9)
    cost = savings.Spent(rl=100.0, selection=0.0, models=0.0)
    assert cell.driven == 6
    stop, until, idle = (row["CPU-seconds"] for row in savings.earlier_ends([cell], cost))
    assert (stop, until, idle) == pytest.approx((3 / 6, 4 / 6, 5 / 6))
    [row] = savings.only_where_read([cell], cost)
    assert row["CPU-seconds"] == pytest.approx(1 - 0.25 * (1 - 4 / 7))
    half = savings.Spent(rl=100.0, selection=50.0, models=50.0)
    assert half.with_rl(0.5) == pytest.approx(0.75)


def test_a_way_that_pays_is_told_with_seeds_and_hours(monkeypatch):
    """90 seeds wanted of 8 studied: 96 in blocks; at 0.9 of the CPU-seconds 88 x 0.9 seeds' hours."""
    one = savings.power.Standing("it", "claim", "open", "", 8, 90)
    monkeypatch.setattr(savings.power, "standings", lambda read: [one])
    monkeypatch.setattr(savings.verdicts, "cpu_hours", lambda read: 8.0)
    about = {"of": "", "in use": "no"}
    rows = [
        about | {"way": "ends", "variance": 1.0, "CPU-seconds": 0.9, "both": 0.9},
        about | {"way": "mixed", "variance": 0.5, "CPU-seconds": 1.0, "both": 0.5},
        about | {"way": "mixed", "variance": 1.1, "CPU-seconds": 1.0, "both": 1.1},  # of differences it does not pay
        about | {"way": "used", "variance": 0.5, "CPU-seconds": 1.0, "both": 0.5, "in use": "yes"},
    ]
    read = made({"one": ending_at(5.0)})
    found = savings.wanted(read, rows)
    expected = [["it", "as it is", 96, 88.0], ["it", "ends", 96, 88 * 0.9]]
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected, columns=found.columns))


def test_the_level_of_the_first_look_widens_by_the_lost_degree():
    p = 0.05 * np.log1p((np.e - 1) / 8)  # a side, at 8 of 64 seeds
    lost = (stats.t.isf(p, 6) / stats.t.isf(p, 7)) ** 2
    assert variates.width_ratio(0.0, 8, 0) == pytest.approx(lost, rel=1e-3) and decisions.LOOKS[0] == 8


def test_the_command_says_what_each_way_saves(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path))
    golds, room = (str(ROOT / "docs" / "records" / f"{name}.tar.xz") for name in ARCHIVES)
    assert main(["power", "ensembles", "--savings", "--runs", golds]) == 0
    out = capsys.readouterr().out
    assert "the same seeds in all variants" in out and "single_falls" in out.partition("What open claims want")[2]
    assert main(["power", "direct_alignment", "--savings", "--runs", room]) == 2
    assert "direct_alignment has no RL" in capsys.readouterr().err
