"""Advice covers the peaks of runs that it has not seen, and says when it cannot."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.fit import advise
from analysis.fit.coverage import TRUTHS, replicated_runs
from gold_sim import laws

FAR = np.linspace(0.05, 6, 37)
RECORDS = Path(__file__).parent.parent / "docs" / "records" / "2026-12-01-golds-and-data.tar.xz"


def test_the_peak_and_its_price_by_hand():
    """RL, alpha 0.7, beta 0.5 in both runs: d* = exp(0.4) = 1.4918, KL 2.2255, R* = 0.5 d* = 0.7459.

    At sqrt(2) d* = 2.1098: 2.1098 (0.7 - 0.5 log 2.1098) = 0.6893; lost 0.0566. It has turned well before d = 5. The
    place is read off a spline, to 1 % of d.
    """
    d = np.linspace(0, 5, 41)
    told = advise.advise("rl", [d, d], [laws.overoptimization_rl(d, 0.7, 0.5)] * 2)
    assert (told.gold_peak, told.loss_at_twice) == pytest.approx((0.7459, 0.0566), abs=1e-4)
    assert told.kl_peak == pytest.approx(2.2255, rel=0.02) and told.probability_turned == 1.0


def test_a_further_peak_by_hand():
    """log d 0 and 2 have squares 2, df 1; other groups add 10, df 3: variance 12 / 4, of a further run x 3 / 2.

    s.e. sqrt(4.5) = 2.1213, t(0.95, 4) = 2.1318: 1 +- 4.5223. Before log d = 1 with probability 1/2.
    """
    own = advise.Peaks(np.array([0.0, 2.0]), 10.0, 3)
    assert own.predicted(0.9) == pytest.approx((1 - 4.5223, 1 + 4.5223), abs=1e-3)
    assert own.turned(np.e) == pytest.approx(0.5)
    assert advise.Peaks(np.array([1.0])).predicted(0.9) is None


def test_groups_of_one_form_share_the_variance_of_their_peaks():
    """Peaks at d = 1, 2 of the one and 3, 3 of the other; the third is of another form."""
    at = lambda top: (np.linspace(0, 5, 101), -np.square(np.linspace(0, 5, 101) - top) + top**2)
    group = lambda form, *tops: (form, *zip(*map(at, tops), strict=True), None)
    found = advise.peaks([group("rl", 1.0, 2.0), group("rl", 3.0, 3.0), group("bon", 1.0, 4.0)])
    assert found[0].logs == pytest.approx(np.log([1, 2]), abs=0.01)
    assert [own.df for own in found] == [1, 1, 0] and found[2].squares == 0.0
    assert found[1].squares == pytest.approx(np.log(2) ** 2 / 2, abs=0.01) and found[0].squares < 1e-3


@pytest.mark.parametrize("form", ["bon", "rl", "log1p"])
def test_intervals_hold_the_peak_of_a_further_run(form):
    """500 replications of 4 runs and a fifth: s.e. 0.0134.

    The probability that it has turned is right on average, up to the caution that four runs call for (towards 1/2).
    """
    rng = np.random.default_rng(5)
    alpha, beta, _ = TRUTHS[form]
    where = np.sqrt(1.1) * laws.peak(form, alpha, beta)[0]
    inside, said, turned = [], [], []
    for _ in range(500):
        a, b = alpha + 0.03 * rng.standard_normal(5), beta + 0.012 * rng.standard_normal(5)
        d = np.linspace(0, 5, 41)
        golds = list(laws.evaluate(form, d, a[:4], b[:4]))
        told = advise.advise(form, [d] * 4, golds, at_kl=where**2)
        true = laws.peak(form, a[4], b[4])[0]
        inside.append(told.kl_peak_interval[0] <= true**2 <= told.kl_peak_interval[1])
        said.append(told.probability_turned)
        turned.append(true < where)
    assert 0.85 < np.mean(inside) < 0.95
    assert np.mean(turned) - 0.09 < np.mean(said) < np.mean(turned) + 0.01


def test_backtest_covers_on_made_runs_and_counts_them():
    """Noise so low that a run's own peak, read off a spline, is where its law has it."""
    d, gold = replicated_runs("rl", np.random.default_rng(6), 40, 5, noise=0.002, d=FAR, spread=0.6)
    tested = advise.backtest([("rl", [d] * 5, list(one)) for one in gold])
    assert tested["runs"] == 200 and 0.84 < tested["share"] < 0.97
    assert tested["covered"] == round(tested["share"] * 200)


