"""The transformer as a reward model: of gold, and of proxies by default."""

import dataclasses
from dataclasses import dataclass

from gold_sim.config import GoldConfig, RewardModelConfig
from gold_sim.language import Language
from gold_sim.networks import footprint, network, transformer
from gold_sim.networks.network import Network


@dataclass(frozen=True)
class TransformerNetwork:
    """A `RewardNetwork` that reads each score off a response's last token."""

    net: Network
    prompt_len: int  # tokens

    def init(self, key, heads: int = 1) -> dict:
        return transformer.init(dataclasses.replace(self.net, outputs=heads), key)

    def heads(self, params, prompts, responses, lengths):
        return transformer.heads(self.net, params, prompts, responses, lengths)

    def heads_and_states(self, params, prompts, responses, lengths):
        """`heads`, and what the last block reads of every token of the responses: [P, N, L, width]."""
        return transformer.heads_and_states(self.net, params, prompts, responses, lengths)

    def hide(self, params, seen):
        """Parameters to which all hidden tokens look like the same blank."""
        return dict(params, token=params["token"] * seen)

    def training_bytes(self, tokens: float) -> float:
        return footprint.of_training(self.net, tokens)

    def forward_bytes(self, tokens: float) -> float:
        return footprint.of_forward(self.net, tokens)

    def flops(self) -> float:
        read, attended = network.reading(self.prompt_len, self.net.max_len - self.prompt_len)
        return network.reward_flops(self.net, read, attended, self.net.max_len)


def make(language: Language, config: RewardModelConfig | GoldConfig) -> TransformerNetwork:
    max_len = language.prompt_len + language.response_len
    net = Network(config.width, config.depth, language.vocab_size, 1, max_len, precision=config.precision)
    return TransformerNetwork(net, language.prompt_len)
