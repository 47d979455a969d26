"""Stopping rules: scores by hand, thresholds of a known rate, nothing learned on the run scored, and commands."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from analysis import curves
from analysis.__main__ import main
from analysis.stopping_rules import arguments, made, rules, scoring, thresholds
from analysis.stopping_rules.rules import Curve, Reading
from tests.made_records import Records, one_run

KL = np.array([0.0, 1.0, 4.0, 9.0, 16.0])
GOLD = np.array([0.0, 1.0, 2.0, 1.5, 0.5])


def run(seed, gold=GOLD, kl=KL, sd=None, **columns):
    return scoring.Run((seed,), kl, np.asarray(gold, float), {k: np.asarray(v, float) for k, v in columns.items()}, sd)


def study(runs, controls=(), rate=0.1):
    return scoring.Study(list(runs), list(controls), "rl", rate)


# --- scores and rules by hand --------------------------------------------------------------------


def test_scores_by_hand():
    """Gold 2 is best, at 4 nats. Stopped and kept at 9: lost 2 - 1.5, lead 4 - 9. The point before kept: lost 0."""
    late = scoring.score(study([run(0)]), "late", lambda curve: bool(curve["kl"][-1] > 5))
    assert (late.regret, late.lead, late.kl, late.stopped) == ([0.5], [-5.0], [9.0], [1.0])
    before = lambda curve: Reading(bool(curve["kl"][-1] > 5), max(curve.now - 1, 0))
    kept = scoring.score(study([run(0)]), "before", before)
    assert (kept.regret, kept.lead, kept.kl) == ([0.0], [-5.0], [4.0])
    early = scoring.score(study([run(0)]), "early", lambda curve: bool(curve["kl"][-1] > 0.5))
    assert (early.regret, early.lead) == ([1.0], [3.0])
    end = scoring.score(study([run(0)]), "last", rules.last)
    assert (end.regret, end.lead, end.stopped) == ([1.5], [-12.0], [0.0]) and math.isnan(end.threshold)


def test_rules_by_hand():
    columns = {
        "kl": KL,
        "proxy": np.array([0, 1, 3, 2, 2.5]),
        "proxy_left_out": np.array([0, 1, 0.5, 2, 1.75]),
        "proxy_spread": np.array([0.1, 0.2, 0.3, 0.5, 0.4]),
        "attr_length": np.array([14.0, 13, 12, 11, 17]),
        "attr_repetition": np.array([0.25, 0.25, 0.5, 0.5, 0.125]),
        "labelled": np.array([0, 1, 4.0, 2, 1]),
        "labelled_se": np.array([1, 1, 3.0, 1, 4]),
    }
    said = lambda rule, seen=5: rule(Curve(columns, seen, lambda: 4.5))
    assert said(rules.best_proxy) == (False, 2) and said(rules.last) is False
    assert said(rules.fixed_kl, 3) == (False, 2) and said(rules.fixed_kl, 4) == (True, 2)
    assert said(rules.left_out) == (0.25, 3) and said(rules.spread) == pytest.approx(0.3)
    assert (said(rules.length_drift), said(rules.length_drift, 4)) == (3.0, 3.0)
    assert said(rules.repetition_drift) == 0.125
    assert said(rules.gold_labels) == (pytest.approx(3 / 5), 2)  # (4 - 1) / sqrt(3^2 + 4^2)


def test_a_rule_sees_no_later_point_and_no_gold():
    seen = []

    def spy(curve):
        seen.append((curve["proxy"].tolist(), [name for name in curve.columns if name.startswith("gold")]))
        return False

    scoring.score(study([run(0, proxy=[5, 6, 7, 8, 9])]), "spy", spy)
    assert seen[1] == ([5, 6], []) and [len(proxy) for proxy, _ in seen] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("said", ["stop", None, math.nan, (True, 7), (0.5, -1), (1, 2, 3)])
def test_what_is_no_answer_is_refused(said):
    with pytest.raises(ValueError, match="rule mine: .* at point 0; allowed are"):
        scoring.score(study([run(0)]), "mine", lambda curve: said)
    with pytest.raises(ValueError, match="a finite number at some points and none at others"):
        scoring.score(study([run(0)]), "mine", lambda curve: curve.now < 2 or 0.5)


def test_many_labels_find_the_best_checkpoint_and_few_do_not():
    """The standard error is 1 / sqrt(k): of 1e8 labels 1e-4, of one 1."""
    of = study([run(s, sd=np.ones(5)) for s in range(6)], [run(s, [0, 1, 2, 3, 4], sd=np.ones(5)) for s in range(6)])
    assert scoring.score(of, "gold_labels", rules.gold_labels, 10**8).regret.max() == 0
    assert scoring.score(of, "gold_labels", rules.gold_labels, 1).regret.min() > 0.1
    with pytest.raises(rules.Lacking, match="gold_sd"):
        scoring.score(study([run(0)]), "gold_labels", rules.gold_labels, 16)


# --- thresholds ----------------------------------------------------------------------------------


def test_thresholds_by_hand():
    """19 values at 0.1: the 18th. Two: mean 2, s.d. 2 ** 0.5, t(0.9, 1) = 3.0777, times (3 / 2) ** 0.5: 2 + 5.3307.

    Of logarithms, where all are above 0: of 1 and 3, mean 0.5493, s.d. 0.7768, 0.5493 + 2.9283: exp = 32.38.
    """
    assert thresholds.at_rate(np.arange(19.0), 0.1) == 17.0 and thresholds.at_rate(np.arange(9.0), 0.1) == 8.0
    assert thresholds.at_rate([1.0, 3.0], 0.1) == pytest.approx(32.38, abs=0.02)
    assert thresholds.at_rate([-1.0, 1.0], 0.1) == pytest.approx(5.3307, abs=1e-3)


def test_the_threshold_of_least_regret_by_hand():
    """Alarms 0 1 2 3 4: stopping above 1 keeps gold 2, the best. Two thresholds do as well; the higher is taken."""
    walk = (np.arange(5.0), np.arange(5))
    assert thresholds.of_least_regret([walk], [GOLD]) == 1.0
    assert thresholds.of_least_regret([walk], [np.arange(5.0)]) == 4.0
    assert thresholds.of_least_regret([walk, walk], [np.array([0, 2, 2, 2, 0.0])] * 2) == 2.0


def test_the_interval_of_a_rate_is_that_of_clopper_and_pearson():
    """0 of 4: up to 1 - 0.05 ** (1 / 4). 4 of 4 mirrors it. 1 of 1 ends at 1."""
    top = 1 - 0.05**0.25
    assert thresholds.rate_interval(0, 4) == pytest.approx((0, top))
    assert thresholds.rate_interval(4, 4) == pytest.approx((1 - top, 1))


@pytest.mark.parametrize("slope", made.SLOPES)
def test_false_alarms_are_as_rare_as_stated(slope):
    """150 data sets: s.e. of the mean about 0.01. Thresholds of the runs' own largest alarm would never be exceeded."""
    for count in (4, 20):
        rng = np.random.default_rng(9)
        cross, further, held = np.mean([made.of_drift(slope, rng, count) for _ in range(150)], axis=0)
        assert 0.04 < further < 0.13 and 0.05 < cross < 0.13, (slope, count)
        assert held > 0.85


