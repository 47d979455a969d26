"""One contract for every algorithm of the table, old or new; others ask where each ends (test_policy_gradient.py)."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim.config import DirectConfig, OptimiserConfig
from gold_sim.optimisation import algorithms, direct_alignment, driver
from gold_sim.optimisation import policy_gradient as pg
from gold_sim.stages import checkpointed

SIZES = dict(steps=4, evaluations=2, prompts=4, group_size=8, minibatches=2)
COMPONENTS = ("mu", "xi", "all", "sat")  # want two scores a response
ALL = {
    **{name: OptimiserConfig(name=name, **SIZES) for name in algorithms.OPTIMISERS},
    **{
        name: OptimiserConfig(constraint=name, thresholds=(0.5, 0.5) if name in COMPONENTS else (), **SIZES)
        for name in algorithms.CONSTRAINED
    },
    **{
        name: DirectConfig(loss=name, num_pairs=16, batch=8, epochs=2, evaluations=2, coef=0.1)
        for name in algorithms.DIRECT
    },
}


def case(tiny, name):
    """(algorithm, task, score) on the tiny world."""
    config, key = ALL[name], jax.random.key(3)
    algorithm = algorithms.find(config)
    net = dataclasses.replace(tiny.net, values=algorithm.values)
    params = {k: v for k, v in tiny.ref_params.items() if k != "value" or algorithm.values}
    if isinstance(config, DirectConfig):
        responses = jnp.asarray(tiny.responses[np.arange(64).reshape(32, 2)])
        pairs = direct_alignment.Pairs(jnp.tile(tiny.prompts, (8, 1)), responses, jnp.arange(32) % 3 == 0)
        order = direct_alignment.order(config, 32, key)
        return algorithm, direct_alignment.Task(config, net, params, pairs, order, 0.5), None
    score = tiny.reward
    if name in COMPONENTS:
        score = lambda p, r: jnp.stack([tiny.reward(p, r), jnp.sum(r != 0, -1).astype(jnp.float32)])
    draw = lambda key, num: jnp.tile(tiny.prompts, (num // 4, 1))
    return algorithm, pg.Task(config, net, params, 3, draw, key, 0.1), score


class Kept:
    """The last checkpoint, frozen as in a store, and thawed by whoever resumes."""

    tree, done = None, 0

    def resume(self, states, points):
        thawed = (states, points) if self.tree is None else checkpointed._thaw(self.tree, states, points[0])
        return *thawed, self.done

    def keep(self, states, points, done):
        self.tree, self.done = checkpointed._freeze(states, points), done


def test_settings_allow_what_the_table_has():
    allowed = lambda config, field: set(typing.get_args(typing.get_type_hints(config)[field]))
    assert allowed(OptimiserConfig, "name") == algorithms.OPTIMISERS.keys()
    assert allowed(OptimiserConfig, "constraint") == algorithms.CONSTRAINED.keys() | {"none"}
    assert allowed(DirectConfig, "loss") == algorithms.DIRECT.keys()


@pytest.mark.parametrize("name", ALL)
def test_every_algorithm_keeps_its_promises(tiny, name):
    """Typed states of one shape, counted steps, parameters that move and follow what is preferred, bits that resume."""
    algorithm, task, score = case(tiny, name)
    rollout, score, update = (f and jax.jit(f) for f in driver.of_run(algorithm, task, score))
    first, kept, steps = jax.jit(lambda: algorithm.init(task))(), Kept(), []
    size = dict(steps=task.config.steps, evaluations=2)
    run = lambda *programs, **more: driver.drive(driver.Programs(*programs), first, measure, **size, **more)
    measure, progress = lambda s: np.asarray(s.step), lambda done, total: steps.append(done)

    state, curve = run(rollout, score, update, checkpoints=kept, progress=progress)
    assert curve.tolist() == [0, 2, 4] and steps == [1, 2, 3, 4]
    shapes = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), tree)
    assert shapes(state) == shapes(first) and {"params", "step"} <= set(state._fields)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))

    resumed, again = run(rollout, score, update, checkpoints=kept, progress=progress)
    assert steps[4:] == [3, 4] and np.array_equal(curve, again)
    jax.tree.map(np.testing.assert_array_equal, state, resumed)  # NaN equals NaN here

    if score is None:
        flipped = lambda batch: batch._replace(labels=~batch.labels)
        opposed = run(lambda s: flipped(rollout(s)), None, update)[0]
    else:
        opposed = run(rollout, lambda p, r: -score(p, r), update)[0]
    pairs = lambda a, b: zip(*map(jax.tree.leaves, (a, b)), strict=True)
    apart = lambda other: max(np.abs(a - b).max() for a, b in pairs(state.params, other))
    assert apart(task.ref_params) > 1e-5 and apart(opposed.params) > 1e-5


def test_rollouts_know_no_reward_and_pairs_no_gold(tiny):
    """What is written before anything scores has no rewards; a batch of pairs has nothing beside their labels."""
    for name in ALL:
        algorithm, task, _ = case(tiny, name)
        batch = jax.eval_shape(lambda a=algorithm, t=task: a.rollout(t, a.init(t)))
        assert getattr(batch, "rewards", None) is None, name
        assert not {"gold", "margin"} & set(batch._fields), name
