"""Every rule that combines an ensemble has the same properties; weight averages and members are what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import preferences
from gold_sim.config import PreferencesConfig, RewardModelConfig
from gold_sim.language.topics.vocabulary import FIRST_WORD, TEMPLATE
from gold_sim.rewards import ensemble, reward_model, reward_network

SCORES = jax.random.normal(jax.random.key(0), (5, 3, 7))
COEF = 0.5


@pytest.mark.parametrize("name", list(ensemble.RULES))
def test_properties_of_every_rule(name):
    rule = ensemble.RULES[name]
    given = rule(SCORES, COEF)
    assert given.shape == (3, 7)
    assert np.allclose(rule(SCORES[::-1], COEF), given, atol=1e-5)  # blind to the members' order
    assert np.allclose(rule(SCORES + 2.5, COEF), given + 2.5, atol=1e-5)  # moves with a shift of all
    assert np.allclose(rule(SCORES[:1], COEF), SCORES[0], atol=1e-6)  # one member is itself
    agreed = jnp.broadcast_to(SCORES[:1], SCORES.shape)
    assert np.allclose(rule(agreed, COEF), SCORES[0], atol=1e-6)
    if name not in ("mean", "median", "weight_average"):
        assert np.all(given < jnp.mean(SCORES, 0))
        # Twice the disagreement about the same mean costs more.
        wider = jnp.mean(SCORES, 0) + 2 * (SCORES - jnp.mean(SCORES, 0))
        assert np.all(rule(wider, COEF) < given)


def test_rules_by_hand():
    """(1, 2, 6): mean 3, population variance (4 + 1 + 9) / 3 = 14/3.

    robust at 1: -log((e^-1 + e^-2 + e^-6) / 3) = -log(0.50569 / 3) = 1.7805.
    """
    s = jnp.array([1.0, 2.0, 6.0])
    wanted = dict(
        mean=3, median=2, worst_case=1, uncertainty_weighted=3 - 14 / 6, mean_minus_std=3 - 0.5 * np.sqrt(14 / 3)
    )
    for name, value in wanted.items():
        assert np.allclose(ensemble.RULES[name](s, 0.5), value, atol=1e-5), name
    assert np.allclose(ensemble.robust(s, 1.0), 1.7805, atol=1e-4)
    assert np.allclose(ensemble.spread(s), np.sqrt(14 / 3))


def test_robust_runs_from_the_worst_case_to_the_mean():
    assert np.allclose(ensemble.robust(SCORES, 1e-3), ensemble.worst_case(SCORES, 0), atol=0.01)
    assert np.allclose(ensemble.robust(SCORES, 1e3), ensemble.mean(SCORES, 0), atol=0.01)
    near = SCORES * 0.1
    second = ensemble.uncertainty_weighted(near, 1 / (2 * 2.0))
    assert np.allclose(ensemble.robust(near, 2.0), second, atol=2e-4)


@pytest.fixture(scope="module")
def pairs(tiny):
    """2,000 pairs of the reference policy, labelled by the tiny world's reward; the last 200 held out."""
    k_prompt, k_pick = jax.random.split(jax.random.key(4))
    at = jax.random.randint(k_prompt, (2000,), 0, len(tiny.prompts))
    pick = jax.random.categorical(k_pick, tiny.ref[at][:, None], shape=(2000, 2))
    scores = jnp.take_along_axis(tiny.rewards[at], pick, 1)
    config = PreferencesConfig(num_pairs=2000)
    found = preferences.collect(config, tiny.language, tiny.prompts[at], jnp.asarray(tiny.responses)[pick], scores)
    return preferences.split(config, found)


def members_of(tiny, pairs, diversity, count=3):
    config = RewardModelConfig(width=8, members=count, diversity=diversity, learning_rate=1e-2)
    members = [reward_model.fit(tiny.language, config, *pairs, 5, m) for m in range(count)]
    return reward_network.make(tiny.language, config), jax.tree.map(lambda *a: np.stack(a), *members)


@pytest.mark.parametrize("diversity", ["init", "order", "bootstrap", "features", "disjoint", "components"])
def test_members_differ_and_learn(tiny, pairs, diversity):
    net, (models, metrics) = members_of(tiny, pairs, diversity, 2 if diversity == "components" else 3)
    assert np.all(metrics["val_accuracy"] > 0.6), metrics["val_accuracy"]
    listed = jnp.broadcast_to(tiny.responses, (4, *tiny.responses.shape))
    scores = jax.jit(jax.vmap(lambda m: reward_model.rewards(net, m, tiny.prompts, listed)))(models)
    assert np.all(jnp.mean(ensemble.spread(scores)) > 1e-3)
    token = np.asarray(models.params["token"])
    if diversity == "features":
        words = token[:, FIRST_WORD : tiny.language.num_writable]
        hidden = (words == 0).all(-1)
        assert hidden.any() and not hidden.all() and not (token[:, :FIRST_WORD] == 0).all(-1).any()
        assert len(np.unique(hidden, axis=0)) > 1
    if diversity == "components":  # what is hidden from one is seen by the other
        hidden = (token == 0).all(-1)
        assert not hidden.all(0).any()
        assert set(np.flatnonzero(hidden[0])) == set(range(TEMPLATE, FIRST_WORD))
        assert set(np.flatnonzero(hidden[1])) == set(np.flatnonzero(tiny.language.word_topic >= 0))


def test_disjoint_members_share_no_pair():
    config = RewardModelConfig(num_pairs=90, members=3, diversity="disjoint")
    parts = [reward_model.pairs_of(config, 100, 5, jax.random.key(m), jnp.int32(m)) for m in range(3)]
    assert all(len(part) == 30 for part in parts) and len(np.unique(np.concatenate(parts))) == 90


def test_member_0_is_the_single_model_and_order_shares_all_but_the_head(tiny, pairs):
    single = reward_model.fit(tiny.language, RewardModelConfig(width=8, learning_rate=1e-2), *pairs, 5)[0]
    _, (models, _) = members_of(tiny, pairs, "init")
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a[0], b, atol=1e-5), models.params, single.params))
    near, far = (members_of(tiny, pairs, kind)[1][0].params["token"] for kind in ("order", "init"))
    distance = lambda t: float(jnp.linalg.norm(t[0] - t[1]))
    assert distance(near) < 0.5 * distance(far)


def test_weight_average_of_one_trunk_loses_less_than_of_several(tiny, pairs):
    """Loss of the average minus the members' own; with one member it is that member."""
    loses, mean = {}, jax.jit(reward_model.weight_average, static_argnums=0)
    average = lambda net, models: reward_model.calibrated(*mean(net, models.params, pairs[1]), pairs[1])
    for diversity in ("order", "init"):
        net, (models, metrics) = members_of(tiny, pairs, diversity)
        _, averaged = average(net, models)
        name = "val_loss_soft_calibrated"
        loses[diversity] = float(averaged[name] - np.mean(metrics[name]))
    assert loses["order"] < 0.03 and loses["order"] < loses["init"], loses
    one = jax.tree.map(lambda a: a[:1], models)
    same, _ = average(net, one)
    assert np.allclose(same.scale, models.scale[0], rtol=1e-3)
