"""Where does best-of-n over-optimise, by reward-model size and preference data?

    python -m experiments grid
    python -m analysis grid

Every size of `rm_size` with every number of pairs of `data_size`.
"""

from experiments.experiment import Experiment
from experiments.presets import RM_FIELDS, RM_SIZES, of
from experiments.studies import data_size


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="grid",
        title="Best-of-n over reward-model size and data",
        question="Is gold after best-of-n decided by the validation loss, whatever the mix of size and data?",
        figure="Gao et al. 2023, Fig. 6, 7 (ICML) / 5 (arXiv), 10, 11, 12, 17, 18, 19 and 21",
        expected="Below a threshold of data no size beats chance by much and gold falls; above it larger models gain "
        "more. Equal validation loss goes with about equal gold.",
        cost="10 min on two cores, after rm_size",
        axis="rm_params",
        stages=("best_of_n",),
        base={},
        grid={RM_FIELDS: of(RM_SIZES, preset), "reward_model.num_pairs": of(data_size.PAIRS, preset)},
        study="grid",
        order=30,
    )
