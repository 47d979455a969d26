"""Every experiment runs at smoke size and is analysed; the paper's figures are drawn from these records."""

import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import main as analysis_main
from analysis.drawing import figures
from analysis.paper import venue
from experiments import catalogue
from experiments.__main__ import main as experiments_main
from experiments.plan import missing, plan
from experiments.presets import PRESETS
from gold_sim import policy, preferences, rewards, streams
from gold_sim.language import sequences
from gold_sim.optimisation import direct_alignment, measure, policy_gradient
from gold_sim.rewards import gold, reward_model
from gold_sim.stages import pipeline
from gold_sim.stages.inputs import Inputs
from gold_sim.stages.measurement import held_out_prompts
from gold_sim.store import Store
from tests.conftest import driven
from tests.test_experiments import ROOT, command


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("store") / "runs"


def here(main, *words):
    """A command in this process: what does not compile need not start python anew.

    Its PDFs hold fonts of type 3, since to cut a TrueType font to its letters takes half of a figure's time.
    """
    with figures.plt.rc_context({"savefig.dpi": 40, "pdf.fonttype": 3}):
        return main([str(word) for word in words])


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_every_experiment_runs_at_smoke_size_and_is_analysed(name, runs, tmp_path, capsys, monkeypatch):
    """In this process: starting workers costs more than these cells (tests/test_experiments.py has the engine).

    Each figure is drawn once: the paper's below are drawn as PDF too.
    """
    monkeypatch.setattr(figures, "FORMATS", {"png": {}})
    _, curves, cells = plan(name, "smoke", {})
    for cell in missing(Store(runs), curves, cells):
        pipeline.run(Store(runs), cell)
    assert here(experiments_main, name, "--preset", "smoke", "--runs", runs) == 0  # writes the manifest
    assert "0 to do" in capsys.readouterr().out
    assert all(Store(runs).find(c.stage, c.fingerprint) for c in cells)
    assert here(analysis_main, name, "--preset", "smoke", "--runs", runs, "--out", tmp_path) == 0
    summary = json.loads((tmp_path / name / "summary.json").read_text())
    assert summary["experiment"] == name
    assert list((tmp_path / name).glob("*.png")) and (tmp_path / name / "report.html").stat().st_size > 10_000


def test_the_papers_figures_are_drawn_from_these_records_the_same_twice(runs, tmp_path, capsys, monkeypatch):
    """Twice: every eighth of them, and the tables."""
    for name in catalogue.NAMES:
        if not (runs / "experiments" / f"{name}-smoke.json").exists():
            command(name, "--preset", "smoke", "--runs", runs)
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        assert here(analysis_main, "paper", "gao2023", "--runs", runs, "--out", folder, "--venue", "icml") == 0
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(venue, "PLATES", venue.PLATES[::8])
    one, other = ({p.name: p.read_bytes() for p in (f / "paper_gao2023").iterdir()} for f in folders)
    assert {f"figure_{i:02d}.{kind}" for i in range(2, 27) for kind in ("png", "pdf")} <= set(one)
    assert {"captions.md", "laws.tex", "laws.md", "reward_models.tex"} <= set(one)
    del other["captions.md"]  # of the plates that were drawn
    assert len(other) > 8 and {name: one[name] for name in other} == other
    assert here(analysis_main, "paper", "gao2023", "--venue", "vogue") == 2
    assert "--venue 'vogue'" in capsys.readouterr().err


def test_the_worked_example_of_the_documents_runs(runs, tmp_path):
    """Under 30 lines, in a file of its own, beside the project; what other experiments stored is used."""
    text = (ROOT / "docs" / "extending.md").read_text()
    name, code = re.search(r"`(\w+)\.py`:\n\n```python\n(.*?)```", text, re.DOTALL).groups()
    assert len(code.splitlines()) < 30
    (tmp_path / f"{name}.py").write_text(code)
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_", "PJRT_"))}
    for module in ("experiments", "analysis"):
        line = [sys.executable, "-m", module, name, "--preset", "smoke", "--runs", runs]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "analysis" / "out" / name / "report.html").exists()
    cells = {c["fingerprint"] for c in Store(runs).manifest(name, "smoke")["cells"]}
    assert set(Store(runs).table(fingerprints=cells)["shaping"]) == {"none", f"{name}:temper"}


