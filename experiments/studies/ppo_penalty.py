"""How often does PPO clip under KL penalties, and is clipping a penalty of its own?

    python -m experiments ppo_penalty
    python -m analysis ppo_penalty

`kl_penalty` with PPO in place of RLOO.
"""

import dataclasses

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, of
from experiments.studies import kl_penalty

COEFFICIENTS = {"smoke": (0.0, 0.1), "cpu": (0.0, 0.03, 0.12)}
SCHEDULE = {  # four updates a batch of samples: fewer steps at a lower rate go as far as RLOO's (chosen on world 2)
    "smoke": {},
    "cpu": {
        "optimiser.steps": 160,
        "optimiser.evaluations": 32,
        "optimiser.learning_rate": 2.7e-4,
        "optimiser.warmup_steps": 160,
    },
}


def experiment(preset: str) -> Experiment:
    return dataclasses.replace(
        kl_penalty.experiment(preset),
        name="ppo_penalty",
        title="PPO and the KL penalty",
        question="Does a KL penalty move the gold-KL frontier of PPO, and how often does PPO clip?",
        figure="Gao et al. 2023, Fig. 9, 14 and 25",
        expected="As with RLOO; the share of clipped tokens starts at a few per cent and falls with the penalty.",
        cost="3 min on two cores, after rm_size",
        base=of(MIDDLE_RM, preset) | {"optimiser.name": "ppo"} | of(SCHEDULE, preset),
        grid={"kl_coefs": tuple((c,) for c in of(COEFFICIENTS, preset))},
        order=60,
    )
