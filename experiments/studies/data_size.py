"""How does over-optimization depend on the number of preference pairs?

    python -m experiments data_size
    python -m analysis data_size

One size of reward model, trained on more and more of the same pairs. After one pass, as in the paper, few pairs are
also few steps: 500 pairs are 7. So each number of pairs is also trained on until convergence.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import CONVERGED, MIDDLE_RM, of

PAIRS = {
    "smoke": (64, 256),
    "cpu": (500, 2000, 8000, 20_000, 43_000),
    "gpu": tuple(500 * 2**i for i in range(10)),  # to 256,000
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="data_size",
        title="Over-optimization by preference data",
        question="How does the gold reached depend on the number of preference pairs, at one reward-model size?",
        figure="Gao et al. 2023, Fig. 4 and 6",
        expected="More pairs: lower validation loss, higher gold, later peak; too few pairs: hardly any gain. Less so "
        "where training goes on until convergence, as few pairs are then no longer few steps.",
        cost="15 min on two cores, after rm_size",
        axis="num_pairs",
        stages=("best_of_n", "policy_gradient"),
        base=of(MIDDLE_RM, preset),
        grid={"reward_model.num_pairs": of(PAIRS, preset)},
        variants={
            "one_epoch": Variant("one epoch"),
            "converged": Variant("until convergence", of(CONVERGED, preset)),
        },
        study="data_size",
        order=20,
    )
