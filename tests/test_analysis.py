"""Analysis of synthetic records that have the phenomenon by construction: known laws in, findings out."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from analysis import curves, findings
from analysis.__main__ import main
from analysis.drawing import tables
from analysis.fit import fits
from analysis.studies import bon_vs_rl
from analysis.templates import scaling
from gold_sim import laws
from gold_sim.store import columns, store

SEEDS = (0, 1, 2, 3)
SIZES = (1300, 4100, 15_000, 58_000, 230_000)
NS = np.unique(np.round(2 ** np.arange(0, 12.01, 0.5)))
IDENTITY = {
    "reward": "proxy",
    "gold_kind": "rubric",
    "gold_params": 400_000,
    "rm_width": 16,
    "rm_depth": 1,
    "rm_params": 15_000,
    "num_pairs": 14_400,
    "label_noise": 0.0,
    "annotator": "deterministic",
    "policy_params": 60_000,
    "world_seed": 0,
    "gold_seed": 0,
    "kl_coef": 0.0,
    "num_prompts": 512,
    "status": "ok",
}


def bon_coefficients(size):
    """alpha rises and beta falls with log10 of the size, as in the paper: 0.45 + 0.08 x, 0.16 - 0.03 x."""
    x = np.log10(size / 1300)
    return 0.45 + 0.08 * x, 0.16 - 0.03 * x


def rl_coefficients(size):
    return 0.75, 0.52 - 0.1 * np.log10(size / 1300)


def one_run(form, seed, alpha, beta, d_end=5.0, spread=0.02, noise=0.015, start=0.0, slope=None, **identity):
    """Rows of one run that follows the law, with coefficients of its own and noise correlated along the run."""
    rng = np.random.default_rng([seed, int(1e6 * abs(alpha)), int(1e6 * abs(beta)), form == "rl"])
    alpha, beta = alpha + spread * rng.standard_normal(), beta + 0.3 * spread * rng.standard_normal()
    if form == "bon":
        control = NS.astype(int)
        d = np.sqrt(np.log(NS) - (NS - 1) / NS)
    else:
        control = np.arange(0, 310, 10)
        d = d_end * (1 + 0.05 * rng.standard_normal()) * (control / 300) ** 0.85
    ripple = noise * np.cumsum(rng.standard_normal(len(d))) / np.sqrt(len(d))
    gold = start + laws.evaluate(form, d, alpha, beta) + ripple - ripple[0]
    proxy = start + d * ((0.62 if slope is None else slope) - 0.015 * d) + 0.3 * (ripple - ripple[0])
    share = d / max(d_end, 1)
    table = {name: np.full(len(d), np.nan) for name, c in columns.CURVE_COLUMNS.items() if c.dtype == "float64"}
    absent = {name: c.absent for name, c in columns.CURVE_COLUMNS.items() if c.absent is not None}
    table |= {name: np.full(len(d), value) for name, value in (absent | IDENTITY | identity).items()}
    attributes = {
        "relevance": 0.6 - 0.2 * share,
        "fluency": 0.9 - 0.3 * share,
        "length": 6 + 8 * share,
        "repetition": 0.1 + 0.4 * share**2,
        "template": 0.2 + share,
        "hedging": 0.3 + 0.5 * share,
        "agreement": 0.1 - 0.2 * share,
        "refusal": -0.2 + 0.3 * share,
        "wording": 0.1 + share,
    }
    table |= {f"attr_{name}": values for name, values in attributes.items()}
    table |= {"control": control, "d": d, "kl": d**2, "proxy": proxy, "gold": gold, "seed": np.full(len(d), seed)}
    table["stage"] = np.full(len(d), "best_of_n" if form == "bon" else "policy_gradient")
    table["optimiser"] = np.full(len(d), "best_of_n" if form == "bon" else "rloo")
    return pd.DataFrame(table)


class Records:
    """Writes synthetic cells and manifests into a store."""

    def __init__(self, root):
        self.store, self.count, self.upstream = store.Store(root), 0, {}

    def cell(self, frames):
        self.count += 1
        fingerprint = f"{self.count:016x}"
        frame = pd.concat(frames)
        frame["cell"], frame["rm_cell"] = fingerprint, ""
        stage = frame["stage"].iloc[0]
        table = {name: frame[name].to_numpy() for name in columns.CURVE_COLUMNS}
        record = {"wall_seconds": 12.0, "device": "cpu", "upstream": self.upstream}
        self.store.write(stage, "synthetic", fingerprint, record, {"curves": table})
        return {"stage": stage, "fingerprint": fingerprint, "name": "synthetic"}

    def reward_models(self, axis, keys):
        self.count += 1
        fingerprint = f"{self.count:016x}"
        rows = []
        for i, key in enumerate(keys):
            for seed in SEEDS:
                rng = np.random.default_rng([seed, i])
                row = {name: IDENTITY.get(name, c.absent or 0) for name, c in columns.REWARD_MODEL_COLUMNS.items()}
                row |= {name: 0.1 for name, c in columns.REWARD_MODEL_COLUMNS.items() if c.dtype == "float64"}
                row |= {"cell": fingerprint, "seed": seed, axis: int(key), "val_accuracy": 0.8 + 0.02 * i}
                rows.append(row | {"val_loss": 0.5 - 0.03 * i + 0.005 * rng.standard_normal()})
        table = pd.DataFrame(rows)[list(columns.REWARD_MODEL_COLUMNS)]
        table = {"reward_models": {name: table[name].to_numpy() for name in table.columns}}
        self.store.write("reward_model", "synthetic", fingerprint, {}, table)
        return [fingerprint]

    def manifest(self, experiment, axis, cells, reward_models=(), **about):
        """about: what it says beside, or in place, of the made values."""
        content = {
            "experiment": experiment,
            "preset": "smoke",
            "title": f"Synthetic {experiment}",
            "question": "How far?",
            "figure": "paper figure 1",
            "expected": "Gold rises, then falls.",
            "axis": axis,
            "cells": cells,
            "reward_models": list(reward_models),
            "overrides": {},
            "created": "2024-01-01",
            "commit": "",
        } | about
        self.store.write_manifest(f"{experiment}-{content['preset']}", content)


def write_all(root):
    made = Records(root)
    by_size = []
    for size in SIZES:
        a, b = bon_coefficients(size)
        slope = 0.5 + 0.05 * np.log10(size / 1300)
        bon = [one_run("bon", s, a, b, rm_params=size, slope=slope) for s in SEEDS]
        a, b = rl_coefficients(size)
        rl = [one_run("rl", s, a, b, 6.0, spread=0.01, rm_params=size, slope=slope) for s in SEEDS]
        by_size += [made.cell(bon), made.cell(rl)]
    reward_models = made.reward_models("rm_params", SIZES)
    made.manifest("rm_size", "rm_params", by_size, reward_models)
    made.manifest("bon_vs_rl", "rm_params", by_size, reward_models)

    cells, pairs = [], (450, 1800, 7200, 14_400)
    for i, n in enumerate(pairs):
        cells.append(made.cell([one_run("bon", s, 0.3 + 0.1 * i, 0.12, num_pairs=n) for s in SEEDS]))
        cells.append(made.cell([one_run("rl", s, 0.5 + 0.1 * i, 0.4, num_pairs=n) for s in SEEDS]))
    made.manifest("data_size", "num_pairs", cells, made.reward_models("num_pairs", pairs))

    ends = {0.0: 6.0, 0.02: 4.5, 0.1: 3.0, 0.5: 1.6}
    runs = [one_run("rl", s, 0.75, 0.4, end, spread=0.01, kl_coef=k) for k, end in ends.items() for s in SEEDS]
    made.manifest("kl_penalty", "kl_coef", [made.cell(runs)])

    cells = []
    for i, size in enumerate((15_000, 60_000, 240_000)):
        extra = {"policy_params": size, "start": 0.2 * (i - 1)}
        cells.append(made.cell([one_run("bon", s, 0.5 - 0.05 * i, 0.1 - 0.01 * i, **extra) for s in SEEDS]))
        cells.append(made.cell([one_run("rl", s, 0.7 - 0.05 * i, 0.4 - 0.03 * i, **extra) for s in SEEDS]))
    made.manifest("policy_size", "policy_params", cells)

    cells = [
        made.cell([one_run("rl", s, 0.6, 0.05, reward="gold") for s in SEEDS]),
        made.cell([one_run("rl", s, -0.1, 0.02, label_noise=0.5) for s in SEEDS]),
        made.cell([one_run("bon", s, -0.05, 0.02, label_noise=0.5) for s in SEEDS]),
        made.cell([one_run("rl", s, 0.6, 0.2, gold_kind="random") for s in SEEDS]),
    ]
    made.manifest("negative_controls", "reward", cells)
    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_all(root)
    return root


@pytest.fixture(scope="module")
def out(runs, tmp_path_factory):
    """Every experiment analysed once, at low resolution to save time."""
    from analysis.drawing import figures

    folder = tmp_path_factory.mktemp("out")
    with figures.plt.rc_context({"savefig.dpi": 40}):
        for name in ("rm_size", "data_size", "kl_penalty", "bon_vs_rl", "policy_size", "negative_controls"):
            assert main([name, "--runs", str(runs), "--out", str(folder)]) == 0
    return folder


def summary(out, name):
    return json.loads((out / name / "summary.json").read_text())


def checks_of(out, name):
    """Name -> what the summary's list says of it."""
    return {check["name"]: check for check in summary(out, name)["checks"]}


