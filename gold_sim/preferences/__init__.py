"""Preferences: pairs and rankings of reference samples, and the annotators who label them."""

from gold_sim.preferences.annotators import ANNOTATORS, RANKERS, difference, features
from gold_sim.preferences.pairs import Preferences, collect, labelled_anew, split

__all__ = ["ANNOTATORS", "RANKERS", "Preferences", "collect", "difference", "features", "labelled_anew", "split"]
