"""Do new labels on what the policy writes mend the proxy?

    python -m experiments iterated
    python -m analysis iterated

Every round trains reward models on pairs that the last round's policies wrote, and optimises against them.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, SHORTER, TO_THE_LAST_STEP, of

PAIRS = {"smoke": 64, "cpu": 2000}  # a round
ROUNDS = {"smoke": (1, 2), "cpu": (1, 2, 3)}
NEWEST_AS_LONG = {"rounds.data": "replace", "rounds.as_long": True}  # else all pairs have k times the newest's steps


def experiment(preset: str) -> Experiment:
    pairs, rounds = of(PAIRS, preset), of(ROUNDS, preset)
    data, start = ("concatenate", "replace"), ("restart", "continue")
    as_many = {"rounds.count": 1, "reward_model.num_pairs": pairs * rounds[-1]}
    ways = [(d, s) for d in data for s in start] if preset != "smoke" else [("concatenate", "continue")]
    return Experiment(
        name="iterated",
        title="Iterated RLHF",
        question="With new labels every round, does gold's peak rise and move out, and should data and policy be kept?",
        figure="Gao et al. 2023, section 4.4; Wolf et al. 2025, Fig. 2 and 3; Bai et al. 2022, section 4.5",
        expected="Later rounds peak higher and further out; keeping all pairs and restarting from the reference does "
        "best; a policy that goes on from an over-optimised one does not recover.",
        cost="7 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset)
        | of(SHORTER, preset)
        | TO_THE_LAST_STEP
        | {"reward_model.num_pairs": pairs, "rounds.num_pairs": pairs},
        grid={"rounds.count": rounds},
        variants={f"{d}_{s}": Variant(f"{d}, {s}", {"rounds.data": d, "rounds.start": s}) for d, s in ways}
        | ({"newest_as_long": Variant("newest alone, as many steps", NEWEST_AS_LONG)} if preset != "smoke" else {})
        | {"as_many_labels_one_round": Variant("as many labels, one round", as_many)},
        panels="round",
        study="iterated",
        order=340,
    )
