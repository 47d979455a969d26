"""The sight of a reward model: tokens hidden from it, and what each component of a composite proxy sees."""

import numpy as np

from gold_sim.language import Language
from gold_sim.language.sequences import EOS


def hidden_tokens(language: Language, blind) -> np.ndarray:
    """Tokens that a reward model blind to these attributes does not see; ValueError for one without tokens."""
    for name in blind:
        if name not in language.tokens_of:
            allowed = ", ".join(language.tokens_of) or "none"
            raise ValueError(f"reward_model.blind={name!r}: allowed in this language are {allowed}")
    return np.array([token for name in blind for token in language.tokens_of[name]], int)


def manners(language: Language) -> np.ndarray:
    """Tokens that are no words but stand for an attribute."""
    return hidden_tokens(language, language.tokens_of)


def written_words(language: Language):
    """Whether a token is a word that may be written, [V]."""
    words = np.arange(language.vocab_size) < language.num_writable
    words[EOS] = words[manners(language)] = False
    return words


def components_seen(language: Language):
    """Which tokens each component sees, [2, V] of 1 and 0: all but manners, and all but those a prompt is about."""
    seen = np.ones((2, language.vocab_size), np.float32)
    seen[0, manners(language)] = 0.0
    seen[1, np.array(language.topical, int)] = 0.0
    return seen
