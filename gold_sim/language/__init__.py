"""Languages: the interface that all share (`Language`), their sequences (sequences.py), and a package for each."""

from gold_sim.language.language import Language, make, sizes

__all__ = ["Language", "make", "sizes"]