def test_backtest_of_a_run_unlike_the_others_does_not_cover():
    """The back-test can fail: four runs peak near d = 1.5, the fifth at 3."""
    d = np.linspace(0, 6, 61)
    golds = [laws.overoptimization_rl(d, beta * (1 + np.log(at)), beta) for at, beta in
             ((1.45, 0.5), (1.5, 0.5), (1.55, 0.5), (1.5, 0.5), (3.0, 0.5))]  # fmt: skip
    tested = advise.backtest([("rl", [d] * 5, golds)])
    assert (tested["runs"], tested["covered"]) == (5, 4)


def test_without_seeds_or_a_peak_it_says_so():
    d = np.linspace(0, 5, 20)
    alone = advise.advise("rl", [d], [laws.overoptimization_rl(d, 0.7, 0.5)])
    assert alone.kl_peak_interval is None and alone.probability_turned is None and "one run" in alone.text
    rising = advise.advise("bon", [d, d], [0.5 * d + 0.02 * d**2] * 2)
    assert rising.kl_peak is None and "does not turn" in rising.text
    falling = advise.advise("bon", [d, d], [-0.5 * d - 0.02 * d**2] * 2)
    assert falling.kl_peak is None and "never gains" in falling.text


def test_advice_from_a_file(tmp_path, capsys):
    d, gold = replicated_runs("rl", np.random.default_rng(7), 1, 4, noise=0.01)
    rows = [pd.DataFrame({"seed": s, "kl": d**2, "gold": gold[0, s]}) for s in range(4)]
    pd.concat(rows).to_csv(tmp_path / "c.csv", index=False)
    command = ["advise", tmp_path / "c.csv", "--x", "kl", "--seed-column", "seed", "--json", tmp_path / "a.json"]
    assert main([str(c) for c in command]) == 0
    told = json.loads((tmp_path / "a.json").read_text())
    low, high = told["groups"][0]["kl_peak_interval"]
    assert low < np.exp(2 * (0.7 / 0.5 - 1)) < high and told["backtest"]["runs"] == 4
    said = capsys.readouterr().out
    assert "peak at" in said and " of gold)" in said and "s.d." not in said  # a file's gold has a unit of its own
    for more, words in (
        (["--at-kl", "-3"], "--at-kl -3"),
        (["--at-kl", "inf"], "--at-kl inf"),
        (["--x", "steps=seed", "--form", "hill"], "--form hill never turns"),
        (["--x", "steps=seed"], "--x steps=seed is no distance; allowed are kl, sqrt_kl, n"),
    ):
        assert main([str(c) for c in command] + more) == 2
        assert words in capsys.readouterr().err


def test_gold_that_starts_elsewhere_is_named_and_its_points_are_kept(tmp_path, capsys):
    """Gold of 3 at the reference is far off the law near it; the line is about its zero, and no point is left out."""
    d = np.sqrt(np.linspace(0, 36, 21))
    gold = 3 + laws.overoptimization_rl(d, 0.9, 0.35) + 0.02 * np.random.default_rng(0).normal(size=21) * (d > 0)
    pd.DataFrame({"kl": d**2, "gold": gold}).to_csv(tmp_path / "c.csv", index=False)
    for command in (["advise"], ["fit", "--form", "rl"]):
        assert main([*command, str(tmp_path / "c.csv"), "--x", "kl"]) == 0
        said = capsys.readouterr().err
        assert "gold is 3 at KL 0 but the laws start at 0" in said and "far off" not in said


def test_every_variant_of_an_experiment_has_its_own_advice(tmp_path, monkeypatch):
    """data_size has two ways of training at each number of pairs, and each seed a run of both."""
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "cache"))
    assert main(["advise", "data_size", "--runs", str(RECORDS), "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())["groups"]
    of = lambda name: {group[name] for group in found}
    assert len(found) == len(of("variant")) * len(of("method")) * len(of("num_pairs")) == 20
