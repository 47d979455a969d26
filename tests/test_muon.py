"""Muon against its papers' formulas: matrices of blocks move by orthogonal matrices, all else by NAdam."""

import jax
import numpy as np

from gold_sim.networks.muon import OF_OTHERS, muon

RATES = (0.01, 0.005)


def updates(grads, params, **clipping):
    """The updates by one gradient after another, at RATES."""
    optimiser = muon(lambda count: np.float32(RATES[0]) - count * np.float32(RATES[0] - RATES[1]), **clipping)
    state, update, found = optimiser.init(params), jax.jit(optimiser.update), []
    for each in grads:
        moved, state = update(each, state, params)
        found.append(moved)
    return found


def nesterov(grads, b):
    """What Nesterov's momentum, without bias, points along after each gradient (Dozat 2016)."""
    m = np.zeros_like(grads[0])
    for t, g in enumerate(grads, 1):
        m = b * m + (1 - b) * g
        yield b * m / (1 - b ** (t + 1)) + (1 - b) * g / (1 - b**t)


def test_muon_by_hand():
    """Jordan et al. 2024: momentum U S V' becomes U V', here of two stacked matrices, each by itself.

    Five steps of Newton and Schulz do so nearly. By Liu et al. 2025, equation 4, the update is 0.2 sqrt(max(inputs,
    outputs)) as long. All else moves by NAdam.
    """
    rng = np.random.default_rng(0)
    shapes = dict(
        blocks=dict(up=dict(kernel=(2, 6, 9)), norm=dict(scale=(2, 6))), token=(5, 6), head=dict(kernel=(6, 5))
    )
    drawn = lambda: jax.tree.map(
        lambda n: rng.normal(size=n).astype(np.float32), shapes, is_leaf=lambda n: type(n) is tuple
    )
    params, grads = drawn(), [drawn(), drawn()]
    found = updates(grads, params, max_norm=1e9)
    of_matrices = nesterov([g["blocks"]["up"]["kernel"] for g in grads], 0.9)
    for moved, momentum, rate in zip(found, of_matrices, RATES, strict=True):
        for update, of_one in zip(moved["blocks"]["up"]["kernel"], momentum, strict=True):
            u, s, v = np.linalg.svd(of_one, full_matrices=False)
            in_its_axes = u.T @ update @ v.T / (-rate * 0.2 * 9**0.5)
            s = s / np.linalg.norm(s)
            for _ in range(5):
                s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
            np.testing.assert_allclose(in_its_axes, np.diag(s), atol=1e-3)
    others = lambda tree: [tree["token"], tree["head"]["kernel"], tree["blocks"]["norm"]["scale"]]
    for moved, *of_one in zip(zip(*map(others, found), strict=True), *map(others, grads), strict=True):
        second = 0.0
        for t, momentum in enumerate(nesterov(of_one, 0.9)):
            second = 0.99 * second + 0.01 * of_one[t] ** 2
            wanted = momentum / (np.sqrt(second / (1 - 0.99 ** (t + 1))) + 1e-8)
            np.testing.assert_allclose(moved[t], -OF_OTHERS * RATES[t] * wanted, rtol=1e-3)


def test_the_whole_gradient_is_clipped_first():
    params = dict(token=np.zeros(2, np.float32), blocks=dict(up=dict(kernel=np.zeros((1, 2, 2), np.float32))))
    ones = jax.tree.map(np.ones_like, params)  # of norm 6^0.5
    (found,) = updates([ones], params, max_norm=1e-9)  # so short that 1e-8 counts
    each, (momentum,) = 1e-9 / 6**0.5, nesterov([1.0], 0.9)
    np.testing.assert_allclose(found["token"], -OF_OTHERS * RATES[0] * momentum * each / (each + 1e-8), rtol=1e-3)
