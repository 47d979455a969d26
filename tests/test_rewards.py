"""What is optimised is what was declared; only what is needed is computed."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.plan import missing, plan
from gold_sim import config, rewards, streams
from gold_sim.config import Config
from gold_sim.language.topics import world
from gold_sim.rewards import gold, reward_model, reward_network, synthetic_errors
from gold_sim.settings import replace, to_hashed
from gold_sim.stages import graph, scores
from gold_sim.stages.reward_model import Fitting
from gold_sim.store import Store
from tests.conftest import demonstrations, judge_init

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def scene():
    """(language, gold network, random Gold, prompts [3, 6], responses [3, 5, 16])."""
    language = world.make(config.WorldConfig())
    net = gold.network(language, config.GoldConfig(width=16, depth=1))
    judge = gold.Gold(judge_init(net, jax.random.key(0)), *jnp.float32([0.1, 0.5, 0, 1]))
    prompts = language.prompts(jax.random.key(1), 3)
    return language, net, judge, prompts, demonstrations(language, jax.random.key(2), prompts, 5)


def reward_of(scene, changes):
    settings = replace(Config(), changes)
    runs = dict(seed=jnp.asarray(settings.seeds, jnp.int32))
    return rewards.Reward(scene[0], settings, None, scene[1], runs)


def test_a_synthetic_proxy_is_gold_and_its_error(scene):
    language, net, judge, prompts, responses = scene
    changes = {
        "reward": "synthetic",
        "reward_model.members": 3,
        "error.kind": "heavy_tailed",
        "ensemble.rule": "worst_case",
    }
    reward = reward_of(scene, changes)
    run = {"seed": jnp.int32(7)}
    draw = jax.jit(synthetic_errors.errors, static_argnums=(0, 1, 3))
    errors = draw(language, reward.config.error, streams.key(7, "goodhart"), 3, prompts, responses)
    wanted = jax.jit(gold.scores, static_argnums=0)(net, judge, prompts, responses) + errors
    assert np.allclose(jax.jit(reward.members)(run, judge, prompts, responses), wanted, atol=1e-6)
    combined, spread = jax.jit(reward.proxy)(run, judge, prompts, responses)
    assert np.allclose(combined, wanted.min(0), atol=1e-6) and np.allclose(spread, wanted.std(0), atol=1e-5)


def test_the_first_members_are_taken(scene):
    scores = jax.random.normal(jax.random.key(0), (5, 3, 4))
    two = replace(Config(), {"reward_model.members": 5, "ensemble.take": 2, "ensemble.rule": "worst_case"})
    assert np.allclose(rewards.combine(two, scores)[0], scores[:2].min(0))
    one = replace(Config(), {"reward_model.members": 5, "ensemble.take": 1})
    assert np.allclose(rewards.combine(one, scores)[0], scores[0])


def test_what_a_reward_leaves_out_is_scored_by_the_others(scene):
    """Of three reward models the first is taken: the mean of the other two; nothing is left out where all are taken."""
    language, net, judge, prompts, responses = scene
    changes = {"reward_model.members": 3, "reward_model.width": 8, "ensemble.take": 1}
    small = reward_network.make(language, replace(Config(), changes).reward_model)
    params = jax.vmap(lambda key: judge_init(small, key))(jax.random.split(jax.random.key(3), 3))
    models = reward_model.RewardModel(params, jnp.array([1.0, 2.0, 3.0]), jnp.array([0.0, 0.1, 0.2]))
    run = dict(seed=jnp.int32(0), models=models)
    of = lambda changes: rewards.Reward(language, replace(Config(), changes), small, net, {})
    each = jax.jit(of(changes).members)(run, judge, prompts, responses)
    assert np.allclose(jax.jit(of(changes).left_out(run))(prompts, responses), each[1:].mean(0), atol=1e-6)
    assert np.allclose(jax.jit(of(changes).proxy)(run, judge, prompts, responses)[0], each[0], atol=1e-6)
    assert of(changes | {"ensemble.take": 3}).left_out(run) is None
    assert of({k: v for k, v in changes.items() if k != "ensemble.take"}).left_out(run) is None
    assert reward_of(scene, {"reward": "gold"}).left_out(run) is None


def test_one_member_alone_and_all_of_them_as_components(scene):
    """`only` is what is optimised; the components keep their order and their number."""
    _, _, judge, prompts, responses = scene
    changes = {"reward": "synthetic", "reward_model.members": 3, "error.kind": "heavy_tailed"}
    run = {"seed": jnp.int32(7)}
    three = jax.jit(reward_of(scene, changes).components(run, judge))(prompts, responses)
    alone = reward_of(scene, changes | {"ensemble.only": 2})
    combined, spread = jax.jit(alone.proxy)(run, judge, prompts, responses)
    assert three.shape == (3, 3, 5)
    assert np.allclose(combined, three[2], atol=1e-6) and np.allclose(spread, 0)
    assert not np.allclose(combined, three[0])


def test_gold_as_reward_is_gold(scene):
    _, net, judge, prompts, responses = scene
    proxy = jax.jit(reward_of(scene, {"reward": "gold"}).proxy)
    combined, spread = proxy({"seed": 0}, judge, prompts, responses)
    scored = jax.jit(gold.scores, static_argnums=0)(net, judge, prompts, responses)
    assert np.allclose(combined, scored) and np.allclose(spread, 0)


def test_what_came_later_leaves_old_fingerprints_alone():
    """Fields at their defaults are not hashed; changed they are, in the stages that read them alone."""
    base = Config()
    assert "members" not in to_hashed(base)["reward_model"] and "shaping" not in to_hashed(base)
    assert "heads" not in to_hashed(base)["reward_model"]
    code = lambda stage, changes: graph.cell(stage, replace(base, changes)).fingerprint
    same = lambda stage, changes: code(stage, changes) == code(stage, {})
    assert same("policy_gradient", {"selection.rule": "poisson"}) and not same(
        "best_of_n", {"selection.rule": "poisson"}
    )
    assert same("reward_model", {"ensemble.rule": "median"}) and not same(
        "policy_gradient", {"ensemble.rule": "median"}
    )
    assert not same("reward_model", {"reward_model.members": 3}) and same("preferences", {"reward_model.members": 3})
    assert not same("preferences", {"preferences.annotator": "ties"})
    assert same("policy_gradient", {"direct.loss": "ipo"}) and not same("direct_alignment", {"direct.loss": "ipo"})


def test_scores_are_made_only_where_a_curve_still_needs_them(tmp_path):
    store = Store(tmp_path)
    _, curves, every = plan("heavy_tails", "smoke", {})
    assert missing(store, curves, every) == every
    assert {c.stage for c in every} >= {"scores", "pool", "gold"}
    for cell in (c for c in every if c.stage in ("best_of_n", "gold")):  # all that the manifest names
        store.write(cell.stage, cell.name, cell.fingerprint, {})
    assert missing(store, curves, every) == []


def test_a_module_that_is_no_experiment_is_one_line(tmp_path):
    for name in ("json", "no_such_thing"):
        line = [sys.executable, "-m", "experiments", name, "--runs", str(tmp_path)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "experiment(preset)" in done.stderr and done.stderr.count("\n") == 1, (
            done.stderr
        )


def test_programs_of_scores_are_shared_by_settings_and_read_the_runs_that_they_are_given(scene):
    """A process keeps them: a cell of other settings, or the same ones of other seeds, must not get the first one's."""
    _, _, judge, prompts, responses = scene
    for scale, seeds in ((1.0, (0, 1)), (2.0, (0, 1)), (2.0, (2, 3))):
        reward = reward_of(scene, {"reward": "synthetic", "error.scale": scale})
        runs = dict(seed=jnp.asarray(seeds, jnp.int32))
        assert reward == rewards.Reward(*(getattr(reward, n) for n in ("language", "config", "net", "gold_net")), runs)
        scored = scores._scored(reward, runs, judge, prompts[0], responses[0])
        for i, seed in enumerate(seeds):
            members = jax.jit(lambda *given: reward.members(*given))  # a new function: no program of another's
            wanted = members({"seed": jnp.int32(seed)}, judge, prompts[:1], responses[:1])
            assert np.allclose(scored[i], wanted[:, 0], atol=1e-5)


def test_where_every_seed_has_pairs_of_its_own_each_is_read_by_its_seed():
    data = {"labels": jnp.arange(6).reshape(2, 3)}
    fitting = lambda apart: Fitting(world.make(config.WorldConfig()), config.RewardModelConfig(), apart)
    assert fitting(True).of(data, 1)["labels"].tolist() == [3, 4, 5]
    assert fitting(False).of(data, 1)["labels"].shape == (2, 3)
