"""What becomes of what the proxy cannot see?

    python -m experiments omission             2 min on two cores, after rm_size
    python -m analysis omission

Reward models that do not see the tokens of some attributes: utility has more parts than the reward mentions.
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, few, of
from gold_sim.attributes import WITH_TOKENS


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="omission",
        title="Misalignment by omission",
        question="Are attributes that the proxy cannot see driven to their worst, and does gold then fall below its "
        "start?",
        figure="Zhuang & Hadfield-Menell 2020, Fig. 2",
        expected="An unseen attribute is given up for seen ones; the more are unseen, the lower gold ends.",
        cost="2 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset),
        grid={},
        variants=few(
            preset,
            {
                "sees all": {},
                "blind to stance and refusals": {"reward_model.blind": ("agreement", "refusal")},
                "blind to templates and hedges": {"reward_model.blind": ("template", "hedging")},
                "blind to all four": {"reward_model.blind": WITH_TOKENS},
            },
        ),
    )
