"""The one network: a decoder-only transformer for the policy, the gold and every proxy reward model.

Layout. Responses always come grouped under the prompt that they answer: prompts [P, Lp] and
responses [P, N, Lr]. The prompt is computed once for its N responses, both in training (response
queries attend to the group's prompt keys) and in sampling (one prefill a group). With 8 prompt
and 16 response tokens that saves a quarter of all matrix products at N = 4.

Blocks are stacked on a leading layer axis, so parameters of every depth have the same tree.
Definitions are flax NNX; everything outside this file sees `Network` (static) and a plain dict.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gold_sim import device
from gold_sim.networks import fused_attention, network, products
from gold_sim.networks.network import MODEL_AXIS, Network, num_params

SPREAD = dict(token=0.2, position=0.2, head=0.02, value=0.02)  # s.d. of fresh parameters; in blocks 1 / sqrt(inputs)


class Block(nnx.Module):
    """Pre-norm attention and squared-ReLU MLP of ratio 4 (So et al. 2021); no biases, RMS norms.

    Squared ReLU and not GELU: the gradient of a block takes 23 ms against 45 on one CPU core (width 64,
    4,096 tokens; XLA recomputes the tanh in every fusion that reads it).
    """

    def __init__(self, net: Network, rngs: nnx.Rngs):
        d = net.width
        linear = functools.partial(nnx.Linear, use_bias=False, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self.norm_attention = nnx.RMSNorm(d, rngs=rngs)
        self.qkv = linear(d, 3 * d)
        self.out = linear(d, d)
        self.norm_mlp = nnx.RMSNorm(d, rngs=rngs)
        self.up = linear(d, 4 * d)
        self.down = linear(4 * d, d)


class Transformer(nnx.Module):
    """The tree of a network's parameters; `init` gives them their values."""

    def __init__(self, net: Network, rngs: nnx.Rngs):
        d = net.width
        self.token = nnx.Param(jnp.zeros((net.vocab_size, d)))
        self.position = nnx.Param(jnp.zeros((net.max_len, d)))
        self.blocks = nnx.vmap(lambda r: Block(net, r), in_axes=0, out_axes=0)(rngs.split(net.depth))
        self.norm = nnx.RMSNorm(d, rngs=rngs)
        self.head = nnx.Linear(d, net.outputs, rngs=rngs)
        if net.values:
            self.value = nnx.Linear(d, 1, rngs=rngs)


@functools.cache
def shapes(net: Network) -> dict:
    """The tree of parameters, of jax.ShapeDtypeStruct."""
    _, params, _ = nnx.split(nnx.eval_shape(lambda: Transformer(net, nnx.Rngs(0))), nnx.Param, ...)
    return nnx.to_pure_dict(params)


def zeros(net: Network, *leading: int) -> dict:
    """Parameters of zeros on the host, with leading axes, for uses that need their shapes alone."""
    return jax.tree.map(lambda a: np.zeros((*leading, *a.shape), a.dtype), shapes(net))


def init(net: Network, key) -> dict:
    """Fresh parameters: a plain nested dict of arrays; vmap over keys for many.

    Matrices are normal and cut from one draw; with a draw for each, the program took 2 s to compile. The scales of
    norms begin at 1, biases at 0.
    """
    leaves, tree = jax.tree.flatten_with_path(shapes(net))
    sizes = [leaf.size if _spread_of(path, leaf) else 0 for path, leaf in leaves]
    drawn = jnp.split(jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])

    def fresh(path, leaf, own):
        if spread := _spread_of(path, leaf):
            return spread * own.reshape(leaf.shape)
        return jnp.full(leaf.shape, path[-1].key == "scale", leaf.dtype)

    return tree.unflatten(fresh(*path_and_leaf, own) for path_and_leaf, own in zip(leaves, drawn, strict=True))


def _spread_of(path, leaf) -> float | None:
    """Standard deviation of a fresh parameter; None for those that all begin alike."""
    if path[-1].key in ("scale", "bias"):
        return None
    return SPREAD.get(path[0].key) or leaf.shape[-2] ** -0.5


