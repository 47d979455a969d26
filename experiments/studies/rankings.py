"""What is a ranking of four worth, and how should a reward model read it?

    python -m experiments rankings
    python -m analysis rankings

Every variant sees the same prompts: a ranking of four holds six pairs, of which the first variant keeps one.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import RM_SIZES, few, of, size

ANNOTATORS = {"smoke": ("plackett_luce",), "cpu": ("plackett_luce", "mallows")}
KEPT = {"preferences.keep": "ranking"}
VARIANTS = {
    "one_pair": Variant("one pair"),
    "all_pairs": Variant("all pairs", KEPT | {"reward_model.loss": "all_pairs"}),
    "plackett_luce_likelihood": Variant("Plackett-Luce likelihood", KEPT | {"reward_model.loss": "plackett_luce"}),
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="rankings",
        title="Rankings",
        question="Do whole rankings teach more than one pair of each, and does it matter how they are read?",
        figure="Ouyang et al. 2022; Zhu et al. 2023",
        expected="All pairs and the Plackett-Luce likelihood above one pair; the likelihood best under its own "
        "annotator, and not under Mallows, who errs on clear pairs too.",
        cost="2 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base=size(of(RM_SIZES, preset)[1]),
        grid={"preferences.annotator": of(ANNOTATORS, preset)},
        variants=few(preset, VARIANTS),
        panels="annotator",
        order=360,
    )
