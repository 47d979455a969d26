"""Losses of reward models, on margins of pairs and on whole rankings."""

import jax
import jax.numpy as jnp

from gold_sim.preferences import rankings


def bradley_terry(margin, labels):
    """-log P(label): margin = r(second) - r(first) [D], labels [D] (bool, or probability of the second).

    Bradley & Terry 1952; nats a pair.
    """
    return jnp.logaddexp(0.0, margin) - labels * margin


def margin(d, gold_margin, coef):
    """Bradley-Terry with a required lead of coef x |gold margin| (Touvron et al. 2023, eq. 2; ratings are known)."""
    return jax.nn.softplus(coef * jnp.abs(gold_margin) - d)


def smoothed(d, gold_margin, coef):
    """(1 - e) l(d) + e l(-d), e = coef (conservative: Mitchell 2023): its optimum is bounded, but biased."""
    return (1 - coef) * jax.nn.softplus(-d) + coef * jax.nn.softplus(d)


def unbiased(d, gold_margin, coef):
    """((1 - e) l(d) - e l(-d)) / (1 - 2 e): its mean over flips at rate e is the clean loss (Chowdhury et al. 2024)."""
    return ((1 - coef) * jax.nn.softplus(-d) - coef * jax.nn.softplus(d)) / (1 - 2 * coef)


def known_channel(d, gold_margin, coef):
    """-log((1 - 2 e) sigmoid(d) + e): the likelihood of labels flipped at rate e = coef."""
    return -jnp.log((1 - 2 * coef) * jax.nn.sigmoid(d) + coef)


def huberised(d, gold_margin, coef):
    """l(max(d, z)) + c relu(z - d), z = log(1 / c - 1), c = coef in (0, 1): a gradient of at most c.

    The sparse shift min over x of l(d + x) + c |x|, solved (Bukharin et al. 2024).
    """
    z = jnp.log(1 / coef - 1)
    return jax.nn.softplus(-jnp.maximum(d, z)) + coef * jax.nn.relu(z - d)


def squared(d, gold_margin, coef):
    """(d - coef)^2: flips average out linearly (IPO's loss, Azar et al. 2024)."""
    return jnp.square(d - coef)


def hinge(d, gold_margin, coef):
    """relu(coef - d): nothing past the margin, linear in flips (SLiC's loss, Zhao et al. 2023)."""
    return jax.nn.relu(coef - d)


LOSSES = dict(  # (d [B]: chosen minus rejected reward, gold_margin [B], coef) -> [B], nats or squares
    bradley_terry=lambda d, gold_margin, coef: jax.nn.softplus(-d),
    margin=margin,
    smoothed=smoothed,
    unbiased=unbiased,
    known_channel=known_channel,
    huberised=huberised,
    squared=squared,
    hinge=hinge,
)
RANKING_LOSSES = dict(  # (rewards [B, K], ranking [B, K]) -> log-probabilities [B]; with K = 2 Bradley-Terry's
    all_pairs=rankings.all_pairs_log_prob,
    plackett_luce=rankings.plackett_luce_log_prob,
)


def disentanglement(heads, lengths, kernel):
    """ODIN's extra loss beside that of the summed heads: (1 - corr(r_L, length)) + |corr(r_Q, length)| + |w_Q . w_L|.

    Chen et al. 2024 (ODIN), both weights 1 as there. heads [D, 2, 2]: quality, then length, of both responses;
    lengths [D, 2] tokens; kernel [d, 2] of the heads. Correlations are over the 2 D responses of the batch.
    """
    quality, length = (correlation(heads[..., i], lengths) for i in (0, 1))
    return (1 - length) + jnp.abs(quality) + jnp.abs(kernel[:, 0] @ kernel[:, 1])


def correlation(x, y):
    """Pearson correlation over all elements; 0 where one of the two does not vary."""
    x, y = (v - jnp.mean(v) for v in (x, y))
    return jnp.sum(x * y) * jax.lax.rsqrt(jnp.sum(x * x) * jnp.sum(y * y) + 1e-12)