def test_a_round_that_goes_on_starts_where_the_last_one_ended(runs):
    """Measured with the same uniforms on the same prompts: the same numbers to the bit."""
    _, curves, cells = plan("iterated", "smoke", {})
    for cell in missing(Store(runs), curves, cells):
        pipeline.run(Store(runs), cell)
    table = Store(runs).table(fingerprints=[c.fingerprint for c in curves])
    second = table[(table["round"] == 2) & (table["control"] == 0)].set_index("seed")
    first = table[(table["round"] == 1) & (table["num_pairs"] == 64)]
    first = first[first["control"] == first["control"].max()].set_index("seed")
    assert (second["kl"] > 1e-3).all()
    assert (second["kl"] == first["kl"]).all() and (second["gold"] == first["gold"]).all()
    assert (second["num_pairs"] == 128).all() and (second["proxy"] != first["proxy"]).all()


def test_the_table_is_one_for_all_runs_and_pairs_are_where_they_belong(runs):
    for name in ("rm_size", "negative_controls", "direct_alignment"):
        if not (runs / "experiments" / f"{name}-smoke.json").exists():
            command(name, "--preset", "smoke", "--runs", runs)
    table = Store(runs).table()
    assert set(table["stage"]) == {"best_of_n", "policy_gradient", "frontier", "direct_alignment"}
    coefs = PRESETS["smoke"]["frontier.kl_coefs"]
    for _, run in table[table["stage"] == "frontier"].groupby(["cell", "seed"]):
        equilibria = run[run["kl_drift"].notna()].sort_values("control")
        assert equilibria["control"].tolist() == [0, *PRESETS["smoke"]["frontier.steps"] * np.arange(1, len(coefs) + 1)]
        assert equilibria["kl_coef"].tolist() == [coefs[0], *coefs] and len(run) == 1 + 2 * len(coefs)
    assert table.loc[table["stage"] != "frontier", "kl_drift"].isna().all()
    start = table[(table["stage"] != "best_of_n") & (table["control"] == 0) & (table["round"] == 1)]
    assert len(start) > 10
    assert (start["kl"] < 1e-5).all() and (table["kl"] >= 0).all()
    np.testing.assert_allclose(table["d"], np.sqrt(table["kl"]))
    best = table[(table["optimiser"] == "best_of_n") & (table["shaping"] == "none") & (table["reward"] != "gold")]
    for _, curve in best.groupby(["cell", "seed"]):
        proxy = curve.sort_values("control")["proxy"].to_numpy()
        assert (np.diff(proxy) > -1e-6).all()  # the best of more samples cannot have a lower proxy
    first = best[best["control"] == 1]  # one sample chosen by nothing: its length earns what it earns
    np.testing.assert_allclose(first["proxy_of_length"], first["proxy"], atol=1e-6)
    assert table.loc[table["stage"] == "best_of_n", "proxy_of_length"].notna().all()
    controls = table[(table["optimiser"] == "best_of_n") & (table["reward"] == "gold")]
    assert len(controls)
    np.testing.assert_allclose(controls["proxy"], controls["gold"], atol=1e-6)


def test_a_pool_exported_as_a_table_gives_the_stored_curve(runs, tmp_path):
    """Best-of-n of the first experiment, both seeds: rows (prompt, sample, proxy, gold) as anyone would have them."""
    store, (_, curves, cells) = Store(runs), plan("rm_size", "smoke", {})
    for cell in missing(store, curves, cells):
        pipeline.run(store, cell)
    cell = next(c for c in curves if c.stage == "best_of_n")
    inputs, stored = Inputs(store, cell), store.table(fingerprints=[cell.fingerprint])
    double = lambda scores: np.asarray(scores, float)  # CSV of single precision is off by 1e-8
    gold_scores = double(inputs.arrays("gold_scores")["gold"])
    for seed, (proxy,) in zip(cell.config.seeds, double(inputs.arrays("scores")["members"]), strict=True):
        index = pd.MultiIndex.from_product(map(range, gold_scores.shape), names=["prompt", "sample"])
        table = pd.DataFrame({"rm": proxy.ravel(), "judge": gold_scores.ravel()}, index).sample(frac=1, random_state=0)
        table.reset_index().to_csv(tmp_path / "pool.csv", index=False)
        named = ["--prompt", "prompt", "--sample", "sample", "--proxy", "rm", "--gold", "judge"]
        assert here(analysis_main, "scores", tmp_path / "pool.csv", *named, "--json", tmp_path / "scores.json") == 0
        found = pd.DataFrame(json.loads((tmp_path / "scores.json").read_text())["curve"])
        own = stored[stored["seed"] == seed].sort_values("control")
        for ours, theirs in (("n", "control"), ("kl", "kl"), ("gold", "gold"), ("proxy", "proxy")):
            assert np.allclose(found[ours], own[theirs], rtol=0, atol=1e-9), ours


