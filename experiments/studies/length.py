"""Where labels like length, how much of the proxy's gain is length, and what takes it out?

    python -m experiments length
    python -m analysis length

Three passes over the pairs, as Chen et al. 2024: two heads learn to share the labels' wishes later than one learns them
(world 2, 16k parameters, pairs ordered as gold orders them: one head 0.74 after one pass and 0.78 after three, two
heads 0.73 and 0.81). The penalty is the slope of that proxy on length after one pass, 2 s.d. from empty to full.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, SHORTER, few, of

VARIANTS = {
    "single": Variant("single"),
    "odin": Variant("ODIN", {"reward_model.heads": "odin"}),
    "length_penalty": Variant("length penalty", {"shaping.name": "length_penalty", "shaping.coef": 2.0}),
    "labels_without_bias": Variant("labels without bias", {"preferences.bias": 0.0}),
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="length",
        title="Length",
        question="Where labels like length, how much of the proxy's gain is length, and what takes it out?",
        figure="Singhal et al. 2023; Chen et al. 2024",
        expected="Most of the single proxy's gain is length, little of it without the labels' bias; ODIN's reward does "
        "not follow length and keeps more gold.",
        cost="5 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n", "policy_gradient"),
        base=of(MIDDLE_RM, preset)
        | of(SHORTER, preset)
        | {"preferences.annotator": "biased", "preferences.bias_on": "length"}
        | {"reward_model.epochs": 3, "optimiser.length_share": True},
        grid={},
        variants=few(preset, VARIANTS),
        study="length",
        order=350,
    )
