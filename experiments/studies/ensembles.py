"""Do ensembles of reward models keep gold from falling?

    python -m experiments ensembles            11 min on two cores, after rm_size
    python -m analysis ensembles

Five members see the same pairs and differ by initialisation and order; rules see calibrated scores.
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, MORE_SEEDS, few, of

MEMBERS = {"smoke": 2, "cpu": 5}
NOISES = {"smoke": (0.25,), "cpu": (0.0, 0.25)}
RULES = {  # label -> rule, coefficient
    "mean": ("mean", 0.0),
    "worst case": ("worst_case", 0.0),
    "mean - 0.5 variance": ("uncertainty_weighted", 0.5),
    "median": ("median", 0.0),
    "mean - 1 std": ("mean_minus_std", 1.0),
}
IN_RL = ("mean", "worst case", "mean - 0.5 variance")  # the others in best-of-n alone


def members(preset: str, label: str) -> dict:
    """Overrides of one rule."""
    rule, coef = RULES[label]
    return {"reward_model.members": of(MEMBERS, preset), "ensemble.rule": rule, "ensemble.coef": coef}


def both(label: str) -> tuple[str, ...]:
    return ("best_of_n", "policy_gradient") if label in IN_RL else ("best_of_n",)


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="ensembles",
        title="Reward-model ensembles",
        question="Do the mean, the worst case or a price on disagreement keep gold from falling, under label noise?",
        figure="Coste et al. 2023, Fig. 3, 5 and 25",
        expected="The worst case and the uncertainty-weighted rule lose least; under 25 % label noise the mean over- "
        "optimises too; without a KL penalty RL still falls a little.",
        cost="11 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base=of(MIDDLE_RM, preset) | of(MORE_SEEDS, preset),
        grid={"preferences.label_noise": of(NOISES, preset)},
        variants=few(
            preset,
            {"single": {"stages": ("best_of_n", "policy_gradient")}}
            | {label: members(preset, label) | {"stages": both(label)} for label in RULES},
        ),
        panels="label_noise",
    )
