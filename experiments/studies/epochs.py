"""Are few preference pairs too few, or seen too seldom?

    python -m experiments epochs
    python -m analysis epochs

Four passes over few pairs against one pass over four times as many.
"""

from experiments.experiment import Experiment
from experiments.presets import RM_FIELDS, RM_SIZES, of

FIELDS = "reward_model.num_pairs|reward_model.epochs"
PASSES = {"smoke": ((64, 1), (64, 4), (256, 1)), "cpu": ((2000, 1), (2000, 4), (8000, 1))}
SIZES = {"smoke": RM_SIZES["smoke"][:1], "cpu": RM_SIZES["cpu"][::2]}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="epochs",
        title="Epochs against data",
        question="Do four passes over 2,000 pairs do what one pass over 8,000 does?",
        figure="Gao et al. 2023, Fig. 13",
        expected="Four passes are about as one over the same pairs; four times the pairs is much better.",
        cost="2 min on two cores, after grid",
        axis="num_pairs",
        stages=("best_of_n",),
        base={},
        grid={RM_FIELDS: of(SIZES, preset), FIELDS: of(PASSES, preset)},
        study="epochs",
        order=40,
    )
