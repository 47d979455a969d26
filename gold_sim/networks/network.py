"""The shape of a network, and the counts that follow from it: heads, parameters, activations, operations; no jax."""

import dataclasses

from gold_sim import config

UNROLLED = 8  # blocks written out in a program; deeper networks loop, so that compile time does not grow with depth
MODEL_AXIS = "model"  # of a mesh of devices: those along it share the matrices of every block
REMAT_FROM = 200_000_000  # parameters from which a block is computed again in the backward pass, not kept
MATRICES = 12  # parameters of a block, in widths squared: q, k, v and out; the MLP's four up and four down
ACTIVATIONS = 17  # widths a token that a block's backward pass reads: norms, q, k, v, mixed, MLP, sums


@dataclasses.dataclass(frozen=True)
class Network:
    """Shape of one transformer; static and hashable.

    vocab_size: tokens that may be read.  outputs: rows of the head (tokens that may be written, or
    1 for a reward model).  values: 1 adds a value head, 0 leaves it out.
    precision: of the products within blocks; all else (parameters, norms, softmax, heads, log-probs) is float32, and on
    a CPU attention too.
    """

    width: int
    depth: int
    vocab_size: int
    outputs: int
    max_len: int
    values: int = 0
    precision: str = "float32"  # or bfloat16

    @property
    def heads(self) -> int:
        return config.heads(self.width)


def num_params(net: Network) -> int:
    """Parameters of a network: embeddings of tokens and positions, blocks of two norms each, a norm, heads."""
    block = MATRICES * net.width**2 + 2 * net.width
    heads = (net.width + 1) * (net.outputs + net.values)
    return (net.vocab_size + net.max_len) * net.width + net.depth * block + net.width + heads


def blocks_written_out(net: Network) -> int:
    """Blocks that are written out in a program of the network; the time to compile it grows with them."""
    return min(net.depth, UNROLLED)


def forward_flops(net: Network, tokens: float, attended: float, states: float) -> float:
    """Operations of a forward pass, products alone, 2 a multiply-add.

    tokens: that pass through the blocks.  attended: positions to which these attend, summed over them.
    states: to which the head is applied.
    """
    block = MATRICES * net.width**2 * tokens + 2 * net.width * attended
    return 2.0 * (net.depth * block + net.width * net.outputs * states)


SHARING = 4  # about how many responses share one reading of their prompt


def reading(prompt: int, length: int) -> tuple[float, float]:
    """(tokens read for a response of `length` tokens, its share of the prompt included; positions they attend to)."""
    read = length + prompt / SHARING
    return read, read * (prompt + length / 2)


def reward_flops(net: Network, tokens: float, attended: float, length: int) -> float:
    """Operations of one reward: the last block needs keys and values of all tokens, and the rest of the last alone.

    tokens, attended: as in `forward_flops`.  length: positions to which the last token attends.
    """
    before = forward_flops(dataclasses.replace(net, depth=net.depth - 1), tokens, attended, states=1)
    return before + 2.0 * (2 * net.width**2 * tokens + (MATRICES - 2) * net.width**2 + 2 * net.width * length)
