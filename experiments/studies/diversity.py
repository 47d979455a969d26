"""What must differ between members for an ensemble to help?

python -m experiments diversity            5 min on two cores, after ensembles
python -m analysis diversity
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, MORE_SEEDS, few, of
from experiments.studies.ensembles import MEMBERS

NOISE = 0.25
KINDS = ("order", "init", "bootstrap", "features")


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="diversity",
        title="Diversity of an ensemble",
        question="Does an ensemble need members that differ in more than order, and do weight averages help?",
        figure="Eisenstein et al. 2023, Fig. 4; Rame et al. 2024, Fig. 5",
        expected="The more members differ (order < initialisation < bootstrap, features) the more the worst case "
        "keeps; none keeps all, as members share errors of data and architecture.",
        cost="5 min on two cores, after ensembles",
        axis="variant",
        stages=("best_of_n",),
        base=of(MIDDLE_RM, preset) | of(MORE_SEEDS, preset) | {"preferences.label_noise": NOISE},
        grid={},
        variants=few(
            preset,
            {"single": {"stages": ("best_of_n", "policy_gradient")}}  # both are those of `ensembles`
            | {
                f"worst case, {kind}": {
                    "reward_model.members": of(MEMBERS, preset),
                    "reward_model.diversity": kind,
                    "ensemble.rule": "worst_case",
                }
                for kind in KINDS
            }
            | {
                "weight average, order": {
                    "reward_model.members": of(MEMBERS, preset),
                    "reward_model.diversity": "order",
                    "ensemble.rule": "weight_average",
                    "stages": ("best_of_n", "policy_gradient"),
                }
            },
        ),
        panels=None,
    )
