"""Experiments: one declaration a file."""
