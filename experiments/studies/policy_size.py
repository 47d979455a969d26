"""Do larger policies over-optimise more?

    python -m experiments policy_size
    python -m analysis policy_size

Five policies from 8k to 834k parameters, alike in supervised loss: steps and rates were chosen so that in world 4 the
held-out loss of the others is within 0.025 nats a token of the 73k one's 3.681 (8k 3.692, 23k 3.671, 260k 3.667, 834k
3.692; with 500 steps the second stays at 3.714).
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, of

POLICY_FIELDS = "policy.width|policy.depth|policy.seed|policy.steps|policy.learning_rate"
POLICIES = {
    "smoke": ((8, 1, 200, 20, 3e-3), (16, 1, 200, 20, 3e-3)),  # the second is the reference policy
    "cpu": (
        (12, 2, 200, 1000, 8e-3),
        (24, 2, 200, 1000, 4e-3),
        (48, 2, 200, 500, 3e-3),
        (80, 3, 200, 500, 2e-3),
        (128, 4, 200, 250, 1.5e-3),
    ),
    "gpu": ((128, 4, 200, 2000, 1.5e-3), (384, 6, 200, 2000, 5e-4)),  # the first is the reference policy
}
ALIKE = {  # what all policies share
    "smoke": {"policy.batch": 32},
    "cpu": {"policy.batch": 256},
    "gpu": {"policy.batch": 1024, "policy.precision": "bfloat16"},
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="policy_size",
        title="Over-optimization by policy size",
        question="Does a larger policy, optimised against the same proxy, gain less, peak earlier or fall further?",
        figure="Gao et al. 2023, Fig. 5 (ICML) / 7 (arXiv) and 24",
        expected="A larger policy starts higher and gains less; gold peaks at about the same KL, and the gap between "
        "proxy and gold at a given KL is about the same.",
        cost="17 min on two cores, after rm_size",
        axis="policy_params",
        stages=("best_of_n", "policy_gradient"),
        base=of(MIDDLE_RM, preset) | of(ALIKE, preset),
        grid={POLICY_FIELDS: of(POLICIES, preset)},
        study="policy_size",
        order=80,
    )
