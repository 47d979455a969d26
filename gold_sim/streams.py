"""Named random streams: one seed, one name, one independent stream.

Adding a stage or a size never moves another stage's draws, so gold, prompts and noise stay shared
across reward-model sizes and every comparison between sizes is paired.
"""

import zlib

import jax


def key(seed, name: str) -> jax.Array:
    """PRNG key of the stream `name` under `seed` (an int or a traced int32 scalar)."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
