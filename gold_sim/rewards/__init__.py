"""Rewards: gold, proxy reward models and their ensembles, and what an optimiser sees of them."""

from gold_sim.rewards.reward import Reward, averaged, combine, load, taken

__all__ = ["Reward", "averaged", "combine", "load", "taken"]
