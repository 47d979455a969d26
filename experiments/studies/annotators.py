"""Whose labels teach a proxy what gold wants?

python -m experiments annotators           2 min on two cores, after rm_size
python -m analysis annotators
"""

from experiments.experiment import Experiment
from experiments.presets import RM_SIZES, few, of, size

VARIANTS = {
    "gold itself": {},
    "flips 25 %": {"preferences.label_noise": 0.25},
    "flips 35 %": {"preferences.label_noise": 0.35},
    "Bradley-Terry": {"preferences.annotator": "bradley_terry"},
    "ties": {"preferences.annotator": "ties"},
    "ten people": {"preferences.annotator": "offsets"},
    "accept, retry, abandon": {"preferences.annotator": "implicit"},
    "Plackett-Luce of 4": {"preferences.annotator": "plackett_luce"},
    "Mallows of 4": {"preferences.annotator": "mallows"},
    "likes length": {"preferences.annotator": "biased", "preferences.bias_on": "length"},
    "likes agreement": {"preferences.annotator": "biased", "preferences.bias_on": "agreement"},
    "likes refusals": {"preferences.annotator": "biased", "preferences.bias_on": "refusal"},
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="annotators",
        title="Annotators",
        question="Which errors of annotators does optimisation exploit, and which only blur?",
        figure="Coste et al. 2023, Fig. 25; Sharma et al. 2023; Singhal et al. 2023",
        expected="Random errors (flips, ties, Bradley-Terry, many people) lower gold a little and evenly; a taste that "
        "all labels share lowers it more than flips that are wrong as often.",
        cost="2 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base=size(of(RM_SIZES, preset)[1]),
        grid={},
        variants=few(preset, VARIANTS),
    )
