"""The frontier beside the path in analysis: which rows count, which law they choose, and how far apart curves lie."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import curves, runs
from analysis.__main__ import main
from analysis.templates import equal_kl
from gold_sim import laws
from tests.made_records import SEEDS, Records, one_run

COEFS = (0.25, 0.16, 0.1, 0.063, 0.04, 0.025, 0.016, 0.01)


def of_frontier(form, seed, alpha, beta, d_end=4.0, drift=0.01, **identity):
    """One run of the frontier: equilibria on the law, each after a point whose gold is 9 s.d. too low."""
    d = d_end * np.linspace(0, 1, len(COEFS) + 1) * (1 + 0.01 * seed)
    path = one_run("rl", seed, alpha, beta, **identity).iloc[: 2 * len(COEFS) + 1].reset_index(drop=True)
    ends = np.arange(0, len(path), 2)
    path["d"] = np.interp(np.arange(len(path)), ends, d)
    path["gold"] = laws.evaluate(form, path["d"].to_numpy(), alpha, beta) + 0.02 * np.sin(seed + np.arange(len(path)))
    path.loc[path.index % 2 == 1, "gold"] -= 9.0
    path.loc[0, "gold"] = 0.0
    path["kl"], path["proxy"] = path["d"] ** 2, 0.5 * path["d"]
    path["kl_coef"] = [COEFS[0], *np.repeat(COEFS, 2)]
    path["kl_drift"] = np.where(path.index % 2, np.nan, drift)
    return path.assign(stage="frontier", cell="of the frontier")


@pytest.mark.parametrize("form, alpha, beta", [("bon", 1.0, 0.2), ("rl", 0.9, 0.5)])
def test_equilibria_choose_their_law(form, alpha, beta):
    """Points within plateaus do not count; the law that made the equilibria is chosen."""
    table = pd.concat(of_frontier(form, seed, alpha, beta) for seed in SEEDS)
    (g,) = curves.groups(table, "rm_params")["frontier"]
    assert len(g.seeds) == len(SEEDS) and g.d[0] == 0 and len(g.d) == len(COEFS) + 1
    assert g.values["gold"].min() > -1
    fit = curves.law(g)
    assert g.form == fit.form == form
    assert (fit.alpha, fit.beta) == (pytest.approx(alpha, abs=0.05), pytest.approx(beta, abs=0.05))


def test_curves_at_equal_kl_by_hand():
    """Frontier d - 0.2 d^2, path 0.5 d - 0.2 d^2: 0.5 d apart, so 1 at 4 nats; proxies 0.5 d and d, -1 there."""
    path = lambda seed: one_run("bon", seed, 0.5, 0.2, spread=0, noise=0).assign(
        stage="policy_gradient", cell="of the path"
    )
    line = lambda run: run.assign(proxy=run["d"])
    exact = lambda run: run.assign(gold=np.where(run["kl_drift"].notna(), run["d"] - 0.2 * run["d"] ** 2, -9))
    table = pd.concat([exact(of_frontier("bon", s, 1.0, 0.2)) for s in SEEDS] + [line(path(s)) for s in SEEDS])
    found = {method: gs[0] for method, gs in curves.groups(table, "rm_params").items()}
    apart = equal_kl.minus(found["frontier"], found["rl"])
    assert apart["kl_to"] == pytest.approx(found["rl"].d[-1] ** 2)
    at = {entry["kl"]: entry for entry in apart["at"]}
    assert set(at) == {1.0, 2.0, 5.0}
    assert at[1.0]["gold"] == pytest.approx(0.5, abs=0.03) and at[1.0]["proxy"] == pytest.approx(-0.5, abs=0.01)
    middle = (0.3 + found["rl"].d[-1]) / 2
    assert apart["mean"]["gold"] == pytest.approx(0.5 * middle, abs=0.03)
    assert equal_kl.minus(found["rl"], found["frontier"])["mean"]["gold"] == pytest.approx(-apart["mean"]["gold"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Records of two sizes with three curves each, and of the study `frontier`."""
    root = tmp_path_factory.mktemp("runs")
    made, cells = Records(root), []
    for size, alpha in ((1300, 0.8), (15_000, 1.0)):
        cells.append(made.cell([one_run("bon", s, alpha, 0.15, rm_params=size) for s in SEEDS]))
        cells.append(made.cell([one_run("rl", s, alpha / 2, 0.3, rm_params=size) for s in SEEDS]))
        cells.append(made.cell([of_frontier("bon", s, alpha, 0.15, rm_params=size) for s in SEEDS]))
    made.manifest("rm_size", "rm_params", cells, made.reward_models("rm_params", (1300, 15_000)))
    by_key = {
        "path": made.cell([one_run("rl", s, 0.5, 0.3, 5.0) for s in SEEDS]),
        "frontier": made.cell([of_frontier("bon", s, 0.9, 0.15, drift=0.3) for s in SEEDS]),
        "path_fast": made.cell([one_run("rl", s, 0.3, 0.3, 5.0) for s in SEEDS]),
    }
    of_variants = [cell | {"variant": key} for key, cell in by_key.items()]
    made.manifest("frontier", "variant", of_variants, variants={k: k for k in by_key}, study="frontier")
    return root


def analysed(root, name, out):
    assert main([name, "--runs", str(root), "--out", str(out)]) == 0
    return json.loads((out / name / "summary.json").read_text())


def test_rm_size_states_how_far_the_path_lies_under_the_frontier(made, tmp_path):
    summary = analysed(made, "rm_size", tmp_path)
    checks = {check["name"]: check["holds"] for check in summary["checks"]}
    assert checks["path_below_frontier"] is True and checks["frontier_is_steady"] is True
    assert checks["r2_frontier"] is True
    for size, alpha in zip(summary["sizes"], (0.8, 1.0), strict=True):
        assert size["frontier"]["form"] == "bon" and size["frontier"]["alpha"] == pytest.approx(alpha, abs=0.05)
        assert size["frontier_minus_path"]["mean"]["gold"] > 0.3
        assert abs(size["frontier_minus_bon"]["mean"]["gold"]) < 0.1
        assert {"kl", "gold", "gold_ci", "proxy", "proxy_ci"} == set(size["frontier_minus_path"]["at"][0])
    rows = pd.read_csv(tmp_path / "rm_size" / "equilibria.csv")
    assert rows["kl_coef"].tolist() == list(COEFS) * 2


def test_the_study_tells_rates_apart(made, tmp_path):
    summary = analysed(made, "frontier", tmp_path)
    checks = {check["name"]: check["holds"] for check in summary["checks"]}
    assert checks["path_below_frontier"] and checks["path_fast_below_frontier"] and checks["path_is_nearer"]
    assert checks["frontier_is_steady"] is False  # its KL rises by 30 %


def test_a_frontier_is_one_run_a_seed():
    """Although its rows have many coefficients; `runs.along` gives its equilibria in order."""
    table = pd.concat(of_frontier("bon", seed, 1.0, 0.2) for seed in SEEDS).assign(variant="frontier")
    read = type("Read", (), {"curves": table, "axis": "variant"})
    d = runs.along(read, "frontier", "frontier", "d")
    assert d.shape == (len(SEEDS), len(COEFS) + 1) and np.all(np.diff(d) > 0)
