"""Settings of the synthetic language."""

from dataclasses import dataclass
from typing import Annotated

from gold_sim import named
from gold_sim.attributes import ATTRIBUTES
from gold_sim.config.fields import Rate, Seed, Weight, named_in
from gold_sim.settings import Between, Checked, Length, later


@dataclass(frozen=True)
class WorldConfig(Checked):
    """The synthetic language (language/). All but seed, response_len and language are of the language of topics."""

    seed: Seed = 0  # of the grammar and the facts
    topics: Annotated[int, Between(1, 64)] = 4  # what a prompt may be about
    words_per_topic: Annotated[int, Between(2, 256)] = 8
    function_words: Annotated[int, Between(1, 256)] = 8  # words that belong to no topic
    classes: Annotated[int, Between(2, 64)] = (
        6  # of words in the grammar, where a class is followed by itself or the next
    )
    values: Annotated[int, Between(2, 64)] = 6  # that a claim may state of a topic, of which one is true
    hazards: Annotated[int, Between(1, 16)] = 2  # words that name a danger
    contexts: Annotated[int, Between(1, 16)] = 4  # words that make a hazard harmful, and as many that make it harmless
    response_len: Annotated[int, Between(2, 1024)] = 16  # tokens of the longest response, EOS included
    # Shares of prompts, up to a factor: plain, with a right claim, with a wrong one, harmful, harmless with a hazard.
    kinds: Annotated[tuple[Rate, ...], Length(5)] = (0.35, 0.25, 0.1, 0.15, 0.15)
    # Of the utilities in the rubric, in the order of the table of attributes.
    weights: Annotated[tuple[Weight, ...], Length(len(ATTRIBUTES))] = tuple(a.weight for a in ATTRIBUTES.values())
    language: Annotated[str, named_in(named.LANGUAGES)] = later("topics")  # a function of WorldConfig

    def faults(self):
        if max(self.kinds) < 1e-3:
            yield f"kinds={self.kinds}: at least one share of 0.001 or more is wanted"
        if max(map(abs, self.weights)) < 1e-3:
            yield f"weights={self.weights}: at least one of 0.001 or more in size is wanted, else gold says nothing"
