"""How far can a policy go before reward models of other data stop following?

    python -m experiments data_split           5 min on two cores, after rm_size and policy_size
    python -m analysis data_split

Two reward models of a seed learn from disjoint halves of the pairs; one is optimised, both score.
"""

from experiments.experiment import Experiment
from experiments.presets import RM_SIZES, SHORTER, few, of, size
from experiments.studies.policy_size import ALIKE, POLICIES, POLICY_FIELDS

PAIRS = {"smoke": 256, "cpu": 8000}  # a seed, both halves together


def experiment(preset: str) -> Experiment:
    sizes = of(RM_SIZES, preset)
    label = lambda what, values: f"{what} {values[0]}x{values[1]}"
    policies = {
        label("policy", values): size(sizes[0])
        | dict(zip(POLICY_FIELDS.split("|"), values, strict=True))
        | of(ALIKE, preset)
        for values in of(POLICIES, preset)
    }
    return Experiment(
        name="data_split",
        title="Reward models of disjoint halves",
        question="At which KL do the reward model that is optimised and one of the other half of the pairs part?",
        figure="Bai et al. 2022, Fig. 4",
        expected="Larger reward models part later: they learn more of what both halves say. Larger policies part at "
        "about the same KL.",
        cost="5 min on two cores, after rm_size and policy_size",
        axis="variant",
        stages=("best_of_n", "policy_gradient"),
        base=of(SHORTER, preset)
        | {
            "reward_model.members": 2,
            "reward_model.diversity": "disjoint",
            "reward_model.num_pairs": of(PAIRS, preset),
            "ensemble.take": 1,
        },
        grid={},
        variants=few(preset, {label("proxy", values): size(values) for values in sizes})
        | (policies if preset != "smoke" else {}),
    )
