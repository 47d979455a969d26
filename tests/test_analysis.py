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
from analysis.studies import bon_vs_rl
from analysis.templates import scaling
from gold_sim import laws
from tests.made_records import SEEDS, SIZES, Records, bon_coefficients, one_run, rl_coefficients, write_all


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_all(root)
    return root


@pytest.fixture(scope="module")
def out(runs, tmp_path_factory):
    """Every experiment analysed once, at low resolution and with fonts of type 3, to save time."""
    from analysis.drawing import figures

    folder = tmp_path_factory.mktemp("out")
    with figures.plt.rc_context({"savefig.dpi": 40, "pdf.fonttype": 3}):
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
    assert b"/FontFile2" in (tmp_path / "a.pdf").read_bytes()  # TrueType: journals refuse fonts of type 3


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
