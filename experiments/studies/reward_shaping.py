"""Does a bounded reward keep gold from falling?

    python -m experiments reward_shaping
    python -m analysis reward_shaping

Against the smallest proxy, under which gold falls most.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import RM_FIELDS, RM_SIZES, few, of


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="reward_shaping",
        title="Reward shaping",
        question="Do PAR, clipping, log-sigmoid centring or a price on length keep gold from falling?",
        figure="Fu et al. 2025, Fig. 3; Wang et al. 2024; Singhal et al. 2023",
        expected="Bounded rewards leave the peak where it was and make the fall smaller; a price on length moves "
        "length, and gold only so far as length was the fault.",
        cost="3 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=dict(zip(RM_FIELDS.split("|"), of(RM_SIZES, preset)[0], strict=True)),
        grid={},
        variants=few(
            preset,
            {
                "none": Variant("none"),
                "par": Variant("PAR", {"shaping.name": "par"}),
                "clip": Variant("clip", {"shaping.name": "clip"}),
                "log_sigmoid": Variant("log-sigmoid", {"shaping.name": "log_sigmoid"}),
                "length_penalty": Variant("length penalty", {"shaping.name": "length_penalty"}),
            },
        ),
        order=230,
    )
