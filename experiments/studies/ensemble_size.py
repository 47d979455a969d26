"""How many members does an ensemble need, and what price on their disagreement?

    python -m experiments ensemble_size
    python -m analysis ensemble_size

Best-of-n under 25 % label noise; one coefficient in RL too.
"""

from experiments.experiment import Experiment, Variant, digits
from experiments.presets import MIDDLE_RM, MORE_SEEDS, few, of
from experiments.studies.ensembles import MEMBERS, WITH_RL

SIZES = {"smoke": (1, 2), "cpu": (1, 2, 3, 4, 5)}
COEFS = {"smoke": (0.5,), "cpu": (0.1, 0.5, 2.0, 8.0)}
NOISE = 0.25
RL_COEFS = (2.0,)  # also in RL; 0.5 is there from ensembles


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="ensemble_size",
        title="Ensemble size and uncertainty weight",
        question="How many members does an ensemble need, and how much should their disagreement cost?",
        figure="Coste et al. 2023, Fig. 11 and 12",
        expected="Most of the gain is there with three or four members; most reasonable coefficients work.",
        cost="1 min on two cores, after ensembles",
        axis="variant",
        stages=("best_of_n",),
        base=of(MIDDLE_RM, preset)
        | of(MORE_SEEDS, preset)
        | {"preferences.label_noise": NOISE, "reward_model.members": of(MEMBERS, preset)},
        grid={},
        variants=few(
            preset,
            {
                f"worst_of_{k}": Variant(f"worst of {k}", {"ensemble.rule": "worst_case", "ensemble.take": k})
                for k in of(SIZES, preset)
            }
            | {
                f"mean_minus_{digits(c)}_variance": Variant(
                    f"mean - {c:g} variance",
                    {"ensemble.rule": "uncertainty_weighted", "ensemble.coef": c},
                    WITH_RL if c in RL_COEFS else None,
                )
                for c in of(COEFS, preset)
            },
        ),
        order=190,
    )
