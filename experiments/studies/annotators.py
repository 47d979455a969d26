"""Which errors of annotators reach the policy?

    python -m experiments annotators
    python -m analysis annotators

Every variant labels the same pairs of responses in another way: at random wrong, undecided, by several people, by
rankings, or with a taste that gold does not share. Best-of-n then shows what a proxy of those labels is worth.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import RM_SIZES, few, of, size


def biased(attribute: str) -> dict:
    """Overrides of annotators who all like one attribute."""
    return {"preferences.annotator": "biased", "preferences.bias_on": attribute}


VARIANTS = {
    "gold_itself": Variant("gold itself"),
    "flips_25": Variant("flips 25 %", {"preferences.label_noise": 0.25}),
    "flips_35": Variant("flips 35 %", {"preferences.label_noise": 0.35}),
    "bradley_terry": Variant("Bradley-Terry", {"preferences.annotator": "bradley_terry"}),
    "ties": Variant("ties", {"preferences.annotator": "ties"}),
    "ten_people": Variant("ten people", {"preferences.annotator": "offsets"}),
    "accept_retry_abandon": Variant("accept, retry, abandon", {"preferences.annotator": "implicit"}),
    "plackett_luce_of_4": Variant("Plackett-Luce of 4", {"preferences.annotator": "plackett_luce"}),
    "mallows_of_4": Variant("Mallows of 4", {"preferences.annotator": "mallows"}),
    "likes_length": Variant("likes length", biased("length")),
    "likes_agreement": Variant("likes agreement", biased("agreement")),
    "likes_refusals": Variant("likes refusals", biased("refusal")),
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="annotators",
        title="Annotators",
        question="Which errors of annotators does optimisation exploit, and which only blur?",
        figure="Coste et al. 2023, Fig. 25; Sharma et al. 2023; Singhal et al. 2023",
        expected="Random errors (flips, ties, Bradley-Terry, many people) lower gold a little and evenly; a taste that "
        "all labels share lowers it more than flips that are wrong as often.",
        cost="3 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base=size(of(RM_SIZES, preset)[1]),
        grid={},
        variants=few(preset, VARIANTS),
        order=260,
    )
