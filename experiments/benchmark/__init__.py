"""Benchmarks: completions a CPU-second, and every stage against the roofline."""
