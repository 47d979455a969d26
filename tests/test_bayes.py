"""The hierarchical fit: its algebra by brute force, its posterior by simulation, Pareto smoothing by exact answers."""

import argparse
import json
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.__main__ import main
from analysis.bayes import agreement, arguments, calibration, chains, command, design, model, posterior, psis
from analysis.fit.coverage import replicated_runs
from gold_sim import laws

# Chains of one length and number for three sizes of four seeds: one program, which compiles for longer than it runs.
CHAINS, WARMUP = 40, 100


def small(seeds=3):
    """Two runs of one group, one of another, of which seed 0 has both; by hand below."""
    d, gold = replicated_runs("bon", np.random.default_rng(0), 2, seeds)
    runs = [design.Run(g, s, d, gold[g, s]) for g in range(2) for s in range(seeds)][: seeds + 1]
    return design.made("bon", runs, ("small", "large"))


P = {
    "spread": np.array([0.3, 0.2]),
    "half": np.array(0.7),
    "noise": np.array(0.1),
    "apart": np.array([0.4, 0.25]),
    "share": np.array(0.35),
}


def brute_force():
    """Mean-0 normal of all points at once: groups, units, runs and noise as one covariance matrix."""
    one = small()
    x, y, _ = posterior.padded(one)
    groups, units = one.arrays.group, one.arrays.unit
    runs, t = y.shape
    within = model_covariance()
    cov = np.zeros((runs, t, runs, t))
    for r, q in np.ndindex(runs, runs):
        of = model.LEVEL**2 * np.eye(2) + (groups[r] == groups[q]) * np.diag(P["apart"] ** 2)
        of = of + (units[r] == units[q]) * P["share"] * within + (r == q) * (1 - P["share"]) * within
        cov[r, :, q] = x[r] @ of @ x[q].T + (r == q) * P["noise"] ** 2 * np.eye(t)
    return one, cov.reshape(runs * t, -1), y


def model_covariance():
    off = (2 * P["half"] - 1) * P["spread"].prod()
    return np.array([[P["spread"][0] ** 2, off], [off, P["spread"][1] ** 2]])


def test_all_coefficients_are_integrated_out_exactly():
    one, cov, y = brute_force()
    with model.exact_numbers():
        found = float(jax.jit(lambda p: model.log_marginal(p, one.arrays, len(one.units)))(P))
    assert found == pytest.approx(stats.multivariate_normal(cov=cov).logpdf(y.ravel()), rel=1e-9)


def test_a_unit_s_density_integrates_its_own_deviations():
    """Given the groups' coefficients units are independent: seed 0 has a run in both groups, seed 1 one run."""
    one, _, y = brute_force()
    x, groups = posterior.padded(one)[0], np.array([[1.2, 0.5], [0.8, 0.7]])
    found = model.densities({n: v[None] for n, v in P.items()} | {"groups": groups[None]}, one.arrays, 3)[0]
    for unit in (0, 1):
        rows = np.flatnonzero(one.arrays.unit == unit)
        within = model_covariance()
        parts = [[x[r] @ ((P["share"] + (r == q) * (1 - P["share"])) * within) @ x[q].T for q in rows] for r in rows]
        cov = np.block(parts) + P["noise"] ** 2 * np.eye(len(rows) * y.shape[1])
        mean = np.concatenate([x[r] @ groups[one.arrays.group[r]] for r in rows])
        assert found[unit] == pytest.approx(stats.multivariate_normal(mean, cov).logpdf(y[rows].ravel()), rel=1e-9)


def test_ranks_are_uniform_and_a_posterior_of_other_noise_is_caught():
    """Gold with twice the sum of squares: the ranks of the noise pile up at 0."""
    effort = posterior.Effort(chains=1, warmup=WARMUP, samples=calibration.RANKED)
    of, contraction, _ = calibration.ranks(CHAINS, seed=3, effort=effort)
    held = {name: calibration.uniform(r, np.random.default_rng(0), 400) for name, r in of.items()}
    assert all(one["ecdf"] < one["edge"] * 1.1 for one in held.values()), held
    assert contraction["noise"] > 0.9 and contraction["alpha of smallest size"] > 0.9 > contraction["share"]
    louder = lambda data: data._replace(squares=data.squares * 2.0)
    of, _, _ = calibration.ranks(CHAINS, seed=3, effort=effort, broken=louder)
    assert calibration.uniform(of["noise"], np.random.default_rng(0), 400)["ecdf"] > 0.3


