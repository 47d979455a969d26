"""Every optimiser against the same proxy: is over-optimization a matter of how one optimises?

    python -m experiments optimisers           6 min on two cores, after rm_size
    python -m analysis optimisers

No law of this kind is published for GRPO. All start at the reference policy, share prompts, proxy and seeds, and have
no KL penalty (but online DPO, whose beta is one).
"""

from experiments.experiment import Experiment
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
        cost="6 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset) | of(MORE_SEEDS, preset),
        grid={},
        variants=few(
            preset,
            {
                "RLOO": {},
                "best-of-n": {"stages": ("best_of_n",)},
                "exact tilt": {"selection.rule": "tilt", "stages": ("best_of_n",)},
                "REINFORCE": {"optimiser.name": "reinforce"},
                "GRPO": {"optimiser.name": "grpo"} | of(SCHEDULE, preset),
                "PPO": {"optimiser.name": "ppo"} | of(SCHEDULE, preset),
                "expert iteration": {"optimiser.name": "expert_iteration"},
                "online DPO": {"optimiser.name": "online_dpo", "kl_coefs": (0.03,)},
                "distilled best-of-n": {
                    "optimiser.name": "distillation",
                    "optimiser.group_size": of(DISTILLED, preset),
                },
            },
        ),
        panels=None,
    )
