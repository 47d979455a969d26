"""What the literature claims, and whether the records bear it out."""
