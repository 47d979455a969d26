"""Is over-optimization a matter of the optimiser?

    python -m experiments optimisers
    python -m analysis optimisers

Every optimiser against one proxy. No law of this kind is published for GRPO. All start at the reference policy, share
prompts, proxy and seeds, and have no KL penalty (but online DPO, whose beta is one).
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, MORE_SEEDS, few, of
from experiments.studies.ppo_penalty import SCHEDULE

DISTILLED = {"smoke": 4, "cpu": 16}  # n, all of which one gradient step reads


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="optimisers",
        title="Optimisers on one axis",
        question="Do PPO, RLOO, GRPO, REINFORCE, expert iteration and online DPO follow one law of gold against KL?",
        figure="none for GRPO; Gao et al. 2023, Fig. 8 for best-of-n and PPO; Rafailov et al. 2024",
        expected="Best-of-n spends least KL for the same gold; policy-gradient methods share one curve; GRPO, which "
        "divides by the group's spread, is not known.",
        cost="8 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset) | of(MORE_SEEDS, preset),
        grid={},
        variants=few(
            preset,
            {
                "rloo": Variant("RLOO"),
                "best_of_n": Variant("best-of-n", stages=("best_of_n",)),
                "exact_tilt": Variant("exact tilt", {"selection.rule": "tilt"}, ("best_of_n",)),
                "reinforce": Variant("REINFORCE", {"optimiser.name": "reinforce"}),
                "grpo": Variant("GRPO", {"optimiser.name": "grpo"} | of(SCHEDULE, preset)),
                "ppo": Variant("PPO", {"optimiser.name": "ppo"} | of(SCHEDULE, preset)),
                "expert_iteration": Variant("expert iteration", {"optimiser.name": "expert_iteration"}),
                "online_dpo": Variant("online DPO", {"optimiser.name": "online_dpo", "kl_coefs": (0.03,)}),
                "distilled_best_of_n": Variant(
                    "distilled best-of-n",
                    {"optimiser.name": "distillation", "optimiser.group_size": of(DISTILLED, preset)},
                ),
            },
        ),
        order=120,
    )
