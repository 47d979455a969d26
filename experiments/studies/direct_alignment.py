"""Does direct alignment over-optimise as RL does, without a reward model?

    python -m experiments direct_alignment
    python -m analysis direct_alignment

Three losses train the policy on the preference pairs themselves, each at seven values of its beta.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MORE_SEEDS, few, of

LOSSES = {"dpo": "DPO", "ipo": "IPO", "slic": "SLiC"}  # key -> label
# In two cells a loss: of three equal ones two workers would do the last with one of them idle.
BETAS = {"smoke": ((0.05, 0.5),), "cpu": ((0.01, 0.05, 0.25, 1.0), (0.025, 0.1, 0.5))}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="direct_alignment",
        title="Direct alignment",
        question="Where does gold peak under DPO, IPO and SLiC, at which beta, and how far through the data?",
        figure="Rafailov et al. 2024, Fig. 1, 2 and 4",
        expected="Gold rises and falls with sqrt(KL) and the RL form fits better than the quadratic; the smaller beta, "
        "the further the KL and the earlier in the data the peak.",
        cost="22 min on two cores, after rm_size",
        axis="dpo_beta",
        stages=("direct_alignment",),
        base=of(MORE_SEEDS, preset),
        grid={"dpo_betas": of(BETAS, preset)},
        variants=few(preset, {loss: Variant(label, {"direct.loss": loss}) for loss, label in LOSSES.items()}),
        panels="optimiser",
        order=140,
    )
