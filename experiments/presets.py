"""The sizes of a run under each preset.

Worlds and settings were chosen on seeds 0-99; presets report on fresh ones, from 200 (experiments/log/README.md).

smoke: every stage at toy size, seconds, for tests; its numbers mean nothing.
cpu: the sizes of the documents' figures, minutes on two cores.
gpu: the paper's grid in sizes for one card of the H200 class: nine reward models, ten amounts of data, two policies,
pools of 64 x 65,536 samples, products in bfloat16. Learning rates of networks beyond the sizes of cpu fall as the width
grows; they were not tuned. No card has run this preset yet (docs/speed.md says what it should take).
"""


def of(table: dict, preset: str):
    """The entry of a preset in a table; gpu takes the entry of cpu where the table has none for gpu."""
    return table.get(preset, table["cpu"])


_FRESH = {
    "world.seed": 200,
    "reference.seed": 200,
    "gold.seed": 200,
    "preferences.seed": 200,
    "best_of_n.seed": 200,
    "seeds": (200, 201, 202, 203),
}

# Reward-model sizes: (width, depth, learning rate); the rate falls with width.
RM_FIELDS = "reward_model.width|reward_model.depth|reward_model.learning_rate"
RM_SIZES = {
    "smoke": ((4, 1, 1e-2), (8, 1, 1e-2)),
    "cpu": ((4, 1, 1e-2), (8, 1, 1e-2), (12, 2, 8e-3), (24, 2, 3e-3), (48, 3, 2e-3)),
    "gpu": (
        *((4, 1, 1e-2), (8, 1, 1e-2), (12, 2, 8e-3), (24, 2, 3e-3), (48, 3, 2e-3)),
        *((96, 4, 1e-3), (160, 5, 6e-4), (256, 6, 4e-4), (384, 8, 2.5e-4)),
    ),  # 700 to 14M parameters
}

# A language with room: many words for one meaning, and responses long enough to change in many ways, so that a policy
# goes far before it collapses (experiments/log/2026-11-30-a-world-with-room.md).
_ROOM = {"world.words_per_topic": 32, "world.function_words": 24}

PRESETS = {
    "smoke": {
        **_FRESH,
        "seeds": (200, 201),
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
        "frontier.kl_coefs": (0.3, 0.1, 0.03),
        "frontier.steps": 4,
        "frontier.evaluations": 2,
        "frontier.update_rule": "muon",
        "direct.num_pairs": 256,
        "direct.batch": 32,
        "direct.evaluations": 4,
        "direct.eval_prompts": 32,
    },
    "cpu": {
        **_FRESH,
        "seeds": tuple(range(200, 208)),
        **_ROOM,
        "world.response_len": 24,
        # Gold must follow the rubric wherever policies go (experiments/log/2026-11-30-a-cheaper-faithful-gold.md).
        "gold.pretraining": 250,
        "gold.criteria": 1.0,
        "gold.marks": 2.0,
        "gold.steps": 6000,
        "gold.batch": 64,
        "preferences.num_pairs": 48_000,
        "reward_model.start": "pretrained",
        "optimiser.steps": 360,
        "optimiser.evaluations": 36,
        "optimiser.eval_prompts": 256,  # every seed has its own
        "optimiser.learning_rate": 1.8e-3,
        "optimiser.warmup_steps": 360,  # the rate rises all along: evaluations are about even in sqrt(KL)
        "optimiser.until_kl": 30.0,  # up to there half of the reference policy's entropy is left
        "optimiser.retrace_below": 22.0,  # the highest KL at which claims read RL (analysis/claims/measured.py)
        "frontier.kl_coefs": (0.12, 0.06, 0.03, 0.017, 0.01, 0.006),
        # Equilibria about as good as those of 54 steps of Adam (experiments/log/2026-12-01-equilibria-by-muon.md).
        "frontier.steps": 42,
        "frontier.learning_rate": 6e-3,
        "frontier.update_rule": "muon",
    },
    "gpu": {
        **_FRESH,
        **_ROOM,
        "world.response_len": 48,
        "reference.width": 128,
        "reference.depth": 4,
        "reference.steps": 2000,
        "reference.batch": 1024,
        "reference.learning_rate": 1.5e-3,
        "reference.precision": "bfloat16",
        "gold.width": 512,
        "gold.depth": 8,
        "gold.pretraining": 500,
        "gold.criteria": 1.0,
        "gold.marks": 2.0,
        "gold.steps": 8000,
        "gold.batch": 512,
        "gold.learning_rate": 4e-4,
        "gold.precision": "bfloat16",
        "preferences.num_pairs": 264_000,
        "preferences.held_out": 0.02,
        "reward_model.precision": "bfloat16",
        "reward_model.start": "pretrained",
        "best_of_n.num_samples": 65_536,
        "optimiser.steps": 720,
        "optimiser.evaluations": 72,
        "optimiser.prompts": 64,
        "optimiser.group_size": 8,
        "optimiser.learning_rate": 1e-3,
        "optimiser.warmup_steps": 720,
        "optimiser.eval_prompts": 2048,
        "direct.num_pairs": 64_000,
        "direct.eval_prompts": 2048,
    },
}


SHORTER = {  # half of the preset's RL, at the same rate by its end, for experiments of many runs
    "smoke": {},
    "cpu": {
        "optimiser.steps": 120,
        "optimiser.evaluations": 12,
        "optimiser.warmup_steps": 120,
        "optimiser.eval_prompts": 256,
    },
}


# No KL ends a run: for rounds that go on from the last one's policies, which would else begin where they must end.
TO_THE_LAST_STEP = {"optimiser.until_kl": None, "optimiser.retrace_below": None}


CONVERGED = {  # reward models are trained until the loss of other pairs no longer falls; so many passes at most
    "smoke": {"reward_model.train_until": "converged", "reward_model.epochs": 4, "reward_model.patience": 2},
    "cpu": {"reward_model.train_until": "converged", "reward_model.epochs": 100},
}


MORE_SEEDS = {  # where RL runs differ so much that the four of gpu leave the question open; cpu has eight anyway
    "smoke": {},
    "cpu": {},
    "gpu": {"seeds": PRESETS["cpu"]["seeds"]},
}


def few(preset: str, variants: dict) -> dict:
    """All variants, or at smoke size the first two, because every variant is a program to compile."""
    return dict(list(variants.items())[:2]) if preset == "smoke" else variants


MIDDLE_RM = {  # the reward model of experiments that vary something else
    "smoke": {"reward_model.width": 8, "reward_model.depth": 1, "reward_model.learning_rate": 1e-2},
    "cpu": {"reward_model.width": 24, "reward_model.depth": 2, "reward_model.learning_rate": 3e-3},
    "gpu": {"reward_model.width": 48, "reward_model.depth": 3, "reward_model.learning_rate": 2e-3},
}


def size(values: tuple) -> dict:
    """Overrides of one of RM_SIZES."""
    return dict(zip(RM_FIELDS.split("|"), values, strict=True))


LARGEST_RM = {preset: size(sizes[-1]) for preset, sizes in RM_SIZES.items()}
