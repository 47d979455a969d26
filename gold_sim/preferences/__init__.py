"""Preferences: pairs and rankings of reference samples, and the annotators that label them."""

from gold_sim.preferences.annotators import ANNOTATORS, FEATURES, RANKERS
from gold_sim.preferences.pairs import Preferences, collect, split

__all__ = ["ANNOTATORS", "FEATURES", "RANKERS", "Preferences", "collect", "split"]
