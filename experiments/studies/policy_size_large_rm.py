"""Do larger policies over-optimise more, under the largest reward model?

python -m experiments policy_size_large_rm    5 minutes on two cores, after rm_size and policy_size
python -m analysis policy_size_large_rm
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
        figure="Gao et al. 2023, Fig. 22",
        expected="As under a smaller reward model, but gold hardly turns within reach.",
        cost="5 min on two cores, after rm_size",
        stages=("policy_gradient",),
        base=of(LARGEST_RM, preset) | of(policy_size.ALIKE, preset),
    )
