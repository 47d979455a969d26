"""How far under the frontier does RL without a penalty run, and does a smaller rate or a larger batch bring it nearer?

    python -m experiments frontier
    python -m analysis frontier

The frontier is of penalised runs at their equilibria. The path is a run without penalty. One proxy, RLOO and PPO.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import MIDDLE_RM, PRESETS, few, of
from experiments.studies.ppo_penalty import SCHEDULE

PPO = {"optimiser.name": "ppo"}
ON_PLATEAUS = {  # four updates a batch: fewer steps of a plateau at a lower rate (chosen on world 3)
    "smoke": {},
    "cpu": {"frontier.steps": 30, "frontier.learning_rate": 2e-3, "frontier.update_rule": "adam"},
}


def schedule(preset: str, own: dict | None = None) -> dict:
    """Steps, measurements and rate of a path: those of the preset, or an optimiser's own."""
    given = PRESETS[preset] | (own or {})
    return {f"optimiser.{name}": given[f"optimiser.{name}"] for name in ("steps", "evaluations", "learning_rate")}


def at_rate(share: float, path: dict) -> dict:
    """A path at a share of its rate, with as many more steps, so that it goes about as far."""
    points = path["optimiser.evaluations"]
    steps = points * round(path["optimiser.steps"] / share / points)
    rate = share * path["optimiser.learning_rate"]
    return path | {"optimiser.steps": steps, "optimiser.warmup_steps": steps, "optimiser.learning_rate": rate}


def variants(preset: str) -> dict[str, Variant]:
    rloo, ppo = schedule(preset), PPO | schedule(preset, of(SCHEDULE, preset))
    frontier, best_of_n = ("frontier",), ("best_of_n",)
    return {
        "path": Variant("path"),
        "frontier": Variant("frontier", {}, frontier),
        "best_of_n": Variant("best-of-n", {}, best_of_n),
        "path_fast": Variant("path, rate x 2", at_rate(2.0, rloo)),
        "path_slow": Variant("path, rate / 3", at_rate(1 / 3, rloo)),
        "path_batch": Variant("path, batch x 4", {"optimiser.prompts": 128}),
        "frontier_longer": Variant("frontier, steps x 2", {"frontier.steps": 84}, frontier),
        "frontier_batch": Variant("frontier, batch x 4", {"optimiser.prompts": 128}, frontier),
        "ppo_path": Variant("PPO path", PPO | of(SCHEDULE, preset)),
        "ppo_path_slow": Variant("PPO path, rate / 3", at_rate(1 / 3, ppo)),
        "ppo_frontier": Variant("PPO frontier", PPO | of(ON_PLATEAUS, preset), frontier),
    }


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="frontier",
        title="The path and the frontier",
        question="How far does RL without penalty run under the frontier of penalised runs, and does its rate matter?",
        figure="Gao et al. 2023, Fig. 9: their penalty leaves gold at equal KL as it is",
        expected="The path spends KL that earns nothing, the more the higher its rate; equilibria of RLOO and PPO lie "
        "on one frontier, near that of best-of-n.",
        cost="18 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset),
        grid={},
        variants=few(preset, variants(preset)),
        study="frontier",
        order=55,
    )
