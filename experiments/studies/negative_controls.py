"""Controls that must fail: proxy = gold, shuffled labels, a random function as gold.

    python -m experiments negative_controls
    python -m analysis negative_controls

They show that what the other experiments find is not made by the measurement.
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, of


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="negative_controls",
        title="Negative controls",
        question="Does the fall of gold vanish when it must, and the gain?",
        figure="none: controls of the testbed",
        expected="Optimising gold itself shows no fall; a proxy of shuffled labels gains nothing; a random network as "
        "gold does not reliably over-optimise, which is why gold here is raised on a rubric.",
        cost="8 min on two cores, after rm_size",
        axis="reward",
        stages=("best_of_n", "policy_gradient"),
        base=of(MIDDLE_RM, preset),
        grid={},
        extra=({"reward": "gold"}, {"preferences.label_noise": 0.5}, {"gold.kind": "random"}),
        study="negative_controls",
        order=110,
    )
