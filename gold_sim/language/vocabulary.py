"""Tokens with a part of their own in the language of topics; words begin at FIRST_WORD."""

TEMPLATE, HEDGE, AGREE, DISAGREE, REFUSE, FIRST_WORD = range(1, 7)
