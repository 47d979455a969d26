"""gold_sim: the testbed in which reward-model over-optimization is seen, measured and fitted."""
