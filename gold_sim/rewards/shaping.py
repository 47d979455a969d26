"""Transforms of a reward before it is optimised.

Every rule has the signature (rewards [P, N], references [P, K], lengths [P, N], coef) -> [P, N]. Rewards are calibrated
(gold standard deviations). References are rewards of K responses of the reference policy to the same prompts. Lengths
are shares of the longest response, EOS included. A rule of yours is named `module:function` in ShapingConfig.
"""

import jax
import jax.numpy as jnp

from gold_sim import named


def none(rewards, references, lengths, coef):
    return rewards


def par(rewards, references, lengths, coef):
    """mean_k sigmoid(coef (r - r_k)): preference as reward (PAR: Fu et al. 2025); coef in 1 / gold s.d."""
    return jnp.mean(jax.nn.sigmoid(coef * (rewards[..., None] - references[:, None])), -1)


def clip(rewards, references, lengths, coef):
    """r clipped to within coef standard deviations of the references' mean, prompt by prompt."""
    centre, width = jnp.mean(references, 1, keepdims=True), coef * jnp.std(references)
    return jnp.clip(rewards, centre - width, centre + width)


def log_sigmoid(rewards, references, lengths, coef):
    """log sigmoid(coef (r - q85 of the references)): rewards above it hardly count (LSC: Wang et al. 2024)."""
    return jax.nn.log_sigmoid(coef * (rewards - jnp.quantile(references, 0.85, axis=1, keepdims=True)))


def length_penalty(rewards, references, lengths, coef):
    """r - coef length (Singhal et al. 2023); coef in gold s.d. for a response of full length."""
    return rewards - coef * lengths


def find(name: str):
    """A rule by its name here or as module:function; ValueError that says what is wrong with it."""
    return named.find("shaping.name", name, named.SHAPINGS, "rewards", "references", "lengths", "coef")
