"""Tokens with a part of their own in the language of topics; words begin at FIRST_WORD."""

from gold_sim.attributes import ATTRIBUTES, WITH_TOKENS

SPECIAL = ("<eos>", *(token for name in WITH_TOKENS for token in ATTRIBUTES[name].tokens))
TOKENS = {name: tuple(map(SPECIAL.index, ATTRIBUTES[name].tokens)) for name in WITH_TOKENS}
(TEMPLATE,), (HEDGE,), (AGREE, DISAGREE), (REFUSE,) = TOKENS.values()
FIRST_WORD = len(SPECIAL)
