"""`python -m analysis fit` on published points, on logs as trainers write them, and on what cannot be fitted."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import numbers
from analysis.__main__ import main
from analysis.fit import fits, importers
from analysis.fit.coverage import replicated_runs
from gold_sim import laws

# ICML version of Gao et al. 2023, figures 3a and 3b, by eye: (alpha, beta) of best-of-n by reward-model size.
ICML = {
    3e6: (0.508, 0.1286),
    12e6: (0.515, 0.1196),
    25e6: (0.552, 0.1108),
    42e6: (0.565, 0.1197),
    85e6: (0.583, 0.0978),
    300e6: (0.624, 0.0950),
    680e6: (0.647, 0.0954),
    1.2e9: (0.635, 0.0862),
    3e9: (0.643, 0.0798),
}
POINTS = Path(__file__).parent / "gao2023_bon.csv"  # figure 2a of the same, read by eye (+- 0.005)


def run(tmp_path, *arguments, status=0):
    assert main(["fit", *map(str, arguments), "--json", str(tmp_path / "fit.json")]) == status
    return json.loads((tmp_path / "fit.json").read_text())


def refused(capsys, *arguments):
    assert main(["fit", *map(str, arguments)]) == 2
    text = capsys.readouterr().err.strip()
    assert "\n" not in text
    return text


def test_published_points_give_the_published_coefficients(tmp_path):
    """Within 5 % for at least 7 of 9 sizes (8: beta of 42M is 5.3 % off), and the trends have the paper's signs."""
    found = run(tmp_path, POINTS, "--x", "kl", "--by", "rm_params", "--form", "bon")
    near = [
        abs(g["alpha"] / ICML[g["rm_params"]][0] - 1) < 0.05 and abs(g["beta"] / ICML[g["rm_params"]][1] - 1) < 0.05
        for g in found["groups"]
    ]
    assert len(near) == 9 and sum(near) >= 8
    assert found["trends"]["alpha"]["slope_ci"][0] > 0 > found["trends"]["beta"]["slope_ci"][1]
    assert found["groups"][0]["alpha_ci"] == [None, None] and any("no intervals" in w for w in found["warnings"])


def curves(tmp_path, form="rl", seeds=4, name="curves.csv", **changes):
    d, gold = replicated_runs(form, np.random.default_rng(0), 2, seeds, noise=0.003)
    rows = [
        pd.DataFrame({"size": g, "seed": s, "kl": d**2, "gold": gold[g, s], "gold_se": 0.02})
        for g in range(2)
        for s in range(seeds)
    ]
    pd.concat(rows).assign(**changes).to_csv(tmp_path / name, index=False)
    return tmp_path / name


@pytest.mark.parametrize("form", laws.FORMS)
def test_every_form_is_fitted_and_compared(tmp_path, form):
    path = curves(tmp_path, form, seeds=8)
    found = run(tmp_path, path, "--x", "kl", "--by", "size", "--form", form, "--seed-column", "seed", "--compare")
    assert all(g["converged"] and g["r2"] > 0.99 for g in found["groups"])
    verdicts = {told["verdict"] for told in found["comparison"]}
    assert form in verdicts and verdicts <= {form, None}
    shape = laws.FORMS[form].shape
    assert not shape or all(low < g[shape] < high for g in found["groups"] for low, high in [g[f"{shape}_ci"]])


def test_information_criteria_are_of_all_points_used(tmp_path):
    """By hand from the residuals: k = 2 groups x 2 coefficients + 1 variance; one alpha for both saves one."""
    path = curves(tmp_path)
    arguments = [path, "--x", "kl", "--by", "size", "--form", "rl", "--seed-column", "seed"]
    found = run(tmp_path, *arguments)
    table = pd.read_csv(path)
    residual = 0.0
    for g in found["groups"]:
        rows = table[table["size"] == g["size"]]
        residual += np.sum((rows["gold"] - laws.overoptimization_rl(np.sqrt(rows["kl"]), g["alpha"], g["beta"])) ** 2)
    n, k = found["n_points"], 5
    assert n == len(table)
    minus_twice = n * (np.log(2 * np.pi * residual / n) + 1)
    assert found["aicc"] == pytest.approx(2 * k + minus_twice + 2 * k * (k + 1) / (n - k - 1))
    assert found["bic"] == pytest.approx(k * np.log(n) + minus_twice)
    assert run(tmp_path, *arguments, "--share", "beta")["groups"][0]["beta"] == pytest.approx(0.5, abs=0.05)


