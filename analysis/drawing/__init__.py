"""Figures, tables, transcripts and the report."""
