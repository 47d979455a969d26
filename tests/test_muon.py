"""Muon against its papers' formulas: matrices of blocks move by orthogonal matrices, all else by NAdam."""

import jax
import numpy as np

from gold_sim.networks.muon import OF_OTHERS, muon

RATE = 0.01
FIRST = 0.9 * 0.1 / (1 - 0.9**2) + 0.1 / (1 - 0.9)  # Nesterov momentum after one gradient, over that gradient


def moved(optimiser, params, grads):
    return jax.jit(optimiser.update)(grads, optimiser.init(params), params)[0]


def test_muon_by_hand():
    """Jordan et al. 2024: G = U S V' becomes U V', here of two stacked matrices, each by itself.

    Five steps of Newton and Schulz bring singular values to 1 within 0.3, by their page. By Liu et al. 2025, equation
    4, the update is 0.2 sqrt(max(inputs, outputs)) as long. All else moves as by Dozat 2016 at its first step.
    """
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(2, 6, 9)).astype(np.float32)
    params = dict(blocks=dict(up=dict(kernel=kernel), norm=dict(scale=np.ones((2, 6), np.float32))))
    params |= dict(token=rng.normal(size=(5, 6)).astype(np.float32), head=dict(kernel=np.ones((6, 5), np.float32)))
    grads = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), params)
    found = moved(muon(lambda count: RATE, max_norm=1e9), params, grads)
    for update, gradient in zip(found["blocks"]["up"]["kernel"], grads["blocks"]["up"]["kernel"], strict=True):
        u, _, v = np.linalg.svd(gradient, full_matrices=False)
        in_its_axes = u.T @ update @ v.T / (-RATE * 0.2 * 9**0.5)
        np.testing.assert_allclose(np.diag(in_its_axes), 1.0, atol=0.3)
        np.testing.assert_allclose(in_its_axes, np.diag(np.diag(in_its_axes)), atol=0.01)
    for name in ("token", "head"):
        first = lambda g: -OF_OTHERS * RATE * FIRST * g / (np.abs(g) + 1e-8)
        jax.tree.map(lambda a, g: np.testing.assert_allclose(a, first(g), rtol=1e-4), found[name], grads[name])


def test_the_whole_gradient_is_clipped_first():
    params = dict(token=np.zeros(2, np.float32), blocks=dict(up=dict(kernel=np.zeros((1, 2, 2), np.float32))))
    ones = jax.tree.map(np.ones_like, params)  # of norm 6^0.5
    found = moved(muon(lambda count: RATE, max_norm=1e-9), params, ones)["token"]  # so short that 1e-8 counts
    each = 1e-9 / 6**0.5
    np.testing.assert_allclose(found, -OF_OTHERS * RATE * FIRST * each / (each + 1e-8), rtol=1e-3)
