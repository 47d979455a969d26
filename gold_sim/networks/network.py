"""The shape of a network: widths, depth, heads, outputs; no jax."""

import dataclasses

from gold_sim import config

UNROLLED = 8  # blocks written out in a program; deeper networks loop, so that compile time does not grow with depth
MODEL_AXIS = "model"  # of a mesh of devices: those along it share the matrices of every block
REMAT_FROM = 200_000_000  # parameters from which a block is computed again in the backward pass, not kept


@dataclasses.dataclass(frozen=True)
class Network:
    """Shape of one transformer; static and hashable.

    vocab_size: tokens that may be read.  outputs: rows of the head (tokens that may be written, or
    1 for a reward model).  values: 1 adds a value head, 0 leaves it out.
    precision: of the products within blocks; all else (parameters, norms, softmax, heads, log-probs) is float32.
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