def test_stored_points_are_what_the_stored_policy_says_measured_anew(runs):
    """The last point of a run with fixed training prompts, on both; DPO's agreement with gold's order."""
    store = Store(runs)

    def last(name):
        _, curves, cells = plan(name, "smoke", {})
        for cell in missing(store, curves, cells):
            pipeline.run(store, cell)
        cell = next(c for c in curves if c.stage != "best_of_n")
        table = store.table(fingerprints=[cell.fingerprint])
        own = Inputs(store, cell)
        policies = store.arrays(store.find(cell.stage, cell.fingerprint), "arrays")["policies"]
        one = table[table["control"] == table["control"].max()].iloc[0]
        return cell, own, jax.tree.map(lambda a: a[0], policies), one

    cell, own, params, told = last("held_out_prompts")
    config, o, language = cell.config, cell.config.optimiser, own.language
    net, (gold_net, judge, _) = policy.network(language, own.cell("policy").config.reference), own.gold("gold")
    reward = rewards.load(cell, own, gold_net)
    run = jax.tree.map(lambda a: a[0], reward.runs)
    trained_on = language.prompts(streams.key(run["seed"], "train_prompts"), o.train_prompts)
    key = streams.key(run["seed"], "policy")
    proxy, truth = lambda p, r: reward.proxy(run, judge, p, r), lambda p, r: gold.scores(gold_net, judge, p, r)
    wanted = lambda p, r: gold.rubric(language, judge, p, r)
    for prompts, of_run, suffix in (
        (held_out_prompts(language, config.world.seed, run["seed"][None], o.eval_prompts)[0], key, ""),
        (trained_on[jnp.arange(o.eval_prompts) % o.train_prompts], jax.random.fold_in(key, 1), "_training"),
    ):
        start, affine = own.arrays("policy")["params"], (judge.mean, judge.std)
        write = measure.of_policy(language, net, start, prompts, truth, affine, wanted)
        responses, of_policy = jax.jit(write)(params, measure.key_of(of_run))
        of_proxy = jax.jit(lambda r, p=prompts: measure.of_proxy(p, r, proxy))(responses)
        assert of_policy.gold == pytest.approx(told["gold" + suffix], abs=1e-4), suffix
        if not suffix:
            for name in ("rubric", "rubric_se", "rubric_sd", "gold_sd", "gold_rubric_correlation"):
                assert getattr(of_policy, name) == pytest.approx(told[name], abs=1e-4), name
        assert of_proxy.proxy == pytest.approx(told["proxy" + suffix], abs=1e-4), suffix

    cell, own, params, told = last("direct_alignment")
    net = policy.network(own.language, own.cell("policy").config.reference)
    _, pairs = preferences.split(cell.config.preferences, preferences.Preferences(**own.arrays("preferences")))
    pairs = jax.tree.map(lambda a: a[: cell.config.direct.eval_prompts], pairs)
    ratios = jax.jit(direct_alignment.log_ratios, static_argnums=0)(net, params, own.arrays("policy")["params"], pairs)
    agrees = np.sign(ratios[:, 1] - ratios[:, 0]) == np.sign(pairs.margin)
    assert told["implicit_accuracy"] == pytest.approx(np.mean(agrees)) and np.mean(agrees) != 0.5


