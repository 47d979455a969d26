"""Does a new proxy that sees what the last one did not restore what was lost?

    python -m experiments omission_updates
    python -m analysis omission_updates

Every round trains a new reward model on what the policy writes by now. It sees what the last one saw, or what that
one did not. Policies go on from where they are.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, SHORTER, TO_THE_LAST_STEP, few, of
from experiments.studies.omission import blind

PAIRS = {"smoke": 64, "cpu": 8000}  # of the first round, and of each later one
ROUNDS = {"smoke": (1, 2), "cpu": (1, 2, 3)}
BLIND = blind("agreement", "refusal")


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="omission_updates",
        title="Updates of a proxy that sees a part",
        question="Do interactive updates of what the proxy sees keep unmentioned attributes from being given up?",
        figure="Zhuang & Hadfield-Menell 2020, section 4.2 and Fig. 4",
        expected="A proxy whose sight moves each round ends above one that never sees stance and refusals, and may "
        "end near one that sees all.",
        cost="6 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset)
        | of(SHORTER, preset)
        | TO_THE_LAST_STEP
        | {"reward_model.num_pairs": of(PAIRS, preset), "rounds.num_pairs": of(PAIRS, preset)}
        | {"rounds.start": "continue"},
        grid={"rounds.count": of(ROUNDS, preset)},
        variants=few(
            preset,
            {
                "same_sight": Variant("same sight", BLIND),
                "sight_in_turns": Variant("sight in turns", BLIND | {"rounds.sight": "alternating"}),
                "sees_all": Variant("sees all"),
            },
        ),
        panels="round",
        study="iterated",
        order=300,
    )
