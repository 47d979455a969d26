"""Figures, fits, tables and reports from the records; reads files only, and never imports jax."""
