"""Iterated RLHF: every seed learns from what its own policy wrote, and held-out pairs stay where they were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import plan
from gold_sim import config, policy, preferences
from gold_sim.config import Config, GoldConfig
from gold_sim.language import sequences
from gold_sim.preferences import Preferences
from gold_sim.rewards import gold, reward_model
from gold_sim.settings import replace
from gold_sim.stages import graph, relabelled
from tests.conftest import init, judge_init, logits

SEEDS = (3, 8)


def settings(**changes):
    base = {
        "seeds": SEEDS,
        "preferences.num_pairs": 100,
        "preferences.held_out": 0.2,
        "reward_model.num_pairs": 30,
        "rounds.count": 2,
        "rounds.num_pairs": 12,
    }
    return replace(Config(), base | {name.replace("__", "."): value for name, value in changes.items()})


def numbered(count, first=0):
    """Pairs that can be told apart by their gold."""
    number = jnp.arange(first, first + count)
    gold_scores = jnp.stack([number, -number], 1).astype(jnp.float32)
    return Preferences(jnp.zeros((count, 6), int), jnp.zeros((count, 2, 3), int), gold_scores, number % 2 == 0)


def of(found):
    return np.asarray(found.gold[..., 0]).astype(int)


def test_a_seed_keeps_the_pairs_of_its_first_reward_model_and_the_held_out_ones_come_last():
    c = settings()
    old, held_out = relabelled.drawn_before(c, numbered(100))
    for i, seed in enumerate(SEEDS):
        assert set(of(old)[i]) == set(np.asarray(reward_model.pairs_of_seed(c.reward_model, 80, seed)))
    assert of(old).shape == (2, 30) and (of(held_out) == np.arange(80, 100)).all()
    new = jax.tree.map(lambda a: jnp.stack([a, a]), numbered(12, first=1000))
    for data, wanted in (("concatenate", 30 + 12), ("replace", 12)):
        c = settings(rounds__data=data)
        stored = relabelled.joined(c, old, new, held_out)
        again, still = relabelled.drawn_before(c, stored)
        assert of(again).shape == (2, wanted) and c.training_pairs == wanted
        assert (of(again)[:, -12:] == of(new)).all() and (of(still) == of(held_out)).all()
    assert settings(rounds__count=4).training_pairs == 30 + 3 * 12 and settings(rounds__count=1).training_pairs == 30
    assert settings(rounds__count=4, rounds__data="replace").training_pairs == 12


def test_pairs_of_a_seed_are_its_own_policys_and_labelled_by_gold(tiny):
    """Likelier under the policy of their seed than under the other's; labels are the higher gold."""
    own = [policy_of(tiny, seed) for seed in (0, 1)]
    policies = jax.tree.map(lambda a, b: jnp.stack([a, b]), *own)
    net = gold.network(tiny.language, GoldConfig(width=8, depth=1))
    judge = gold.Gold(judge_init(net, jax.random.key(5)), *jnp.float32([0, 1, 0, 1]))
    c = replace(settings(rounds__num_pairs=40), {"world.response_len": 3})
    write = lambda c: jax.jit(lambda p: relabelled.relabel(tiny.language, c, tiny.net, p, net, judge, 16))(policies)
    new = write(c)
    assert new.labels.shape == (2, 40) and new.responses.shape == (2, 40, 2, 3)
    assert (np.asarray(new.labels) == np.asarray(new.gold[..., 1] > new.gold[..., 0])).all()
    again = jax.jit(gold.scores, static_argnums=0)(net, judge, new.prompts[0], new.responses[0])
    np.testing.assert_allclose(again, new.gold[0], atol=1e-5)

    def mean_log_prob(params, seed):
        found = logits(tiny.net, params, new.prompts[seed], new.responses[seed])
        mask = policy.visited(sequences.lengths(new.responses[seed]), 3)
        return float(jnp.mean(jnp.sum(policy.log_probs(found, new.responses[seed]) * mask, -1)))

    for seed in (0, 1):
        assert mean_log_prob(own[seed], seed) > mean_log_prob(own[1 - seed], seed) + 0.5
    later = write(replace(c, {"rounds.count": 3}))
    assert not np.array_equal(new.prompts, later.prompts)