def test_worlds_and_seeds_are_levels(tmp_path):
    """world,seed: with two worlds the world is the draw; named the other way round the first name still leads."""
    path = curves(tmp_path)
    table = pd.read_csv(path)
    both = pd.concat([table.assign(world=0), table.assign(world=1, gold=table["gold"] * 1.3)])
    both.to_csv(path, index=False)
    found = run(tmp_path, path, "--x", "kl", "--form", "rl", "--by", "size", "--seed-column", "world,seed")
    alone = run(tmp_path, path, "--x", "kl", "--form", "rl", "--by", "size", "--seed-column", "seed,world")
    width = lambda result: np.diff(result["groups"][0]["alpha_ci"])[0]
    assert found["groups"][0]["runs"] == 8 and width(found) > 3 * width(alone)


def test_ten_thousand_curves(tmp_path):
    """2,500 groups of four runs, all recovered (a benchmark would time it: 20 s on one core)."""
    d, gold = replicated_runs("bon", np.random.default_rng(1), 2500, 4)
    index = pd.MultiIndex.from_product([range(2500), range(4), d], names=["g", "seed", "sqrt_kl"])
    table = pd.DataFrame({"gold": gold.ravel()}, index=index).reset_index()
    table.to_parquet(tmp_path / "many.parquet")
    arguments = ["--x", "sqrt_kl", "--by", "g", "--form", "bon", "--seed-column", "seed"]
    found = run(tmp_path, tmp_path / "many.parquet", *arguments)
    inside = [g["alpha_ci"][0] <= 0.6 <= g["alpha_ci"][1] for g in found["groups"]]
    assert len(inside) == 2500 and 0.88 < np.mean(inside) < 0.92  # s.e. 0.006


# --- what is odd is said, what is wrong is refused -------------------------------------------------


def test_repeated_distances_and_unlike_units_are_warned_of(tmp_path):
    path = curves(tmp_path)
    assert any("repeat a distance" in w for w in run(tmp_path, path, "--x", "kl", "--form", "rl")["warnings"])
    table = pd.read_csv(path)
    table.loc[table["size"] == 1, "kl"] /= 2000
    table.to_csv(path, index=False)
    arguments = [path, "--x", "kl", "--by", "size", "--form", "bon", "--seed-column", "seed"]
    assert any("mixed units" in w for w in run(tmp_path, *arguments)["warnings"])


def test_one_point_is_not_a_law(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("kl,gold\n4,0.5\n")
    found = run(tmp_path, path, "--x", "kl", "--form", "rl", status=1)
    assert found["groups"][0]["converged"] is False and found["groups"][0]["alpha"] is None
    assert any("not fitted" in w for w in found["warnings"])


def test_a_header_alone_and_a_zero_error_are_refused(tmp_path, capsys):
    path = tmp_path / "none.csv"
    path.write_text("kl,gold\n")
    assert "no rows" in refused(capsys, path, "--x", "kl", "--form", "rl")
    path = curves(tmp_path, gold_se=0.0)
    assert "gold_se=0" in refused(capsys, path, "--x", "kl", "--form", "rl", "--se", "gold_se")


def test_a_large_file_is_read_by_the_columns_asked_for(tmp_path, monkeypatch):
    path = curves(tmp_path, prompt="x" * 500)
    monkeypatch.setattr(importers, "LARGE", 1000)
    found = run(tmp_path, path, "--x", "kl", "--by", "size", "--form", "rl", "--seed-column", "seed")
    assert found["groups"][0]["converged"] and any("only the columns asked for" in w for w in found["warnings"])
    assert "prompt" not in importers.read(path, ["kl", "gold"]).table.columns
    for suffix, write in ((".parquet", "to_parquet"), (".jsonl", "to_json")):
        more = {"orient": "records", "lines": True} if suffix == ".jsonl" else {}
        getattr(pd.read_csv(path), write)(tmp_path / f"c{suffix}", **more)
        assert set(importers.read(tmp_path / f"c{suffix}", ["kl", "gold"]).table.columns) == {"kl", "gold"}


# --- trainers' logs --------------------------------------------------------------------------------


def trainer_state(tmp_path, tag="objective/kl", tokens=1.0):
    """As transformers.Trainer writes it: one dict a step, evaluation in a dict of its own at the same step."""
    history = []
    for step in range(12):
        d = 0.3 + 0.4 * step
        history.append({"step": step, "epoch": step / 12, tag: d**2 / tokens, "tokens": tokens})
        history.append({"step": step, "eval/gold": float(laws.overoptimization_rl(d, 0.7, 0.4))})
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"global_step": 12, "log_history": history, "best_metric": None}))
    return path


