"""Logs that users met, in small: each gave a wrong number without a word, or a refusal that said nothing.

Now each gives what it was made with, or one line that says what to type.
"""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.fit import coverage, odd
from tests.made_logs import ALPHA, BETA, STEPS, fit, gold_of, law, lines, point, run_of, table, write_events, written


def test_kl_a_token_beside_a_length_is_refused_with_its_length(tmp_path, capsys):
    """Before: coefficients of sqrt(nats a token), 4.5 and 12.1, without a word."""
    rows = [row | {"kl": row["kl"] / 200, "loss": 0.1, "mean_completion_len": 200.0} for row in STEPS]
    path = lines(tmp_path, rows)
    for command in ("fit", "advise"):
        _, said = fit(capsys, path, status=2, command=command)
        assert "--kl-unit token --length mean_completion_len" in said
    found, _ = fit(capsys, path, "--kl-unit", "token", "--length", "mean_completion_len")
    assert law(found) == pytest.approx((ALPHA, BETA), abs=2e-3)


def test_lines_for_a_console_are_refused_with_what_can_be_read(tmp_path, capsys):
    path = table(tmp_path, "step:1 - actor/kl_loss:0.001 - val-core/gold/mean@1:0.313\n", "train.log")
    assert ".jsonl" in fit(capsys, path, x="kl=actor/kl_loss", y="val-core/gold/mean@1", status=2)[1]


@pytest.mark.parametrize("low", [-1.3e-18, -0.021, -0.095])
def test_kl_a_little_below_zero_is_zero(tmp_path, capsys, low):
    path = written(tmp_path, "csv", [{"step": 0, "kl": low, "gold": 0.0}, *STEPS[1:]])
    found, said = fit(capsys, path)
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3) and "below 0 in 1 of 14 rows" in said
    path = written(tmp_path, "csv", [{"step": 0, "kl": -0.2, "gold": 0.0}, *STEPS[1:]])
    assert (
        "kl=-0.2 nats a response in data row 1; allowed from 0, and estimates from -0.1"
        in fit(capsys, path, status=2)[1]
    )


def test_a_point_with_all_the_leverage_is_named_beside_a_robust_fit(tmp_path, capsys):
    """One batch's k3 of 1.6 million nats makes beta 0.07 of 0.25; advise leaves the point out."""
    rows = [dict(row) for row in STEPS]
    rows[8]["kl"] = 1_568_987.96
    path = written(tmp_path, "csv", rows)
    found, said = fit(capsys, path)
    assert "data row 9 (KL 1.57e+06" in said and law(found)[1] < 0.1
    robust = found["groups"][0]["robust"]
    assert (robust["alpha"], robust["beta"]) == pytest.approx((ALPHA, BETA), abs=1e-3)
    assert robust["left_out"] == ["data row 9"]
    found, said = fit(capsys, path, command="advise")
    assert "data row 9" in said and found["groups"][0]["kl_end"] < 14


def test_nan_after_a_run_diverged_is_left_out_and_counted(tmp_path, capsys):
    nan = float("nan")
    path = lines(tmp_path, [*STEPS[:11], *({"step": s, "kl": nan, "gold": nan} for s in (220, 240, 260))])
    found, said = fit(capsys, path)
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3)
    assert "3 of 14 steps have neither kl nor gold (the first in data row 12)" in said


def test_a_torn_last_line_is_left_out(tmp_path, capsys):
    path = lines(tmp_path, STEPS)
    path.write_text(path.read_text()[:-20])
    found, said = fit(capsys, path)
    assert found["n_points"] == 12 and "line 14, the last, is cut short" in said


def test_the_root_of_kl_needs_no_unit_where_it_is_known(tmp_path, capsys):
    rows = [
        {"step": row["step"], "policy/sqrt_kl": math.sqrt(row["kl"]), "policy/kl_per_token": 0.1, "reward/mean": 0.1,
         "len": 40, "gold": row["gold"]} for row in STEPS]  # fmt: skip
    path = lines(tmp_path, rows)
    assert law(fit(capsys, path, x="sqrt_kl=policy/sqrt_kl")[0]) == pytest.approx((ALPHA, BETA), abs=1e-3)
    for x in ("kl=policy/sqrt_kl", "kl=policy/kl_per_token", "sqrt_kl=policy/kl_per_token"):
        assert "--x sqrt_kl=policy/sqrt_kl" in fit(capsys, path, "--kl-unit", "response", x=x, status=2)[1]