def policy_of(tiny, seed):
    params = init(tiny.net, jax.random.key(seed))
    params["head"]["kernel"] = params["head"]["kernel"] * 10
    return params


def test_the_chain_of_cells():
    """Round 3 reads both rounds before it; what starts anew reads no policy but the one that wrote its pairs."""
    stages = lambda c: [up.stage for up in c.all_upstream()]
    third = graph.cell("policy_gradient", settings(rounds__count=3))
    assert stages(third).count("relabelled") == 2 and stages(third).count("policy_gradient") == 2
    assert "last" not in dict(third.upstream)
    goes_on = graph.cell("policy_gradient", settings(rounds__count=3, rounds__start="continue"))
    assert dict(goes_on.upstream)["last"].config.rounds.count == 2
    first = lambda **changes: graph.cell("policy_gradient", settings(rounds__count=1, **changes)).fingerprint
    plain = graph.cell("policy_gradient", replace(settings(), {"rounds.count": 1, "rounds.num_pairs": 2000}))
    assert first() == first(rounds__data="replace") == plain.fingerprint
    ways = ({}, {"rounds__data": "replace"}, {"rounds__start": "continue"}, {"rounds__num_pairs": 13})
    assert len({graph.cell("policy_gradient", settings(**way)).fingerprint for way in ways}) == 4
    order = [c.stage for c in third.all_upstream()]
    assert order.index("relabelled") > order.index("policy_gradient")


def test_reward_models_of_later_rounds_take_all_and_may_see_something_else():
    blind = {"reward_model__blind": ("template",)}
    c = settings(**blind)
    assert c.reward_model_of_round.num_pairs is None and c.reward_model_of_round.blind == ("template",)
    c = settings(**blind, rounds__sight="alternating")
    assert c.reward_model_of_round.blind == ("hedging", "agreement", "refusal")
    assert c.round_before.reward_model_of_round == c.reward_model
    assert settings(**blind, rounds__sight="alternating", rounds__count=3).reward_model_of_round.blind == ("template",)


def test_the_newest_pairs_are_passed_over_as_often_as_there_are_rounds():
    """Pairs of round 3: 3 x N of all so far, or N passed over three times."""
    epochs = lambda **ways: settings(rounds__count=3, **ways).reward_model_of_round.epochs
    assert epochs(rounds__data="replace", rounds__as_long=True) == 3 * epochs(rounds__data="replace")


def test_one_policy_a_seed_writes_the_pairs():
    with pytest.raises(ValueError, match="rounds.count=2.*one kl_coef"):
        settings(kl_coefs=(0.0, 0.1))
    with pytest.raises(ValueError, match="rounds.count=2"):
        settings(reward="gold")


def test_labels_of_a_key_of_their_own_are_other_labels():
    noisy = config.PreferencesConfig(num_pairs=200, label_noise=0.5)
    arguments = (None, jnp.zeros((200, 6), int), jnp.zeros((200, 2, 3), int), jnp.ones((200, 2)).at[:, 1].set(2.0))
    one, other = (preferences.collect(noisy, *arguments, key=key).labels for key in (None, jax.random.key(1)))
    assert 0.3 < np.mean(np.asarray(one != other)) < 0.7


@pytest.mark.parametrize("name", ["iterated", "omission_updates"])
def test_no_kl_ends_a_run_that_a_later_round_goes_on_from(name):
    """It would begin where it must end, with its first point alone."""
    _, curves, _ = plan.plan(name, "cpu", {})
    going_on = [c.config for c in curves if c.config.rounds.start == "continue" and c.config.rounds.count > 1]
    assert going_on and {config.optimiser.until_kl for config in going_on} == {None}
