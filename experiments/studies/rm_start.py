"""What does it change what reward models start as, and whether an ensemble's members share a pretrained trunk?

    python -m experiments rm_start
    python -m analysis rm_start

All are trained until convergence. Trunks are language models of the reward model's own size, trained on demonstrations
as the reference policy is. Eisenstein et al. 2023 (summaries, largest models, best of 64) found win rates of 90.0 where
members have pretrained trunks of their own, 87.3 where they share one, and 85.3 with a single model.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import CONVERGED, MIDDLE_RM, SHORTER, few, of
from experiments.studies.ensembles import MEMBERS

FRESH = {"reward_model.start": "fresh"}
PRETRAINED = {"reward_model.start": "pretrained"}
STARTS = {  # key -> label, overrides; by_seed: members share a trunk, and seeds do not
    "fresh": ("fresh", FRESH),
    "one_trunk": ("one trunk", PRETRAINED | {"reward_model.trunk": "by_seed"}),
    "own_trunks": ("trunks of their own", PRETRAINED | {"reward_model.trunk": "own"}),
}
RULES = {"mean": "mean", "worst_case": "worst case"}
AS_REFERENCE = {  # the size of the reference policy, which its trunk demands
    "smoke": {"reward_model.width": 16, "reward_model.depth": 1, "reward_model.learning_rate": 1e-2},
    "cpu": {"reward_model.width": 48, "reward_model.depth": 2, "reward_model.learning_rate": 4e-3},
    "gpu": {"reward_model.width": 128, "reward_model.depth": 4, "reward_model.learning_rate": 1.5e-3},
}


def variants(preset: str) -> dict[str, Variant]:
    """Single models, ensembles of members that share no trunk, one or none, and models of the reference's size."""
    single = {
        "single_fresh": Variant("single, fresh", FRESH),
        "single_shared_trunk": Variant("single, one trunk for all seeds", PRETRAINED),
        "single_own_trunk": Variant("single, a trunk a seed", STARTS["one_trunk"][1]),
    }
    ensembles = {
        f"{rule}_{key}": Variant(
            f"{name} of {of(MEMBERS, preset)}, {label}",
            start | {"reward_model.members": of(MEMBERS, preset), "ensemble.rule": rule},
        )
        for rule, name in RULES.items()
        for key, (label, start) in STARTS.items()
    }
    large = of(AS_REFERENCE, preset)
    of_reference = {
        "reference_size_fresh": Variant("size of the reference, fresh", large | FRESH),
        "reference_trunk": Variant("size of the reference, its trunk", large | {"reward_model.start": "reference"}),
    }
    return single | ensembles | of_reference


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="rm_start",
        title="What reward models start as",
        question="Do pretrained trunks change accuracy, spread and fall, and must an ensemble's members not share one?",
        figure="Eisenstein et al. 2023, best of 64",
        expected="Pretrained models order more pairs rightly and differ less between seeds. Ensembles whose members "
        "have trunks of their own keep more gold than those whose members share one.",
        cost="30 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n", "policy_gradient"),
        base=of(MIDDLE_RM, preset) | of(SHORTER, preset) | of(CONVERGED, preset),
        grid={},
        variants=few(preset, variants(preset)),
        study="rm_start",
        order=175,
    )
