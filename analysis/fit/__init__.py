"""Fits of anyone's curves: readers of logs, laws, advice, and how well intervals cover."""
