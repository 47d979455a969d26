"""The pipeline: one stage a file, and the graph that joins them."""
