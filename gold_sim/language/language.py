"""The interface through which all other code uses a language; `make` finds the language that a setting names."""

import functools
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from gold_sim import named
from gold_sim.config import WorldConfig
from gold_sim.language.topics.vocabulary import PROMPT_LEN, num_read, num_writable


class Language(Protocol):
    """A language: the tokens that may be written, how people write them, and the taste that gold is trained on.

    It is static in programs: hashable, and equal to another only if both are the same in everything. A frozen dataclass
    of its settings meets this. Tokens are integers. 0 is EOS, which ends a response and fills it up (sequences.py).
    Tokens below `num_writable` may be written; the others occur in prompts alone.

    Shapes: P prompts, N responses to each, L = response_len, V = vocab_size. Methods that take or give jax arrays are
    called inside compiled programs; `kinds`, `decode` and `unwritten_pairs` are called on the host.
    """

    @property
    def vocab_size(self) -> int:
        """Number of tokens that may be read: V."""

    @property
    def num_writable(self) -> int:
        """Number of tokens that may be written, EOS included."""

    @property
    def prompt_len(self) -> int:
        """Number of tokens of a prompt, the same for all prompts."""

    @property
    def response_len(self) -> int:
        """Number of tokens of the longest response, EOS included: L.

        It is WorldConfig.response_len, unless the language says why.
        """

    @property
    def tokens_of(self) -> Mapping[str, tuple[int, ...]]:
        """Attribute -> the tokens that stand for this attribute and nothing else ("manners"). May be empty.

        `reward_model.blind` hides them from a reward model. Gold's training includes responses spammed with them.
        """

    @property
    def topical(self) -> tuple[int, ...]:
        """Tokens that say what a prompt is about; the second component of a composite proxy is blind to them."""

    def prompts(self, key, num: int, held_out: bool = False):
        """`num` prompts, [num, prompt_len] int32; no prompt is both a training and a held-out prompt."""

    def demonstrations(self, key, prompts, num_samples: int = 1):
        """Responses of decent but fallible writers, [P, num_samples, L] int32; the reference policy is fit to them."""

    def relevant(self, prompts):
        """Tokens that belong to a prompt, [P, K] int32, K as you like; gold's training stuffs responses with them."""

    def attributes(self, prompts, responses) -> dict:
        """Name -> an attribute that the rubric looks at in responses [P, N, L], [P, N] float32.

        Each is a column attr_NAME of the curves. An attribute of gold_sim/attributes.py that a language lacks is NaN
        there. An attribute that is not in that table becomes a further column. `repetition`, a share from 0 to 1,
        drives extremal errors (rewards/synthetic_errors.py), which a language without it cannot have.
        """

    def failings(self, prompts, attributes: dict) -> dict:
        """Name -> (failed, asked), booleans [P, N]: whether a response fails in this way, and whether it could.

        May be empty. Failings that the curves have a column for are stored, at present sycophancy and over_refusal.
        """

    def rubric(self, prompts, responses):
        """How good responses [P, N, L] are, [P, N] float32: the target that gold is trained on."""

    def criteria(self, prompts, responses) -> dict:
        """Name -> what the rubric takes into account, [P, N] each; gold may learn it beside the rubric (gold.criteria).

        The attributes will do. What is closer to the rubric, such as a utility of each attribute, is learned sooner.
        """

    def marks(self, prompts, responses) -> dict:
        """Name -> what the rubric takes into account of every token, [P, N, L] float32 each; may be empty.

        0 behind EOS. Gold may learn it beside the rubric of whole responses (gold.marks).
        """

    def features(self, responses) -> dict:
        """Name -> a feature of responses [D, K, L], beside length, that a biased annotator may like, [D, K].

        May be empty. A feature's unit is about its spread.
        """

    def unwritten_pairs(self) -> np.ndarray:
        """Pairs of writable tokens that the reference policy hardly ever writes, [K, 2].

        Adversarial errors reward one of them.
        """

    def kinds(self, prompts) -> list[str]:
        """The kind of every prompt, [P], by a name for readers of transcripts."""

    def decode(self, tokens) -> str:
        """Readable text of one prompt or response, up to its EOS."""


class Sizes(NamedTuple):
    """Sizes of a language, with the meaning of the properties of these names in `Language`."""

    vocab_size: int
    num_writable: int
    prompt_len: int
    response_len: int


@functools.cache
def sizes(config: WorldConfig) -> Sizes:
    """Sizes of the language that `config.language` names; those of built-in languages are counted without jax."""
    if config.language == "topics":
        return Sizes(num_read(config), num_writable(config), PROMPT_LEN, config.response_len)
    made = make(config)
    return Sizes(*(getattr(made, name) for name in Sizes._fields))


def make(config: WorldConfig) -> Language:
    """The language that `config.language` names; ValueError if there is none of that name.

    A language of your own is named `module:function`, a function of WorldConfig. It reads from it what it needs: at
    least `seed` and `response_len`.
    """
    return named.find("world.language", config.language, named.LANGUAGES, "config")(config)
