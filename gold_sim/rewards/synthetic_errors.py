"""Errors of a proxy, one generator a kind of Goodhart's law (Manheim & Garrabrant 2018): proxy = gold + error.

Learned proxies err in all of these ways at once. A synthetic proxy errs in one way, by a known size, so that one sees
which kind of error a mitigation helps against. Every generator has the signature (language, key, prompts [P, Lp],
responses [P, N, L], config) -> [P, N]. The key draws the error: the same response under the same key errs the same.

regressional  light-tailed noise of each response: Gaussian
heavy_tailed  the same with Student's t (Kwa et al. 2024)
extremal      repetition: 0 where reference samples lie, growing where they hardly ever reach
causal        length, which correlates with gold among reference samples but does not cause it
adversarial   every occurrence of a pair of words that the reference policy hardly ever writes; a policy can learn to
"""

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim.config import ErrorConfig
from gold_sim.language import Language
from gold_sim.language.sequences import EOS

FREE_REPETITION = 0.4  # share of repeated words up to which extremal errors are 0: reference samples have about 0.15
REWARD_OF_PAIR = 2.0  # gold s.d. at scale 1, of every occurrence of the pair of words
UNIT = 2**-24


def _uniforms(key, prompts, responses, count: int):
    """`count` uniforms in (0, 1) for each response, [count, P, N]: a hash of its tokens, its prompt and the key."""
    words = jnp.concatenate(
        [jnp.broadcast_to(prompts[:, None], (*responses.shape[:2], prompts.shape[-1])), responses], -1
    ).astype(jnp.uint32)
    salts = jax.random.bits(key, (count,), jnp.uint32)[:, None, None]

    def mix(h, word):  # FNV-1a over tokens, and murmur3's finaliser against its weak low bits
        return (h ^ word) * jnp.uint32(16777619), None

    start = jnp.broadcast_to(jnp.uint32(2166136261) ^ salts, (count, *responses.shape[:2]))
    h, _ = jax.lax.scan(mix, start, jnp.moveaxis(words, -1, 0))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = (h ^ (h >> shift)) * jnp.uint32(factor)
    h = h ^ (h >> 16)
    return (h >> 8).astype(jnp.float32) * UNIT + UNIT / 2


def regressional(language, key, prompts, responses, config):
    """Standard normal noise."""
    return jax.scipy.special.ndtri(_uniforms(key, prompts, responses, 1)[0])


def heavy_tailed(language, key, prompts, responses, config):
    """Student's t: z sqrt(df / sum of df squared normals)."""
    normals = jax.scipy.special.ndtri(_uniforms(key, prompts, responses, config.df + 1))
    return normals[0] * jnp.sqrt(config.df / jnp.sum(jnp.square(normals[1:]), 0))


def extremal(language, key, prompts, responses, config):
    """Repetition beyond what reference samples show, 0 to about 2."""
    attributes = language.attributes(prompts, responses)
    if "repetition" not in attributes:
        raise ValueError(
            f"error.kind='extremal': this language has no attribute repetition, only {', '.join(attributes)}"
        )
    beyond = attributes["repetition"] - FREE_REPETITION
    return 2.0 * jnp.maximum(beyond, 0.0) / (1 - FREE_REPETITION)


def causal(language, key, prompts, responses, config):
    """Length before EOS minus half the longest, in quarters of the longest."""
    share = jnp.sum(responses != EOS, -1) / responses.shape[-1]
    return (share - 0.5) / 0.25


def adversarial(language, key, prompts, responses, config):
    """REWARD_OF_PAIR for every occurrence of a certain pair of words that is hardly ever written."""
    pairs = language.unwritten_pairs()
    first, second = jnp.asarray(pairs)[jax.random.randint(key, (), 0, len(pairs))]
    return REWARD_OF_PAIR * jnp.sum((responses[..., :-1] == first) & (responses[..., 1:] == second), -1)


KINDS = dict(
    regressional=regressional,
    heavy_tailed=heavy_tailed,
    extremal=extremal,
    causal=causal,
    adversarial=adversarial,
)


def errors(language: Language, config: ErrorConfig, key, members: int, prompts, responses):
    """Errors of the members of an ensemble, [M, P, N], in gold standard deviations.

    e_i = scale (sqrt(shared) E + sqrt(1 - shared) E_i), where E and every E_i are drawn by keys of their own. extremal
    and causal errors are not random, so all members share them whatever `shared` says.
    """
    kind = KINDS[config.kind]
    draw = lambda i: kind(language, jax.random.fold_in(key, i), prompts, responses, config)
    if config.kind in ("extremal", "causal"):
        return config.scale * jnp.broadcast_to(draw(0), (members, *responses.shape[:2]))
    own = jnp.stack([draw(i + 1) for i in range(members)])
    return config.scale * (np.sqrt(config.shared) * draw(0) + np.sqrt(1 - config.shared) * own)
