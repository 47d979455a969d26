"""Networks of a Config, and what a response costs in them; no jax for ours."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from gold_sim import language
from gold_sim.config import Config
from gold_sim.networks import footprint, network
from gold_sim.networks.network import Network
from gold_sim.stages.stage import Work


def policy(c: Config) -> Network:
    """What is optimised, and sampled by best-of-n; its value head is left out."""
    return _policy(c, c.policy or c.reference)


def reference(c: Config) -> Network:
    """What writes the preferences."""
    return _policy(c, c.reference)


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
    """What one reward model takes, of whatever architecture."""

    judged: Work  # of a response
    training: Callable[[float], float]  # tokens of a step -> bytes
    forward: Callable[[float], float]  # tokens -> bytes
    num_params: int
    networks: tuple[Network, ...]  # in whose blocks its time to compile is counted


def of_proxy(c: Config) -> Proxy:
    """Counted without jax for the transformer; another architecture is asked, which imports it."""
    rm, net = c.reward_model_of_round, proxy(c)
    if rm.network == "transformer":
        training, forward = (functools.partial(f, net) for f in (footprint.of_training, footprint.of_forward))
        return Proxy(judged(c, net), training, forward, network.num_params(net), (net,))
    from gold_sim.rewards import reward_network

    made = reward_network.make(language.make(c.world), rm)
    work = Work(made.flops(), _read(c)[0] / 6)
    return Proxy(work, made.training_bytes, made.forward_bytes, reward_network.num_params(made), ())


def tokens(c: Config) -> int:
    """Of a prompt and its response."""
    spoken = language.sizes(c.world)
    return spoken.prompt_len + spoken.response_len


def pool(c: Config) -> int:
    """Responses of a best-of-n pool, all prompts together."""
    return c.best_of_n.num_prompts * c.best_of_n.num_samples


def written(c: Config, net: Network) -> Work:
    """A response read or written by a policy, its share of the prompt included."""
    read, attended, length = _read(c)
    return Work(network.forward_flops(net, read, attended, length), read * net.depth)


def judged(c: Config, net: Network) -> Work:
    """A response scored by a reward model. Its last block counts as a sixth: keys and values, and one token's rest."""
    read, attended, _ = _read(c)
    return Work(network.reward_flops(net, read, attended, tokens(c)), read * (net.depth - 1 + 1 / 6))


def _read(c: Config) -> tuple[float, float, int]:
    """(tokens read for a response, positions that they attend to, length of the response)."""
    spoken = language.sizes(c.world)
    return *network.reading(spoken.prompt_len, spoken.response_len), spoken.response_len
