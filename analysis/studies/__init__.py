"""What the analysis of one experiment shows: one study a file."""
