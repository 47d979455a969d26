"""A reward model that does not see the order of words: an example of an architecture of one's own.

    python -m experiments rm_size --set reward_model.network=tests.bag_of_words:network

A score is linear in how often each token stands in a response: it can like hedges, and not that there is just one.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class BagOfWords:
    """A `RewardNetwork`: the sum of the tokens' embeddings, and the head."""

    vocab_size: int
    width: int
    response_len: int

    def init(self, key, heads: int = 1) -> dict:
        k_token, k_head = jax.random.split(key)
        token = 0.1 * jax.random.normal(k_token, (self.vocab_size, self.width))
        kernel = 0.1 * jax.random.normal(k_head, (self.width, heads))
        return dict(token=token, head=dict(kernel=kernel, bias=jnp.zeros(heads)))

    def heads(self, params, prompts, responses, lengths):
        before_end = jnp.arange(responses.shape[-1]) < lengths[..., None]
        features = jnp.sum(params["token"][responses] * before_end[..., None], axis=-2)  # [P, N, width]
        return features @ params["head"]["kernel"] + params["head"]["bias"]

    def hide(self, params, seen):
        return dict(params, token=params["token"] * seen)

    def training_bytes(self, tokens: float) -> float:
        """Adam holds five copies of the parameters; the backward pass reads every token's embedding."""
        return 4 * (5 * self.width * (self.vocab_size + 1) + 2 * tokens * self.width)

    def forward_bytes(self, tokens: float) -> float:
        return 4 * self.width * (self.vocab_size + 1 + tokens)

    def flops(self) -> float:
        return 2 * self.width * (self.response_len + 1)


def network(language, config) -> BagOfWords:
    """As `reward_model.network` names it; `depth` has no use here."""
    return BagOfWords(language.vocab_size, config.width, language.response_len)
