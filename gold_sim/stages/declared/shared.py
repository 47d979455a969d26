"""What the declarations of several stages share; no jax."""

import dataclasses

from gold_sim.config import Config
from gold_sim.networks import footprint
from gold_sim.settings import to_hashed
from gold_sim.stages import sizes

FLOAT = footprint.FLOAT


def picked(c: Config, *names: str) -> dict:
    """Groups of settings as fingerprints see them: fields added later are left out while at their defaults."""
    values = to_hashed(c)
    return {name: values[name] for name in names if name in values}


REWARD = ("reward", "ensemble", "error", "shaping")  # the groups that decide what is optimised
GENERATORS = {"adversarial": {"generator": 2}}  # version of an error's generator, raised when its numbers change


def started(c: Config) -> Config:
    """The settings whose reference policy is the start of optimisation."""
    return c if c.policy is None else dataclasses.replace(c, reference=c.policy)


def of_proxy(c: Config) -> dict:
    """The parent cell that the reward comes from, where the reward is a learned proxy."""
    return {"proxy": ("reward_model", c)} if c.reward == "proxy" else {}


def of_error(c: Config) -> dict:
    """The settings from which a synthetic proxy's error is drawn."""
    if c.reward != "synthetic":
        return {}
    return picked(c, "seeds") | {"members": c.reward_model.members} | GENERATORS.get(c.error.kind, {})


def pairs_of_round(c: Config) -> str:
    """The stage whose pairs a round's reward models learn from."""
    return "preferences" if c.rounds.count == 1 else "relabelled"


def rewarded(c: Config) -> tuple:
    """The settings of the reward that are written into programs."""
    rm = c.reward_model_of_round
    if c.reward == "proxy":
        return (c.reward, rm.network, sizes.proxy(c), rm.members, rm.heads, rm.blind, c.ensemble, c.shaping)
    return (c.reward, rm.members, c.ensemble, c.shaping, c.error)