def test_gold_that_is_not_centred_is_told_of_and_can_be(tmp_path, capsys):
    """Raw gold of a sweep, 3.217 at the reference, no row at KL 0. Before: 3.56 and 1.98 of 0.6 and 0.25."""
    path = written(tmp_path, "csv", [{"kl": row["kl"], "gold": row["gold"] + 3.217} for row in STEPS[1:]])
    for command in ("fit", "advise"):
        _, said = fit(capsys, path, command=command)
        assert "it starts at 3.217" in said and "--reference 3.217" in said
    found, said = fit(capsys, path, "--reference", "3.217")
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3) and "--reference" not in said
    _, said = fit(capsys, path, "--reference", "first")
    assert "first row of 1 runs is not at the reference" in said
    path = written(tmp_path, "csv", [row | {"gold": row["gold"] + 3.217} for row in STEPS])
    assert "gold is 3.22 at KL 0" in fit(capsys, path)[1]
    found, said = fit(capsys, path, "--reference", "first")
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3) and "--reference" not in said
    assert "--reference high: allowed are a number" in fit(capsys, path, "--reference", "high", status=2)[1]


@pytest.mark.parametrize("form", ["offset", "power"])
def test_an_intercept_is_told_from_a_shape_that_bends(form):
    """Without one at most two of 20 runs are called odd, by chance; where gold starts at 1, all are."""
    d, gold = coverage.replicated_runs(form, np.random.default_rng(4), 20, 1, 0.003, coverage.POINTS)
    said = lambda start: [odd.off_zero("", form, [d], [one[0] + start], 0.0) is not None for one in gold]
    assert sum(said(0.0)) <= 2 and all(said(1.0))
    called = coverage.called_odd(form, 0.003, 0.9, np.random.default_rng(4), 20)
    assert called == {"intercept": sum(said(0.0)) / 20, "point": 0.0}


def test_first_is_of_each_run_and_of_a_row_that_has_gold_alone(tmp_path, capsys):
    """Two runs whose judges differ by 1; at step 0 gold was evaluated and KL not logged."""
    rows = []
    for seed in (0, 1):
        rows.append({"seed": seed, "step": 0, "gold": 2.0 + seed})
        rows += [{**row, "seed": seed, "gold": row["gold"] + 2.0 + seed} for row in STEPS[1:]]
    found, said = fit(capsys, lines(tmp_path, rows), "--seed-column", "seed", "--reference", "first")
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3) and "2 of 28 steps have gold but no kl" in said


@pytest.mark.parametrize("names", [("ppo-s1", "ppo-s2"), ("seed: 1", "a - b")])
def test_a_wide_export_of_wandb_is_read_run_by_run(tmp_path, capsys, names):
    columns = {"Step": [row["step"] for row in STEPS]}
    for name, alpha in zip(names, (0.6, 0.64), strict=True):
        for metric, of in (("objective/kl", lambda kl: kl), ("eval/gold", lambda kl, a=alpha: gold_of(kl, a))):
            for bound in ("", "__MIN", "__MAX"):
                columns[f"{name} - {metric}{bound}"] = [of(row["kl"]) for row in STEPS]
    path = tmp_path / "wandb.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    words = {"x": "kl=objective/kl", "y": "eval/gold"}
    assert "--kl-unit response" in fit(capsys, path, "--seed-column", "run", status=2, **words)[1]
    found, _ = fit(capsys, path, "--seed-column", "run", "--kl-unit", "response", **words)
    assert law(found) == pytest.approx((0.62, BETA), abs=1e-3) and found["groups"][0]["runs"] == 2
    assert "--seed-column run" in fit(capsys, path, "--kl-unit", "response", **words)[1]


def test_event_files_after_a_restart_count_once_also_beyond_where_the_new_one_is(tmp_path, capsys):
    """The first file collapsed up to step 250, the second went on from 100 and is at 150. Before: 0.98 and 0.87."""
    naming = "trl_ppo"
    dead = [point(naming, step) | {"eval_gold": -2.0} for step in range(110, 251, 10)]
    rows = [*run_of(naming)[:11], *dead, *run_of(naming)[10:16]]
    path = written(tmp_path, "events", rows)
    found, said = fit(capsys, path, "--kl-unit", "response", x="kl=objective/kl", y="eval_gold")
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3)
    assert found["n_points"] == 15 and "resumed at step 100" in said  # of 16 steps, the first has d = 0.1


def test_two_writers_of_one_folder_are_no_restart(tmp_path, capsys):
    """Training and evaluation in files of their own, one begun after the other."""
    rows = run_of("trl_ppo")
    write_events(tmp_path / "run", [{"step": r["step"], "objective/kl": r["objective/kl"]} for r in rows], ".a")
    write_events(tmp_path / "run", [{"step": r["step"], "eval_gold": r["eval_gold"]} for r in rows[::2]], ".b")
    found, said = fit(capsys, tmp_path / "run", "--kl-unit", "response", x="kl=objective/kl", y="eval_gold")
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3) and "resumed" not in said


