"""gold_sim: the testbed in which reward-model over-optimization is seen, measured and fitted."""

__version__ = "0.2.0"
