"""Do pessimistic losses of direct alignment keep what plain DPO loses?

    python -m experiments direct_alignment_pessimism
    python -m analysis direct_alignment_pessimism

A quarter of the labels is flipped, so that there is something to lose.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import few, of

BETAS = {"smoke": (0.1,), "cpu": (0.025, 0.1)}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="direct_alignment_pessimism",
        title="Pessimism in direct alignment",
        question="Under 25 % label noise, do RPO, chi-PO and length-regularised DPO keep gold from falling?",
        figure="Liu et al. 2024; Huang et al. 2024; Park et al. 2024",
        expected="DPO peaks before the end of training; RPO and chi-PO end within 5 % of their own peak.",
        cost="9 min on two cores, after rm_size",
        axis="variant",
        stages=("direct_alignment",),
        base={"dpo_betas": of(BETAS, preset), "preferences.label_noise": 0.25},
        grid={},
        variants=few(
            preset,
            {
                "dpo": Variant("DPO"),
                "rpo": Variant("RPO", {"direct.loss": "rpo"}),
                "chi_po": Variant("chi-PO", {"direct.loss": "chipo"}),
                "length_regularised_dpo": Variant("length-regularised DPO", {"direct.loss": "length_dpo"}),
            },
        ),
        panels="dpo_beta",
        order=150,
    )
