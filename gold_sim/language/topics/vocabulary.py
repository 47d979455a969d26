"""Tokens of the language of topics and their counts: special tokens first, then words; no jax."""

from gold_sim.attributes import ATTRIBUTES, WITH_TOKENS
from gold_sim.config import WorldConfig

SPECIAL = ("<eos>", *(token for name in WITH_TOKENS for token in ATTRIBUTES[name].tokens))
TOKENS = {name: tuple(map(SPECIAL.index, ATTRIBUTES[name].tokens)) for name in WITH_TOKENS}
(TEMPLATE,), (HEDGE,), (AGREE, DISAGREE), (REFUSE,) = TOKENS.values()
FIRST_WORD = len(SPECIAL)
PROMPT_LEN = 6  # BOS, two words of one topic, a slot of two tokens, ASK
MARKS = ("<bos>", "<ask>", "<claim>")  # only read


def num_writable(c: WorldConfig) -> int:
    """Number of tokens that a response may have: EOS, the special ones, and words."""
    return FIRST_WORD + c.topics * c.words_per_topic + c.function_words


def num_read(c: WorldConfig) -> int:
    """Number of tokens that a prompt or a response may have."""
    return num_writable(c) + len(MARKS) + c.values + c.hazards + 2 * c.contexts
