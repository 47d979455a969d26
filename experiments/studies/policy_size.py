"""Do larger policies over-optimise more?

    python -m experiments policy_size
    python -m analysis policy_size

Five policies from 5k to 805k parameters, alike in supervised loss: steps and rates were chosen so that in world 2 the
held-out loss of the others is within 0.025 nats a token of the 62k one's 2.678 (5k 2.691, 17k 2.701, 242k 2.667, 805k
2.675; with 500 steps the smallest stays at 2.727). At the preset's rate RL of the largest does not diverge (one seed):
it passes gold's peak, 1.20 s.d. at 10.6 nats, in 80 of 360 steps, and from step 120 writes one response, at 29 nats.
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, of

POLICY_FIELDS = "policy.width|policy.depth|policy.seed|policy.steps|policy.learning_rate"
POLICIES = {
    "smoke": ((8, 1, 200, 20, 3e-3), (16, 1, 200, 20, 3e-3)),  # the second is the reference policy
    "cpu": (
        (12, 2, 200, 1000, 8e-3),
        (24, 2, 200, 500, 4e-3),
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
