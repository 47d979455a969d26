"""The table of all algorithms that the driver runs, by the names that settings use.

To add an algorithm, write its functions in a file of this folder, enter them below, and add the name to the field of
gold_sim/config/optimisation.py that chooses it: optimiser.name, optimiser.constraint or direct.loss.
tests/test_algorithms.py then checks that it keeps what all algorithms promise.
"""

from gold_sim.config import DirectConfig, OptimiserConfig
from gold_sim.optimisation import constrained, grpo, online_dpo, plateaus, ppo
from gold_sim.optimisation import direct_alignment as da
from gold_sim.optimisation import policy_gradient as pg
from gold_sim.optimisation.driver import Algorithm

_sampled = pg.init, pg.rollout  # start at the reference policy, write with the policy itself
_held = constrained.init, constrained.rollout
_aligned = da.init, da.rollout

OPTIMISERS = {  # optimiser.name
    "rloo": Algorithm(*_sampled, pg.rloo),
    "reinforce": Algorithm(*_sampled, pg.reinforce),
    "expert_iteration": Algorithm(*_sampled, pg.towards_the_best),
    "distillation": Algorithm(pg.init, pg.rollout_of_reference, pg.towards_the_best),
    "online_dpo": Algorithm(*_sampled, online_dpo.update),
    "ppo": Algorithm(*_sampled, ppo.update, values=1),
    "grpo": Algorithm(*_sampled, grpo.update),
}
CONSTRAINED = {  # optimiser.constraint
    "mu": Algorithm(*_held, constrained.by(constrained.mu)),
    "xi": Algorithm(*_held, constrained.by(constrained.xi)),
    "all": Algorithm(*_held, constrained.by(constrained.up_to_all)),
    "sat": Algorithm(*_held, constrained.by(constrained.sat)),
    "adaptive_kl": Algorithm(
        constrained.init_adaptive_kl, constrained.rollout, constrained.by(constrained.adaptive_kl)
    ),
}
DIRECT = {  # direct.loss
    "dpo": Algorithm(*_aligned, da.by(da.dpo)),
    "ipo": Algorithm(*_aligned, da.by(da.ipo)),
    "slic": Algorithm(*_aligned, da.by(da.slic)),
    "rpo": Algorithm(*_aligned, da.by(da.rpo)),
    "chipo": Algorithm(*_aligned, da.by(da.chipo)),
    "length_dpo": Algorithm(*_aligned, da.by(da.length_dpo)),
}


def find(config: OptimiserConfig | DirectConfig) -> Algorithm:
    """The algorithm that a group of settings chooses."""
    if isinstance(config, DirectConfig):
        return DIRECT[config.loss]
    found = OPTIMISERS[config.name] if config.constraint == "none" else CONSTRAINED[config.constraint]
    return found if config.plateau is None else plateaus.over(found, config.plateau)
