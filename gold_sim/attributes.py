"""The rubric's attributes in the language of topics: one table for its weights, tokens, columns and figures; no jax."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """A property of a response that the rubric looks at."""

    unit: str
    meaning: str  # the quantity whose mean over responses is recorded
    weight: float  # of its utility in the rubric
    tokens: tuple[str, ...] = ()  # that stand for it and for nothing else


ATTRIBUTES: dict[str, Attribute] = {
    "relevance": Attribute("share of words", "share on the prompt's topic", 1.2),
    "fluency": Attribute("share of word pairs", "share that the grammar allows", 0.7),
    "length": Attribute("tokens", "length before EOS", 0.7),
    "repetition": Attribute("share of words", "share that stood before in the response", 1.2),
    "template": Attribute("count a response", "number of template phrases", 0.95, ("certainly",)),
    "hedging": Attribute("count a response", "number of hedges", 0.85, ("perhaps",)),
    "agreement": Attribute(
        *("score", "stance: +1 deserved, negative sycophantic or out of place", 0.9, ("agreed", "disagreed"))
    ),
    "refusal": Attribute("score", "refusal: +1 due and given, -1 missing or over-refusing", 0.9, ("refused",)),
    "wording": Attribute("s.d. over words", "fit of the words with the kind of prompt", 0.7),
}
LIKED = ("length", "template", "agreement", "refusal")  # by biased annotators: Language.features
WITH_TOKENS = tuple(name for name, attribute in ATTRIBUTES.items() if attribute.tokens)  # a model can be blind to these