# --- forward passes ---------------------------------------------------------------------------


def _linear(x, kernel):
    """x @ kernel as one product of matrices: XLA's CPU gradient of a product over several leading axes is 2x slower."""
    return products.linear(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], kernel.shape[-1])


def _of_block(net, x, kernel):
    """`_linear` in the network's precision, its result in float32."""
    return _linear(in_precision(net, x), in_precision(net, kernel)).astype(jnp.float32)


def in_precision(net, x):
    return x.astype(net.precision)


def of_attention(net, x):
    """x in the precision of attention's products: float32 on a CPU, as small ones are slower there in half precision.

    With 17 queries they take 1.8 times as long, with one 3 times (experiments/log/2026-11-30-width-limited-rate.md).
    """
    return in_precision(net, x) if device.accelerated() else x


def normed(x, scale):
    return products.norm(x, scale)


def mlp(net, block, x):
    h = _of_block(net, normed(x, block["norm_mlp"]["scale"]), block["up"]["kernel"])
    return x + _of_block(net, jnp.square(jax.nn.relu(h)), block["down"]["kernel"])


def queries_keys_values(net, block, x):
    """[..., d] -> queries, keys, values, each [..., H, d/H]."""
    q, k, v = jnp.split(_projected(net, block, x, slice(None)), 3, axis=-2)
    return q * (net.width // net.heads) ** -0.5, k, v


def _queries(net, block, x):
    return _projected(net, block, x, slice(net.width)) * (net.width // net.heads) ** -0.5


def _keys_values(net, block, x):
    return jnp.split(_projected(net, block, x, slice(net.width, None)), 2, axis=-2)


def _projected(net, block, x, columns):
    h = normed(x, block["norm_attention"]["scale"])
    h = _of_block(net, h, block["qkv"]["kernel"][:, columns])
    return h.reshape(*x.shape[:-1], h.shape[-1] * net.heads // net.width, net.width // net.heads)


def attention_out(net, block, x, mixed):
    return x + _of_block(net, mixed.reshape(x.shape), block["out"]["kernel"])


def sharded(blocks):
    """Blocks with their matrices spread over the mesh axis `model`, where the mesh in use has one.

    Columns of the first matrix and rows of the second, so that what lies between them stays where it is (Shoeybi et
    al. 2019, Megatron-LM, section 3). XLA finds the communication; matrices that the axis does not divide stay whole.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if MODEL_AXIS not in mesh.axis_names:
        return blocks
    out = dict(blocks)
    for name, axis in (("qkv", -1), ("out", -2), ("up", -1), ("down", -2)):
        kernel = blocks[name]["kernel"]
        if kernel.shape[axis] % mesh.shape[MODEL_AXIS] == 0:
            spec = [None] * kernel.ndim
            spec[axis] = MODEL_AXIS
            out[name] = {"kernel": jax.lax.with_sharding_constraint(kernel, jax.sharding.PartitionSpec(*spec))}
    return out


def embedded(params, tokens, at):
    return params["token"][tokens] + params["position"][at]


def _joined(params, prompts, responses):
    """([P, tokens, d], Group): a prompt's tokens, embedded, then those of its responses, one response after another.

    All are in one matrix, as all but attention treats them alike: in two they were twice the kernels to compile.
    """
    (p, n, length), prompt = responses.shape, prompts.shape[1]
    at = np.concatenate([np.arange(prompt), np.tile(np.arange(prompt, prompt + length), n)])
    x = embedded(params, jnp.concatenate([prompts, responses.reshape(p, n * length)], axis=1), at)
    return x, fused_attention.Group(prompt, n, length)


def through_block(net, group, block, x):
    """x: [P, group.tokens, d].  Returns x and its keys, values."""
    q, k, v = queries_keys_values(net, block, x)
    return mlp(net, block, attention_out(net, block, x, _attended(net, group, q, k, v))), k, v


def _attended(net, group, q, k, v):
    """Causal attention of prompts to themselves, of responses to their prompt and themselves: [P, group.tokens, H, dh].

    Each response also carries its share of the prompt's queries, whose keys it sees anyway. So there is one attention
    and not two.
    """
    if group.responses <= 1:
        return _mixed(net, q, k, v, _later_hidden(group.tokens, group.tokens))
    p, _, *head = q.shape
    share = -(-group.prompt // group.responses)
    padded = share * group.responses
    of_prompt = jnp.pad(q[:, : group.prompt], ((0, 0), (0, padded - group.prompt), (0, 0), (0, 0)))
    q = jnp.concatenate([of_prompt.reshape(-1, share, *head), _responses(group, q)], axis=1)
    # One key axis, prompt first: copying the few prompt keys is cheaper than joining two softmax halves.
    k, v = (_behind_prompt(group, a) for a in (k, v))
    own = _later_hidden(group.length, k.shape[1])
    shared = np.pad(_later_hidden(padded, padded), ((0, 0), (0, k.shape[1])), constant_values=products.HIDDEN)
    shared = shared[:, : k.shape[1]].reshape(group.responses, share, -1)
    mask = np.concatenate([shared, np.broadcast_to(own, (group.responses, *own.shape))], axis=1)
    mixed = _mixed(net, q, k, v, jnp.tile(mask, (p, 1, 1))[:, None])
    of_prompt, own = mixed[:, :share].reshape(p, padded, *head), mixed[:, share:].reshape(p, -1, *head)
    return jnp.concatenate([of_prompt[:, : group.prompt], own], axis=1)


def _mixed(net, q, k, v, mask):
    """`products.attention` in the network's precision."""
    return products.attention(*(of_attention(net, a) for a in (q, k, v)), mask)


def _later_hidden(queries: int, keys: int):
    """Mask [Lq, Lk], added to scores, by which a query sees keys up to itself. The last query is the last key."""
    return np.where(np.tri(queries, keys, keys - queries, dtype=bool), 0.0, products.HIDDEN).astype(np.float32)


def _responses(group, x):
    """The responses' part of [P, group.tokens, ...]: [P * N, Lr, ...]."""
    return x[:, group.prompt :].reshape(-1, group.length, *x.shape[2:])


def _behind_prompt(group, x):
    """Each response behind a copy of its prompt: [P, group.tokens, ...] -> [P * N, Lp + Lr, ...]."""
    if group.responses == 1:
        return x
    of_prompt = jnp.broadcast_to(x[:, None, : group.prompt], (x.shape[0], group.responses, group.prompt, *x.shape[2:]))
    of_prompt = of_prompt.reshape(-1, group.prompt, *x.shape[2:])
    return jnp.concatenate([of_prompt, _responses(group, x)], axis=1)


def _last_token(net, group, block, x, lengths):
    """The block's output at each response's last token alone.  x: [P, group.tokens, d] -> [P, N, d]."""
    k, v = (_behind_prompt(group, a) for a in _keys_values(net, block, x))
    last = (lengths - 1).reshape(-1)[:, None, None]
    visible = jnp.arange(k.shape[1]) <= group.prompt + last
    mask = jnp.where(visible, 0.0, products.HIDDEN)[:, None]
    at = group.prompt + group.length * jnp.arange(group.responses) + lengths - 1
    x = jnp.take_along_axis(x, at[..., None], axis=1)  # [P, N, d]
    mixed = _mixed(net, _queries(net, block, x).reshape(-1, 1, *k.shape[2:]), k, v, mask)
    return mlp(net, block, attention_out(net, block, x, mixed))


def _fused(net, group, blocks, x, layered):
    """`_blocks` on a GPU, with attention in one kernel. A prompt with many responses is read again for every few."""
    p, n, few = x.shape[0], group.responses, fused_attention.at_once(group.responses)
    part = fused_attention.Group(group.prompt, few, group.length)

    def layer(x, block):
        qkv = in_precision(net, _projected(net, block, x, slice(None)))
        return mlp(net, block, attention_out(net, block, x, fused_attention.attention(part, qkv))), None

    of_prompt = jnp.broadcast_to(x[:, None, : group.prompt], (p, n // few, group.prompt, net.width))
    of_responses = x[:, group.prompt :].reshape(p, n // few, -1, net.width)
    apart = jnp.concatenate([of_prompt, of_responses], axis=2).reshape(-1, part.tokens, net.width)
    apart = layered(layer, apart, blocks).reshape(p, n // few, part.tokens, net.width)
    return jnp.concatenate([apart[:, 0, : group.prompt], apart[:, :, group.prompt :].reshape(p, -1, net.width)], axis=1)


def _fuses(net, group) -> bool:
    """Whether attention is one kernel: on a GPU, in half precision, if it fits and the network is on one device."""
    alone = MODEL_AXIS not in jax.sharding.get_abstract_mesh().axis_names
    fits = fused_attention.fits(group.prompt, group.length, net.width // net.heads)
    return device.has_triton() and net.precision == "bfloat16" and fits and alone


def _blocks(net, group, blocks, x):
    """Blocks, stacked on their leading axis, over prompts and responses [P, group.tokens, d]."""

    def layered(layer, x, blocks):
        unroll = min(net.depth, network.UNROLLED)
        if (
            num_params(net) >= network.REMAT_FROM
        ):  # one block at a time: written out one after another, all their activations would be kept
            layer, unroll = jax.checkpoint(layer, prevent_cse=False), 1
        return jax.lax.scan(layer, x, blocks, unroll=unroll)[0]

    if _fuses(net, group):
        return _fused(net, group, blocks, x, layered)
    return layered(lambda x, block: (through_block(net, group, block, x)[0], None), x, blocks)


def hidden(net: Network, params, prompts, responses):
    """Final hidden states of every token, [P, Lp + N * Lr, d]: the prompt's, then those of each response."""
    x, group = _joined(params, prompts, responses)
    return normed(_blocks(net, group, sharded(params["blocks"]), x), params["norm"]["scale"])


def readout(params, h, name="head"):
    return _linear(h, params[name]["kernel"]) + params[name]["bias"]


def _states(net, params, prompts, responses):
    """Hidden states from which each response token is drawn, [P, N, Lr, d]: the prompt's last, then each token's.

    Nothing is drawn from a response's last token, so that token is not read.
    """
    p, n, length = responses.shape
    h = hidden(net, params, prompts, responses[:, :, :-1])
    first = jnp.broadcast_to(h[:, None, None, prompts.shape[1] - 1], (p, n, 1, net.width))
    return jnp.concatenate([first, h[:, prompts.shape[1] :].reshape(p, n, length - 1, net.width)], axis=2)


def logits(net: Network, params, prompts, responses):
    """Next-token logits at every state that the responses visit: [P, N, Lr, outputs]."""
    return readout(params, _states(net, params, prompts, responses))


def logits_and_values(net: Network, params, prompts, responses):
    """(logits, values): those of `logits`, and the value of every visited state, [P, N, Lr]."""
    h = _states(net, params, prompts, responses)
    return readout(params, h), readout(params, h, "value")[..., 0]


def heads(net: Network, params, prompts, responses, lengths):
    """Every output at each response's last token.  lengths: [P, N] >= 1.  Returns [P, N, outputs].

    These are heads on the last token of `hidden`. Of all other tokens the last block computes keys and values alone.
    """
    return heads_and_states(net, params, prompts, responses, lengths)[0]


def heads_and_states(net: Network, params, prompts, responses, lengths):
    """`heads`, and what the last block reads of every token of the responses: [P, N, Lr, d]."""
    blocks = sharded(params["blocks"])
    earlier, last = (jax.tree.map(lambda p: p[part], blocks) for part in (slice(0, -1), -1))
    x, group = _joined(params, prompts, responses)
    x = _blocks(net, group, earlier, x)
    h = _last_token(net, group, last, x, lengths)
    return readout(params, normed(h, params["norm"]["scale"])), _responses(group, x).reshape(*responses.shape, -1)


def rewards(net: Network, params, prompts, responses, lengths):
    """The first output at each response's last token: [P, N]."""
    return heads(net, params, prompts, responses, lengths)[..., 0]
