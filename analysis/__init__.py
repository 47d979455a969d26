"""Figures, fits, tables and reports from the records. This package reads files only, and never imports jax."""
