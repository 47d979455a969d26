"""A Bayesian second opinion on the laws: hierarchical fits, their calibration, forms compared by left-out runs."""
