"""How far can a policy go before reward models of other data stop following it?

    python -m experiments data_split
    python -m analysis data_split

Two reward models of a seed learn from disjoint halves of the pairs. One is optimised; both score.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import RM_SIZES, SHORTER, few, of, size
from experiments.studies.policy_size import ALIKE, POLICIES, POLICY_FIELDS

PAIRS = {"smoke": 256, "cpu": 8000}  # a seed, both halves together


def experiment(preset: str) -> Experiment:
    sizes = of(RM_SIZES, preset)
    proxies = {f"proxy_{w}x{d}": Variant(f"proxy {w}x{d}", size((w, d, rate))) for w, d, rate in sizes}
    policies = {}
    for values in of(POLICIES, preset):
        own = dict(zip(POLICY_FIELDS.split("|"), values, strict=True)) | of(ALIKE, preset)
        shape = f"{values[0]}x{values[1]}"
        policies[f"policy_{shape}"] = Variant(f"policy {shape}", size(sizes[0]) | own)
    return Experiment(
        name="data_split",
        title="Reward models of disjoint halves",
        question="At which KL do the reward model that is optimised and one of the other half of the pairs part?",
        figure="Bai et al. 2022, Fig. 4",
        expected="Larger reward models part later: they learn more of what both halves say. Larger policies part at "
        "about the same KL.",
        cost="12 min on two cores, after rm_size and policy_size",
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
        variants=few(preset, proxies | policies),
        study="data_split",
        order=320,
    )
