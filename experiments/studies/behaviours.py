"""What do policies become as gold falls, and what warns of it?

    python -m experiments behaviours
    python -m analysis behaviours

Small and large proxies, few pairs and biased labels, all optimised by RL; shares of sycophantic and over-refusing
answers, length and diversity are recorded along the way.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MORE_SEEDS, RM_SIZES, few, of, size
from experiments.studies.annotators import biased

PROMPTS = {"smoke": 64, "cpu": 1024}  # a measurement: a tenth of them are wrong claims
FEW_PAIRS = {"smoke": 64, "cpu": 2000}
PICKED = {"smoke": (0, 0, 1), "cpu": (0, 3, 4)}  # small, middle, large of RM_SIZES


def experiment(preset: str) -> Experiment:
    small, middle, large = (size(of(RM_SIZES, preset)[i]) for i in of(PICKED, preset))
    return Experiment(
        name="behaviours",
        title="What over-optimised policies write",
        question="Which behaviours rise while gold falls, for small proxies and biased labels, and what warns of it?",
        figure="Sharma et al. 2023, Fig. 6; Singhal et al. 2023; Coste et al. 2023, table 8",
        expected="Sycophancy and over-refusal rise while gold falls; a bias in the labels raises its own behaviour "
        "most; diversity collapses everywhere.",
        cost="9 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base={"optimiser.eval_prompts": of(PROMPTS, preset)} | of(MORE_SEEDS, preset),
        grid={},
        variants=few(
            preset,
            {
                "small_proxy": Variant("small proxy", small),
                "middle_proxy": Variant("middle proxy", middle),
                "large_proxy": Variant("large proxy", large),
                "few_pairs": Variant("few pairs", middle | {"reward_model.num_pairs": of(FEW_PAIRS, preset)}),
                "likes_agreement": Variant("likes agreement", middle | biased("agreement")),
                "likes_refusals": Variant("likes refusals", middle | biased("refusal")),
                "likes_length": Variant("likes length", middle | biased("length")),
            },
        ),
        study="behaviours",
        order=280,
    )