def test_nothing_is_learned_on_the_draw_that_is_scored():
    """Seed 0's control drifts a hundredfold, and its run turns elsewhere: the others alone are scored anew."""
    length = lambda seed: 14 + (1 + 0.1 * seed) * np.sqrt(KL)
    controls = [run(s, np.sqrt(KL), attr_length=length(s)) for s in range(3)]
    moved = [run(0, np.sqrt(KL), attr_length=14 + 100 * np.sqrt(KL)), *controls[1:]]
    runs = [run(s, attr_length=14 + 20 * np.sqrt(KL)) for s in range(3)]
    scored = lambda of: scoring.score(study(runs, of), "length_drift", rules.length_drift)
    assert scored(controls).stopped.tolist() == [1, 1, 1]
    assert scored(moved).stopped.tolist() == [1, 0, 0] and scored(moved).alarms[0] == 1.0
    d = np.linspace(0, 4, 21)
    peaked = lambda seed, top: run(seed, top**2 - (d - top) ** 2, d**2)
    budgets = lambda first: [study(of).budget(one) for of in [[peaked(0, first), peaked(1, 1.5), peaked(2, 1.6)]]
                             for one in of]  # fmt: skip
    assert budgets(1.0)[0] == budgets(2.5)[0] and budgets(1.0)[1] < budgets(2.5)[1]


def test_without_controls_a_threshold_is_that_of_the_other_runs():
    """Run 0 is best where length has moved by 4, the others where it has moved by 1: it is stopped there, too."""
    others = [run(s, [0, 2, 1, 1, 1], attr_length=np.sqrt(KL)) for s in (1, 2)]
    found = scoring.score(
        study([run(0, [0, 1, 1, 1, 9], attr_length=np.sqrt(KL)), *others]), "length_drift", rules.length_drift
    )
    assert (found.source, found.kl[0], found.regret[0]) == ("other runs", 1.0, 8.0)


