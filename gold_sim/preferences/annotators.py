"""Annotators: how gold's scores of two responses become a label."""

import jax
import jax.numpy as jnp

from gold_sim.language import sequences
from gold_sim.language.vocabulary import AGREE, REFUSE, TEMPLATE
from gold_sim.preferences import rankings

FEATURES = dict(  # what a biased annotator sees of responses [D, 2, L], in units of about what they vary by
    length=lambda r: sequences.lengths(r) / (r.shape[-1] / 4),
    template=lambda r: jnp.sum(r == TEMPLATE, -1),
    agreement=lambda r: jnp.any(r == AGREE, -1),
    refusal=lambda r: jnp.any(r == REFUSE, -1),
)


def _features(responses):
    return jnp.stack([feature(responses).astype(jnp.float32) for feature in FEATURES.values()], -1)  # [D, 2, F]


def feature_difference(values):
    return values[:, 1] - values[:, 0]


def deterministic(config, language, key, prompts, responses, gold):
    """The higher gold always (Gao et al. 2023)."""
    return feature_difference(gold) > 0


def bradley_terry(config, language, key, prompts, responses, gold):
    """The second with probability sigmoid(margin / temperature)."""
    return jax.random.uniform(key, gold.shape[:1]) < jax.nn.sigmoid(feature_difference(gold) / config.temperature)


def biased(config, language, key, prompts, responses, gold):
    """The higher gold + bias x feature: a judge who likes length, politeness, being agreed with, or caution."""
    return feature_difference(gold + config.bias * FEATURES[config.bias_on](responses)) > 0


def offsets(config, language, key, prompts, responses, gold):
    """Each pair is judged by one of `people`, whose tastes in FEATURES are drawn with s.d. `spread` and mean 0."""
    k_taste, k_who = jax.random.split(key)
    tastes = config.spread * jax.random.normal(k_taste, (config.people, len(FEATURES)))
    who = jax.random.randint(k_who, gold.shape[:1], 0, config.people)
    return feature_difference(gold + jnp.einsum("dnf,df->dn", _features(responses), tastes[who])) > 0


def ties(config, language, key, prompts, responses, gold):
    """A coin where gold differs by less than `spread`, else the higher gold."""
    margin = feature_difference(gold)
    coin = jax.random.bernoulli(key, 0.5, margin.shape)
    return jnp.where(jnp.abs(margin) < config.spread, coin, margin > 0)


def implicit(config, language, key, prompts, responses, gold):
    """Accept, retry or abandon: the user never compares.

    The first response is accepted with probability sigmoid(gold / temperature), and counts as preferred to the second,
    which nobody saw. If not, the user retries; accepting the second prefers it; else both are abandoned, and a coin
    decides.
    """
    k_accept, k_coin = jax.random.split(key)
    accepts = jax.random.uniform(k_accept, gold.shape) < jax.nn.sigmoid(gold / config.temperature)
    coin = jax.random.bernoulli(k_coin, 0.5, gold.shape[:1])
    return jnp.where(accepts[:, 0], False, jnp.where(accepts[:, 1], True, coin))


ANNOTATORS = dict(
    deterministic=deterministic,
    bradley_terry=bradley_terry,
    biased=biased,
    offsets=offsets,
    ties=ties,
    implicit=implicit,
)
RANKERS = dict(  # of K responses: (config, key, gold [D, K]) -> ranking [D, K], best first
    plackett_luce=lambda config, key, gold: rankings.plackett_luce_sample(key, gold / config.temperature),
    mallows=lambda config, key, gold: rankings.mallows_sample(key, jnp.argsort(-gold, -1), config.phi),
)
