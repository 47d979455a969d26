"""Memory that networks take: bytes of a training step and of a forward pass, and how many runs fit.

Counting needs no jax; asking a device for its memory does.
"""

from gold_sim.networks import network
from gold_sim.networks.network import Network, num_params

FLOAT = 4  # bytes
STATE = 5  # float32 copies of the parameters: themselves, the new ones, the gradient, Adam's two moments
OF_HEAD = 4  # arrays of the size of the logits: logits, their softmax, log-probs and gradient
STACKED = 1.45  # factor for a loop over blocks that keeps all activations: they are stacked, some of them twice
SHARE = 0.8  # of the device's memory that runs may take; the rest is for gold, reward models and the compiler


def of_training(net: Network, tokens: float, prompt: int = 0) -> float:
    """Bytes that one run holds while it takes a gradient step on `tokens` tokens, each attending to `prompt` more.

    A network whose blocks are computed again in the backward pass keeps one block's activations and all blocks' inputs.
    """
    scores = 3 * net.heads * (prompt or net.max_len)
    block = network.ACTIVATIONS * net.width + scores
    again = num_params(net) >= network.REMAT_FROM
    stacked = STACKED if net.depth > network.UNROLLED else 1.0
    kept = block + net.depth * net.width if again else net.depth * block * stacked
    return FLOAT * (STATE * num_params(net) + tokens * (kept + OF_HEAD * net.outputs))


def of_forward(net: Network, tokens: float) -> float:
    """Bytes that a forward pass of one run holds: parameters, and one block at a time."""
    return FLOAT * (num_params(net) + tokens * (network.ACTIVATIONS * net.width + 3 * net.heads * net.max_len))


def at_once(bytes_a_run: float, limit: float | None = None) -> int | None:
    """How many runs one program of this device may map; None: all (on a CPU they follow one another anyway).

    limit: bytes of the device; None asks it.
    """
    if limit is None:
        import jax

        stats = jax.local_devices()[0].memory_stats() or {}
        limit = stats.get("bytes_limit")
    return None if limit is None else max(1, int(SHARE * limit / bytes_a_run))
