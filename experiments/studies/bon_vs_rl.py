"""Do best-of-n and RL turn proxy score into gold at the same rate?

    python -m experiments bon_vs_rl
    python -m analysis bon_vs_rl

The cells are those of `rm_size`; the study compares both methods in the plane of proxy and gold.
"""

from experiments.experiment import Experiment
from experiments.presets import RM_FIELDS, RM_SIZES, of


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="bon_vs_rl",
        title="Best-of-n against RL",
        question="At equal proxy, do best-of-n and RL reach the same gold? And at equal KL?",
        figure="Gao et al. 2023, Fig. 8",
        expected="RL needs far more KL; on the gold-against-proxy plane the two look much more alike.",
        cost="none after rm_size",
        axis="rm_params",
        stages=("best_of_n", "policy_gradient"),
        base={},
        grid={RM_FIELDS: of(RM_SIZES, preset)},
        study="bon_vs_rl",
        order=70,
    )
