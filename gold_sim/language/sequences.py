"""Sequences of tokens in every language: token 0 (EOS) ends a response, and only 0 follows it."""

import jax.numpy as jnp
import numpy as np

EOS = 0


def draw(weights, u):
    """Index drawn in proportion to weights [..., K] by the inverse distribution function at u [...] in [0, 1).

    The cumulative sum is a product with a triangular matrix: fast to compile and to run on every device.
    """
    cumulative = weights @ jnp.triu(jnp.ones((weights.shape[-1],) * 2))
    below = jnp.sum(cumulative <= u[..., None] * cumulative[..., -1:], -1)
    return jnp.minimum(below, weights.shape[-1] - 1).astype(jnp.int32)


def lengths(responses):
    """Number of tokens up to and including the first EOS (L if there is none): [..., L] -> [...]; for numpy or jax."""
    ended = (responses == EOS).cumsum(-1) > 0
    return 1 + (~ended[..., :-1]).sum(-1)


def close(responses):
    """Responses with all tokens behind the first EOS replaced by EOS."""
    ended = jnp.cumsum(responses == EOS, axis=-1) > 0
    return jnp.where(ended, EOS, responses).astype(jnp.int32)


def enumerate_responses(num_writable: int, length: int) -> np.ndarray:
    """Every distinct response of up to `length` tokens, [R, length] int32; ValueError above a million."""
    words = num_writable - 1  # all but EOS
    total = sum(words**k for k in range(length + 1))
    if total > 1_000_000:
        raise ValueError(
            f"the language has {total} responses; enumeration is for at most 1000000 (smaller response_len)"
        )
    out = []
    for k in range(length + 1):
        grid = np.indices((words,) * k).reshape(k, words**k).T + 1  # no EOS inside
        out.append(np.pad(grid, ((0, 0), (0, length - k)), constant_values=EOS))
    return np.concatenate(out).astype(np.int32)