def test_smoothed_left_out_densities_are_the_exact_ones():
    """A normal mean of known variance: the density of a left-out value has a closed form."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal(20)
    draws = y.mean() + rng.standard_normal(4000) / np.sqrt(20)
    found, k = psis.leave_one_out(stats.norm.logpdf(y[None], draws[:, None]))
    others = (y.sum() - y) / 19
    np.testing.assert_allclose(found, stats.norm.logpdf(y, others, np.sqrt(1 + 1 / 19)), atol=0.02)
    assert k.max() < 0.5
    heavy = np.log(stats.pareto(1.0).rvs((20, 4000), random_state=1))  # tail index 1 is k = 1, s.d. 0.15 a data set
    assert np.mean([psis.smoothed(one)[1] for one in heavy]) == pytest.approx(1.0, abs=0.1)


def test_bad_chains_are_told_in_one_line():
    rng = np.random.default_rng(0)
    good = {"a": rng.standard_normal((4, 1000))}
    assert chains.complaint(chains.diagnosed(good, np.zeros((4, 1000)))) is None
    assert chains.effective(good["a"]) == pytest.approx(4000, rel=0.15)
    apart = {"a": good["a"] + np.arange(4)[:, None]}
    line = chains.complaint(chains.diagnosed(apart, np.eye(4, 1000)))
    assert "R-hat" in line and "4 divergent" in line and "not to be used" in line and "\n" not in line


def test_one_group_has_no_slope_and_no_groups_apart():
    d, gold = replicated_runs("bon", np.random.default_rng(0), 1, 4)
    one = design.made("bon", [design.Run(0, s, d, y) for s, y in enumerate(gold[0])], ("all",), {"size": (1e6,)})
    drawn = model.from_priors(one.arrays, one.shared, 5, seed=0)
    assert drawn.keys() == {"spread", "half", "noise", "level", "slope", "groups"}
    found = posterior.Posterior(one, drawn, {})
    assert posterior.trends(found) == {} and len(posterior.groups(found)) == 1
    np.testing.assert_allclose(drawn["groups"][:, 0], drawn["level"])  # a group alone is the level of its line


def test_a_log_is_fitted_beside_least_squares(tmp_path, capsys):
    """Three sizes on a line: the truth is held, both opinions agree; the JSON has what docs/trusting_fits.md lists."""
    rows = []
    for g, size in enumerate((1e6, 1e7, 1e8)):
        d, gold = replicated_runs("rl", np.random.default_rng(g), 1, 4)
        rows += [
            pd.DataFrame({"size": size, "seed": s, "kl": d**2, "gold": gold[0, s] + 0.1 * g * d}) for s in range(4)
        ]
    pd.concat(rows).to_csv(tmp_path / "log.csv", index=False)
    out = str(tmp_path / "out.json")
    words = [str(tmp_path / "log.csv"), "--x", "kl", "--by", "size", "--seed-column", "seed", "--form", "rl"]
    words += ["--chains", CHAINS, "--warmup", WARMUP, "--samples", calibration.RANKED]
    words += ["--json", out, "--figure", tmp_path]
    assert main(["bayes", *map(str, words)]) in (0, 1)  # chains this short may be called bad
    told = capsys.readouterr().out
    assert "not stated" in told and "R-hat" in told
    (fit,) = json.loads((tmp_path / "out.json").read_text())["fits"]
    for g, group in enumerate(fit["groups"]):
        low, high = group["alpha_ci"]
        assert low - 0.05 < 0.7 + 0.1 * g < high + 0.05
    low, high = fit["trends"]["size"]["alpha"]["of_these_ci"]
    assert low < 0.1 < high
    assert all(row["overlap"] > 0.5 for row in fit["agreement"]) and len(fit["agreement"]) == 8
    assert {"stated", "not_stated"} == fit["checklist"].keys() and fit["prior_check"]["inside"] > 0.9
    assert (tmp_path / "bands_rl.png").stat().st_size > 10_000


def test_groups_of_a_file_are_named_as_numbers_are_and_one_run_a_group_is_said_once(tmp_path):
    """Unlike fit, the hierarchy has intervals without a column of seeds."""
    d, gold = replicated_runs("bon", np.random.default_rng(0), 4, 1)
    rows = [pd.DataFrame({"size": 10.0**g, "pairs": 500, "kl": d**2, "gold": gold[g - 4, 0]}) for g in range(4, 8)]
    pd.concat(rows).to_csv(tmp_path / "log.csv", index=False)
    words = [str(tmp_path / "log.csv"), "--x", "kl", "--form", "bon", "--by", "size"]
    asked = lambda *more: arguments.parser(words, argparse.ArgumentParser).parse_args([*words, *more])
    (part,), warnings = command.of_file(asked())
    assert part.keys == (1e4, 1e5, 1e6, 1e7) and sum("one run" in line for line in warnings) == 1
    (part,), _ = command.of_file(asked("--data", "pairs"))
    assert part.keys[2] == "1,000,000 / 500"


def test_without_numpyro_there_is_one_line():
    code = "import sys; sys.modules['numpyro'] = None; from analysis.__main__ import main; sys.exit(main(sys.argv[1:]))"
    words = ["bayes", "tests/gao2023_bon.csv", "--x", "kl", "--by", "rm_params", "--form", "bon"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'gold_sim[bayes]'" in done.stderr and done.stderr.count("\n") == 1


def test_a_run_may_be_left_out_of_the_arrays():
    one = small()
    without = one.arrays.without([1])
    with model.exact_numbers():
        kept = design.Arrays(*(x[0] for x in without))
        left = float(model.log_marginal(P, kept, len(one.units)))
    runs = [run for run in one.runs if run.unit != 1]
    assert left == pytest.approx(marginal_of(one, runs), rel=1e-9)


def marginal_of(one, runs):
    """As `brute_force`, of some of the runs in the scale of all."""
    _, cov, y = brute_force()
    keep = np.repeat([run in runs for run in one.runs], y.shape[1])
    return stats.multivariate_normal(cov=cov[np.ix_(keep, keep)]).logpdf(y.ravel()[keep])


def test_agreement_is_none_where_least_squares_has_no_interval():
    """A group of one run has none; one of three has."""
    one = small()
    drawn = model.from_priors(one.arrays, one.shared, 200, seed=0)
    several, alone = agreement.compared(posterior.Posterior(one, drawn, {}))[::2]
    assert np.isnan([alone["overlap"], alone["width_ratio"]]).all() and not np.isnan(several["overlap"])
    low, high = several["bayes_ci"]
    left, right = several["least_squares_ci"]
    assert several["overlap"] == pytest.approx(
        max(min(high, right) - max(low, left), 0) / min(high - low, right - left)
    )


def test_the_least_squares_slope_is_of_the_points_that_groups_are_fitted_to():
    """Runs of a group end at different distances; the slope goes through what the groups' rows say."""
    d, gold = replicated_runs("rl", np.random.default_rng(0), 3, 2)
    runs = [design.Run(g, s, d * (1 + 0.1 * s), gold[g, s]) for g in range(3) for s in range(2)]
    one = design.made("rl", runs, ("a", "b", "c"), {"size": (1e6, 1e7, 1e9)})
    fits = agreement.least_squares(one)
    for c, name in enumerate(("alpha", "beta")):
        which, line = agreement.slope(one, c, fits)
        through = np.polyfit((6, 7, 9), [getattr(fit, name) for fit in fits], 1)[0]
        assert which == "of_these" and line.slope == pytest.approx(through, rel=1e-9)


def test_forms_that_are_not_linear_in_two_coefficients_are_refused(capsys):
    words = ["tests/gao2023_bon.csv", "--x", "kl", "--form", "offset"]
    assert main(["bayes", *words]) == 2
    assert "offset" in capsys.readouterr().err and set(design.FORMS) >= {"bon", "rl"} and laws.FORMS["offset"].shape
