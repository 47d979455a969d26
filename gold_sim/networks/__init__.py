"""Networks: their shape, the transformer, decoding, and the products that each processor multiplies fastest."""
