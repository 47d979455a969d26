"""The interface of every reward model's architecture; `make` finds the architecture that a setting names."""

import functools
from typing import Protocol

import jax
import numpy as np

from gold_sim import named
from gold_sim.config import RewardModelConfig
from gold_sim.language import Language, sequences
from gold_sim.networks import pieces


class RewardNetwork(Protocol):
    """An architecture: parameters, and scores of responses.

    It is static in programs: hashable, and equal to another only if both compute the same. A frozen dataclass of its
    sizes meets this. Parameters are a nested dict of float32 arrays, for one member of one seed; callers map over more.
    Its entry `head`, dict(kernel [features, heads], bias [heads]), is the linear map that every score ends with.
    Ensembles of diversity 'order' differ in `head` alone, and ODIN trains two heads and keeps the first. No other entry
    of the tree is read by name.

    Shapes: P prompts, N responses to each, L tokens, V tokens of the language.
    """

    def init(self, key, heads: int = 1) -> dict:
        """Fresh parameters; compiled by the caller."""

    def heads(self, params, prompts, responses, lengths):
        """Raw scores [P, N, heads] of responses [P, N, L] to prompts [P, Lp].

        lengths: [P, N], tokens up to and including the first EOS; what lies behind must not count.
        """

    def hide(self, params, seen):
        """Parameters whose scores do not depend on the tokens with a 0 in `seen` [V, 1].

        A product with `seen`, so that no gradient reaches what is hidden.
        """

    def training_bytes(self, tokens: float) -> float:
        """Bytes that one run holds during a gradient step on `tokens` tokens; too high a number costs speed alone."""

    def forward_bytes(self, tokens: float) -> float:
        """Bytes that one run holds while it scores `tokens` tokens at once."""

    def flops(self) -> float:
        """Operations, 2 a multiply-add, to score one response of full length; a rough number is enough."""


def make(language: Language, config: RewardModelConfig) -> RewardNetwork:
    """The architecture that `config.network` names; ValueError if there is none of that name.

    An architecture of your own is named `module:function`, a function of (language, config) that reads from config what
    it needs.
    """
    find = functools.partial(named.find, "reward_model.network", config.network, named.REWARD_NETWORKS)
    return find("language", "config")(language, config)


@functools.cache
def shapes(net: RewardNetwork) -> dict:
    """The tree of parameters, of jax.ShapeDtypeStruct."""
    return jax.eval_shape(lambda: net.init(jax.random.key(0)))


def zeros(net: RewardNetwork, *leading: int) -> dict:
    """Parameters of zeros on the host, with leading axes, for uses that need their shapes alone."""
    return jax.tree.map(lambda a: np.zeros((*leading, *a.shape), a.dtype), shapes(net))


def num_params(net: RewardNetwork) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(net)))


def raw_scores(net: RewardNetwork, params, prompts, responses):
    """Scores [P, N] of the first head, in the network's own units; on a CPU in pieces, for any number of responses."""
    score = functools.partial(first_head, net, params)
    return pieces.in_pieces(score, prompts, responses, most=pieces.A_PIECE // responses.shape[1])


def first_head(net: RewardNetwork, params, prompts, responses):
    """Scores as by `raw_scores`, but all at once, for use in a loss that is differentiated."""
    return net.heads(params, prompts, responses, sequences.lengths(responses))[..., 0]
