"""Rules that combine the scores of an ensemble's members into one reward.

Every rule takes calibrated scores [M, ...] and a coefficient and returns [...]. No rule depends on the order of the
members. Where all members agree, every rule returns their score. A constant added to all scores is added to the result.
All rules but the median lie at or below the mean, the lower the more the members disagree.

Members are calibrated and centred one by one before they are combined (reward_model.py). Bradley-Terry leaves each
member with a zero of its own, so a minimum over raw scores would choose a member and not a response.
"""

import jax
import jax.numpy as jnp


def mean(scores, coef):
    return jnp.mean(scores, 0)


def median(scores, coef):
    return jnp.median(scores, 0)


def worst_case(scores, coef):
    """min_i S_i (Coste et al. 2023, eq. 4)."""
    return jnp.min(scores, 0)


def uncertainty_weighted(scores, coef):
    """mean_i S_i - coef var_i S_i, the population variance, 1/M (Coste et al. 2023, eq. 5; coef in 1 / gold s.d.)."""
    return jnp.mean(scores, 0) - coef * jnp.var(scores, 0)


def mean_minus_std(scores, coef):
    """mean_i S_i - coef std_i S_i, the population standard deviation; coef without unit."""
    return jnp.mean(scores, 0) - coef * jnp.std(scores, 0)


def robust(scores, coef):
    """-coef log mean_i exp(-S_i / coef): the least mean over mixtures within a KL ball; coef in gold s.d., above 0.

    It tends to the mean as coef grows and to the worst case as coef falls to 0. To second order it is
    mean - var / (2 coef).
    """
    return -coef * (jax.nn.logsumexp(-scores / coef, 0) - jnp.log(scores.shape[0]))


RULES = dict(
    mean=mean,
    median=median,
    worst_case=worst_case,
    uncertainty_weighted=uncertainty_weighted,
    mean_minus_std=mean_minus_std,
    robust=robust,
    weight_average=mean,  # of one model, whose parameters were averaged (reward_model.weight_average)
)


def spread(scores):
    """Population standard deviation over members, [...]: how far they disagree."""
    return jnp.std(scores, 0)
