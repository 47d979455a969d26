"""Preferences: pairs of reference samples on one prompt, labelled by gold, with gold margins kept."""

from typing import NamedTuple

import jax

from gold_sim import streams
from gold_sim.config import PreferencesConfig


class Preferences(NamedTuple):
    prompts: jax.Array  # [D, Lp] int32
    responses: jax.Array  # [D, 2, L] int32
    gold: jax.Array  # [D, 2] gold standard deviations
    labels: jax.Array  # [D] bool: the second response is preferred

    @property
    def margin(self):
        """Gold of the second response minus gold of the first, [D]."""
        return self.gold[:, 1] - self.gold[:, 0]


def label(config: PreferencesConfig, key, margin):
    """Labels [D] of gold margins [D]: the annotator's choice, then uniform flips at `label_noise`.

    deterministic: the higher gold always (Gao et al. 2023).  bradley_terry: the second with
    probability sigmoid(margin / temperature).
    """
    k_choice, k_flip = jax.random.split(key)
    if config.annotator == "bradley_terry":
        chosen = jax.random.uniform(k_choice, margin.shape) < jax.nn.sigmoid(margin / config.temperature)
    else:
        chosen = margin > 0
    flipped = jax.random.uniform(k_flip, margin.shape) < config.label_noise
    return chosen ^ flipped


def collect(config: PreferencesConfig, prompts, responses, gold_scores) -> Preferences:
    """Preferences from pairs of responses [D, 2, L] and their gold scores [D, 2]."""
    labels = label(config, streams.key(config.seed, "preferences.labels"), gold_scores[:, 1] - gold_scores[:, 0])
    return Preferences(prompts, responses, gold_scores, labels)


def split(config: PreferencesConfig, preferences: Preferences) -> tuple[Preferences, Preferences]:
    """(training, held out): the last `held_out` share is held out; num_pairs takes from the front."""
    first = preferences.labels.shape[0] - int(config.num_pairs * config.held_out)
    return jax.tree.map(lambda a: a[:first], preferences), jax.tree.map(lambda a: a[first:], preferences)
