"""Rewards: gold, proxy reward models and their ensembles, and the reward that an optimiser sees."""

from gold_sim.rewards.reward import Reward, averaged, combine, load, taken

__all__ = ["Reward", "averaged", "combine", "load", "taken"]
