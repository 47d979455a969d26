"""How much over-optimization does a gold hide that was trained for too short, or is too small?

    python -m experiments gold_quality
    python -m analysis gold_quality

A gold that is no better than the proxies shares their errors, and rewards what they reward by mistake. Gao et al. 2023
(section 4.5 of the ICML version) name this as a limitation of the synthetic setup: the over-optimization that gold
measures is a lower bound, the worse the nearer the proxy's size is to gold's. They had nothing above gold to measure it
with. Here gold is trained on a rubric, which is written down, so the fall by gold is held against the fall by the
rubric, of the same responses.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import LARGEST_RM, MIDDLE_RM, PRESETS, RM_FIELDS, of

STEPS = {"smoke": (10, 20), "cpu": (100, 250, 500, 1000, 2000, 4000, 8000, 16_000)}
SHAPES = {"smoke": (), "cpu": ((16, 1), (32, 2)), "gpu": ((64, 3), (192, 5))}  # beside the preset's own
AT_STEPS = 8000  # of these
HELP = ("pretraining", "criteria", "marks")
# As a gold is trained without the help that presets give it, so that steps alone decide how faithful it is.
PLAINLY = {f"gold.{name}": 0 for name in HELP}


def golds(preset: str) -> dict[str, Variant]:
    """Golds of the preset's shape by steps of training, and of smaller shapes, which proxies may outgrow."""
    by_steps = {f"steps_{n}": Variant(f"{n:,} steps", {"gold.steps": n}) for n in of(STEPS, preset)}
    smaller = {
        f"shape_{width}x{depth}": Variant(
            f"{width}x{depth}, {AT_STEPS:,} steps",
            {"gold.width": width, "gold.depth": depth, "gold.steps": AT_STEPS, "gold.outgrown": True},
        )
        for width, depth in of(SHAPES, preset)
    }
    if preset != "smoke":
        helped = {name: PRESETS[preset][name] for name in ("gold.steps", *PLAINLY)}
        smaller |= {"as_presets": Variant("as the presets train it", helped)}
    return by_steps | smaller


def experiment(preset: str) -> Experiment:
    proxies = dict.fromkeys(tuple(of(table, preset).values()) for table in (MIDDLE_RM, LARGEST_RM))
    return Experiment(
        name="gold_quality",
        title="The quality of gold",
        question="How much over-optimization does gold hide, if it was trained for too short or is too small?",
        figure="none: Gao et al. 2023, section 4.5 (ICML), name it as a limitation that they cannot measure",
        expected="By the rubric all golds' policies fall; a poor gold measures a small part of the fall, and all of it "
        "from a correlation of about 0.99 on; the larger proxy's fall is hidden more.",
        cost="65 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n", "policy_gradient"),
        base=PLAINLY,
        grid={RM_FIELDS: tuple(proxies)},
        variants=golds(preset),
        panels="rm_params",
        study="gold_quality",
        order=115,
    )
