"""Optimisation against a reward: policy gradients, direct alignment, best-of-n, and what is measured on the way."""