def test_to_stop_at_a_controls_end_is_no_false_alarm():
    """Controls that leap at their last point keep the threshold of those that do not: 3 is the largest before."""
    controls = [run(s, np.arange(5), attr_length=[0, 1, 2, 3, 100]) for s in range(1, 10)]
    found = scoring.score(study([run(0, attr_length=KL)], controls), "length_drift", rules.length_drift)
    assert found.threshold == 3.0 and found.alarms.max() == 0


def test_two_worlds_are_two_draws():
    """Seeds of one world share what is drawn with it, so a rule learns in the other world."""
    runs = [scoring.Run((world, world, seed), KL, GOLD) for world in (0, 1) for seed in (5, 6)]
    of = study(runs)
    assert of.others(runs[0], runs) == [2, 3]
    found = scoring.Score(*np.array([[0, 0, 2, 2.0]] * 4), np.array([]), np.array([]), math.nan, "none")
    assert scoring.row(of, found)["regret_ci"][0] < -5  # t of two worlds: 1 -+ 6.31


# --- commands ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two sizes, of which the larger falls less; controls with half the drift, in the experiment of controls."""
    records = Records(tmp_path_factory.mktemp("stopping") / "runs")
    sizes = {1300: 0.45, 58_000: 0.3}
    drift = lambda table, by: table.assign(attr_length=14 + by * table["d"], gold_sd=1.0)
    cells = [records.cell([drift(one_run("rl", s, 0.75, beta, 6.0, rm_params=size), 1.0) for s in range(6)])
             for size, beta in sizes.items()]  # fmt: skip
    records.manifest("rm_size", "rm_params", cells)
    alone = Records(records.store.root.parent / "alone")
    alone.manifest("rm_size", "rm_params", [alone.cell([one_run("rl", s, 0.75, 0.45, 6.0) for s in range(3)])])
    control = [drift(one_run("rl", s, 0.6, 0.0, reward="gold"), 0.4 + 0.02 * s) for s in range(6)]
    records.manifest("negative_controls", "reward", [records.cell(control)])
    return records.store.root


def stopping(tmp_path, *arguments):
    assert main(["stopping", *map(str, arguments), "--json", str(tmp_path / "stopping.json")]) == 0
    return json.loads((tmp_path / "stopping.json").read_text())


def test_records_with_controls(tmp_path, store, capsys):
    found = stopping(tmp_path, "rm_size", "--runs", store)
    score = {(row["key"]["rm_params"], row["rule"]): row for row in found["rules"]}
    for size in (1300, 58_000):
        last, kl, drift = (score[size, name] for name in ("last", "fixed_kl", "length_drift"))
        assert kl["regret_ci"][1] < last["regret_ci"][0] and abs(kl["lead"]) < -last["lead"] and last["lead_ci"][1] < 0
        assert drift["threshold_from"] == "controls" and drift["stopped"] == 1 and drift["controls"] == 6
        assert drift["false_alarms"] <= 1 / 3 and drift["false_alarms_ci"][0] <= 0.1 <= drift["false_alarms_ci"][1]
        assert last["false_alarms"] == 0 and kl["false_alarms"] == 1 and kl["lost_on_controls"] > 0.3
        assert score[size, "gold_labels 128"]["regret"] < score[size, "gold_labels 16"]["regret"]
    assert {(one["rule"], one["lacks"]) for one in found["not_scored"]} == {
        ("left_out", "proxy_left_out"),
        ("spread", "proxy_spread"),
    }
    assert not any("no controls" in warning for warning in found["warnings"])
    assert "length_drift" in capsys.readouterr().out


def test_methods_are_those_of_curves():
    assert set(arguments.METHODS) == set(curves.METHODS.values())


def test_records_without_controls_warn(tmp_path, store):
    found = stopping(tmp_path, "rm_size", "--runs", store.parent / "alone", "--rule", "length_drift", "last")
    assert "false alarms are not known" in found["warnings"][0] and "negative_controls" in found["warnings"][0]
    assert found["rules"][0]["threshold_from"] == "other runs" and found["rules"][0]["false_alarms"] is None


