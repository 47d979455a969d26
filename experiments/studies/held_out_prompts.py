"""Does a policy over-optimise the prompts that it is trained on more than others?

    python -m experiments held_out_prompts
    python -m analysis held_out_prompts

Training prompts are a fixed set; every point is measured on these and on held-out ones.
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, SHORTER, of

COUNTS = {"smoke": (4, 16), "cpu": (4, 16, 64, 256, 1024)}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="held_out_prompts",
        title="Held-out prompts",
        question="How far do proxy and gold on training prompts part from those on held-out ones, by number of "
        "prompts?",
        figure="Zhang et al. 2018, Fig. 2",
        expected="The gap of the proxy shrinks with the number of training prompts.",
        cost="3 min on two cores, after rm_size",
        axis="train_prompts",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset) | of(SHORTER, preset),
        grid={"optimiser.train_prompts": of(COUNTS, preset)},
        study="held_out_prompts",
        order=310,
    )