def test_a_policy_that_comes_back_is_fitted_on_its_way_out(tmp_path, capsys):
    """Back from 13.6 to 3 nats while gold falls on. Before: one law through both branches."""
    back = [{"step": 300 + 20 * i, "kl": 13.6 - 1.1 * i, "gold": 0.9 - 0.07 * i} for i in range(1, 10)]
    path = written(tmp_path, "csv", [*STEPS, *back])
    found, said = fit(capsys, path)
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3)
    assert "KL turns at step 260 (data row 14), 13.6 nats, and comes back to 3.7" in said and "the 9 points" in said
    same = [row | {"step": 300 + 20 * i} for i, row in enumerate(STEPS[:3:-1])]  # gold comes back as well
    assert "turns" not in fit(capsys, written(tmp_path, "csv", [*STEPS, *same]))[1]


EURO = "step;kl;gold\n" + "".join(f"{r['step']};{r['kl']};{r['gold']}\n" for r in STEPS).replace(".", ",")
COMMA = "step, kl, gold\n" + "".join(f"{r['step']}, {r['kl']}, {r['gold']}\n" for r in STEPS)


@pytest.mark.parametrize("text", [EURO, COMMA, COMMA.replace(", ", "\t"), COMMA.replace(", ", ";")])
def test_semicolons_tabs_spaces_and_decimal_commas_are_read(tmp_path, capsys, text):
    assert law(fit(capsys, table(tmp_path, text))[0]) == pytest.approx((ALPHA, BETA), abs=1e-3)


def test_kl_that_is_no_distance_gives_no_coefficients(tmp_path, capsys):
    """KTO's kl, the reference point of its loss, is 0 nearly throughout."""
    rows = [{"loss": 0.4, "rewards/chosen": 1.0, "logps/chosen": -20.0, "kl": kl, "gold": 0.1 * i}
            for i, kl in enumerate([0.1, 0.05] + [0.0] * 8)]  # fmt: skip
    path = lines(tmp_path, rows)
    assert "KTO" in fit(capsys, path, status=2)[1]
    for command in ("fit", "advise"):
        found, said = fit(capsys, path, "--kl-unit", "response", form="bon", status=1, command=command)
        assert "KTO" in said and "8 of 10 points lie at KL 0" in said
        assert not any(group["alpha"] for group in found["groups"])


@pytest.mark.parametrize("given", [{"kl": float("nan")}, {"kl": None}])
def test_kl_that_was_never_logged_is_said_once(tmp_path, capsys, given):
    path = lines(tmp_path, [row | given for row in STEPS])
    _, said = fit(capsys, path, "--kl-unit", "response", status=2)
    assert "in all 14 rows" in said and "no distance to fit" in said


def test_sizes_as_labels_have_no_slope(tmp_path, capsys):
    labels = ("0.5B-500", "0.5B-1k", "7B")
    rows = [{"proxy": label, "n": n, "gold": 0.1 * n**0.1} for label in labels for n in (1, 2, 4, 8)]
    found, _ = fit(capsys, written(tmp_path, "csv", rows), "--by", "proxy", x="n", form="bon")
    assert found["trends"] == {} and [g["proxy"] for g in found["groups"]] == ["0.5B-1k", "0.5B-500", "7B"]


def test_advice_says_first_that_gold_does_not_turn_within_the_data(tmp_path, capsys):
    """Best-of-n, straight to n = 128: the law's peak is 18,000 times as far. Before: a budget of 69,688 nats."""
    ns = (1, 2, 4, 8, 16, 32, 64, 128)
    d = [math.sqrt(math.log(n) - (n - 1) / n) for n in ns]
    path = written(tmp_path, "csv", [{"n": n, "gain": 9.2 * x - 0.0175 * x * x} for n, x in zip(ns, d, strict=True)])
    found, _ = fit(capsys, path, x="n", y="gain", form="bon", command="advise")
    [group] = found["groups"]
    assert group["text"].startswith("gold does not turn within the data, which end at 3.86 nats")
    assert group["kl_peak"] is None and group["kl_peak_beyond"] == pytest.approx((9.2 / 0.035) ** 2, rel=1e-6)


def test_nothing_fitted_is_status_1_with_what_it_may_be(tmp_path, capsys):
    path = written(tmp_path, "csv", [{"kl": 0.001 * i * i, "gold": 0.02 * i} for i in range(7)])
    found, said = fit(capsys, path, status=1)
    assert found["groups"][0]["converged"] is False and "--kl-unit token" in said and "whole curve lies below" in said
    assert fit(capsys, path, status=1, command="advise")[0]["groups"][0]["fitted"] is False
