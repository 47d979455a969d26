"""Do larger policies over-optimise more?

    python -m experiments policy_size        9 minutes on two cores, after rm_size
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM

POLICY_FIELDS = "policy.width|policy.depth|policy.seed|policy.steps|policy.learning_rate"
POLICIES = {
    "smoke": ((8, 1, 200, 20, 3e-3), (16, 2, 200, 20, 3e-3)),
    "cpu": ((24, 2, 200, 500, 4e-3), (48, 2, 200, 500, 3e-3), (80, 3, 200, 500, 2e-3)),
}
BATCH = {"smoke": 32, "cpu": 256}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="policy_size",
        title="Over-optimization by policy size",
        question="Does a larger policy, optimised against the same proxy, gain less, peak earlier or fall further?",
        figure="Gao et al. 2023, Fig. 5 (ICML) / 7 (arXiv) and 24",
        expected="A larger policy starts higher and gains less; gold peaks at about the same KL, and the gap between "
        "proxy and gold at a given KL is about the same.",
        cost="9 min on two cores, after rm_size",
        axis="policy_params",
        stages=("best_of_n", "policy_gradient"),
        base=MIDDLE_RM[preset] | {"policy.batch": BATCH[preset]},
        grid={POLICY_FIELDS: POLICIES[preset]},
    )
