"""Languages: what all have in common (`Language`, sequences.py), and a package for each."""

from gold_sim.language.language import Language, make, sizes

__all__ = ["Language", "make", "sizes"]
