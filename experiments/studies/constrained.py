"""Do thresholds on the components of a composite reward keep gold where it peaks?

    python -m experiments constrained
    python -m analysis constrained

The composite is the mean of two reward models of the same pairs: one does not see templates, hedges, stance and
refusals, the other no topic words. JOINT and INDEPENDENT are the proxy points that `python -m analysis constrained`
found in the unconstrained runs of world 2 (seeds 2, 3). KL_COEF was the best there of 0.01, 0.03 and 0.1; KL_TARGET was
the only one tried (experiments/log/2026-11-26-constrained-optimisers.md).
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, few, of

PAIRS = {"smoke": None, "cpu": 4_000}  # with all 43,200 the composite does not turn
JOINT, INDEPENDENT = (0.25, 0.48), (0.27, 0.70)  # (words, manners), gold s.d.
KL_COEF = 0.03  # gold s.d. a nat
KL_TARGET = 6.0  # nats


def composite(preset: str) -> dict:
    """Overrides of what every variant optimises."""
    members = {"reward_model.members": 2, "reward_model.diversity": "components"}
    return of(MIDDLE_RM, preset) | members | {"reward_model.num_pairs": of(PAIRS, preset)}


def held(constraint: str, thresholds: tuple[float, float]) -> dict:
    """Overrides of one constrained variant."""
    return {"optimiser.constraint": constraint, "optimiser.thresholds": thresholds}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="constrained",
        title="Constrained optimisation of a composite reward",
        question="Do thresholds on the components of a composite reward keep gold where it peaks?",
        figure="Moskovitz et al. 2024, Fig. 3 and 5",
        expected="Components end at their thresholds and gold near its peak; joint proxy points keep more gold than "
        "independent ones; constraints end above a tuned KL penalty.",
        cost="11 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=composite(preset),
        grid={},
        variants=few(
            preset,
            {
                "composite": Variant("composite"),
                "xi_joint": Variant("xi, joint", held("xi", JOINT)),
                "words_alone": Variant("words alone", {"ensemble.only": 0}),
                "manners_alone": Variant("manners alone", {"ensemble.only": 1}),
                "mu_joint": Variant("mu, joint", held("mu", JOINT)),
                "all_joint": Variant("all, joint", held("all", JOINT)),
                "sat_joint": Variant("sat, joint", held("sat", JOINT)),
                "xi_independent": Variant("xi, independent", held("xi", INDEPENDENT)),
                "kl_penalty": Variant("KL penalty", {"kl_coefs": (KL_COEF,)}),
                "adaptive_kl": Variant(
                    "adaptive KL", {"optimiser.constraint": "adaptive_kl", "optimiser.kl_target": KL_TARGET}
                ),
            },
        ),
        study="constrained",
        order=370,
    )
