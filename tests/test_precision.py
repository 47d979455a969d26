"""Deep, large and half-precision networks compute what shallow, small and exact ones do."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import products
from gold_sim import policy
from gold_sim.networks import network, transformer
from gold_sim.networks.network import Network
from tests.conftest import logits

NET = Network(16, network.UNROLLED + 2, 32, 30, 14)  # deeper than UNROLLED: decoding loops over its blocks
KEY = jax.random.key(0)
PROMPTS = jax.random.randint(KEY, (3, 6), 1, 30)


def _params(net):
    return jax.jit(lambda k: transformer.init(net, k))(KEY)


def _gap(net, params):
    """Between log-probs of one's own samples when written and when read, largest over visited states."""

    @jax.jit
    def largest(params):
        s = policy.sample(net, params, PROMPTS, 2, 8, KEY)
        read = policy.log_probs(transformer.logits(net, params, PROMPTS, s.responses), s.responses)
        return jnp.max(jnp.abs(policy.log_probs(s.logits, s.responses) - read) * policy.visited(s.lengths, 8))

    return float(largest(params))


def test_deep_network_writes_from_the_distribution_that_it_reads():
    assert _gap(NET, _params(NET)) < 1e-4


def test_recomputed_blocks_give_the_same_gradient(monkeypatch):
    responses = jax.random.randint(KEY, (3, 2, 8), 0, 30)

    def gradient():
        loss = lambda p: jnp.mean(policy.log_probs(transformer.logits(NET, p, PROMPTS, responses), responses))
        return jax.jit(jax.grad(loss))(_params(NET)), str(jax.make_jaxpr(jax.grad(loss))(_params(NET)))

    kept, program = gradient()
    monkeypatch.setattr(network, "REMAT_FROM", 0)
    again, other_program = gradient()
    assert "remat" in other_program and "remat" not in program
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), kept, again)


@pytest.mark.parametrize("depth", [2, 6])
def test_half_precision_is_near_and_is_used(depth):
    net = dataclasses.replace(NET, depth=depth)
    half = dataclasses.replace(net, precision="bfloat16")
    responses = jax.random.randint(KEY, (3, 2, 8), 0, 30)
    exact, near = (logits(n, _params(n), PROMPTS, responses) for n in (net, half))
    assert near.dtype == jnp.float32
    error = float(jnp.std(exact - near) / jnp.std(exact))
    assert 1e-5 < error < 0.1  # eight bits of mantissa, over `depth` blocks
    assert _gap(half, _params(half)) < 0.02
    first = lambda p: jnp.sum(transformer.logits(half, p, PROMPTS, responses)[..., 0])
    gradient = jax.jit(jax.grad(first))(_params(half))
    assert all(g.dtype == jnp.float32 and bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(gradient))


def test_half_precision_on_a_cpu_is_of_products_with_parameters():
    """Attention stays exact, as its small products are slower in half precision."""
    half, responses = dataclasses.replace(NET, depth=2, precision="bfloat16"), jnp.zeros((3, 2, 8), int)
    loss = lambda p: jnp.sum(transformer.logits(half, p, PROMPTS, responses))
    found = products.of(jax.grad(loss), transformer.shapes(half))
    halved = sum(times for product, times in found.items() if product.dtype == "bfloat16")
    # Of each block qkv, out, up and down: forward, and the gradients of what they read and of their kernels.
    assert halved == 2 * 4 * 3
    assert all(product.batch == 1 for product in found if product.dtype == "bfloat16")
    # Results are not rounded: XLA multiplies in half precision only where they are asked for in float32.
    results = re.findall(
        r":(\w+)\[[\d,]+\] = dot_general\[", str(jax.make_jaxpr(jax.grad(loss))(transformer.shapes(half)))
    )
    assert set(results) == {"f32"}


def test_wide_networks_have_wide_heads():
    assert Network(256, 1, 8, 8, 8).heads == 16 and Network(1024, 1, 8, 8, 8).heads == 16