# --- what comes out --------------------------------------------------------------------------------


def test_rm_size_summary_has_the_contracts_keys(out):
    s = summary(out, "rm_size")
    assert (s["experiment"], s["preset"], s["interval"]) == ("rm_size", "smoke", 0.9)
    assert [row["rm_params"] for row in s["sizes"]] == list(SIZES)
    keys = {
        "alpha",
        "alpha_ci",
        "beta",
        "beta_ci",
        "r2",
        "d_peak",
        "gold_peak",
        "gold_peak_ci",
        "gold_final",
        "d_final",
        "proxy_final",
        "d_peak_fit",
        "gold_peak_fit",
    }
    for row in s["sizes"]:
        assert {"val_accuracy", "val_loss", "ece"} <= set(row)
        assert keys <= set(row["bon"]) and keys <= set(row["rl"])
    assert {"slope", "slope_ci"} <= set(s["trends"]["rl_beta"]) and set(s["trends"]) == {
        "bon_alpha",
        "bon_beta",
        "rl_beta",
    }


def test_rm_size_gives_back_the_laws_that_made_the_records(out):
    s = summary(out, "rm_size")
    for row in s["sizes"]:
        for form, truth in (("bon", bon_coefficients), ("rl", rl_coefficients)):
            alpha, beta = truth(row["rm_params"])
            assert row[form]["alpha"] == pytest.approx(alpha, abs=0.05)
            assert row[form]["beta"] == pytest.approx(beta, abs=0.02)
            assert row[form]["r2"] > 0.98
    assert s["trends"]["bon_alpha"]["slope"] == pytest.approx(0.08, abs=0.03)
    assert s["trends"]["rl_beta"]["slope"] == pytest.approx(-0.1, abs=0.01)
    assert s["shared_alpha_rl"] == pytest.approx(0.75, abs=0.02)