def test_trainer_state_wants_its_unit_stated(tmp_path, capsys):
    path = trainer_state(tmp_path)
    arguments = [path, "--x", "kl=objective/kl", "--y", "eval/gold", "--form", "rl"]
    assert "--kl-unit" in refused(capsys, *arguments)
    found = run(tmp_path, *arguments, "--kl-unit", "response")["groups"][0]
    assert (found["alpha"], found["beta"]) == pytest.approx((0.7, 0.4))


def test_kl_a_token_times_tokens_is_kl_a_response(tmp_path):
    path = trainer_state(tmp_path, tag="kl", tokens=53.0)
    arguments = [path, "--x", "kl", "--y", "eval/gold", "--form", "rl", "--kl-unit", "token", "--length", "tokens"]
    found = run(tmp_path, *arguments)["groups"][0]
    assert (found["alpha"], found["beta"]) == pytest.approx((0.7, 0.4))


def test_json_lines_of_a_trainer_want_their_unit_too(tmp_path, capsys):
    rows = [{"objective/kl": d**2, "gold": float(laws.overoptimization_rl(d, 0.7, 0.4))} for d in (0.5, 1.0, 2.0, 3.0)]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    arguments = [path, "--x", "kl=objective/kl", "--form", "rl"]
    assert "--kl-unit" in refused(capsys, *arguments)
    assert run(tmp_path, *arguments, "--kl-unit", "response")["groups"][0]["converged"]


