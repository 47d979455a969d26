"""Which errors of annotators reach the policy?

    python -m experiments annotators
    python -m analysis annotators

Every variant labels the same pairs of responses in another way: at random wrong, undecided, by several people, by
rankings, or with a taste that gold does not share. Best-of-n then shows what a proxy of those labels is worth.

Each taste is as strong as changes SHARE of the labels, and so do flips beside them. On 16,000 pairs of world 2 length
at 0.24 s.d. changes 6.1 %, agreement at 2.5 6.1 % and refusals at 2.25 6.0 %; at 1 s.d. they change 19, 3.2 and 2.8 %.
However strong, agreement changes 7 % and refusals 8 % at most, since few pairs differ in them. The ten people are drawn
anew for each seed.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import RM_SIZES, few, of, size

SHARE = 0.061  # of labels that each taste changes


def biased(attribute: str, strength: float = 1.0) -> dict:
    """Overrides of annotators who all like one attribute; strength: gold s.d. for about one of its own."""
    own = {} if strength == 1.0 else {"preferences.bias": strength}
    return {"preferences.annotator": "biased", "preferences.bias_on": attribute} | own


PEOPLE = {"preferences.annotator": "offsets", "preferences.labelled_anew": True}
VARIANTS = {
    "gold_itself": Variant("gold itself"),
    "flips_25": Variant("flips 25 %", {"preferences.label_noise": 0.25}),
    "flips_35": Variant("flips 35 %", {"preferences.label_noise": 0.35}),
    "flips_as_many": Variant("flips as many as tastes", {"preferences.label_noise": SHARE}),
    "bradley_terry": Variant("Bradley-Terry", {"preferences.annotator": "bradley_terry"}),
    "ties": Variant("ties", {"preferences.annotator": "ties"}),
    "ten_people": Variant("ten people", PEOPLE),
    "accept_retry_abandon": Variant("accept, retry, abandon", {"preferences.annotator": "implicit"}),
    "plackett_luce_of_4": Variant("Plackett-Luce of 4", {"preferences.annotator": "plackett_luce"}),
    "mallows_of_4": Variant("Mallows of 4", {"preferences.annotator": "mallows"}),
    "likes_length": Variant("likes length", biased("length", 0.24)),
    "likes_agreement": Variant("likes agreement", biased("agreement", 2.5)),
    "likes_refusals": Variant("likes refusals", biased("refusal", 2.25)),
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="annotators",
        title="Annotators",
        question="Which errors of annotators does optimisation exploit, and which only blur?",
        figure="Coste et al. 2023, Fig. 25; Sharma et al. 2023; Singhal et al. 2023",
        expected="Random errors (flips, ties, Bradley-Terry, many people) lower gold a little and evenly; a taste that "
        "all labels share lowers it more than flips of as many labels.",
        cost="3 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base=size(of(RM_SIZES, preset)[1]),
        grid={},
        variants=few(preset, VARIANTS),
        order=260,
    )
