"""Preferences: pairs of reference samples on one prompt, labelled from gold by an annotator and kept with their gold.

An annotator is (config, language, key, prompts [D, Lp], responses [D, 2, L], gold [D, 2]) -> labels [D], True where
the second is preferred. Whatever the annotator, `label_noise` then flips labels at random. Random flips only blur the
labels. An annotator whose errors depend on a response's looks teaches proxies to want those looks.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gold_sim import streams
from gold_sim.config import PreferencesConfig
from gold_sim.preferences.annotators import ANNOTATORS, RANKERS, difference


class Preferences(NamedTuple):
    prompts: jax.Array  # [D, Lp] int32
    responses: jax.Array  # [D, 2, L] int32
    gold: jax.Array  # [D, 2] gold standard deviations
    labels: jax.Array  # [D] bool: the second response is preferred
    ranked: jax.Array | None = None  # [D, K, L] all responses of a kept ranking, best first

    @property
    def margin(self):
        """Gold of the second response minus gold of the first, [D]."""
        return difference(self.gold)


def collect(config: PreferencesConfig, language, prompts, responses, gold_scores, key=None) -> Preferences:
    """Preferences from responses [D, K, L], K = config.drawn, and their gold scores [D, K].

    Two responses of a ranking, drawn at random, make the pair; config.keep says whether the whole ranking is kept too.
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
        chosen = difference(jnp.take_along_axis(place, pick, 1)) < 0
    else:
        chosen = ANNOTATORS[config.annotator](config, language, k_choice, prompts, responses, gold_scores)
    flipped = jax.random.uniform(k_flip, chosen.shape) < config.label_noise
    return Preferences(prompts, responses, gold_scores, chosen ^ flipped, ranked)


def labelled_anew(config: PreferencesConfig, language, pairs: Preferences, seeds) -> Preferences:
    """The same pairs [D, ...] with labels that are drawn anew for each seed: fields [S, D, ...].

    What an annotator draws, such as the tastes of people, then varies between seeds as everything else does.
    """
    labels = _labels(config, language, jnp.asarray(seeds, jnp.int32), pairs)
    repeated = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(seeds), *a.shape)), pairs)
    return repeated._replace(labels=labels)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _labels(config, language, seeds, pairs):
    def of_seed(seed):
        key = streams.key(seed, "preferences.labels")
        return collect(config, language, pairs.prompts, pairs.responses, pairs.gold, key).labels

    return jax.lax.map(of_seed, seeds)


def split(config: PreferencesConfig, preferences: Preferences) -> tuple[Preferences, Preferences]:
    """(training, held out): the last `held_out` share is held out; num_pairs takes from the front."""
    first = preferences.labels.shape[0] - config.num_held_out
    return jax.tree.map(lambda a: a[:first], preferences), jax.tree.map(lambda a: a[first:], preferences)
