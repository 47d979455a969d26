"""Where is gold lost: to the proxy's size, to its data, or to the optimiser?

    python -m experiments regret
    python -m analysis regret

At equal KL, three differences of gold:

- approximation: best-of-n by gold itself, minus best-of-n by a proxy of this size with all the data
- estimation: that, minus best-of-n by the proxy with its own data
- optimisation: best-of-n by the proxy with all the data, minus RL against it
"""

from experiments.experiment import Experiment
from experiments.presets import RM_FIELDS, RM_SIZES, of

PAIRS = {"smoke": (64, None), "cpu": (500, 2000, 8000, 20_000, None)}
SIZES = {"smoke": RM_SIZES["smoke"][:1], "cpu": RM_SIZES["cpu"]}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="regret",
        title="Sources of regret",
        question="How much gold is lost to the reward model's size, to its data, and to the optimiser?",
        figure="none: the three sources that the field names, split by answer keys",
        expected="Approximation falls with size, estimation with data; what RL loses against best-of-n at equal KL is "
        "optimisation.",
        cost="none after rm_size, grid and negative_controls",
        axis="rm_params",
        stages=("best_of_n",),
        base={},
        grid={RM_FIELDS: of(SIZES, preset), "reward_model.num_pairs": of(PAIRS, preset)},
        extra=({"reward": "gold"},),
        study="regret",
        order=330,
    )
