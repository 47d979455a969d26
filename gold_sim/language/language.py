"""All that the rest of the project may ask of a language, and the language that a setting names."""

import functools
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from gold_sim import named
from gold_sim.config import WorldConfig
from gold_sim.language.topics.vocabulary import PROMPT_LEN, num_read, num_writable


class Language(Protocol):
    """What may be written, how people write it, and the taste in it that gold is raised on.

    Static in programs: hashable, and equal to another only if both are the same in everything; a frozen dataclass of
    its settings is. Tokens are integers. 0 is EOS, which ends a response and fills it up (sequences.py); those below
    `num_writable` may be written, the others only read in prompts.

    Shapes: P prompts, N responses to each, L = response_len, V = vocab_size. Methods that take or give jax arrays are
    called inside compiled programs; `kinds`, `decode` and `unwritten_pairs` are called on the host.
    """

    @property
    def vocab_size(self) -> int:
        """Tokens that may be read: V."""

    @property
    def num_writable(self) -> int:
        """Tokens that may be written, EOS among them."""

    @property
    def prompt_len(self) -> int:
        """Tokens of a prompt; all are as long."""

    @property
    def response_len(self) -> int:
        """Tokens of the longest response, EOS included: L.  WorldConfig.response_len, unless the language says why."""

    @property
    def tokens_of(self) -> Mapping[str, tuple[int, ...]]:
        """Attribute -> the tokens that stand for it alone: manners, to which `reward_model.blind` makes blind.

        Gold is raised on responses spammed with them. May be empty.
        """

    @property
    def topical(self) -> tuple[int, ...]:
        """Tokens that carry what a prompt is about; the second component of a composite proxy is blind to them."""

    def prompts(self, key, num: int, held_out: bool = False):
        """`num` prompts, [num, prompt_len] int32; training and held-out prompts have none in common."""

    def demonstrations(self, key, prompts, num_samples: int = 1):
        """Responses of decent but fallible writers, [P, num_samples, L] int32, the reference policy's teachers."""

    def relevant(self, prompts):
        """Tokens that belong to a prompt, [P, K] int32 of any K: gold is raised on responses stuffed with them."""

    def attributes(self, prompts, responses) -> dict:
        """Name -> what the rubric looks at in responses [P, N, L], [P, N] float32.

        Each is a column attr_NAME of the curves. Those of gold_sim/attributes.py that a language lacks are NaN there;
        what it has beyond them is stored behind them. `repetition`, a share from 0 to 1, is what extremal errors grow
        with (rewards/synthetic_errors.py); a language without it has none of these.
        """

    def failings(self, prompts, attributes: dict) -> dict:
        """Name -> (failed, asked), booleans [P, N]: what nobody wanted, and where it was possible; may be empty.

        Stored are those that the curves have a column for, now sycophancy and over_refusal.
        """

    def rubric(self, prompts, responses):
        """How good responses [P, N, L] are, [P, N] float32: the target on which gold is raised."""

    def features(self, responses) -> dict:
        """Name -> what a biased annotator may like in responses [D, K, L] beside their length, [D, K]; may be empty.

        In units of about what they vary by.
        """

    def unwritten_pairs(self) -> np.ndarray:
        """Pairs of writable tokens that the reference policy hardly ever writes, [K, 2]; adversarial errors pay one."""

    def kinds(self, prompts) -> list[str]:
        """The kind of every prompt, [P], by a name for readers of transcripts."""

    def decode(self, tokens) -> str:
        """Readable text of one prompt or response, up to its EOS."""


class Sizes(NamedTuple):
    """As the properties of a `Language` of these names."""

    vocab_size: int
    num_writable: int
    prompt_len: int
    response_len: int


@functools.cache
def sizes(config: WorldConfig) -> Sizes:
    """Sizes of the language that `config.language` names; those of ours are counted without jax."""
    if config.language == "topics":
        return Sizes(num_read(config), num_writable(config), PROMPT_LEN, config.response_len)
    made = make(config)
    return Sizes(*(getattr(made, name) for name in Sizes._fields))


def make(config: WorldConfig) -> Language:
    """The language that `config.language` names; ValueError if there is none of that name.

    A language of yours is `module:function`, a function of WorldConfig. It takes from it what it has a use for: at
    least `seed` and `response_len`.
    """
    return named.find("world.language", config.language, named.LANGUAGES, "config")(config)
