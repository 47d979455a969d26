"""Do larger policies over-optimise more under the largest reward model?

    python -m experiments policy_size_large_rm
    python -m analysis policy_size_large_rm

The policies of `policy_size`; RL alone.
"""

import dataclasses

from experiments.experiment import Experiment
from experiments.presets import LARGEST_RM, of
from experiments.studies import policy_size


def experiment(preset: str) -> Experiment:
    return dataclasses.replace(
        policy_size.experiment(preset),
        name="policy_size_large_rm",
        title="Over-optimization by policy size, under the largest reward model",
        question="Under the largest reward model, does a larger policy gain less, peak earlier or fall further?",
        figure="Gao et al. 2023, Fig. 22",
        expected="As under a smaller reward model, but gold hardly turns within reach.",
        cost="15 min on two cores, after rm_size",
        stages=("policy_gradient",),
        base=of(LARGEST_RM, preset) | of(policy_size.ALIKE, preset),
        order=90,
    )