def test_a_log_and_a_rule_of_ones_own(tmp_path, monkeypatch):
    """A control ends at 4 nats and runs at 16. `mine` stops at the first point whose entropy is below 2: of gold 2."""
    rows = [pd.DataFrame({"step": range(5), "seed": s, "reward": "proxy", "kl": KL, "gold": GOLD, "score": KL,
                          "entropy": [4, 3, 1, 0.5, 0.2]}) for s in range(3)]  # fmt: skip
    rows.append(pd.DataFrame({"step": range(3), "seed": 0, "reward": "gold", "kl": KL[:3], "gold": [0, 1, 2.0],
                              "score": [0, 1, 2.0], "entropy": 4.0}))  # fmt: skip
    table = pd.concat(rows).sample(frac=1, random_state=0)  # in any order, as --step is given
    table.to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "my_rules.py").write_text("def mine(curve):\n    return bool(curve['entropy'][-1] < 2)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    options = ["--x", "kl", "--kl-unit", "response", "--proxy", "score", "--seed-column", "seed", "--step", "step"]
    options += ["--control", "reward=gold"]
    named = ["--see", "entropy", "--rule", "my_rules:mine", "best_proxy", "length_drift"]
    found = stopping(tmp_path, tmp_path / "log.csv", *options, *named)
    mine, proxy = found["rules"]
    assert (mine["regret"], mine["lead"], mine["runs"], mine["controls"]) == (0, 0, 3, 1)
    assert (proxy["regret"], proxy["lead"], mine["false_alarms"]) == (1.5, -12, 0)
    assert found["not_scored"][0]["lacks"] == "attr_length"
    assert any("end at 4 nats" in warning for warning in found["warnings"])


@pytest.mark.parametrize(
    "options, words",
    [
        (["--rate", "0.7"], "--rate 0.7: allowed are rates above 0 and below 0.5"),
        (["--rule", "first"], "allowed are last, best_proxy"),
        (["--labels", "0"], "--labels 0: allowed from 1"),
        (["--control", "reward"], "COLUMN=VALUE is wanted"),
        (["--control", "seed=9"], "no row has seed=9; it has 0, 1"),
        (["--control", "of=Proxy"], "no row has of=Proxy; it has proxy; is proxy meant?"),
        (["--proxy", "score"], "no column 'score'"),
        (["--reference", "frist"], "--reference frist: allowed are a number"),
        (["--x", "steps=step"], "--x steps=step: allowed are kl, sqrt_kl, n"),
        (["--seed-column", "row"], "one row a run; a run is several checkpoints"),
        (["--seed-column", "of"], "several runs share their steps and differ in seed"),
    ],
)
def test_what_cannot_be_scored_is_one_line(tmp_path, capsys, options, words):
    runs = [pd.DataFrame({"seed": s, "step": range(5), "kl": KL, "gold": GOLD}) for s in (0, 1)]
    table = pd.concat(runs).assign(of="proxy", row=range(10))
    table.to_csv(tmp_path / "log.csv", index=False)
    assert main(["stopping", str(tmp_path / "log.csv"), "--x", "kl", "--seed-column", "seed", *options]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said


def test_what_is_odd_in_a_log_is_said(tmp_path, capsys):
    """The law's own points start at 1: `--reference first` gives what a log that starts at 0 gives."""
    kl = np.linspace(0, 36, 25)
    law = np.sqrt(kl) * (1 - 0.15 * np.sqrt(kl))
    runs = [pd.DataFrame({"seed": s, "kl": kl, "gold": law * (1 + s / 50)}) for s in range(4)]
    options = ["--x", "kl", "--seed-column", "seed", "--form", "bon", "--rule", "last", "fixed_kl"]

    def found(table, *more):
        table.to_csv(tmp_path / "log.csv", index=False)
        return stopping(tmp_path, tmp_path / "log.csv", *options, *more)

    plain = pd.concat(runs, ignore_index=True)
    right = found(plain)
    assert not any("group=all" in line for line in right["warnings"])
    off = plain.assign(gold=plain["gold"] + 1)
    assert any("gold is 1 at KL 0" in line for line in found(off)["warnings"])
    assert found(off, "--reference", "first")["rules"][1]["kl"] == pytest.approx(right["rules"][1]["kl"])
    spike = plain.assign(gold=plain["gold"].where(plain.index != 30, 9.0))
    assert any("data row 31 lies far off" in line for line in found(spike)["warnings"])
    early = pd.concat([runs[0].head(8), *runs[1:]])
    assert any("seed 0 ended early" in line for line in found(early)["warnings"])
    assert any(
        "left out 1 runs of one row" in line for line in found(pd.concat([runs[0].head(1), *runs[1:]]))["warnings"]
    )
    assert any("100 of 100 points lie at KL 0" in line for line in found(plain.assign(kl=0.0))["warnings"])
    plain.to_csv(tmp_path / "log.csv", index=False)
    assert main(["stopping", str(tmp_path / "log.csv"), "--x", "kl"]) == 2
    assert "KL falls from 36 to 0 nats at data row 26" in capsys.readouterr().err
