"""Languages: what all have in common (`Language`, sequences.py), and one package for each."""

from gold_sim.language.language import Language, make

__all__ = ["Language", "make"]
