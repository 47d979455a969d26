"""Writing responses token by token, with a key-value cache."""

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import device
from gold_sim.networks import fused_attention, key_value_cache, network
from gold_sim.networks.network import Network
from gold_sim.networks.transformer import (
    attention_out,
    embedded,
    in_precision,
    mlp,
    normed,
    of_attention,
    queries_keys_values,
    readout,
    sharded,
    through_block,
)


def decode(net: Network, params, prompts, num_samples: int, length: int, choose, inputs):
    """Write `length` tokens for `num_samples` responses a prompt, with a key-value cache, under scan.

    choose: (logits [P, N, outputs], inputs[t]) -> (tokens [P, N] int32, a pytree to keep from the step).
    inputs: pytree with a leading axis of `length`.
    Returns tokens [P, N, length] and the kept values stacked on a leading axis of `length`.
    """
    num_prompts, prompt_len = prompts.shape
    # Rounded once, not at every token.
    rounded = lambda part: {"kernel": in_precision(net, part["kernel"])} if "kernel" in part else part
    blocks = {name: rounded(part) for name, part in sharded(params["blocks"]).items()}

    group = fused_attention.Group(prompt_len, 0, 0)

    def prefill(x, block):
        x, k, v = through_block(net, group, block, x)
        return x, (of_attention(net, k), of_attention(net, v))

    x = embedded(params, prompts, np.arange(prompt_len))
    x, of_prompts = jax.lax.scan(prefill, x, blocks, unroll=min(net.depth, network.UNROLLED))
    first = readout(params, normed(x[:, -1], params["norm"]["scale"]))
    first = jnp.broadcast_to(first[:, None], (num_prompts, num_samples, net.outputs))
    most, written_out = length - 1, net.depth <= network.UNROLLED
    kind = key_value_cache.ByBlock if written_out and not device.accelerated() else key_value_cache.Stacked
    held = kind(of_prompts, num_samples, most)
    of_block = lambda i: jax.tree.map(lambda p: p[i], blocks)
    if written_out:  # cut out once, not at every token
        apart = jax.lax.optimization_barrier([of_block(i) for i in range(net.depth)])
        of_block = apart.__getitem__

    def write(carry, at_t):
        logits_t, tokens_so_far = carry
        t, inputs_t = at_t
        tokens, kept = choose(logits_t, inputs_t)
        x = params["token"][tokens] + params["position"][prompt_len + t]

        def layer(i, carry):
            x, so_far = carry
            block = of_block(i)
            q, k, v = queries_keys_values(net, block, x)
            so_far = held.with_token(so_far, i, t, k, v)
            return mlp(net, block, attention_out(net, block, x, held.attention(so_far, i, t, q))), so_far

        carry = (x, tokens_so_far)
        if written_out:
            for i in range(net.depth):
                carry = layer(i, carry)
        else:
            carry = jax.lax.fori_loop(0, net.depth, layer, carry)
        x, tokens_so_far = carry
        return (readout(params, normed(x, params["norm"]["scale"])), tokens_so_far), (tokens, kept)

    steps = (jnp.arange(most), jax.tree.map(lambda a: a[:-1], inputs))
    (last, _), (tokens, kept) = jax.lax.scan(write, (first, held.start()), steps)
    last_tokens, last_kept = choose(last, jax.tree.map(lambda a: a[-1], inputs))
    tokens = jnp.concatenate([tokens, last_tokens[None]])
    kept = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), kept, last_kept)
    return jnp.moveaxis(tokens, 0, -1), kept
