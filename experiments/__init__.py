"""Experiments as declarations: one file each, listed in `catalogue`, run by `python -m experiments NAME`."""
