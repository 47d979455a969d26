"""The figures and tables of the paper, at the sizes that venues want."""
