"""The networks of a Config, what a response costs in them, and what a cell holds; no jax for the built-in networks."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from gold_sim import language
from gold_sim.config import Config, PolicyConfig
from gold_sim.networks import footprint, network
from gold_sim.networks.network import Network
from gold_sim.stages.stage import Work


def policy(c: Config) -> Network:
    """The network that is optimised, and that best-of-n samples from; its value head is left out."""
    return _policy(c, c.policy or c.reference)


def reference(c: Config) -> Network:
    """The network of the reference policy that writes the preference pairs."""
    return _policy(c, c.reference)


def trunk(c: Config) -> Network:
    """The language model whose trunk a reward model may start with."""
    return _policy(c, c.trunks)


def _policy(c: Config, of) -> Network:
    spoken = language.sizes(c.world)
    size = (of.width, of.depth, spoken.vocab_size, spoken.num_writable, tokens(c))
    return Network(*size, precision=of.precision)


def gold(c: Config) -> Network:
    return _judge(c, c.gold)


def proxy(c: Config) -> Network:
    """One reward model, where it is a transformer."""
    return _judge(c, c.reward_model)


def _judge(c: Config, of) -> Network:
    return Network(of.width, of.depth, language.sizes(c.world).vocab_size, 1, tokens(c), precision=of.precision)


class Proxy(NamedTuple):
    """What one reward model costs, whatever its architecture."""

    judged: Work  # to score a response
    training: Callable[[float], float]  # tokens of a step -> bytes
    forward: Callable[[float], float]  # tokens -> bytes
    num_params: int
    networks: tuple[Network, ...]  # whose blocks decide its time to compile


def of_proxy(c: Config) -> Proxy:
    """The cost of one reward model: counted without jax for the transformer, else asked of the architecture's code."""
    rm, net = c.reward_model_of_round, proxy(c)
    if rm.network == "transformer":
        training, forward = (functools.partial(f, net) for f in (footprint.of_training, footprint.of_forward))
        return Proxy(judged(c, net), training, forward, network.num_params(net), (net,))
    from gold_sim.rewards import reward_network

    made = reward_network.make(language.make(c.world), rm)
    work = Work(made.flops(), _read(c)[0] / 6)
    return Proxy(work, made.training_bytes, made.forward_bytes, reward_network.num_params(made), ())


def tokens(c: Config) -> int:
    """Tokens of a prompt and its response."""
    spoken = language.sizes(c.world)
    return spoken.prompt_len + spoken.response_len


def pool(c: Config) -> int:
    """Responses of a best-of-n pool, all prompts together."""
    return c.best_of_n.num_prompts * c.best_of_n.num_samples


def written(c: Config, net: Network) -> Work:
    """Work to read or write a response with a policy, its share of the prompt included."""
    read, attended, length = _read(c)
    return Work(network.forward_flops(net, read, attended, length), read * net.depth)


def judged(c: Config, net: Network) -> Work:
    """Work to score a response with a reward model.

    The last block counts as a sixth: it computes keys and values of all tokens, and the rest for one token alone.
    """
    read, attended, _ = _read(c)
    return Work(network.reward_flops(net, read, attended, tokens(c)), read * (net.depth - 1 + 1 / 6))


def _read(c: Config) -> tuple[float, float, int]:
    """(tokens read for a response, positions that they attend to, length of the response)."""
    spoken = language.sizes(c.world)
    return *network.reading(spoken.prompt_len, spoken.response_len), spoken.response_len


def scored(c: Config) -> Work:
    """Work to score a response by every model that the reward is made of."""
    return scored_once(c) * ((c.ensemble.take or c.reward_model.members) if c.reward == "proxy" else 1)


def scored_once(c: Config) -> Work:
    """Work to score a response by one reward model, or by gold; a synthetic proxy is computed from gold."""
    return of_proxy(c).judged if c.reward == "proxy" else judged(c, gold(c))


def scorers(c: Config) -> tuple[Network, ...]:
    """The networks that score for the reward."""
    return of_proxy(c).networks if c.reward == "proxy" else (gold(c),)


def of_pairs(c: Config) -> float:
    """Bytes of all pairs as tokens."""
    return footprint.FLOAT * 2 * c.preferences.num_pairs * tokens(c)


def of_demonstrations(c: Config, model: PolicyConfig) -> float:
    """Bytes of the demonstrations that a policy is fit to, of all steps."""
    return footprint.FLOAT * model.steps * model.batch * tokens(c)


def of_states(net: Network, runs: int) -> float:
    """Bytes of the parameters of policies in training and of Adam's moments."""
    return footprint.FLOAT * 3 * network.num_params(net) * runs