def test_a_stored_policy_is_what_its_settings_train(runs):
    """A penalised run, trained anew on its own, unmapped: its own seed, reward model and price."""
    store = Store(runs)
    _, curves, cells = plan("kl_penalty", "smoke", {})
    for cell in missing(store, curves, cells):
        pipeline.run(store, cell)
    cell = next(c for c in curves if c.stage == "policy_gradient" and max(c.config.kl_coefs) > 0)
    own, config, seed, coef = Inputs(store, cell), cell.config, 1, int(np.argmax(cell.config.kl_coefs))
    stored = store.arrays(store.find(cell.stage, cell.fingerprint), "arrays")["policies"]
    stored = jax.tree.map(lambda a: a[seed * len(config.kl_coefs) + coef], stored)
    net, (gold_net, judge, _) = policy.network(own.language, own.cell("policy").config.reference), own.gold("gold")
    reward, start = rewards.load(cell, own, gold_net), own.arrays("policy")["params"]
    run = jax.tree.map(lambda a: a[seed], reward.runs)
    draw = lambda key, num: own.language.prompts(key, num)
    optimised = reward.optimised(run, judge, net, start)
    fixed = (config.optimiser, net, start, own.language.response_len, draw)
    task = lambda price: policy_gradient.Task(*fixed, streams.key(config.seeds[seed], "policy"), price)
    trained = lambda price: driven(task(price), optimised, lambda state: state.step)[0]
    apart = lambda price: max(
        float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (trained(price).params, stored)), strict=True)
    )
    assert apart(config.kl_coefs[coef]) < 1e-5 < 1e-3 < apart(config.kl_coefs[coef] + 1.0)


@pytest.mark.parametrize("pairs", [None, 200])  # 14 and 6 steps: less than a chunk of them
def test_a_stored_reward_model_is_what_its_settings_train(runs, pairs, monkeypatch):
    """Trained anew in one loop by `reward_model.fit`; stored from chunks of five steps, the last of them filled up."""
    monkeypatch.setattr("gold_sim.stages.reward_model.STEPS_A_CHUNK", 5)
    store = Store(runs)
    overrides = {"reward_model.num_pairs": pairs, "reward_model.weight_decay": 0.02}  # not in the store yet
    _, curves, cells = plan("rm_size", "smoke", overrides)
    cell = next(c for c in cells if c.stage == "reward_model")
    for one in [*cell.all_upstream(), cell]:
        if store.find(one.stage, one.fingerprint) is None:
            pipeline.run(store, one)
    path, own, config, seed = store.find(cell.stage, cell.fingerprint), Inputs(store, cell), cell.config, 1
    stored = store.arrays(path, "arrays")
    found = preferences.Preferences(**own.arrays("preferences"))
    data = preferences.split(config.preferences, found)
    model, metrics = reward_model.fit(own.language, config.reward_model, *data, config.seeds[seed])
    for wanted, kept in zip(*map(jax.tree.leaves, (model._asdict(), stored)), strict=True):
        np.testing.assert_allclose(kept[seed], wanted, atol=1e-6)
    row = store.table("reward_models", [cell.fingerprint]).query(f"seed == {config.seeds[seed]}").iloc[0]
    for name in ("train_loss", "val_loss", "scale"):
        assert row[name] == pytest.approx(float(metrics[name]), abs=1e-5)


def test_a_stored_pool_tells_of_its_own_responses(runs):
    """Gold, lengths and attributes of every sample, scored anew all at once; the pool was drawn in pieces."""
    store = Store(runs)
    _, curves, cells = plan("rm_size", "smoke", {})
    for cell in missing(store, curves, cells):
        pipeline.run(store, cell)
    cell = next(c for c in cells if c.stage == "gold_scores")
    own = Inputs(store, cell)
    found = own.arrays("pool") | store.arrays(store.find("gold_scores", cell.fingerprint), "arrays")
    gold_net, judge, _ = own.gold("gold")
    prompts, responses = jnp.asarray(found["prompts"]), jnp.asarray(found["responses"], jnp.int32)
    truth = jax.jit(lambda p, r: gold.scores(gold_net, judge, p, r))(prompts, responses)
    np.testing.assert_allclose(found["gold"], truth, atol=1e-4)
    wanted = jax.jit(lambda p, r: gold.rubric(own.language, judge, p, r))(prompts, responses)
    np.testing.assert_allclose(found["rubric"], wanted, atol=1e-4)
    np.testing.assert_array_equal(found["length"], sequences.lengths(responses))
    for name, value in jax.jit(lambda p, r: own.language.attributes(p, r))(prompts, responses).items():
        np.testing.assert_allclose(found[f"attr_{name}"], value, atol=1e-6)