def test_event_files_are_read_run_by_run(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for seed in (1, 2):
        writer = EventFileWriter(str(tmp_path / "logs" / f"seed{seed}"))
        for step in range(10):
            d = 0.3 + 0.5 * step
            values = {"objective/kl": d**2, "gold": float(laws.overoptimization_rl(d, 0.7 + 0.01 * seed, 0.4))}
            scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
            writer.add_event(Event(step=step, wall_time=step, summary=Summary(value=scalars)))
        writer.close()
    arguments = [tmp_path / "logs", "--x", "kl=objective/kl", "--form", "rl", "--seed-column", "run"]
    found = run(tmp_path, *arguments, "--kl-unit", "response")["groups"][0]
    assert found["runs"] == 2 and found["alpha"] == pytest.approx(0.715, abs=1e-5)


def test_a_json_file_that_is_no_state_is_refused(tmp_path, capsys):
    (tmp_path / "x.json").write_text("[1, 2]")
    assert "log_history" in refused(capsys, tmp_path / "x.json", "--x", "kl", "--form", "rl")


def test_tables_and_warnings_name_a_size_with_all_its_digits(tmp_path, capsys):
    run(tmp_path, POINTS, "--x", "kl", "--by", "rm_params", "--form", "bon")
    told = capsys.readouterr()
    assert "\n    3,000,000  " in told.out and "e+0" not in told.out
    assert "rm_params=3,000,000,000: the law's peak" in told.err and ".0:" not in told.err
    assert [numbers.label(key) for key in (0.025, 3e22, 1e6 + 1, "a")] == ["0.025", "3e+22", "1,000,001", "a"]


def test_fitting_needs_no_seed_column_named_group(tmp_path):
    """A table with a column named as the result's default key."""
    table = pd.DataFrame({"group": ["a"] * 5, "kl": np.arange(1.0, 6), "gold": [0.3, 0.4, 0.45, 0.47, 0.48]})
    table.to_csv(tmp_path / "g.csv", index=False)
    options = fits.Options(x="kl", form="bon", by="group")
    points, _ = fits.load(tmp_path / "g.csv", options)
    assert fits.fit(points, options)["groups"][0]["group"] == "a"


def csv(tmp_path, name="curves.csv", **changes):
    """A log of two groups and three seeds that follow the RL law exactly: alpha 0.7, beta 0.5 and 0.3."""
    rows = []
    for size, beta in (("small", 0.5), ("large", 0.3)):
        for seed in range(3):
            d = np.linspace(0, 5 + 0.1 * seed, 20)
            rows.append(
                pd.DataFrame(
                    {
                        "size": size,
                        "seed": seed,
                        "kl": d**2,
                        "sqrt_kl": d,
                        "gold": laws.overoptimization_rl(d, 0.7 + 0.01 * seed, beta),
                    }
                )
            )
    path = tmp_path / name
    table = pd.concat(rows).assign(**changes)
    {
        ".csv": lambda: table.to_csv(path, index=False),
        ".parquet": lambda: table.to_parquet(path),
        ".jsonl": lambda: table.to_json(path, orient="records", lines=True),
    }[path.suffix]()
    return path


@pytest.mark.parametrize(("name", "x"), [("c.csv", "kl"), ("c.parquet", "sqrt_kl"), ("c.jsonl", "sqrt_kl=sqrt_kl")])
@pytest.mark.parametrize("share", [None, "alpha"])
def test_fit_recovers_the_law_from_a_log(tmp_path, name, x, share):
    command = ["fit", csv(tmp_path, name), "--x", x, "--by", "size", "--form", "rl", "--seed-column", "seed"]
    command += ["--share", share] if share else []
    assert main([str(a) for a in [*command, "--json", tmp_path / "fit.json"]]) == 0
    found = json.loads((tmp_path / "fit.json").read_text())
    assert {"form", "share", "n_points", "groups", "aicc", "bic", "warnings"} <= set(found) and found["share"] == share
    by_size = {g["size"]: g for g in found["groups"]}
    assert by_size["small"]["beta"] == pytest.approx(0.5, abs=1e-4)
    assert by_size["large"]["beta"] == pytest.approx(0.3, abs=1e-4)
    for g in by_size.values():
        assert g["alpha"] == pytest.approx(0.71, abs=1e-4) and g["converged"] is True and g["r2"] > 0.999
        # seeds' alphas .70 .71 .72: s.d. .01, t(.95, 2) = 2.920, half width 2.920 * .01 / sqrt(3) = .01686
        assert g["alpha_ci"] == pytest.approx([0.71 - 0.01686, 0.71 + 0.01686], abs=1e-4)
        assert g["d_peak"] == pytest.approx(np.exp(0.71 / g["beta"] - 1), rel=1e-3)


def test_fit_from_n_of_best_of_n(tmp_path):
    n = np.array([1, 2, 4, 16, 64, 256])
    d = np.sqrt(np.log(n) - (n - 1) / n)
    path = tmp_path / "n.csv"
    pd.DataFrame({"n": n, "gold": laws.overoptimization_bon(d, 0.6, 0.1)}).to_csv(path, index=False)
    options = fits.Options(x="n", form="bon")
    points, _ = fits.load(path, options)
    result = fits.fit(points, options)
    group = result["groups"][0]
    assert (group["alpha"], group["beta"]) == pytest.approx((0.6, 0.1)) and np.isnan(group["alpha_ci"]).all()
    assert any("no intervals" in line for line in fits.on_intervals(result, options))


def test_fit_warns_where_gold_does_not_start_at_zero(tmp_path):
    options = fits.Options(x="kl", form="rl", by="size", seeds=("seed",))
    points, _ = fits.load(csv(tmp_path), options)
    assert not any("subtract" in w for w in fits.fit(points, options)["warnings"])
    points["gold"] += 0.4
    assert any("subtract" in w for w in fits.fit(points, options)["warnings"])


@pytest.mark.parametrize(
    ("changes", "arguments", "named"),
    [
        ({}, ["--by", "width"], "'width'"),
        ({}, ["--y", "score"], "'score'"),
        ({}, ["--x", "steps"], "steps"),
        ({}, ["--form", "cubic"], "'cubic'"),
        ({}, ["--share", "gamma"], "gamma"),
        ({}, ["--form", "power", "--share", "alpha"], "'power'"),
        ({}, ["--se", "gold_se"], "'gold_se'"),
        ({}, ["--kl-unit", "bits"], "bits"),
        ({}, ["--kl-unit", "token"], "--length"),
        ({}, ["--d-min", "-1"], "-1"),
        ({"gold": np.nan}, [], "nan"),
        ({"gold": "high"}, [], "'high'"),
        ({"kl": -1.0}, [], "kl=-1"),
    ],
)
def test_fit_refuses_bad_input_in_one_line(tmp_path, capsys, changes, arguments, named):
    path = csv(tmp_path, **changes)
    assert named in refused(capsys, path, "--x", "kl", "--form", "rl", *arguments)


def test_fit_refuses_what_is_no_table(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.parquet").write_text("x")
    for path in (tmp_path / "a.txt", tmp_path / "a.parquet", tmp_path / "none.csv"):
        assert path.name in refused(capsys, path, "--x", "kl", "--form", "rl")


def fitted(path, *arguments):
    out = path.parent / "fit.json"
    command = ["fit", path, "--x", "kl", "--by", "size", "--form", "rl", "--seed-column", "seed", "--json", out]
    assert main([str(a) for a in [*command, *arguments]]) == 0
    return json.loads(out.read_text())


def test_a_shared_alpha_pairs_groups_by_seed_not_by_place(tmp_path):
    """Seed s has alpha 0.7 + 0.01 s in both groups. Without small's seed 0 and large's seed 2 only seed 1 is common."""
    path = csv(tmp_path)
    table = pd.read_csv(path)
    gone = ((table["size"] == "small") & (table["seed"] == 0)) | ((table["size"] == "large") & (table["seed"] == 2))
    table[~gone].to_csv(path, index=False)
    found = fitted(path, "--share", "alpha")
    assert [g["alpha"] for g in found["groups"]] == pytest.approx([0.71, 0.71], abs=1e-9)
    assert [g["beta"] for g in found["groups"]] == pytest.approx([0.3, 0.5], abs=1e-9)
    assert any("seed 0, 2" in w for w in found["warnings"])


def test_fit_leaves_out_and_counts_what_diverged(tmp_path):
    path = csv(tmp_path)
    table = pd.read_csv(path).assign(status="ok")
    table.loc[[3, 4], ["status", "gold"]] = ["diverged", np.nan]
    table.to_csv(path, index=False)
    found = fitted(path)
    assert found["groups"][1]["beta"] == pytest.approx(0.5, abs=1e-9)
    assert "left out 2 of 120 rows whose status is not ok" in found["warnings"]


@pytest.mark.parametrize("column", ["size", "seed"])
def test_fit_does_not_drop_rows_without_a_group(tmp_path, capsys, column):
    path = csv(tmp_path)
    table = pd.read_csv(path).astype({"seed": float})
    table.loc[7, column] = np.nan
    table.to_csv(path, index=False)
    arguments = [path, "--x", "kl", "--by", "size", "--form", "rl", "--seed-column", "seed"]
    assert f"{column} is empty in data row 8" in refused(capsys, *arguments)


def test_fit_says_why_a_law_has_no_peak(tmp_path):
    path = csv(tmp_path)
    table = pd.read_csv(path)
    table.assign(gold=-table["gold"]).to_csv(path, index=False)
    found = fitted(path)
    assert all(g["d_peak"] is None for g in found["groups"]) and any("alpha <= 0" in w for w in found["warnings"])


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ["fit", csv(tmp_path), "--x", "kl", "--form", "rl", "--json", tmp_path / "file" / "fit.json"]
    assert main([str(a) for a in arguments]) == 2
    assert "can be written to" in capsys.readouterr().err.splitlines()[-1]
