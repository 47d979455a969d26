"""What must differ between the members of an ensemble for it to help?

    python -m experiments diversity
    python -m analysis diversity

Members differ in the order of their pairs, in initialisation too, in the pairs, or in what they see. Weights of members
that differ in order alone can also be averaged into one model. Members that share a pretrained trunk differ in nothing
but their heads when they begin, so those of other initialisations have trunks of their own.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, MORE_SEEDS, few, of
from experiments.studies.ensembles import MEMBERS, WITH_RL

NOISE = 0.25
KINDS = ("order", "init", "bootstrap", "features")
OWN_TRUNKS = {"smoke": {}, "cpu": {"reward_model.trunk": "own"}}  # smoke has no trunks


def members(preset: str, kind: str, rule: str) -> dict:
    """Overrides of members that differ in one way, under one rule."""
    return {
        "reward_model.members": of(MEMBERS, preset),
        "reward_model.diversity": kind,
        "ensemble.rule": rule,
        **(of(OWN_TRUNKS, preset) if kind == "init" else {}),
    }


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="diversity",
        title="Diversity of an ensemble",
        question="Does an ensemble need members that differ in more than order, and do weight averages help?",
        figure="Eisenstein et al. 2023, Fig. 4; Rame et al. 2024, Fig. 5",
        expected="The more members differ (order < initialisation < bootstrap, features) the more the worst case "
        "keeps; none keeps all, as members share errors of data and architecture.",
        cost="14 min on two cores, after ensembles",
        axis="variant",
        stages=("best_of_n",),
        base=of(MIDDLE_RM, preset) | of(MORE_SEEDS, preset) | {"preferences.label_noise": NOISE},
        grid={},
        variants=few(
            preset,
            {"single": Variant("single", stages=WITH_RL)}  # both are those of `ensembles`
            | {
                f"worst_case_{kind}": Variant(f"worst case, {kind}", members(preset, kind, "worst_case"))
                for kind in KINDS
            }
            | {
                "weight_average_order": Variant(
                    "weight average, order", members(preset, "order", "weight_average"), WITH_RL
                )
            },
        ),
        order=200,
    )
