"""The optimiser against its papers' formulas, written in numpy; on a CPU its state is one vector."""

import jax
import numpy as np
import optax
import pytest

from gold_sim import device
from gold_sim.networks.adam import adam


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_by_hand(monkeypatch, weight_decay, accelerated):
    """Kingma & Ba (2015), algorithm 1; Loshchilov & Hutter (2019), algorithm 2: a decay apart from the gradient.

    Gradients of norm 13 are clipped to 2, those of norm 1.3 are not.
    """
    monkeypatch.setattr(device, "accelerated", lambda: accelerated)
    optimiser = adam(0.01, max_norm=2.0, weight_decay=weight_decay)
    params = dict(a=np.float32([1.0, -2.0]), b=np.float32([[0.5]]))
    state, m, v = optimiser.init(params), np.zeros(3), np.zeros(3)
    wanted = np.array([1.0, -2.0, 0.5])
    for t, scale in enumerate((1.0, 0.1, 1.0), 1):
        grads = dict(a=np.float32([3.0, 4.0]) * scale, b=np.float32([[-12.0]]) * scale)
        updates, state = jax.jit(optimiser.update)(grads, state, params)
        params = optax.apply_updates(params, updates)
        g = np.array([3.0, 4.0, -12.0]) * scale
        g = g * min(1.0, 2.0 / np.linalg.norm(g))
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        moved = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        wanted = wanted - 0.01 * (moved + weight_decay * wanted)
        np.testing.assert_allclose([*params["a"], params["b"][0, 0]], wanted, rtol=1e-5)


def test_updates_without_a_rate_are_of_opposite_sign():
    """Callers with rates of their own subtract them."""
    grads = dict(a=np.float32([0.3, -0.4]))
    alike, with_rate = adam(), adam(1.0)
    (one, _), (other, _) = (jax.jit(o.update)(grads, o.init(grads), grads) for o in (alike, with_rate))
    np.testing.assert_allclose(one["a"], -other["a"], rtol=1e-6)
    np.testing.assert_array_equal(np.sign(one["a"]), [1, -1])
