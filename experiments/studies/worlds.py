"""Do the laws hold in other worlds?

    python -m experiments worlds
    python -m analysis worlds

A world redraws the language, the demonstrations, the reference policy, gold and the preference pairs, so that intervals
between worlds speak of gold models in general and not of one.
"""

from experiments.experiment import Experiment
from experiments.presets import RM_FIELDS, RM_SIZES, of

WORLD_FIELDS = "world.seed|reference.seed|gold.seed|preferences.seed|best_of_n.seed"
WORLDS = {"smoke": (200, 201), "cpu": (200, 201, 202)}
SIZES = {"smoke": RM_SIZES["smoke"][:1], "cpu": RM_SIZES["cpu"][::2]}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="worlds",
        title="The laws in other worlds",
        question="Do the laws, and their trends with reward-model size, hold when language and gold are drawn anew?",
        figure="none: the paper has one gold model",
        expected="The same signs everywhere; intervals between worlds wider than those between seeds of one.",
        cost="18 min on two cores, after rm_size",
        axis="rm_params",
        stages=("best_of_n", "policy_gradient"),
        base={},
        grid={WORLD_FIELDS: tuple((w,) * 5 for w in of(WORLDS, preset)), RM_FIELDS: of(SIZES, preset)},
        study="worlds",
        order=100,
    )
