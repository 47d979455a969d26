"""Muon, an optimiser that comes to rest in fewer steps than Adam where the rate falls to 0 (optimisation/plateaus.py).

It orthogonalises the momentum of each matrix (Jordan et al. 2024); queries, keys and values are one. What it saves:
experiments/log/2026-12-01-equilibria-by-muon.md.
"""

import jax
import optax
from optax.contrib import MuonDimensionNumbers
from optax.contrib import muon as of_matrices

OF_OTHERS = 2 / 3  # the rate of NAdam over that of Muon
SIZE = 0.2  # root mean square of a matrix's update, in rates: about that of Adam (Liu et al. 2025, section 2.2)


def muon(rate, max_norm: float = 1.0) -> optax.GradientTransformation:
    """Muon for the matrices of blocks, and NAdam for all else, after the whole gradient is clipped to `max_norm`.

    NAdam is Adam with Nesterov momentum (Dozat 2016), as Muon has it.

    rate: a schedule of steps.
    """
    return optax.chain(
        optax.clip_by_global_norm(max_norm),
        of_matrices(
            rate,
            beta=0.9,
            adam_b2=0.99,
            adam_learning_rate=lambda count: OF_OTHERS * rate(count),
            muon_weight_dimension_numbers=_matrices,
            consistent_rms=SIZE,
        ),
    )


def _matrices(params):
    """For each matrix of the blocks, [depth, inputs, outputs], which axes are its own; None for all else."""
    of_block = MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    of = lambda path, _: of_block if (path[0].key, path[-1].key) == ("blocks", "kernel") else None
    return jax.tree.map_with_path(of, params)
