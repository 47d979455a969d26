"""One network, three layouts: what is sampled, grouped or mapped gives the same numbers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import policy
from gold_sim.networks import network, transformer
from gold_sim.networks.network import Network
from tests.conftest import init, logits

P, N, PROMPT_LEN, LENGTH, VOCAB, OUTPUTS = 3, 4, 5, 6, 12, 9
NET = Network(width=32, depth=2, vocab_size=VOCAB, outputs=OUTPUTS, max_len=PROMPT_LEN + LENGTH, values=1)
JUDGE = Network(width=32, depth=2, vocab_size=VOCAB, outputs=1, max_len=PROMPT_LEN + LENGTH)


logits_and_values, rewards = (
    jax.jit(f, static_argnums=0) for f in (transformer.logits_and_values, transformer.rewards)
)
sample = jax.jit(policy.sample, static_argnums=(0, 3, 4))


def louder(params):
    """Fresh heads are near 0; larger ones make every comparison sharp."""
    return {**params, "head": jax.tree.map(lambda a: 20 * a, params["head"])}


@pytest.fixture(scope="module")
def params():
    return louder(init(NET, jax.random.key(0)))


@pytest.fixture(scope="module")
def judge():
    return louder(init(JUDGE, jax.random.key(1)))


@pytest.fixture(scope="module")
def prompts():
    return jax.random.randint(jax.random.key(2), (P, PROMPT_LEN), 0, VOCAB)


@pytest.fixture(scope="module")
def responses():
    return jax.random.randint(jax.random.key(3), (P, N, LENGTH), 1, OUTPUTS)


def test_num_params_by_hand():
    """d = 32: tokens 12 d, positions 11 d, two blocks of 2 d + 12 d^2, norm d, head 9 d + 9, value d + 1."""
    d = 32
    assert transformer.num_params(NET) == 12 * d + 11 * d + 2 * (2 * d + 12 * d**2) + d + 9 * d + 9 + d + 1


@pytest.mark.parametrize("net", [NET, JUDGE, Network(8, 9, 5, 3, 7)])
def test_num_params_are_those_there_are(net):
    assert transformer.num_params(net) == sum(leaf.size for leaf in jax.tree.leaves(transformer.shapes(net)))


def test_sampled_logits_equal_rescoring(params, prompts):
    s = sample(NET, params, prompts, 16, LENGTH, jax.random.key(4))
    again = logits(NET, params, prompts, s.responses)
    mask = policy.visited(s.lengths, LENGTH)[..., None]
    assert np.std(again) > 0.3
    assert np.max(np.abs(np.where(mask, s.logits - again, 0))) < 1e-4
    assert len(np.unique(s.lengths)) > 1 and s.responses.max() < OUTPUTS


def test_values_ride_along(params, prompts, responses):
    found, values = logits_and_values(NET, params, prompts, responses)
    assert np.allclose(found, logits(NET, params, prompts, responses), atol=1e-5)
    assert values.shape == (P, N, LENGTH) and np.std(values) > 0


def test_grouped_layout_equals_one_response_a_prompt(params, judge, prompts, responses):
    alone = jnp.repeat(prompts, N, axis=0), responses.reshape(P * N, 1, LENGTH)
    grouped = logits(NET, params, prompts, responses)
    assert np.allclose(logits(NET, params, *alone).reshape(grouped.shape), grouped, atol=1e-4)
    lengths = jnp.arange(P * N).reshape(P, N) % LENGTH + 1
    grouped = rewards(JUDGE, judge, prompts, responses, lengths)
    single = rewards(JUDGE, judge, *alone, lengths.reshape(-1, 1))
    assert np.allclose(single.reshape(P, N), grouped, atol=1e-4)
    assert np.std(grouped) > 0.1


def test_response_tokens_are_a_longer_prompt(params, prompts, responses):
    """Moving t tokens from the response to the prompt leaves the logits of the next: one sequence, two layouts."""
    whole = logits(NET, params, prompts, responses)[:, 0]
    for t in range(1, LENGTH):
        longer = jnp.concatenate([prompts, responses[:, 0, :t]], -1)
        rest = logits(NET, params, longer, responses[:, :1, t:])[:, 0]
        assert np.allclose(rest, whole[:, t:], atol=1e-4)


def test_logits_do_not_see_their_own_or_later_tokens(params, prompts, responses):
    before = logits(NET, params, prompts, responses)
    after = logits(NET, params, prompts, responses.at[:, :, 3].set(0))
    change = np.abs(after - before).max((0, 1, 3))
    assert np.all(change[:4] == 0) and np.all(change[4:] > 1e-3)


def test_permuting_a_group_permutes_its_outputs(params, judge, prompts, responses):
    order, lengths = np.array([2, 0, 3, 1]), jnp.full((P, N), LENGTH)
    run = lambda r: logits(NET, params, prompts, r)
    assert np.allclose(run(responses[:, order]), run(responses)[:, order], atol=1e-5)
    run = lambda r: rewards(JUDGE, judge, prompts, r, lengths)
    assert np.allclose(run(responses[:, order]), run(responses)[:, order], atol=1e-5)


def test_padding_behind_eos_does_not_change_rewards(judge, prompts, responses):
    lengths = jnp.arange(P * N).reshape(P, N) % LENGTH + 1
    behind = jnp.arange(LENGTH) >= lengths[..., None]
    run = lambda r: rewards(JUDGE, judge, prompts, r, lengths)
    assert np.array_equal(run(jnp.where(behind, 0, responses)), run(jnp.where(behind, 7, responses)))
    inside = run(jnp.where(behind, responses, (responses + 1) % OUTPUTS))
    assert np.all(inside != run(responses))


@pytest.mark.parametrize("depth", [1, 2, 6])
def test_rewards_are_those_of_the_whole_network(prompts, responses, depth):
    """The last block runs at the last token alone: the same values and gradients, whatever the depth."""
    net = dataclasses.replace(JUDGE, depth=depth, outputs=2)
    lengths = jnp.arange(P * N).reshape(P, N) % LENGTH + 1

    @jax.jit
    def whole(params):
        h = transformer.hidden(net, params, prompts, responses)[:, prompts.shape[1] :].reshape(P, N, LENGTH, -1)
        h = jnp.take_along_axis(h, (lengths - 1)[..., None, None], axis=2)[:, :, 0]
        return h @ params["head"]["kernel"] + params["head"]["bias"]

    found = jax.jit(lambda params: transformer.heads(net, params, prompts, responses, lengths))
    params = louder(init(net, jax.random.key(6)))
    assert np.allclose(found(params), whole(params), atol=1e-4) and np.std(found(params)) > 0.1
    slopes = [jax.jit(jax.grad(lambda p, f=f: jnp.sum(jnp.sin(f(p)))))(params) for f in (found, whole)]
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-3), *slopes))


def test_vmap_over_params_equals_loop(prompts, responses):
    keys, lengths = jax.random.split(jax.random.key(5), 3), jnp.full((P, N), LENGTH)
    many = jax.jit(jax.vmap(lambda k: init(JUDGE, k)))(keys)
    run = lambda p: rewards(JUDGE, p, prompts, responses, lengths)
    mapped = jax.jit(jax.vmap(run))(many)
    for i, key in enumerate(keys):
        one = init(JUDGE, key)
        assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a[i], b, atol=1e-6), many, one))
        assert np.allclose(mapped[i], run(one), atol=1e-5)
    assert not np.allclose(mapped[0], mapped[1], atol=1e-3)


def test_fresh_parameters_have_the_spread_that_is_written():
    """1 / sqrt(inputs) within blocks, transformer.SPREAD elsewhere; norms 1, biases 0; no two matrices alike."""
    net = network.Network(64, 2, 40, 30, 24, values=1)
    fresh = init(net, jax.random.key(0))
    for path, leaf in jax.tree.leaves_with_path(fresh):
        name, kind = path[0].key, path[-1].key
        if kind in ("scale", "bias"):
            assert np.all(leaf == (kind == "scale")), path
        else:
            wanted = transformer.SPREAD.get(name) or leaf.shape[-2] ** -0.5
            assert np.std(leaf) == pytest.approx(wanted, rel=0.25), path
    assert np.std(fresh["blocks"]["down"]["kernel"]) == pytest.approx(1 / 16, rel=0.05)
    assert np.std(fresh["blocks"]["up"]["kernel"]) == pytest.approx(1 / 8, rel=0.05)
    first = [np.ravel(leaf)[:30] for path, leaf in jax.tree.leaves_with_path(fresh) if path[-1].key == "kernel"]
    assert np.abs(np.corrcoef(first) - np.eye(len(first))).max() < 0.8
