"""What a GPU computes in its own way is what a CPU does: one kernel for attention, sums in decoding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import device, policy
from gold_sim.language import sequences
from gold_sim.networks import fused_attention, network, transformer
from gold_sim.networks.network import Network

KEY = jax.random.key(0)
NET = Network(32, 3, 32, 30, 14, precision="bfloat16")
PROMPTS = jax.random.randint(KEY, (3, 6), 1, 30)


def _params(net):
    return jax.jit(lambda k: transformer.init(net, k))(KEY)


def _plain(group, qkv):
    """Attention by its definition, in float32: every response behind a copy of its prompt."""
    heads = qkv.shape[2] // 3
    of_prompt, rest = qkv[:, : group.prompt], qkv[:, group.prompt :]
    rest = rest.reshape(len(qkv), group.responses, group.length, *qkv.shape[2:])
    copies = jnp.broadcast_to(of_prompt[:, None], (*rest.shape[:2], *of_prompt.shape[1:]))
    q, k, v = jnp.split(jnp.concatenate([copies, rest], 2).astype(jnp.float32), 3, 3)
    scores = jnp.einsum("pnqhd,pnkhd->pnhqk", q, k) / q.shape[-1] ** 0.5
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    mixed = jnp.einsum("pnhqk,pnkhd->pnqhd", jax.nn.softmax(jnp.where(causal, scores, -jnp.inf)), v)
    responses = mixed[:, :, group.prompt :].reshape(len(qkv), -1, heads, qkv.shape[-1])
    return jnp.concatenate([mixed[:, 0, : group.prompt], responses], 1)


@pytest.mark.parametrize(("length", "width", "kind", "within"), [(15, 16, "float32", 1e-6), (20, 64, "bfloat16", 0.01)])
def test_kernel_and_its_gradient_are_attention(length, width, kind, within):
    group = fused_attention.Group(8, 3, length)
    qkv = jax.random.normal(KEY, (2, 2, group.tokens, 6, width)).astype(kind)  # two runs, mapped
    weigh = jax.random.normal(jax.random.key(1), (2, 2, group.tokens, 2, width))

    def value_and_gradient(f):
        loss = lambda x, w: jnp.sum(f(group, x).astype(jnp.float32) * w)
        both = jax.vmap(lambda x, w: (f(group, x), jax.grad(loss)(x, w)))
        return jax.jit(both)(qkv, weigh)

    for found, wanted in zip(*map(value_and_gradient, (fused_attention.attention, _plain)), strict=True):
        assert found.dtype == kind
        error = np.asarray(found, np.float32) - np.asarray(wanted, np.float32)
        assert np.linalg.norm(error) < within * np.linalg.norm(np.asarray(wanted, np.float32))


def test_what_the_kernel_does_not_take():
    assert (
        fused_attention.fits(8, 15, 16) and not fused_attention.fits(8, 15, 4) and not fused_attention.fits(8, 65, 16)
    )
    assert [fused_attention.at_once(n) for n in (2, 4, 16_384, 12, 13)] == [2, 4, 8, 6, 1]


def _as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(device, "accelerated", lambda: True)
    monkeypatch.setattr(device, "has_triton", lambda: True)
    monkeypatch.setattr(fused_attention, "_interpreted", lambda: True)


@pytest.mark.parametrize("samples", [2, 9])  # 9: prompts are read three times
def test_networks_read_the_same_on_a_gpu(monkeypatch, samples):
    responses = jax.random.randint(KEY, (3, samples, 8), 0, 30)
    judge = dataclasses.replace(NET, outputs=1)

    def read():
        loss = lambda p: jnp.mean(policy.log_probs(transformer.logits(NET, p, PROMPTS, responses), responses))
        score = lambda p: transformer.rewards(judge, p, PROMPTS, responses, sequences.lengths(responses))
        return jax.jit(jax.value_and_grad(loss))(_params(NET)), jax.jit(score)(_params(judge))

    plain = read()
    _as_on_a_gpu(monkeypatch)
    assert "pallas_call" in str(jax.make_jaxpr(lambda p: transformer.logits(NET, p, PROMPTS, responses))(_params(NET)))
    for found, wanted in zip(*map(jax.tree.leaves, (read(), plain)), strict=True):
        # Eight bits of mantissa; rewards are small beside what they are made of: up to 0.04 over four networks.
        assert np.linalg.norm(found - wanted) < 0.06 * np.linalg.norm(wanted)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_policies_write_the_same_on_a_gpu(monkeypatch, precision):
    net = dataclasses.replace(NET, precision=precision)
    write = lambda: jax.jit(lambda p: policy.sample(net, p, PROMPTS, 4, 8, KEY))(_params(net))
    on_cpu = write()
    _as_on_a_gpu(monkeypatch)
    on_gpu = write()
    same = np.asarray(on_cpu.responses) == np.asarray(on_gpu.responses)
    assert same.mean() > (0.99 if precision == "float32" else 0.9)
    first = np.asarray(on_cpu.logits[:, :, 0]), np.asarray(on_gpu.logits[:, :, 0])
    np.testing.assert_allclose(*first, atol=1e-6 if precision == "float32" else 1e-2)
    # A token that differs changes all that follow, and behind the end they differ unseen.
    alike = np.cumprod(same, -1).astype(bool)[:, :, :-1] & np.asarray(policy.visited(on_cpu.lengths, 8))[:, :, 1:]
    gap = np.abs(np.asarray(on_cpu.logits - on_gpu.logits)).max(-1)[:, :, 1:][alike]
    assert gap.max() < (1e-5 if precision == "float32" else 0.05)


def test_networks_of_several_devices_do_without_the_kernel(monkeypatch):
    _as_on_a_gpu(monkeypatch)
    group = fused_attention.Group(6, 2, 8)
    assert transformer._fuses(NET, group)
    assert not transformer._fuses(dataclasses.replace(NET, precision="float32"), group)
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1, 1), ("run", network.MODEL_AXIS))):
        assert not transformer._fuses(NET, group)
