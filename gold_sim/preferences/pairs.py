"""Preferences: pairs of reference samples on one prompt, labelled from gold by an annotator, gold margins kept.

An annotator is (config, language, key, prompts [D, Lp], responses [D, 2, L], gold [D, 2]) -> labels [D], True where
the second is preferred. Whatever the annotator, `label_noise` then flips labels at random. Flips at random only blur;
an annotator who errs by what a response looks like teaches proxies to want it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gold_sim import rankings, streams
from gold_sim.config import PreferencesConfig
from gold_sim.language import sequences
from gold_sim.language.vocabulary import AGREE, REFUSE, TEMPLATE


class Preferences(NamedTuple):
    prompts: jax.Array  # [D, Lp] int32
    responses: jax.Array  # [D, 2, L] int32
    gold: jax.Array  # [D, 2] gold standard deviations
    labels: jax.Array  # [D] bool: the second response is preferred
    ranked: jax.Array | None = None  # [D, K, L] all responses of a kept ranking, best first

    @property
    def margin(self):
        """Gold of the second response minus gold of the first, [D]."""
        return self.gold[:, 1] - self.gold[:, 0]


FEATURES = dict(  # what a biased annotator sees of responses [D, 2, L], in units of about what they vary by
    length=lambda r: sequences.lengths(r) / (r.shape[-1] / 4),
    template=lambda r: jnp.sum(r == TEMPLATE, -1),
    agreement=lambda r: jnp.any(r == AGREE, -1),
    refusal=lambda r: jnp.any(r == REFUSE, -1),
)


def _features(responses):
    return jnp.stack([feature(responses).astype(jnp.float32) for feature in FEATURES.values()], -1)  # [D, 2, F]


def _difference(values):
    return values[:, 1] - values[:, 0]


def deterministic(config, language, key, prompts, responses, gold):
    """The higher gold always (Gao et al. 2023)."""
    return _difference(gold) > 0


def bradley_terry(config, language, key, prompts, responses, gold):
    """The second with probability sigmoid(margin / temperature)."""
    return jax.random.uniform(key, gold.shape[:1]) < jax.nn.sigmoid(_difference(gold) / config.temperature)


def biased(config, language, key, prompts, responses, gold):
    """The higher gold + bias x feature: a judge who likes length, politeness, being agreed with, or caution."""
    return _difference(gold + config.bias * FEATURES[config.bias_on](responses)) > 0


def offsets(config, language, key, prompts, responses, gold):
    """Each pair is judged by one of `people`, whose tastes in FEATURES are drawn with s.d. `spread` and mean 0."""
    k_taste, k_who = jax.random.split(key)
    tastes = config.spread * jax.random.normal(k_taste, (config.people, len(FEATURES)))
    who = jax.random.randint(k_who, gold.shape[:1], 0, config.people)
    return _difference(gold + jnp.einsum("dnf,df->dn", _features(responses), tastes[who])) > 0


def ties(config, language, key, prompts, responses, gold):
    """A coin where gold differs by less than `spread`, else the higher gold."""
    margin = _difference(gold)
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


def sampled(config: PreferencesConfig) -> int:
    """Responses drawn for a prompt: 2, or all that are ranked."""
    return config.ranked if config.annotator in RANKERS else 2


def collect(config: PreferencesConfig, language, prompts, responses, gold_scores, key=None) -> Preferences:
    """Preferences from responses [D, K, L], K = `sampled`, and their gold scores [D, K].

    Of a ranking two at random are the pair; config.keep says whether the whole is kept beside them.
    key: of the annotator's draws; None: that of config.seed.
    """
    ranked = None
    k_choice, k_flip = jax.random.split(streams.key(config.seed, "preferences.labels") if key is None else key)
    if config.annotator in RANKERS:
        k_rank, k_pick = jax.random.split(k_choice)
        ranking = RANKERS[config.annotator](config, k_rank, gold_scores)
        if config.keep == "ranking":
            ranked = jnp.take_along_axis(responses, ranking[..., None], 1)
        place = jnp.argsort(ranking, -1)  # [D, K], 0 is best
        pick = jnp.argsort(jax.random.uniform(k_pick, gold_scores.shape), -1)[:, :2]
        responses = jnp.take_along_axis(responses, pick[..., None], 1)
        gold_scores = jnp.take_along_axis(gold_scores, pick, 1)
        chosen = _difference(jnp.take_along_axis(place, pick, 1)) < 0
    else:
        chosen = ANNOTATORS[config.annotator](config, language, k_choice, prompts, responses, gold_scores)
    flipped = jax.random.uniform(k_flip, chosen.shape) < config.label_noise
    return Preferences(prompts, responses, gold_scores, chosen ^ flipped, ranked)


def split(config: PreferencesConfig, preferences: Preferences) -> tuple[Preferences, Preferences]:
    """(training, held out): the last `held_out` share is held out; num_pairs takes from the front."""
    first = preferences.labels.shape[0] - int(config.num_pairs * config.held_out)
    return jax.tree.map(lambda a: a[:first], preferences), jax.tree.map(lambda a: a[first:], preferences)
