"""Do ensembles of reward models keep gold from falling?

    python -m experiments ensembles
    python -m analysis ensembles

Five members see the same pairs and differ by initialisation and order. Rules combine their calibrated scores.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, MORE_SEEDS, few, of

MEMBERS = {"smoke": 2, "cpu": 5}
NOISES = {"smoke": (0.25,), "cpu": (0.0, 0.25)}
RULES = {  # key -> label, rule, coefficient
    "mean": ("mean", "mean", 0.0),
    "worst_case": ("worst case", "worst_case", 0.0),
    "mean_minus_0_5_variance": ("mean - 0.5 variance", "uncertainty_weighted", 0.5),
    "median": ("median", "median", 0.0),
    "mean_minus_1_std": ("mean - 1 std", "mean_minus_std", 1.0),
}
WITH_RL = ("best_of_n", "policy_gradient")
IN_RL = ("mean", "worst_case", "mean_minus_0_5_variance")  # the others in best-of-n alone


def members(preset: str, key: str, stages: tuple[str, ...] | None = None) -> Variant:
    """The variant that combines all members by one of RULES."""
    label, rule, coef = RULES[key]
    overrides = {"reward_model.members": of(MEMBERS, preset), "ensemble.rule": rule, "ensemble.coef": coef}
    return Variant(label, overrides, stages)


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="ensembles",
        title="Reward-model ensembles",
        question="Do the mean, the worst case or a price on disagreement keep gold from falling, under label noise?",
        figure="Coste et al. 2023, Fig. 3, 5 and 25",
        expected="The worst case and the uncertainty-weighted rule lose least; under 25 % label noise the mean over-"
        "optimises too; without a KL penalty RL still falls a little.",
        cost="13 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base=of(MIDDLE_RM, preset) | of(MORE_SEEDS, preset),
        grid={"preferences.label_noise": of(NOISES, preset)},
        variants=few(
            preset,
            {"single": Variant("single", stages=WITH_RL)}
            | {key: members(preset, key, WITH_RL if key in IN_RL else None) for key in RULES},
        ),
        panels="label_noise",
        order=160,
    )
