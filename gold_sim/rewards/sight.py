"""What a reward model sees: tokens hidden from it, and the two components of a composite proxy."""

import numpy as np

from gold_sim.language import world
from gold_sim.language.vocabulary import TOKENS


def hidden_tokens(blind):
    return np.array([token for name in blind for token in TOKENS[name]], int)


def blinded(params, seen):
    return dict(params, token=params["token"] * seen)


def components_seen(language: world.World):
    """[2, V]: 1 for the tokens that each component sees."""
    words = np.ones(language.vocab_size, np.float32)
    words[hidden_tokens(TOKENS)] = 0.0
    return np.stack([words, (language.word_topic < 0).astype(np.float32)])
