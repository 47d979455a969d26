"""Plackett-Luce and Mallows by enumeration of all rankings: samplers, likelihoods, marginals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim.preferences import rankings

EVERY = jnp.array(list(itertools.permutations(range(4))))  # [24, 4]
UTILITIES = jnp.array([0.5, -1.0, 1.2, 0.0])
CENTRE = jnp.array([2, 0, 3, 1])


def frequencies(drawn):
    code = np.asarray(drawn) @ 4 ** np.arange(4)
    return np.array([(code == c).mean() for c in np.asarray(EVERY) @ 4 ** np.arange(4)])


def chi_square(drawn, log_probs):
    wanted = np.exp(np.asarray(log_probs))
    return len(drawn) * np.sum((frequencies(drawn) - wanted) ** 2 / wanted)


def test_plackett_luce_is_a_distribution_and_is_sampled():
    log_p = rankings.plackett_luce_log_prob(jnp.broadcast_to(UTILITIES, EVERY.shape), EVERY)
    assert jnp.sum(jnp.exp(log_p)) == pytest.approx(1, abs=1e-5)
    drawn = rankings.plackett_luce_sample(jax.random.key(0), jnp.broadcast_to(UTILITIES, (40_000, 4)))
    assert chi_square(drawn, log_p) < 23 + 5 * np.sqrt(46)


def test_plackett_luce_by_hand():
    """u = (log 3, 0): first over second with 3/4.  u = (log 2, 0, 0), ranking (1, 0, 2): 1/4 * 2/3 = 1/6."""
    assert np.allclose(rankings.plackett_luce_log_prob(jnp.log(jnp.array([3.0, 1.0])), jnp.array([0, 1])), np.log(0.75))
    assert np.allclose(
        rankings.plackett_luce_log_prob(jnp.log(jnp.array([2.0, 1, 1])), jnp.array([1, 0, 2])), -np.log(6)
    )


@pytest.mark.parametrize("phi", [0.2, 0.7, 1.0])
def test_mallows_is_a_distribution_and_is_sampled(phi):
    log_p = rankings.mallows_log_prob(EVERY, jnp.broadcast_to(CENTRE, EVERY.shape), phi)
    assert jnp.sum(jnp.exp(log_p)) == pytest.approx(1, abs=1e-5)
    drawn = rankings.mallows_sample(jax.random.key(1), jnp.broadcast_to(CENTRE, (40_000, 4)), phi)
    assert chi_square(drawn, log_p) < 23 + 5 * np.sqrt(46)
    if phi == 1.0:
        assert np.allclose(log_p, -np.log(24), atol=1e-5)


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_mallows_pair_accuracy_by_enumeration(gap):
    phi = 0.4
    p = np.exp(np.asarray(rankings.mallows_log_prob(EVERY, jnp.broadcast_to(CENTRE, EVERY.shape), phi)))
    place = np.argsort(np.asarray(EVERY), axis=1)
    for first in range(4 - gap):
        a, b = int(CENTRE[first]), int(CENTRE[first + gap])
        assert p[place[:, a] < place[:, b]].sum() == pytest.approx(rankings.mallows_pair_accuracy(gap, phi), abs=1e-5)
    assert rankings.mallows_pair_accuracy(1, phi) == pytest.approx(1 / (1 + phi))


def test_kendall_distance_by_hand():
    """(0 1 2 3) to (1 0 2 3): one swap; to its reverse: all six pairs."""
    same = jnp.arange(4)
    assert rankings.kendall_distance(same, same) == 0
    assert rankings.kendall_distance(same, jnp.array([1, 0, 2, 3])) == 1
    assert rankings.kendall_distance(same, same[::-1]) == 6


LOG_PROBS = dict(plackett_luce=rankings.plackett_luce_log_prob, all_pairs=rankings.all_pairs_log_prob)


def test_gradients_of_rankings_by_hand():
    """u = (log 2, 0, 0), ranking 0 1 2.  Plackett-Luce: (1 0 0) - (1/2 1/4 1/4) and (0 1 0) - (0 1/2 1/2), summed.

    All pairs: sigmoid(-log 2) = 1/3 of the first two pairs, 1/2 of the third, each over 3: 2/9, 1/18, -5/18.
    """
    u = jnp.log(jnp.array([2.0, 1.0, 1.0]))
    gradient = {name: jax.grad(log_prob)(u, jnp.arange(3)) for name, log_prob in LOG_PROBS.items()}
    assert np.allclose(gradient["plackett_luce"], [0.5, 0.25, -0.75], atol=1e-6)
    assert np.allclose(gradient["all_pairs"], [2 / 9, 1 / 18, -5 / 18], atol=1e-6)


@pytest.mark.parametrize("name", list(LOG_PROBS))
def test_of_two_a_ranking_is_a_pair_and_of_many_it_recovers_utilities(name):
    """Plackett-Luce's choice between two does not depend on the others, so all pairs recover its utilities too."""
    two = jnp.array([0.3, -1.1])
    assert np.allclose(LOG_PROBS[name](two, jnp.array([1, 0])), np.log(1 / (1 + np.exp(1.4))), atol=1e-6)
    drawn = rankings.plackett_luce_sample(jax.random.key(2), jnp.broadcast_to(UTILITIES, (20_000, 4)))
    mean = lambda u: jnp.mean(LOG_PROBS[name](jnp.broadcast_to(u, drawn.shape), drawn))
    found, _ = jax.lax.scan(lambda u, _: (u + 2.0 * jax.grad(mean)(u), None), jnp.zeros(4), length=60)
    assert np.allclose(found - found.mean(), UTILITIES - UTILITIES.mean(), atol=0.05)