def test_rm_size_sees_the_phenomenon_that_the_records_have(out):
    checks = checks_of(out, "rm_size")
    for name in ("gold_is_faithful", "gold_is_faithful_along_rl"):  # of which these records say nothing
        assert checks.pop(name)["verdict"] == "not recorded"
    assert len(checks) == 10 and all(check["holds"] is True for check in checks.values()), checks
    assert all(isinstance(check["found"], str) for check in checks.values())


def test_observed_peak_and_end_by_hand():
    """Two seeds: gold 0 1 3 2 and 0 3 3 0. Mean 0 2 3 1: peak 3 at d = 2, end 1, drop 2; proxy end 6.

    t(0.95, 1) = 6.3138; the seeds' drops 1 and 3 have s.d. sqrt(2), so half width 6.3138 * sqrt(2) / sqrt(2).
    """
    rows = [one_run("rl", s, 0.5, 0.1).iloc[:4].assign(cell="x", d=range(4), kl=np.arange(4.0) ** 2) for s in (0, 1)]
    table = pd.concat(
        [
            rows[0].assign(gold=[0.0, 1, 3, 2], proxy=[0.0, 1, 2, 5]),
            rows[1].assign(gold=[0.0, 3, 3, 0], proxy=[0.0, 1, 2, 7]),
        ]
    )
    seen = curves.observed(curves.group(table, "rl"))
    assert (seen["d_peak"], seen["gold_peak"], seen["gold_final"], seen["d_final"]) == (2, 3, 1, 3)
    assert seen["proxy_final"] == 6 and seen["drop"] == 2
    assert seen["drop_ci"] == pytest.approx([2 - 6.3138, 2 + 6.3138], abs=1e-3)


