"""Networks of a Config, and what a response costs in them; no jax."""

from gold_sim.config import Config
from gold_sim.language import vocabulary
from gold_sim.networks import network
from gold_sim.networks.network import Network
from gold_sim.stages.stage import Work

PROMPT = vocabulary.PROMPT_LEN
SHARING = 4  # responses that one prompt is read for, about


def policy(c: Config) -> Network:
    """What is optimised, and sampled by best-of-n; its value head is left out."""
    return _policy(c, c.policy or c.reference)


def reference(c: Config) -> Network:
    """What writes the preferences."""
    return _policy(c, c.reference)


def _policy(c: Config, of) -> Network:
    outputs = vocabulary.num_writable(c.world)
    return Network(of.width, of.depth, vocabulary.num_read(c.world), outputs, tokens(c), precision=of.precision)


def gold(c: Config) -> Network:
    return _judge(c, c.gold)


def proxy(c: Config) -> Network:
    """One reward model."""
    return _judge(c, c.reward_model)


def _judge(c: Config, of) -> Network:
    return Network(of.width, of.depth, vocabulary.num_read(c.world), 1, tokens(c), precision=of.precision)


def tokens(c: Config) -> int:
    """Of a prompt and its response."""
    return PROMPT + c.world.response_len


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
    length = c.world.response_len
    read = length + PROMPT / SHARING
    return read, read * (PROMPT + length / 2), length
