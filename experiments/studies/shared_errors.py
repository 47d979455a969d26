"""How much can pessimism do when the members of an ensemble err alike?

    python -m experiments shared_errors
    python -m analysis shared_errors

Synthetic proxies, gold plus Student's t errors of which a share is common to all members.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import few, of

MEMBERS = {"smoke": 2, "cpu": 5}
SHARED = {"smoke": (0.0, 0.95), "cpu": (0.0, 0.5, 0.95)}
RULES = {  # rule, which is also the key -> label, coefficient
    "mean": ("mean", 0.0),
    "median": ("median", 0.0),
    "worst_case": ("worst case", 0.0),
    "uncertainty_weighted": ("uncertainty weighted", 0.5),
    "mean_minus_std": ("mean minus std", 1.0),
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="shared_errors",
        title="Shared errors",
        question="Does an ensemble help when its members err alike?",
        figure="Eisenstein et al. 2023; Coste et al. 2023",
        expected="Independent heavy-tailed errors: every pessimistic rule rises to the largest n. Half shared or more: "
        "every rule turns.",
        cost="1 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base={"reward": "synthetic", "error.kind": "heavy_tailed", "reward_model.members": of(MEMBERS, preset)},
        grid={"error.shared": of(SHARED, preset)},
        variants=few(
            preset,
            {"single": Variant("single", {"ensemble.take": 1})}
            | {
                rule: Variant(label, {"ensemble.rule": rule, "ensemble.coef": coef})
                for rule, (label, coef) in RULES.items()
            },
        ),
        panels="error_shared",
        order=210,
    )
