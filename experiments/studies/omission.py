"""What becomes of attributes that the proxy cannot see?

    python -m experiments omission
    python -m analysis omission

Reward models that do not see the tokens of some attributes: gold has more parts than the reward knows of.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, few, of
from gold_sim.attributes import WITH_TOKENS


def blind(*attributes: str) -> dict:
    """Overrides of reward models that do not see the tokens of some attributes."""
    return {"reward_model.blind": attributes}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="omission",
        title="Misalignment by omission",
        question="Are attributes that the proxy cannot see driven to their worst, and does gold then fall below its "
        "start?",
        figure="Zhuang & Hadfield-Menell 2020, Fig. 2",
        expected="An unseen attribute is given up for seen ones; the more are unseen, the lower gold ends.",
        cost="4 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset),
        grid={},
        variants=few(
            preset,
            {
                "sees_all": Variant("sees all"),
                "blind_to_stance_and_refusals": Variant("blind to stance and refusals", blind("agreement", "refusal")),
                "blind_to_templates_and_hedges": Variant("blind to templates and hedges", blind("template", "hedging")),
                "blind_to_all_four": Variant("blind to all four", blind(*WITH_TOKENS)),
            },
        ),
        order=290,
    )
