"""What all languages share: token 0 ends a response, and what follows it is 0."""

import jax.numpy as jnp

EOS = 0


def draw(weights, u):
    """Index drawn in proportion to weights [..., K] by the inverse distribution function at u [...] in [0, 1).

    The cumulative sum is a product with a triangular matrix: fast to compile and to run on every device.
    """
    cumulative = weights @ jnp.triu(jnp.ones((weights.shape[-1],) * 2))
    below = jnp.sum(cumulative <= u[..., None] * cumulative[..., -1:], -1)
    return jnp.minimum(below, weights.shape[-1] - 1).astype(jnp.int32)


def lengths(responses):
    """Tokens up to and including the first EOS (all of them if there is none): [..., L] -> [...]; numpy's or jax's."""
    ended = (responses == EOS).cumsum(-1) > 0
    return 1 + (~ended[..., :-1]).sum(-1)


def close(responses):
    """Fill with EOS behind the first EOS."""
    ended = jnp.cumsum(responses == EOS, axis=-1) > 0
    return jnp.where(ended, EOS, responses).astype(jnp.int32)
