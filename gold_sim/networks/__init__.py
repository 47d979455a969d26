"""Networks: their shape, the transformer, decoding, and matrix products laid out for speed on each processor."""
