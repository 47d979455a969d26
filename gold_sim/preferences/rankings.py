"""Rankings of K responses: exact samplers and likelihoods of Plackett-Luce and Mallows.

A ranking is an array of item indices, best first, [..., K]. Plackett-Luce depends on how far utilities lie apart,
Mallows only on how many places. So for Bradley-Terry a Mallows annotator is misspecified: it errs as often on clear
pairs as on close ones.
"""

import jax
import jax.numpy as jnp
import numpy as np


def plackett_luce_sample(key, utilities):
    """Ranking drawn with P = prod_k exp(u_(k)) / sum_{j >= k} exp(u_(j)): utilities with Gumbel noise, sorted.

    Luce 1959; Plackett 1975. utilities [..., K] -> [..., K] int32.
    """
    noisy = utilities + jax.random.gumbel(key, utilities.shape)
    return jnp.argsort(-noisy, axis=-1).astype(jnp.int32)


def plackett_luce_log_prob(utilities, ranking):
    """log P of a ranking, [...]; with K = 2 that of Bradley-Terry."""
    ordered = jnp.take_along_axis(utilities, ranking, -1)
    rest = jax.lax.cumlogsumexp(ordered, axis=ordered.ndim - 1, reverse=True)
    return jnp.sum(ordered - rest, -1)


def all_pairs_log_prob(utilities, ranking):
    """Mean over the K (K - 1) / 2 pairs of a ranking of Bradley-Terry's log P of their order, [...].

    Ouyang et al. 2022, eq. 1: all pairs of a prompt are one batch element, since taken singly they would be overfitted.
    """
    ordered = jnp.take_along_axis(utilities, ranking, -1)
    better, worse = np.triu_indices(ordered.shape[-1], 1)
    return jnp.mean(jax.nn.log_sigmoid(ordered[..., better] - ordered[..., worse]), -1)


def kendall_distance(ranking, other):
    """Number of pairs of items that two rankings order differently, [...]; 0 to K (K - 1) / 2."""
    place = lambda r: jnp.argsort(r, axis=-1)
    a, b = place(ranking), place(other)
    opposed = (a[..., :, None] < a[..., None, :]) & (b[..., :, None] > b[..., None, :])
    return jnp.sum(opposed, (-2, -1))


def mallows_log_partition(count: int, phi):
    """log Z = sum_{j=1..K} log((1 - phi^j) / (1 - phi)), in a form that phi = 1 (uniform) does not break."""
    j = np.arange(count)
    powers = jnp.asarray(phi)[..., None] ** j  # 1 + phi + .. + phi^(j - 1), summed below
    return jnp.sum(jnp.log(jnp.cumsum(powers, -1)), -1)


def mallows_log_prob(ranking, centre, phi):
    """log P = d log phi - log Z, d the Kendall distance to the centre (Mallows 1957); phi in (0, 1]."""
    return kendall_distance(ranking, centre) * jnp.log(phi) - mallows_log_partition(ranking.shape[-1], phi)


def mallows_sample(key, centre, phi):
    """Ranking drawn by repeated insertion: item j of the centre enters place i <= j with P ~ phi^(j - i).

    Doignon, Pekec & Regenwetter 2004. centre [..., K] -> [..., K] int32; phi: a scalar in (0, 1].
    """
    count = centre.shape[-1]
    out = jnp.zeros_like(centre)
    at = jnp.arange(count)
    for j in range(count):
        places = jnp.arange(j + 1)
        logits = jnp.broadcast_to((j - places) * jnp.log(phi), (*centre.shape[:-1], j + 1))
        place = jax.random.categorical(jax.random.fold_in(key, j), logits)[..., None]
        moved = jnp.where(at > place, jnp.roll(out, 1, -1), out)  # those behind the place make room
        out = jnp.where(at == place, centre[..., j : j + 1], moved)
    return out.astype(jnp.int32)


def mallows_pair_accuracy(gap, phi):
    """P that two items keep the centre's order, `gap` places apart: h(gap + 1) - h(gap), h(k) = k / (1 - phi^k).

    gap >= 1, phi in (0, 1); 1 / (1 + phi) for neighbours.
    """
    h = lambda k: k / (1 - phi**k)
    return h(gap + 1) - h(gap)
