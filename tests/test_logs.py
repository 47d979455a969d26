"""`python -m analysis fit` and `advise` on many made logs: no silent wrong number.

Every file gives the coefficients that it was made with, or one line that says what to type.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.fit import known_columns
from gold_sim import laws
from tests.made_logs import ALPHA, BETA, KINDS, NAMES, STEPS, fit, law, lines, run_of, table, written


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("naming", NAMES)
def test_every_kind_of_log_gives_its_law_or_the_line_to_type(tmp_path, capsys, kind, naming):
    """11 kinds of file x 7 namings x resumed or not x gold now and then or not: 308 logs."""
    kl, gold, length, _ = NAMES[naming]
    unit = ["--kl-unit", "token", "--length", length] if length else ["--kl-unit", "response"]
    for resumed in (False, True):
        for sparse in (False, True):
            folder = tmp_path / f"{resumed}{sparse}"
            folder.mkdir()
            path = written(folder, kind, run_of(naming, resumed, sparse))
            found, said = fit(capsys, path, *unit, x=f"kl={kl}", y=gold)
            assert law(found) == pytest.approx((ALPHA, BETA), rel=2e-3), (resumed, sparse)
            assert ("resumed" in said) is resumed and ("left out, " in said) is sparse
            if naming != "plain" or kind in ("trainer_state", "events"):
                _, said = fit(capsys, path, x=f"kl={kl}", y=gold, status=2)
                assert said.count("\n") == 1 and "--kl-unit" in said and (length or "response") in said


def test_a_seed_that_ended_early_is_named_and_each_run_fitted_over_its_own_range(tmp_path, capsys):
    """The others turn at d = 2.7; on the range that seed 3 reaches, d < 1, noise would make the peak what it likes."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(4):
        for i, kl in enumerate(np.linspace(0.2, 4.5, 40) ** 2):
            gold = float(laws.overoptimization_rl(math.sqrt(kl), 0.6, 0.3)) + 0.01 * rng.normal()
            rows.append({"seed": seed, "step": i, "kl": kl * (1 + 0.01 * seed), "gold": gold})
    path = written(tmp_path, "csv", [row for row in rows if row["seed"] < 3 or row["kl"] < 1])
    found, said = fit(capsys, path, "--seed-column", "seed")
    assert "seed 3 (at d = 0.9" in said and "own range" in said
    assert found["groups"][0]["d_peak"] == pytest.approx(math.e, rel=0.1) and found["groups"][0]["runs"] == 4
    assert "beyond the data" not in said
    _, said = fit(capsys, path, "--seed-column", "seed", command="advise")
    assert "seed 3 ended early and is left out" in said


def test_runs_that_nobody_told_apart_are_no_restarts(tmp_path, capsys):
    """Two seeds one after the other, with dense and with sparse gold: both count, and the column to name is said."""
    for sparse in (False, True):
        rows = [row | {"seed": seed} for seed in (0, 1) for row in run_of("plain", sparse=sparse)]
        found, said = fit(capsys, lines(tmp_path, rows), "--kl-unit", "response")
        assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3)
        assert "--seed-column seed" in said and "resumed" not in said


def test_a_sweep_with_the_same_step_in_every_row_keeps_its_rows(tmp_path, capsys):
    path = written(tmp_path, "csv", [row | {"step": 1000, "beta": 1 / (1 + row["kl"])} for row in STEPS])
    assert fit(capsys, path)[0]["n_points"] == 13


@pytest.mark.parametrize(
    "order", [range(13, -1, -1), np.random.default_rng(0).permutation(14), [*range(7, 14), *range(7)]]
)
def test_tables_in_another_order_than_that_of_time_are_whole(tmp_path, capsys, order):
    turned = [STEPS[i] for i in order]
    found, said = fit(capsys, written(tmp_path, "csv", turned))
    assert law(found) == pytest.approx((ALPHA, BETA), abs=1e-3) and found["n_points"] == 13
    assert "resumed" not in said and "turns" not in said


