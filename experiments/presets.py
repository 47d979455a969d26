"""Sizes of a run. Worlds and settings were chosen on seeds 0-99; presets report on fresh ones, from 100.

smoke: every stage at toy size, seconds, for tests; its numbers mean nothing.
cpu: the sizes of the README, minutes on two cores.
"""

_FRESH = {
    "world.seed": 100,
    "reference.seed": 100,
    "gold.seed": 100,
    "preferences.seed": 100,
    "best_of_n.seed": 100,
    "seeds": (100, 101, 102, 103),
}

# Reward-model sizes: (width, depth, learning rate); the rate falls with width.
RM_FIELDS = "reward_model.width|reward_model.depth|reward_model.learning_rate"
RM_SIZES = {
    "smoke": ((4, 1, 1e-2), (8, 1, 1e-2)),
    "cpu": ((5, 1, 1e-2), (8, 1, 1e-2), (12, 2, 8e-3), (24, 2, 6e-3), (48, 3, 4e-3)),
}

PRESETS = {
    "smoke": {
        **_FRESH,
        "seeds": (100, 101),
        "world.response_len": 8,
        "reference.width": 16,
        "reference.depth": 1,
        "reference.steps": 20,
        "reference.batch": 32,
        "gold.width": 16,
        "gold.depth": 2,
        "gold.steps": 20,
        "gold.batch": 32,
        "preferences.num_pairs": 512,
        "reward_model.batch": 32,
        "best_of_n.num_prompts": 4,
        "best_of_n.num_samples": 64,
        "optimiser.steps": 8,
        "optimiser.evaluations": 4,
        "optimiser.prompts": 8,
        "optimiser.learning_rate": 3e-3,
        "optimiser.eval_prompts": 32,
    },
    "cpu": {
        **_FRESH,
        "preferences.num_pairs": 48_000,
        "optimiser.steps": 300,
        "optimiser.learning_rate": 5e-4,
        "optimiser.warmup_steps": 40,  # slow at first: points dense where gold rises
    },
}
MIDDLE_RM = {  # the reward model of experiments that vary something else
    "smoke": {"reward_model.width": 8, "reward_model.depth": 1, "reward_model.learning_rate": 1e-2},
    "cpu": {"reward_model.width": 24, "reward_model.depth": 2, "reward_model.learning_rate": 6e-3},
}
