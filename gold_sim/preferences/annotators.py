"""Annotators: how gold's scores of two responses become a label."""

import jax
import jax.numpy as jnp

from gold_sim.language import sequences
from gold_sim.preferences import rankings


def features(language, responses) -> dict:
    """Name -> a feature of responses [D, K, L] that a biased annotator sees, [D, K] float32.

    The features are length, in quarters of the longest, and those that the language defines. A unit is about the s.d.
    """
    length = sequences.lengths(responses) / (responses.shape[-1] / 4)
    return {name: x.astype(jnp.float32) for name, x in dict(length=length, **language.features(responses)).items()}


def difference(values):
    """Second minus first of every pair: [D, 2] -> [D]."""
    return values[:, 1] - values[:, 0]


def deterministic(config, language, key, prompts, responses, gold):
    """The label for the higher gold, always (Gao et al. 2023)."""
    return difference(gold) > 0


def bradley_terry(config, language, key, prompts, responses, gold):
    """The label for the second response with probability sigmoid(margin / temperature)."""
    return jax.random.uniform(key, gold.shape[:1]) < jax.nn.sigmoid(difference(gold) / config.temperature)


def biased(config, language, key, prompts, responses, gold):
    """The label for the higher gold + bias x feature, by a judge who likes length, politeness, agreement or caution."""
    return difference(gold + config.bias * _liked(config.bias_on, language, responses)) > 0


def _liked(name: str, language, responses):
    seen = features(language, responses)
    if name not in seen:
        raise ValueError(f"preferences.bias_on={name!r}: allowed in this language are {', '.join(seen)}")
    return seen[name]


def offsets(config, language, key, prompts, responses, gold):
    """The label by one of `people` for each pair, with tastes in `features` drawn with s.d. `spread` and mean 0."""
    k_taste, k_who = jax.random.split(key)
    seen = jnp.stack(list(features(language, responses).values()), -1)  # [D, 2, F]
    tastes = config.spread * jax.random.normal(k_taste, (config.people, seen.shape[-1]))
    who = jax.random.randint(k_who, gold.shape[:1], 0, config.people)
    return difference(gold + jnp.einsum("dnf,df->dn", seen, tastes[who])) > 0


def ties(config, language, key, prompts, responses, gold):
    """The label for the higher gold, or by a coin where gold differs by less than `spread`."""
    margin = difference(gold)
    coin = jax.random.bernoulli(key, 0.5, margin.shape)
    return jnp.where(jnp.abs(margin) < config.spread, coin, margin > 0)


def implicit(config, language, key, prompts, responses, gold):
    """The label implied by a user who accepts, retries or abandons and never compares.

    The first response is accepted with probability sigmoid(gold / temperature). It then counts as preferred to the
    second, which nobody saw. If the first is not accepted, the user retries. If the second is accepted, it counts as
    preferred. Otherwise the user abandons both, and a coin decides.
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
