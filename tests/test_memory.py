"""What is mapped side by side fits the device, and gives what one after another gives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from gold_sim import device, policy, preferences
from gold_sim.config import (
    DirectConfig,
    GoldConfig,
    OptimiserConfig,
    PolicyConfig,
    PreferencesConfig,
    RewardModelConfig,
    WorldConfig,
)
from gold_sim.language.topics import world
from gold_sim.networks import footprint, pieces, transformer
from gold_sim.networks.network import Network
from gold_sim.optimisation import algorithms, direct_alignment, driver, policy_gradient
from gold_sim.rewards import gold, reward_model
from gold_sim.stages import parallel

PROMPTS, GROUP, PROMPT, LENGTH = 32, 4, 8, 16


@pytest.mark.parametrize("size", [(64, 2), (64, 6), (192, 6)], ids=["kept", "looped", "recomputed"])
def test_bytes_are_those_that_xla_counts(size):
    net = Network(*size, 64, 64, PROMPT + LENGTH)
    prompts = jax.ShapeDtypeStruct((PROMPTS, PROMPT), jnp.int32)
    responses = jax.ShapeDtypeStruct((PROMPTS, GROUP, LENGTH), jnp.int32)
    params = jax.eval_shape(lambda k: transformer.init(net, k), jax.random.key(0))
    adam = optax.adam(1e-3)

    def step(params, opt_state, prompts, responses):
        loss = lambda p: jnp.mean(policy.log_probs(transformer.logits(net, p, prompts, responses), responses))
        updates, opt_state = adam.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    compiled = jax.jit(step).lower(params, jax.eval_shape(adam.init, params), prompts, responses).compile()
    counted = compiled.memory_analysis()
    counted = counted.temp_size_in_bytes + counted.argument_size_in_bytes + counted.output_size_in_bytes
    ours = footprint.of_training(net, PROMPTS * (GROUP * LENGTH + PROMPT))
    assert 0.7 < ours / counted < 1.4


def test_runs_at_once_by_hand():
    assert footprint.at_once(10e9, limit=100e9) == 8  # four fifths of the device
    assert footprint.at_once(200e9, limit=100e9) == 1
    assert footprint.at_once(1.0) is None  # a CPU has no limit of its own


@pytest.mark.parametrize("at_once", [None, 1, 2])
def test_side_by_side_is_one_after_another(monkeypatch, at_once):
    xs = jax.random.normal(jax.random.key(0), (5, 16, 16))
    f = lambda x: jnp.tanh(x @ x)
    looped = jax.jit(parallel.mapped(f))(xs)
    monkeypatch.setattr(parallel, "accelerated", lambda: True)
    np.testing.assert_allclose(jax.jit(parallel.mapped(f, at_once))(xs), looped, atol=1e-6)
    monkeypatch.setattr(device, "accelerated", lambda: True)
    np.testing.assert_allclose(jax.jit(lambda xs: pieces.streamed(f, xs, 2))(xs), looped, atol=1e-6)


@pytest.mark.parametrize(("num", "most", "count"), [(512, 64, 8), (129, 128, 3), (131, 128, 1), (7, 8, 1)])
def test_pieces_for_a_cores_cache_give_what_all_at_once_gives(monkeypatch, num, most, count):
    """Several arrays in, a tree out; a prime number of rows is one piece, as is everything on an accelerator."""
    x, y = jax.random.normal(jax.random.key(0), (num, 3, 4)), jnp.arange(num)
    seen = []

    def f(x, y):
        seen.append(len(x))
        return dict(sums=x.sum(1), twice=(2 * y,))

    found = jax.jit(lambda x, y: pieces.in_pieces(f, x, y, most=most))(x, y)
    assert set(seen) == {num // count} and pieces.equal_pieces(num, most) == count
    jax.tree.map(np.testing.assert_array_equal, found, f(x, y))
    monkeypatch.setattr(device, "accelerated", lambda: True)
    seen.clear()
    pieces.in_pieces(f, x, y, most=most)
    assert seen == [num]


@pytest.mark.parametrize("rows", [5, 4, 9, 17])
def test_chunks_called_from_the_host_give_all_rows_with_keys_of_their_own(monkeypatch, rows):
    """One program for any number of rows; an accelerator's chunks, side by side, have the same keys."""
    monkeypatch.setattr(pieces, "CHUNK", 4)
    x, shapes, told = np.arange(rows), set(), []

    def program(at, x):
        shapes.add((at.shape, x.shape))
        noise = lambda i: jax.random.randint(jax.random.fold_in(jax.random.key(1), i), (4,), 0, 10**6)
        return dict(sums=pieces.streamed(lambda both: both[1] + noise(both[0]), (at, x), 2))

    found = pieces.in_chunks(program, x, progress=lambda *now: told.append(now))["sums"]
    assert found.shape == (rows,) and shapes == {((1,), (1, 4))} and told == [(i, len(told)) for i in range(len(told))]
    of_chunk = lambda i: jax.random.randint(jax.random.fold_in(jax.random.key(1), i), (4,), 0, 10**6)
    wanted = x + np.concatenate([of_chunk(i) for i in range(-(-rows // 4))])[:rows]
    np.testing.assert_array_equal(found, wanted)
    monkeypatch.setattr(device, "accelerated", lambda: True)
    monkeypatch.setattr(pieces, "CHUNKS_AT_ONCE", 2)
    np.testing.assert_array_equal(pieces.in_chunks(program, x)["sums"], wanted)


# --- training steps -------------------------------------------------------------------------------

LANGUAGE = world.make(WorldConfig(response_len=6))
REFERENCE = PolicyConfig(width=8, depth=1, steps=2, batch=192)
POLICY = policy.network(LANGUAGE, REFERENCE)
SMALL_GOLD = GoldConfig(width=8, depth=1, steps=2, batch=192)


def start():
    return jax.jit(lambda: transformer.init(POLICY, jax.random.key(0)))()


def pairs(count: int):
    prompts = LANGUAGE.prompts(jax.random.key(1), count)
    responses = policy.sample(POLICY, start(), prompts, 2, 6, jax.random.key(2)).responses
    config = PreferencesConfig(num_pairs=count)
    truth = jax.random.normal(jax.random.key(3), (count, 2))
    return preferences.split(config, preferences.collect(config, LANGUAGE, prompts, responses, truth))


def written(num):
    prompts = LANGUAGE.prompts(jax.random.key(6), num)
    return prompts, policy.sample(POLICY, start(), prompts, gold.GROUP, 6, jax.random.key(7)).responses


def stepped(task, score):
    """Adam's moments after one step."""
    algorithm = algorithms.find(task.config)
    return driver.step(driver.of_run(algorithm, task, score), algorithm.init(task)).opt_state


def rloo():
    reward = lambda prompts, responses: LANGUAGE.rubric(prompts, responses)
    draw = lambda key, num: LANGUAGE.prompts(key, num)
    config = OptimiserConfig(prompts=48, group_size=4)
    return stepped(policy_gradient.Task(config, POLICY, start(), 6, draw, jax.random.key(4), 0.1), reward)


def dpo():
    config = DirectConfig(num_pairs=192, batch=96, evaluations=1)
    train = pairs(240)[0]
    labelled = direct_alignment.Pairs(train.prompts, train.responses, train.labels)
    order = direct_alignment.order(config, len(train.labels), jax.random.key(5))
    return stepped(direct_alignment.Task(config, POLICY, start(), labelled, order, 0.1), None)


def fitted():
    config = RewardModelConfig(width=8, depth=1, batch=96, num_pairs=192, epochs=1)
    params, _, losses = reward_model._fitted.__wrapped__(LANGUAGE, config, *pairs(240), 0, 0)
    return params, losses[-1]


def sft():
    shown = policy._demonstrated(LANGUAGE, REFERENCE.batch, jax.random.key(9), jnp.arange(REFERENCE.steps))
    return policy.fitted.__wrapped__(LANGUAGE, REFERENCE, jax.random.key(10), *shown)


STEPS = dict(
    sft=sft,
    gold=lambda: gold.train.__wrapped__(LANGUAGE, SMALL_GOLD, jax.random.key(8), *written(400)),
    rloo=rloo,
    dpo=dpo,
    reward_model=fitted,
)


@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_in_pieces_is_the_step_at_once(monkeypatch, name):
    """Losses, and Adam's moments or the parameters after two steps, of batches of 192 responses."""
    counts, cut = [], pieces._cut
    monkeypatch.setattr(pieces, "_cut", lambda xs, count: counts.append(count) or cut(xs, count))
    in_pieces = jax.jit(lambda: STEPS[name]())()
    assert 3 in counts
    monkeypatch.setattr(device, "accelerated", lambda: True)
    counts.clear()
    at_once = jax.jit(lambda: STEPS[name]())()
    assert not counts
    told = [np.asarray(ravel_pytree(tree)[0]) for tree in (in_pieces, at_once)]  # Adam's state is one vector on a CPU
    np.testing.assert_allclose(*told, rtol=2e-3, atol=1e-5)
