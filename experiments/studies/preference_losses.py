"""Which loss of a reward model stands label noise?

    python -m experiments preference_losses
    python -m analysis preference_losses

Few pairs, seen four times: with one pass over many pairs all losses average flips out.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import RM_SIZES, few, of, size

NOISES = {"smoke": (0.25,), "cpu": (0.0, 0.25, 0.35)}
PAIRS = {"smoke": 128, "cpu": 8000}
LOSSES = {
    "bradley_terry": Variant("Bradley-Terry"),
    "smoothed": Variant("smoothed", {"reward_model.loss": "smoothed"}),
    "unbiased": Variant("unbiased", {"reward_model.loss": "unbiased"}),
    "known_channel": Variant("known channel", {"reward_model.loss": "known_channel"}),
    "huberised": Variant("Huberised", {"reward_model.loss": "huberised"}),
    "margin": Variant("margin", {"reward_model.loss": "margin"}),
    "squared": Variant("squared", {"reward_model.loss": "squared", "reward_model.loss_coef": 1.0}),
    "hinge": Variant("hinge", {"reward_model.loss": "hinge", "reward_model.loss_coef": 1.0}),
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="preference_losses",
        title="Preference losses",
        question="Which loss keeps most gold when labels are flipped?",
        figure="Chowdhury et al. 2024; Bukharin et al. 2024; Coste et al. 2023, Fig. 25",
        expected="At 25 % flips, known channel and unbiased above Huberised, and these above smoothed and Bradley-"
        "Terry; without flips all alike.",
        cost="3 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base=size(of(RM_SIZES, preset)[1]) | {"reward_model.num_pairs": of(PAIRS, preset), "reward_model.epochs": 4},
        grid={"preferences.label_noise": of(NOISES, preset)},
        variants=few(preset, LOSSES),
        panels="label_noise",
        order=270,
    )
