"""With a small KL penalty, do pessimistic ensembles keep all that they gained?

    python -m experiments ensembles_kl
    python -m analysis ensembles_kl

The rules of `ensembles` that run in RL, with one small penalty.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, MORE_SEEDS, few, of
from experiments.studies.ensembles import IN_RL, members

NOISE, KL_COEF = 0.25, 0.02


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="ensembles_kl",
        title="Ensembles with a small KL penalty",
        question="Does a small KL penalty with a pessimistic rule remove the fall that either leaves alone?",
        figure="Coste et al. 2023, Fig. 4",
        expected="The worst case and the uncertainty-weighted rule with a small penalty end at their peak; a single "
        "model does not.",
        cost="5 min on two cores, after ensembles",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset)
        | of(MORE_SEEDS, preset)
        | {"preferences.label_noise": NOISE, "kl_coefs": (KL_COEF,)},
        grid={},
        variants=few(preset, {"single": Variant("single")} | {key: members(preset, key) for key in IN_RL}),
        order=170,
    )
