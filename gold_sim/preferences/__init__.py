"""Preferences: pairs and rankings of reference samples, and the annotators that label them."""

from gold_sim.preferences.pairs import ANNOTATORS, FEATURES, RANKERS, Preferences, collect, sampled, split

__all__ = ["ANNOTATORS", "FEATURES", "RANKERS", "Preferences", "collect", "sampled", "split"]