TOKEN = ["--kl-unit", "token"]
REFUSED = {
    "no common step": ([*({"step": 2 * i + 1, "kl": i} for i in range(5)), {"step": 2, "gold": 1.0}], [], "no step"),
    "no gold at all": ([{"step": i, "kl": i, "gold": None} for i in range(5)], [], "gold is nan or empty in all 5"),
    "infinite": ([row | {"kl": float("inf")} for row in STEPS], [], "kl=inf in data row 1"),
    "text": ([row | {"kl": "3.2 nats"} for row in STEPS], [], "kl='3.2 nats'"),
    "another case": ([{"Step": r["step"], "KL": r["kl"], "gold": r["gold"]} for r in STEPS], [], "is 'KL' meant?"),
    "a space": ([{"kl ": r["kl"], "gold": r["gold"]} for r in STEPS], [], "is 'kl ' meant?"),
    "a letter": ([row | {"seeds": 1} for row in STEPS], ["--by", "seed"], "is 'seeds' meant?"),
    "under a section": ([{"train/kl": r["kl"], "gold": r["gold"]} for r in STEPS], [], "is 'train/kl' meant?"),
    "reward beside": ([row | {"reward": 1.0} for row in STEPS], [], "--kl-unit"),
    "entropy beside": ([row | {"entropy": 1.0} for row in STEPS], [], "--kl-unit"),
    "a section beside": ([row | {"critic/score/mean": 1.0} for row in STEPS], [], "--kl-unit"),
    "length of 0": ([row | {"len": 0} for row in STEPS], [*TOKEN, "--length", "len"], "len=0 in data row 1"),
    "length not named": ([row | {"response_length": 9} for row in STEPS], TOKEN, "--length response_length"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "list"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_known_is_one_line(tmp_path, capsys, kind, case):
    rows, words, named = REFUSED[case]
    if (kind, case) == ("csv", "a space"):  # which is stripped there, as people write commas and spaces
        return
    _, said = fit(capsys, written(tmp_path, kind, rows), *words, status=2)
    assert named in said and said.count("\n") == 1


WARNED = {
    "KL of one update": ("actor/ppo_kl", {"actor/grad_norm": 1.0}, "response", "not to the reference"),
    "approximate KL": ("train/approx_kl", {}, "response", "not to the reference"),
    "engine mismatch": ("gen_kl_error", {}, "response", "not to the reference"),
    "GRPO as a response's": ("kl", {"completions/mean_length": 200.0}, "response", "too small"),
    "verl as a response's": ("actor/kl_loss", {}, "response", "too small"),
    "PPO as a token's": ("objective/kl", {"val/ratio": 1.0}, "token", "too large"),
    "the longest for the mean": ("actor/kl_loss", {}, "token --length max_len", "no mean"),
}


@pytest.mark.parametrize("case", WARNED)
def test_a_unit_against_the_table_of_known_columns_is_warned_of(tmp_path, capsys, case):
    column, others, unit, named = WARNED[case]
    rows = [
        {"step": r["step"], column: r["kl"], "gold": r["gold"], "len": 1.0, "max_len": 1.0, **others} for r in STEPS
    ]
    unit = unit.split() + (["--length", "len"] if unit == "token" else [])
    _, said = fit(capsys, lines(tmp_path, rows), "--kl-unit", *unit, x=f"kl={column}")
    assert named in said


def test_our_own_curves_need_no_unit(tmp_path, capsys):
    """They have entropy and length beside KL, as a trainer's log has."""
    ours = {"gold_seed": 0, "rm_params": 100, "proxy": 1.0, "entropy": 3.0, "length": 9.0, "policy_loss": 2.0}
    rows = [{"kl": r["kl"], "d": math.sqrt(r["kl"]), "gold": r["gold"], **ours} for r in STEPS]
    assert law(fit(capsys, written(tmp_path, "csv", rows))[0]) == pytest.approx((ALPHA, BETA), abs=1e-3)


@pytest.mark.parametrize(("cell", "said"), [("1,234", "may be 1.234 or 1234"), ("0,427", None), ("12,5", None)])
def test_a_comma_that_may_be_of_thousands_is_not_guessed_at(tmp_path, capsys, cell, said):
    path = table(tmp_path, f"kl;gold\n{cell};1\n4;2\n5;3\n")
    assert said is None or said in fit(capsys, path, form="bon", status=2)[1]
    assert said or fit(capsys, path, form="bon")[0]["n_points"] == 3


@pytest.mark.parametrize("text", ["[1, 2]", '{"a": 1}', '[{"kl": 1', "kl,gold\n1,2\n"])
def test_json_that_holds_no_rows_is_refused_in_a_persons_terms(tmp_path, capsys, text):
    _, said = fit(capsys, table(tmp_path, text, "x.json"), status=2)
    assert said.count("\n") == 1 and ("log_history" in said or "no whole JSON" in said) and "char " not in said


def test_known_columns_are_printed_without_a_file(capsys):
    assert main(["fit", "--known-columns"]) == 0
    out = capsys.readouterr().out
    assert all(row.column in out and row.source in out for row in known_columns.KNOWN)
    trainers = " ".join(row.trainer for row in known_columns.KNOWN)
    for name in ("PPO", "RLOO", "GRPO", "DPO", "KTO", "OpenRLHF", "verl", "NeMo-RL", "trlX", "tunix", "open-instruct"):
        assert name in trainers


@pytest.mark.parametrize("words", ["--help", "fit --help", "fit --known-columns", "fit x.csv --x kl --form rl"])
def test_the_command_line_starts_in_under_a_second_of_processor_time(tmp_path, words):
    """What takes long to import is not: jax, numpyro, plotly, scipy.stats."""
    written(tmp_path, "csv", STEPS).rename(tmp_path / "x.csv")
    code = (
        "import sys, time; from analysis.__main__ import main; status = main(sys.argv[1:]); "
        "slow = {'jax', 'numpyro', 'plotly', 'scipy.stats', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'{slow}, {time.process_time():.2f} s' if slow or status or time.process_time() > 1 else 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], cwd=tmp_path, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet"])
def test_a_file_without_anything_in_it_is_called_empty(tmp_path, capsys, name):
    (tmp_path / name).write_text("\n" if name.endswith("sv") else "")
    assert main(["fit", str(tmp_path / name), "--x", "kl", "--form", "rl"]) == 2
    assert capsys.readouterr().err.endswith(f"{name}: is empty; a table with one row a point is wanted\n")
