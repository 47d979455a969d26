"""Products of matrices, and attention as products, in the order in which a CPU multiplies fastest.

XLA hands products to a library that takes the first operand as it is stored, and the second either as it is or
transposed. The library is slower where the second is transposed or the last axis is not a multiple of a vector. Every
gradient has a transposed first operand, with which XLA's own code takes up to three times as long. So gradients are
written by hand here. The library of an accelerator takes every layout, so accelerators use the plain forms.
"""

import functools

import jax
import jax.numpy as jnp

from gold_sim import device

VECTOR = 8  # keys come in multiples of it
HIDDEN = -1e9  # score of a key that a query does not see


def linear(x, kernel):
    """x [rows, n] times kernel [n, m]."""
    return x @ kernel if device.accelerated() else _linear(x, kernel)


@jax.custom_vjp
def _linear(x, kernel):
    """In float32 of operands of either precision: XLA would compute a result in bfloat16 from operands in float32."""
    return jnp.dot(x, kernel, preferred_element_type=jnp.float32)


def _linear_back(given, grad):
    x, kernel = given
    grad, product = grad.astype(x.dtype), functools.partial(jnp.dot, preferred_element_type=jnp.float32)
    # A wide first operand takes twice as long as a wide second one.
    of_kernel = _written(product(grad.T, x)).T if x.shape[1] > grad.shape[1] else product(x.T, grad)
    return product(grad, _written(kernel.T)).astype(x.dtype), of_kernel.astype(kernel.dtype)


_linear.defvjp(lambda x, kernel: (_linear(x, kernel), (x, kernel)), _linear_back)


def norm(x, scale):
    """x over its root mean square along the last axis, times scale (Zhang & Sennrich 2019)."""
    return _normed(x, scale) if device.accelerated() else _norm(x.reshape(-1, x.shape[-1]), scale).reshape(x.shape)


def _normed(x, scale):
    return x * _inverse(x) * scale


def _inverse(x):
    return jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-6)


_norm = jax.custom_vjp(_normed)


def _norm_forth(x, scale):
    inverse = _inverse(x)
    return x * inverse * scale, (x, inverse, scale)


def _norm_back(given, grad):
    x, inverse, scale = given
    mean = jnp.mean(x * grad * scale, -1, keepdims=True)
    return inverse * (grad * scale - x * (jnp.square(inverse) * mean)), jnp.sum(x * inverse * grad, 0)


_norm.defvjp(_norm_forth, _norm_back)


def _written(x):
    """x, written to memory as it is: otherwise XLA merges its transposition into the product."""
    return jax.lax.optimization_barrier(x)


def whole(keys: int) -> int:
    """`keys` rounded up to whole vectors: products with 15 or 23 keys take up to twice as long as with 16 or 24."""
    return -(-keys // VECTOR) * VECTOR


def attention(q, k, v, mask):
    """sum_k softmax_k(q . k + mask) v, in float32.

    q: [B, Lq, H, dh].  k, v: [B, Lk, H, dh].  mask: added, 0 or HIDDEN, of a shape like [B, H, Lq, Lk].
    """
    if device.accelerated():
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(jnp.float32)
        weights = jax.nn.softmax(scores + mask).astype(v.dtype)
        return jnp.einsum("bhqk,bkhd->bqhd", weights, v).astype(jnp.float32)
    more = whole(k.shape[1]) - k.shape[1]
    k, v = (jnp.pad(a, ((0, 0), (0, more), (0, 0), (0, 0))) for a in (k, v))
    mask = jnp.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, more)], constant_values=HIDDEN)
    by_head = lambda a: jnp.swapaxes(a, 1, 2)
    return by_head(_attention(*map(by_head, (q, k, v)), mask))


@jax.custom_vjp
def _attention(q, k, v, mask):
    """[B, H, Lq, dh] from q and k, v [B, H, Lk, dh]."""
    weights, total = _weights(q, k, mask)
    return _dot(weights.astype(v.dtype), v, 3, 2) / total


def _attention_forth(q, k, v, mask):
    mixed = _attention(q, k, v, mask)
    return mixed, (q, k, v, mask, mixed)


def _attention_back(given, grad):
    """Gradients of q, k and v. The weights are computed again, which is as cheap as keeping them."""
    q, k, v, mask, mixed = given
    weights, total = _weights(q, k, mask)
    weights = weights / total
    of_scores = weights * (_dot(grad.astype(v.dtype), v, 3, 3) - jnp.sum(grad * mixed, -1, keepdims=True))
    of_scores, weights, grad = (a.astype(q.dtype) for a in (of_scores, weights, grad))
    # Queries first and transposed, as they are smaller than the scores.
    of_k, of_v = (_dot(_written(jnp.swapaxes(a, 2, 3)), b, 3, 2) for a, b in ((q, of_scores), (grad, weights)))
    back = lambda a: jnp.swapaxes(_written(a), 2, 3).astype(k.dtype)
    return _dot(of_scores, k, 3, 2).astype(q.dtype), back(of_k), back(of_v), None


_attention.defvjp(_attention_forth, _attention_back)


def _weights(q, k, mask):
    """exp(score - largest score) and, of each query, their sum: [B, H, Lq, Lk], [B, H, Lq, 1]."""
    scores = _dot(q, k, 3, 3) + mask
    weights = jnp.exp(scores - jnp.max(scores, -1, keepdims=True))
    return weights, jnp.sum(weights, -1, keepdims=True)


def _dot(a, b, axis_a: int, axis_b: int):
    """The matrix product over these axes, for every index of the two leading axes."""
    dims = (((axis_a,), (axis_b,)), ((0, 1), (0, 1)))
    return jax.lax.dot_general(a, b, dims, preferred_element_type=jnp.float32)
