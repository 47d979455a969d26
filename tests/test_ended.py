"""Runs that have ended take no more time while others of their cell go on, and no other run is moved by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import policy
from gold_sim.config import Config
from gold_sim.language.topics import world
from gold_sim.rewards import gold
from gold_sim.rewards.reward import Reward
from gold_sim.settings import replace
from gold_sim.stages import parallel, policy_gradient
from gold_sim.stages.measurement import held_out_prompts
from gold_sim.stages.parallel import unless_ended
from tests.conftest import init, judge_init

SMALL = {"world.response_len": 6, "reference.width": 8, "reference.depth": 1, "gold.width": 16, "gold.depth": 1}
RL = {"steps": 8, "evaluations": 4, "prompts": 8, "group_size": 4, "eval_prompts": 8, "learning_rate": 3e-2}
CONFIG = replace(Config(), {**SMALL, "reward": "gold", **{f"optimiser.{name}": value for name, value in RL.items()}})


def test_a_function_is_not_called_for_those_that_have_ended(monkeypatch):
    called = []

    def square(x):
        jax.debug.callback(lambda x: called.append(int(x)), x)
        return dict(square=x * x)

    ended, xs = np.array([False, True, False]), jnp.arange(2.0, 5.0)
    assert jax.jit(unless_ended(square))((ended, xs))["square"].tolist() == [4, 0, 16]
    kept = unless_ended(square, instead=lambda x: dict(square=-x))
    assert jax.jit(kept)((ended, xs))["square"].tolist() == [4, -3, 16]
    assert unless_ended(square)((None, xs))["square"].tolist() == [4, 9, 16]
    jax.effects_barrier()
    assert sorted(called) == [2, 2, 2, 3, 4, 4, 4]
    monkeypatch.setattr(parallel, "accelerated", lambda: True)  # side by side all are computed, and some are dropped
    assert jax.jit(unless_ended(lambda x: dict(square=x * x)))((ended, xs))["square"].tolist() == [4, 0, 16]


class Forgetful:
    def __init__(self, *given):
        pass

    def resume(self, states, points):
        return states, points, 0

    def keep(self, states, points, done):
        pass


@pytest.fixture
def drive(monkeypatch):
    """(config of the optimiser) -> (states, curve) of two runs, whose reward is a random gold."""
    language, num = world.make(CONFIG.world), 2
    net, gold_net = policy.network(language, CONFIG.reference), gold.network(language, CONFIG.gold)
    judge = gold.Gold(judge_init(gold_net, jax.random.key(1)), *map(jnp.float32, (0, 1, 0, 1)))
    runs = dict(seed=jnp.arange(num))
    monkeypatch.setattr(policy_gradient, "Checkpointed", Forgetful)

    def of(optimiser):
        at = policy_gradient.Loaded(
            policy_gradient.Training(language, net, optimiser, penalised=False),
            *(Reward(language, CONFIG, None, gold_net, runs), gold_net, judge, init(net, jax.random.key(2))),
            *(
                held_out_prompts(language, 0, runs["seed"], optimiser.eval_prompts),
                (runs["seed"], jnp.zeros(num)),
                runs,
                None,
                np.nan,
            ),
        )
        return policy_gradient.driven(at, None, None, lambda done, total: None)

    return of


def test_a_run_that_has_ended_keeps_its_state_and_moves_no_other(drive, monkeypatch):
    free = drive(CONFIG.optimiser)[1].policy.kl
    first = int(free[2, 1] > free[2, 0])  # the run that is beyond the mean of both after four steps of eight
    until = replace(CONFIG, {"optimiser.until_kl": float(free[2].mean())}).optimiser
    assert not policy_gradient.beyond(until, free[:2]).any()
    states, curve = drive(until)
    as_none_ended = lambda at, last, going_on=policy_gradient.going_on: going_on(at, None)
    monkeypatch.setattr(policy_gradient, "going_on", as_none_ended)
    driven_on, whole = drive(until)
    taken = np.asarray(states.step)
    assert taken[first] == 4 < taken[1 - first] == np.asarray(driven_on.step)[first]
    own, same = (policy_gradient.points_of(until, each.control, each.policy.kl) for each in (curve, whole))
    np.testing.assert_array_equal(own, same)
    assert own[:, first].sum() == 2 < own[:, 1 - first].sum()
    for one, other in zip(*map(jax.tree.leaves, (curve, whole)), strict=True):
        np.testing.assert_array_equal(one[own], other[own])
    for one, other in zip(*map(jax.tree.leaves, (states.params, driven_on.params)), strict=True):
        np.testing.assert_array_equal(one[1 - first], other[1 - first])
        assert one.ndim < 3 or not np.array_equal(one[first], other[first])
