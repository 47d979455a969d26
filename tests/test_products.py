"""Products in a CPU's order are those of their definitions, gradients too; caches of both kinds tell the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import device
from gold_sim.networks import decoding, key_value_cache, network, products, transformer

KEYS = jax.random.split(jax.random.key(0), 4)


def _both(f, *args):
    """(f, its gradients weighed by fixed numbers), in whichever form the device now takes."""
    weigh = jax.random.normal(KEYS[3], jax.eval_shape(f, *args).shape)
    told = lambda *a: (f(*a), jax.grad(lambda *b: jnp.sum(f(*b) * weigh), tuple(range(len(args))))(*a))
    return jax.jit(told)(*args)


@pytest.mark.parametrize(("rows", "into", "out"), [(7, 5, 1), (64, 48, 192), (64, 192, 48)])
def test_linear_and_its_gradients(monkeypatch, rows, into, out):
    x, kernel = jax.random.normal(KEYS[0], (rows, into)), jax.random.normal(KEYS[1], (into, out))
    found = _both(products.linear, x, kernel)
    monkeypatch.setattr(device, "accelerated", lambda: True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, _both(products.linear, x, kernel))


def test_norm_and_its_gradients(monkeypatch):
    x, scale = 3 * jax.random.normal(KEYS[0], (2, 5, 24)), jax.random.normal(KEYS[1], (24,))
    found = _both(products.norm, x, scale)
    monkeypatch.setattr(device, "accelerated", lambda: True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, _both(products.norm, x, scale))


@pytest.mark.parametrize(
    ("keys", "kind", "within"), [(23, "float32", 5e-6), (24, "float32", 5e-6), (9, "bfloat16", 0.04)]
)
def test_attention_and_its_gradients(monkeypatch, keys, kind, within):
    """Two masks: one for all, and one for each of a batch; a hidden key gets no gradient."""
    of = lambda key, length: (2 * jax.random.normal(key, (3, length, 2, 16))).astype(kind)
    q, k, v = of(KEYS[0], 5), of(KEYS[1], keys), of(KEYS[2], keys)
    for shape in ((5, keys), (3, 1, 1, keys)):
        visible = jax.random.bernoulli(KEYS[3], 0.5, shape).at[..., 0].set(True).at[..., keys - 1].set(False)
        mask = jnp.where(visible, 0.0, products.HIDDEN)
        f = lambda *a: products.attention(*a, mask)  # noqa: B023
        found = _both(f, q, k, v)
        with monkeypatch.context() as patch:
            patch.setattr(device, "accelerated", lambda: True)
            wanted = _both(f, *(a.astype(jnp.float32) for a in (q, k, v)))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            a, b = np.asarray(a, np.float32), np.asarray(b)
            assert np.linalg.norm(a - b) < within * np.linalg.norm(b)
        assert not np.any(np.asarray(found[1][1])[:, -1]) and not np.any(np.asarray(found[1][2])[:, -1])


def test_attention_of_scores_that_would_overflow():
    big = jnp.full((1, 2, 1, 4), 40.0)
    mixed = jax.jit(products.attention)(big, big, jnp.arange(8.0).reshape(1, 2, 1, 4), jnp.zeros((2, 2)))
    np.testing.assert_allclose(mixed[0, :, 0, 0], 2.0)


@pytest.mark.parametrize("sizes", [(1, 5, 2), (3, 1, 1), (2, 3, 4)], ids=str)
def test_caches_of_both_kinds_tell_the_same(sizes):
    """Axes of length 1 among prompts, responses and heads; two blocks; every token in turn."""
    (p, n, heads), width, prompt, tokens = sizes, 4, 6, 5
    draw = lambda key, *shape: jax.random.normal(key, (*shape, heads, width))
    of_prompts = draw(KEYS[0], 2, p, prompt), draw(KEYS[1], 2, p, prompt)
    q, k, v = (draw(key, tokens, 2, p, n) for key in jax.random.split(KEYS[2], 3))
    kinds = [kind(of_prompts, n, tokens) for kind in (key_value_cache.ByBlock, key_value_cache.Stacked)]

    def read(kind, q, k, v):
        held, out = kind.start(), []
        for t in range(tokens):
            for i in range(2):
                held = kind.with_token(held, i, t, k[t, i], v[t, i])
                out.append(kind.attention(held, i, t, q[t, i]))
        return out

    for found, wanted in zip(*(jax.jit(functools.partial(read, kind))(q, k, v) for kind in kinds), strict=True):
        assert found.shape == (p, n, heads, width)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_networks_that_loop_over_blocks_decode_as_those_that_do_not(monkeypatch):
    net = network.Network(16, 3, 12, 12, 11)
    params = jax.jit(lambda k: transformer.init(net, k))(KEYS[0])
    prompts = jax.random.randint(KEYS[1], (2, 6), 1, 12)
    choose = lambda logits, u: (jnp.argmax(logits + u, -1).astype(jnp.int32), logits)
    noise = jax.random.gumbel(KEYS[2], (5, 2, 3, 12))

    def written():
        return jax.jit(lambda p: decoding.decode(net, p, prompts, 3, 5, choose, noise))(params)

    found = written()
    monkeypatch.setattr(network, "UNROLLED", 2)
    looped = written()
    assert np.array_equal(found[0], looped[0])
    np.testing.assert_allclose(found[1], looped[1], atol=1e-5)
