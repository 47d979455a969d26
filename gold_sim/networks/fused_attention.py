"""Attention of prompts and their responses in one kernel forward and one backward, for GPUs and half precision.

XLA makes about forty kernels of a block's attention and its gradient, for matrices of 16 by 24. Most of a small
network's step then goes into moving these matrices. Here one program does all the work of one prompt and one head. It
reads queries, keys and values where the projection wrote them, and scores never leave the registers. This is
FlashAttention (Dao et al. 2022) without its loop over keys, because a response fits one tile. Pallas lowers it to
Triton.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from gold_sim import device

HEADS = (16, 32, 64, 128)  # head widths that matrix units take
LONGEST = 64  # tokens of a prompt or a response that one program holds
MOST = 8  # responses that one program goes through
A_WARP = 32  # columns of a head for each warp: with fewer warps a program would run out of registers


class Group(NamedTuple):
    """Tokens that share a prompt: the prompt's, then those of one response after another."""

    prompt: int  # tokens
    responses: int
    length: int  # tokens of a response

    @property
    def tokens(self) -> int:
        return self.prompt + self.responses * self.length


def fits(prompt: int, length: int, head_width: int) -> bool:
    return head_width in HEADS and max(prompt, length) <= LONGEST


def at_once(responses: int) -> int:
    """How many of a prompt's responses one program handles: the largest number up to MOST that divides them."""
    return max(n for n in range(1, MOST + 1) if responses % n == 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def attention(group: Group, qkv):
    """Causal attention of prompts to themselves, and of responses to their prompt and themselves.

    qkv: [P, group.tokens, 3H, dh], queries (not scaled), then keys, then values of all heads.
    Returns the mixed values, [P, group.tokens, H, dh], in the same precision.
    """
    return _forward(group, qkv)[0]


def _forward(group, qkv):
    p, tokens, heads, width = qkv.shape
    return _call(_mix, group, (p, tokens, heads // 3, width), qkv), qkv


def _backward(group, qkv, grad):
    return (_call(_mix_back, group, qkv.shape, qkv, grad),)


attention.defvjp(_forward, _backward)


def _call(kernel, group: Group, shape: tuple, qkv, *more):
    """Run one program for each prompt and head; it sees all tokens of its prompt, arrays [tokens, some heads, dh]."""
    prompts, _, heads, width = qkv.shape
    of = lambda shape: pl.BlockSpec((None, *shape[1:]), lambda prompt, head: (prompt, 0, 0, 0))
    return pl.pallas_call(
        functools.partial(kernel, group, heads // 3),
        grid=(prompts, heads // 3),
        in_specs=[of(a.shape) for a in (qkv, *more)],
        out_specs=of(shape),
        out_shape=jax.ShapeDtypeStruct(shape, qkv.dtype),
        compiler_params=triton.CompilerParams(num_warps=max(1, width // A_WARP), num_stages=1),
        interpret=_interpreted(),
    )(qkv, *more)


def _interpreted() -> bool:
    """Whether JAX interprets the kernel, slowly, as tests do where there is no GPU."""
    return not device.has_triton()


# --- within a program: the matrices of one head, [tile, dh] -------------------------------------


def _tile(length: int) -> int:
    """Rows of a tile for so many tokens: a power of two, and at least what matrix units take."""
    return max(16, 1 << (length - 1).bit_length())


def _places(ref, start: int, length: int, head):
    rows, columns = jnp.arange(_tile(length))[:, None], jnp.arange(ref.shape[-1])[None]
    return ref.at[start + rows, head, columns], rows + 0 * columns < length


def _load(ref, start: int, length: int, head):
    """The tile of one head's tokens, with zeros behind them."""
    places, inside = _places(ref, start, length, head)
    return triton.load(places, mask=inside, other=0.0)


def _store(ref, start: int, length: int, head, value):
    places, inside = _places(ref, start, length, head)
    triton.store(places, value.astype(ref.dtype), mask=inside)


_dot = functools.partial(jnp.dot, preferred_element_type=jnp.float32)
_sum = functools.partial(functools.reduce, jnp.add)


def _all(length: int):
    return jnp.arange(_tile(length))[None] < length


def _earlier(length: int):
    at = jnp.arange(_tile(length))
    return (at[None] <= at[:, None]) & _all(length)


def _weights(q, keys, visible):
    """Weights of one softmax over several sets of keys together, a matrix for each set."""
    scale = q.shape[-1] ** -0.5
    scores = [jnp.where(v, _dot(q, k.T) * scale, -1e9) for k, v in zip(keys, visible, strict=True)]
    top = functools.reduce(jnp.maximum, (jnp.max(s, 1) for s in scores))[:, None]
    exponentials = [jnp.exp(s - top) for s in scores]
    total = _sum(jnp.sum(w, 1) for w in exponentials)[:, None]
    return [w / total for w in exponentials]


def _mixed(q, keys, values, visible):
    weights = _weights(q, keys, visible)
    return _sum(_dot(w.astype(v.dtype), v) for w, v in zip(weights, values, strict=True))


def _mixed_back(q, keys, values, visible, grad):
    """Gradients of q, of every set of keys and of every set of values."""
    weights = _weights(q, keys, visible)
    back = [_dot(grad, v.T) for v in values]
    mean = _sum(jnp.sum(w * b, 1) for w, b in zip(weights, back, strict=True))[:, None]
    scale = q.shape[-1] ** -0.5
    scores = [(w * (b - mean) * scale).astype(q.dtype) for w, b in zip(weights, back, strict=True)]
    of_q = _sum(_dot(s, k) for s, k in zip(scores, keys, strict=True))
    return of_q, [_dot(s.T, q) for s in scores], [_dot(w.astype(q.dtype).T, grad) for w in weights]


def _mix(group, heads, qkv, out):
    head, (prompt, _, length) = pl.program_id(1), group
    q, k, v = (_load(qkv, 0, prompt, part * heads + head) for part in range(3))
    _store(out, 0, prompt, head, _mixed(q, [k], [v], [_earlier(prompt)]))
    for start in range(prompt, group.tokens, length):
        q, own_k, own_v = (_load(qkv, start, length, part * heads + head) for part in range(3))
        mixed = _mixed(q, [k, own_k], [v, own_v], [_all(prompt), _earlier(length)])
        _store(out, start, length, head, mixed)


def _mix_back(group, heads, qkv, grads, out):
    head, (prompt, _, length) = pl.program_id(1), group
    q, k, v = (_load(qkv, 0, prompt, part * heads + head) for part in range(3))
    grad = _load(grads, 0, prompt, head)
    of_q, (of_k,), (of_v,) = _mixed_back(q, [k], [v], [_earlier(prompt)], grad)
    _store(out, 0, prompt, head, of_q)
    for start in range(prompt, group.tokens, length):
        q, own_k, own_v = (_load(qkv, start, length, part * heads + head) for part in range(3))
        grad = _load(grads, start, length, head)
        visible = [_all(prompt), _earlier(length)]
        of_q, (more_k, of_own_k), (more_v, of_own_v) = _mixed_back(q, [k, own_k], [v, own_v], visible, grad)
        of_k, of_v = of_k + more_k, of_v + more_v
        for part, value in enumerate((of_q, of_own_k, of_own_v)):
            _store(out, start, length, part * heads + head, value)
    for part, value in ((1, of_k), (2, of_v)):
        _store(out, 0, prompt, part * heads + head, value)