def test_runs_are_rezeroed_at_the_reference_policy_only_on_demand():
    table = one_run("bon", 0, 0.5, 0.1, start=0.7).assign(cell="x")
    assert curves.group(table, "bon").values["gold"][0, 0] == 0
    assert curves.group(table, "bon", rezero=False).values["gold"][0, 0] == pytest.approx(0.7)


def test_rounding_of_the_first_kl_does_not_hide_the_reference_policy():
    """Real RL records start at KL 3e-7, not 0 (float32); the seeds' starts differ by 0.1 and would be fitted."""
    table = pd.concat([one_run("rl", s, 0.5, 0.1, start=0.1 * s, noise=0).assign(cell=str(s)) for s in (0, 1)])
    table.loc[table["control"] == 0, ["d", "kl"]] = [5.7e-4, 3.2e-7]
    group = curves.group(table, "rl")
    np.testing.assert_allclose(group.values["gold"][:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(group.start["gold"], [0, 0.1])


def test_seeds_of_different_reach_are_averaged_over_what_all_reach():
    table = pd.concat([one_run("rl", s, 0.5, 0.1, d_end=3.0 + 2 * s, noise=0).assign(cell="x") for s in (0, 1)])
    g = curves.group(table, "rl")
    assert g.d[-1] == pytest.approx(min(run["d"].max() for run in g.runs)) and g.values["gold"].shape == (2, len(g.d))


def test_two_runs_of_one_seed_are_refused():
    table = pd.concat([one_run("rl", 0, 0.5, 0.1).assign(cell=c) for c in ("a", "b")])
    with pytest.raises(ValueError, match="more than one rl run"):
        curves.groups(table, "rm_params")


def test_diverged_points_are_left_out_and_counted():
    table = pd.concat([one_run("rl", s, 0.5, 0.1).assign(cell="x") for s in (0, 1)])
    late = (table["seed"] == 1) & (table["control"] > 100)
    table.loc[late, "status"] = "diverged"
    table.loc[late, "gold"] = np.nan
    kept, warnings = curves.usable(table)
    assert set(kept["seed"]) == {0} and warnings == [
        "left out 31 of 62 points, of 1 runs that diverged (status not ok)"
    ]
    assert np.isnan(curves.observed(curves.group(kept, "rl"))["gold_peak_ci"]).all()


def test_penalties_of_one_law_lie_on_one_frontier(out):
    s = summary(out, "kl_penalty")
    assert s["on_one_frontier"] is True
    ends = [row["kl_final"] for row in s["kl_coefs"]]
    assert [row["kl_coef"] for row in s["kl_coefs"]] == [0, 0.02, 0.1, 0.5] and ends == sorted(ends, reverse=True)


def test_a_penalty_off_the_frontier_is_found(tmp_path):
    made = Records(tmp_path)
    frames = [one_run("rl", s, 0.75 - k, 0.4, 4.0, spread=0.01, kl_coef=k) for k in (0.0, 0.2) for s in SEEDS]
    made.manifest("kl_penalty", "kl_coef", [made.cell(frames)])
    assert main(["kl_penalty", "--runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    s = summary(tmp_path / "out", "kl_penalty")
    assert s["on_one_frontier"] is False and len(s["off_frontier"]) > 6
    assert s["kl_coefs"][1]["frontier"]["mean_difference"] < -0.2


def test_negative_controls_are_judged(out):
    s = summary(out, "negative_controls")
    assert set(s["controls"]) == {"proxy_is_gold", "shuffled_labels", "random_gold"}
    checks = checks_of(out, "negative_controls")
    assert checks["gold_does_not_fall_rl"]["holds"] and checks["shuffled_labels_gain_nothing_bon"]["holds"]


def test_policy_size_keeps_each_policys_start(out):
    rows = summary(out, "policy_size")["sizes"]
    assert [row["rl"]["gold_start"] for row in rows] == pytest.approx([-0.2, 0.0, 0.2])
    peaks = [row["rl"]["gold_peak"] for row in rows]
    assert peaks[0] > peaks[-1]  # of gains
    told = checks_of(out, "policy_size")["larger_gains_less_rl"]
    assert told["slope"] == pytest.approx(np.polyfit(np.log10([row["policy_params"] for row in rows]), peaks, 1)[0])
    assert told["slope_ci"][0] < told["slope"] < told["slope_ci"][1]


def test_kl_to_reach_a_gold_by_hand():
    """Mean gold 0, 1, 2 at d = 0, 1, 2: gold 1.5 is reached at d = 1.5, KL 2.25; 3 never."""
    g = curves.Group("", "rl", (0,), np.arange(3.0), {"gold": np.array([[0.0, 1, 2]])}, ())
    assert bon_vs_rl.first_reached(g, 1.5) == pytest.approx(2.25) and np.isnan(bon_vs_rl.first_reached(g, 3.0))


@pytest.mark.parametrize(
    "name", ["rm_size", "data_size", "kl_penalty", "bon_vs_rl", "policy_size", "negative_controls"]
)
def test_files_of_every_experiment(out, name):
    folder = out / name
    pngs = sorted(folder.glob("*.png"))
    assert pngs and all(p.read_bytes()[:4] == b"\x89PNG" and p.stat().st_size > 3000 for p in pngs)
    assert all((folder / f"{p.stem}.pdf").read_bytes()[:4] == b"%PDF" for p in pngs)
    page = (folder / "report.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == len(pngs)
    without_scripts = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search("http|<script[^>]* src", without_scripts)  # nothing is fetched
    assert "newPlot" in page and "customdata" in page
    assert "How far?" in page and "Gold rises, then falls." in page and "12 s" not in page
    assert {p.stem for p in folder.glob("*.md")} == {p.stem for p in folder.glob("*.csv")} != set()


def test_figures_are_the_same_bytes_again(tmp_path):
    from analysis.drawing import figures

    for again in ("a", "b"):
        figure, (ax,) = figures.panels(1)
        figures.scores(ax, [curves.group(one_run("bon", 0, 0.5, 0.1).assign(cell="x"), "bon", 1)])
        figures.save(figure, tmp_path, again)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_tables_fold_intervals_and_keep_numbers():
    frame = pd.DataFrame({"rm_params": [1300], "alpha": [0.5124], "alpha_low": [0.48], "alpha_high": [0.5441]})
    text = tables.markdown(findings.Table("laws", "Laws", frame))
    assert "| RM parameters | alpha |" in text and "| 1300 | 0.512 [0.480, 0.544] |" in text


# --- the command line -------------------------------------------------------------------------------


def complaint(capsys, arguments):
    """The one line that a bad input gives, with exit status 2."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as stopped:
        status = stopped.code
    err = capsys.readouterr().err
    assert status == 2 and err.count("\n") == 1, err
    return err


def test_without_arguments_lists_what_can_be_analysed(runs, capsys):
    assert main(["--runs", str(runs)]) == 0
    text = capsys.readouterr().out
    assert "rm_size" in text and "How far?  [records: smoke]" in text and "python -m experiments  " in text
    assert "epochs" not in text  # which has no records


def test_throughput_says_how_it_is_measured(tmp_path, capsys):
    assert main(["throughput", "--runs", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert "python -m experiments throughput --set part=stages" in capsys.readouterr().out


def test_no_records_yet_names_the_command(tmp_path, capsys):
    assert "python -m experiments rm_size --preset cpu" in complaint(
        capsys, ["rm_size", "--preset", "cpu", "--runs", tmp_path]
    )


def test_unknown_experiment_and_option(tmp_path, capsys):
    assert "'rm_sizes'" in complaint(capsys, ["rm_sizes", "--runs", tmp_path])
    assert "--colour" in complaint(capsys, ["rm_size", "--colour"])


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
    text = complaint(capsys, ["fit", path, "--x", "kl", "--form", "rl", *arguments])
    assert named in text


def test_fit_refuses_what_is_no_table(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.parquet").write_text("x")
    for path in (tmp_path / "a.txt", tmp_path / "a.parquet", tmp_path / "none.csv"):
        assert path.name in complaint(capsys, ["fit", path, "--x", "kl", "--form", "rl"])


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
    arguments = ["fit", path, "--x", "kl", "--by", "size", "--form", "rl", "--seed-column", "seed"]
    assert f"{column} is empty in data row 8" in complaint(capsys, arguments)


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


def retreating(seed):
    """A run of the law 0.6, 0.43 exactly, which drifts back towards the reference at the end while gold collapses."""
    d = np.linspace(0, 5.5 + 0.1 * seed, 40)
    d[-8:] = d[-9] - np.linspace(0.2, 1.6, 8)
    gold = laws.overoptimization_rl(d, 0.6, 0.43)
    gold[-8:] -= np.linspace(0.3, 1.5, 8)
    return pd.DataFrame({"cell": "x", "seed": seed, "world_seed": 0, "gold_seed": 0, "kl_coef": 0.0, "dpo_beta": np.nan,
                         "optimiser": "rloo", "control": range(40), "d": d, "kl": d**2,
                         "gold": gold, "proxy": d, "proxy_se": 0.01, "rubric": np.nan})  # fmt: skip


def test_a_policy_that_comes_back_does_not_bend_its_law():
    g = curves.group(pd.concat([retreating(s) for s in range(4)]), "rl")
    found = curves.law(g)
    assert (found.alpha, found.beta) == pytest.approx((0.6, 0.43), abs=1e-9)
    assert len(g.runs[0]) == 40  # the record is kept whole: where a run ended is told by its last step


def test_peak_interval_is_that_of_gold_where_the_mean_peaks():
    """Gold 0 3 1 and 0 1 2: the mean 0 2 1.5 peaks at d = 1, where gold is 3 and 1: mean 2, s.d. 1.4142.

    t(.95, 1) = 6.3138, half width 6.3138 * 1.4142 / sqrt 2 = 6.3138.
    """
    rows = [one_run("rl", s, 0.5, 0.1).iloc[:3].assign(cell="x", d=range(3), kl=np.arange(3.0) ** 2) for s in (0, 1)]
    table = pd.concat([rows[0].assign(gold=[0.0, 3, 1]), rows[1].assign(gold=[0.0, 1, 2])])
    seen = curves.observed(curves.group(table, "rl"))
    assert (seen["gold_peak"], seen["d_peak"]) == (2, 1)
    assert seen["gold_peak_ci"] == pytest.approx([2 - 6.3138, 2 + 6.3138], abs=1e-3)


@pytest.mark.parametrize(("drop", "holds"), [(0.02, True), (0.2, False)])
def test_proxy_may_fall_by_two_standard_errors_only(drop, holds):
    """Evaluation s.e. .02 at both points of each of 4 seeds: the fall's s.e. is .02 * sqrt(2 / 4) = .0141."""
    d = np.arange(5.0)
    proxy = np.array([0, 1, 2, 3, 3 - drop])
    table = pd.concat([one_run("rl", s, 0.5, 0.1).iloc[:5].assign(cell="x", d=d, kl=d**2, proxy=proxy, proxy_se=0.02)
                       for s in SEEDS])  # fmt: skip
    check = scaling.proxy_rises({"rl": [curves.group(table, "rl", 1)]})
    assert check["holds"] is holds and check["largest_fall_se"] == pytest.approx(0.01414, abs=1e-4)


def test_rl_that_stays_near_is_told():
    near, far = (curves.group(one_run("rl", 0, 0.5, 0.1, end, noise=0).assign(cell="x"), "rl", end) for end in (3, 6))
    assert scaling.reaches_far([far])["holds"] is True
    assert scaling.reaches_far([far, near])["holds"] is False is scaling.reaches_far([near, far])["holds"]


def test_analysis_and_laws_never_import_jax():
    modules = "analysis.__main__, analysis.analyse, analysis.fit.fits, gold_sim.laws, gold_sim.store"
    code = f"import sys, {modules}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
