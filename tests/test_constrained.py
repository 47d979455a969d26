"""Constrained optimisers end where enumeration says: constraints met, at the least KL or the most reward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, root

from gold_sim.config import OptimiserConfig
from gold_sim.optimisation import constrained, exact
from gold_sim.optimisation import policy_gradient as pg
from tests.conftest import driven

KEPT = 8  # points, of a run's second half: one alone is 0.04 s.d. off its constraint (eight keys), their mean 0.02


def end(tiny, rewards, key=0, **changes):
    """(log-probabilities [KEPT, P, R], multipliers [KEPT, C]) at the last points of a run."""
    sizes = dict(prompts=4, group_size=64, steps=800, evaluations=2 * KEPT, learning_rate=2e-3, max_grad_norm=10.0)
    config = OptimiserConfig(**(sizes | changes))
    every_prompt = lambda key, num: jnp.tile(tiny.prompts, (num // len(tiny.prompts), 1))
    params = {k: v for k, v in tiny.ref_params.items() if k != "value"}
    task = pg.Task(config, tiny.net, params, 3, every_prompt, jax.random.key(key))
    point = lambda s: (exact.response_log_probs(tiny.net, s.params, tiny.prompts, tiny.responses), s.multipliers)
    return jax.tree.map(lambda a: a[-KEPT:], driven(task, rewards, point)[1])


def one(tiny):
    return lambda p, r: tiny.reward(p, r)[None]


def words(r):
    """A second component: how many of the 3 tokens are written."""
    return jnp.sum(r != 0, -1).astype(jnp.float32)


def mean(values, log_p):
    return float(jnp.mean(exact.expected(log_p, values)))


def kl(log_p, other):
    return float(jnp.mean(exact.kl(log_p, other)))


@pytest.mark.parametrize("name", ["mu", "xi"])
def test_least_kl_at_a_threshold_is_the_tilt_that_meets_it(tiny, name):
    """max -KL s.t. E[r] = 1: ref exp(r / c) with the one c at which E[r] = 1, all prompts together."""
    log_p, _ = end(tiny, one(tiny), constraint=name, thresholds=(1.0,))
    c = brentq(lambda c: mean(tiny.rewards, exact.tilt(tiny.ref, tiny.rewards, c)) - 1.0, 0.05, 20)
    best = exact.tilt(tiny.ref, tiny.rewards, c)
    print(name, mean(tiny.rewards, log_p), kl(log_p, tiny.ref), kl(best, tiny.ref), kl(log_p, best))
    assert mean(tiny.rewards, log_p) == pytest.approx(1.0, abs=0.06)
    assert kl(log_p, best) < 0.03 < 0.2 < kl(tiny.ref, best)


def test_two_components_are_held_at_their_thresholds_at_the_least_kl(tiny):
    """ref exp(a_0 r_0 + a_1 r_1) / Z with the one pair of multipliers that meets both thresholds."""
    tokens = jnp.broadcast_to(words(jnp.asarray(tiny.responses)), tiny.rewards.shape)
    values = (tiny.rewards, tokens)
    thetas = (0.8, mean(tokens, tiny.ref) + 0.3)
    tilt = lambda a: exact.tilt(tiny.ref, sum(x * v for x, v in zip(a, values, strict=True)), 1.0)
    missed = lambda a: [mean(v, tilt(a)) - theta for v, theta in zip(values, thetas, strict=True)]
    solved = root(missed, [1.0, 1.0], options={"eps": 1e-3})  # steps that float32 can tell
    best = tilt(solved.x)
    assert np.abs(missed(solved.x)).max() < 1e-2
    both = lambda p, r: jnp.stack([tiny.reward(p, r), words(r)])
    log_p, multipliers = end(tiny, both, constraint="xi", thresholds=thetas)
    print(thetas, [mean(v, log_p) for v in values], kl(log_p, best), kl(tiny.ref, best), solved.x)
    for value, theta in zip(values, thetas, strict=True):
        assert mean(value, log_p) == pytest.approx(theta, abs=0.06)
    assert kl(log_p, best) < 0.05 < 0.2 < kl(tiny.ref, best)
    assert multipliers.shape == (KEPT, 2)


def test_all_rises_up_to_its_thresholds(tiny):
    """v_0 = r, r <= 1: ends at 1; without the constraint it would pass 2."""
    log_p, _ = end(tiny, one(tiny), constraint="all", thresholds=(1.0,))
    assert mean(tiny.rewards, log_p) == pytest.approx(1.0, abs=0.1)
    assert float(jnp.mean(jnp.max(tiny.rewards, -1))) > 2


def test_adaptive_kl_ends_at_its_target_on_the_frontier(tiny):
    log_p, multipliers = end(tiny, tiny.reward, constraint="adaptive_kl", kl_target=0.4, steps=1200)
    found = kl(log_p, tiny.ref)
    assert found == pytest.approx(0.4, abs=0.05)
    c = brentq(lambda c: kl(exact.tilt(tiny.ref, tiny.rewards, c), tiny.ref) - found, 0.05, 20)
    best = mean(tiny.rewards, exact.tilt(tiny.ref, tiny.rewards, c))
    coefs = np.exp(multipliers[:, 0])
    print(found, mean(tiny.rewards, log_p), best, coefs, c)
    assert mean(tiny.rewards, log_p) == pytest.approx(best, abs=0.04)
    assert coefs.mean() == pytest.approx(c, rel=0.2)


def test_whitened_by_hand():
    """(0, 2), (0, 4): leave-one-out -2, 2, -4, 4, of standard deviation sqrt(10)."""
    given = constrained.whitened(jnp.array([[0.0, 2.0], [0.0, 4.0]]))
    assert np.allclose(given, np.array([[-2, 2], [-4, 4]]) / np.sqrt(10), atol=1e-5)


MIXES = dict(
    mu=constrained.mu,
    xi=constrained.xi,
    all=constrained.up_to_all,
    sat=constrained.sat,
    adaptive_kl=constrained.adaptive_kl,
)


def mixed(name, thresholds, **changes):
    """(advantages, multipliers) of components (0, 2) and (1, 3) with log-ratios (0, 1), all multipliers 0."""
    config = OptimiserConfig(constraint=name, thresholds=thresholds, **changes)
    state = constrained.TrainState({}, (), 0, 0.0, jnp.zeros(2), jnp.zeros(2))
    components = jnp.array([[[0.0, 2.0]], [[1.0, 3.0]]])
    if name == "adaptive_kl":
        state, components = state._replace(multipliers=jnp.zeros(1)), components[0]
    batch = constrained.Batch(None, None, None, jnp.array([[0.0, 1.0]]), 2.0, components)
    return MIXES[name](config, state, batch)[:2]


def test_mixes_by_hand():
    """v = (1, 2), theta = (1, 3): slack (0, -1), whitened streams (-1, 1) for both components and (1, -1) for -KL.

    mu: weights sigmoid(0), sigmoid(1) = 0.5, 0.7311; -KL 2 - 1.2311; so second minus first response 1.2311 - 0.7689.
    xi: weights tanh(0), tanh(1) = 0, 0.7616; -KL 1.2384; 0.7616 - 1.2384.
    all: slack (0, 1): weights 0.5, sigmoid(-1) = 0.2689 against both, 2 - 0.7689 for their sum; 1.2311 - 0.7689.
    Slopes s'(0) slack: sigmoid 1/4, tanh 1; multipliers 0 - 0.02 x slope.
    """
    for name, last, multiplier in (("mu", 0.4621, 0.005), ("xi", -0.4768, 0.02), ("all", 0.4621, -0.005)):
        given, multipliers = mixed(name, (1.0, 3.0))
        assert np.allclose(given, [[-last, last]], atol=1e-3), name
        assert np.allclose(multipliers, [0, multiplier], atol=1e-6), name


def test_sat_and_adaptive_kl_by_hand():
    """sat: -(0 - 1)^2 - (1 - 3)^2 = -5 and -(2 - 1)^2 - (3 - 3)^2 = -1: leave-one-out -4, 4.

    adaptive_kl, target 1 and KL 2: error clipped to 0.2, log c up by log 1.02; rewards (0, 2) - 1 x (0, 1): -1, 1.
    """
    assert np.allclose(mixed("sat", (1.0, 3.0))[0], [[-4, 4]])
    given, multipliers = mixed("adaptive_kl", (), kl_target=1.0)
    assert np.allclose(given, [[-1, 1]]) and np.allclose(multipliers, np.log(1.02))
