"""Every direct-alignment loss: by hand, by its gradient, and by where it ends on the enumerable world."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gold_sim.config import DirectConfig
from gold_sim.optimisation import algorithms, exact
from gold_sim.optimisation import direct_alignment as da
from tests.conftest import driven

BETA = 0.5
U = jnp.array([[1.0, 0.2], [-0.5, 0.5]])
LOG_PROBS, LENGTHS = jnp.array([-2.0, -3.0]), jnp.array([[3, 1], [2, 2]])


def test_losses_by_hand():
    """beta (u_w - u_l) = 0.4, -0.5.  softplus(-0.4) = 0.5130, softplus(0.5) = 0.9741.

    ipo: (0.8 - 1)^2 = 0.04, (-1 - 1)^2 = 4.  slic: 0.6, 1.5.  rpo at 0.1: 0.5130 + 0.2, 0.9741 + 0.3.
    chipo: e^1 - e^0.2 + 0.8 = 2.2969, times 0.5: softplus(-1.1484) = 0.2755; e^-0.5 - e^0.5 - 1 = -2.0422: 1.3285.
    length_dpo at 0.1: 0.4 + 0.2 = 0.6: softplus(-0.6) = 0.4375; no difference: 0.9741.
    """
    wanted = dict(
        dpo=(0.5130, 0.9741),
        ipo=(0.04, 4.0),
        slic=(0.6, 1.5),
        rpo=(0.7130, 1.2741),
        chipo=(0.2755, 1.3285),
        length_dpo=(0.4375, 0.9741),
    )
    assert set(wanted) == set(algorithms.DIRECT)
    for name, values in wanted.items():
        assert np.allclose(getattr(da, name)(U, LOG_PROBS, LENGTHS, BETA, 0.1), values, atol=4e-4), name


@pytest.mark.parametrize("name", algorithms.DIRECT)
def test_every_loss_falls_as_the_chosen_gains_on_the_rejected(name):
    total = lambda u: jnp.sum(getattr(da, name)(u, LOG_PROBS, LENGTHS, BETA, 0.1))
    slope = jax.grad(total)(U)
    assert np.all(slope[:, 0] < 0) and np.all(slope[:, 1] > 0)
    assert np.isfinite(total(U * 100)) and np.isfinite(jax.grad(total)(U * 100)).all()


@pytest.fixture(scope="module")
def pairs(tiny):
    """100,000 pairs of reference samples, labelled by the Bradley-Terry probability of the tiny world's reward."""
    num = 100_000
    k_prompt, k_label = jax.random.split(jax.random.key(4))
    at = jnp.sort(jax.random.randint(k_prompt, (num,), 0, len(tiny.prompts)))
    rng, ref = np.random.default_rng(4), np.exp(np.asarray(tiny.ref, float))
    counts = np.bincount(at, minlength=len(ref))
    pick = np.concatenate([rng.choice(len(q), (n, 2), p=q / q.sum()) for n, q in zip(counts, ref, strict=True)])
    scores = jnp.take_along_axis(tiny.rewards[at], pick, 1)
    labels = jax.random.uniform(k_label, (num,)) < jax.nn.sigmoid(scores[:, 1] - scores[:, 0])
    return da.Pairs(tiny.prompts[at], jnp.asarray(tiny.responses)[pick], labels)


def optimum(tiny, name, coef):
    """[P, R] probabilities of least population loss at beta = 1, labels being Bradley-Terry with margin r."""
    ref, r = np.exp(np.asarray(tiny.ref, float)), np.asarray(tiny.rewards, float)
    if name == "ipo":  # ref exp(P(y beats a reference sample)) (Azar et al. 2024, theorem 1)
        r = np.stack([scipy.special.expit(x[:, None] - x[None]) @ (q / q.sum()) for x, q in zip(r, ref, strict=True)])
    if name == "length_dpo":
        r = r - coef * np.minimum(np.sum(tiny.responses != 0, -1) + 1, 3)
    if name != "chipo":
        return np.exp(np.asarray(exact.tilt(tiny.ref, jnp.asarray(r), 1.0)))
    out = []  # at beta = 1: z + log z = r - shift, z = W(exp(..)), with ref z summing to 1
    for x, q in zip(r, ref, strict=True):
        z = lambda shift, x=x: scipy.special.lambertw(np.exp(x - shift)).real
        shift = scipy.optimize.brentq(lambda s: q @ z(s) - 1, -20, 20)  # noqa: B023
        out.append(q * z(shift))
    return np.stack(out)


@pytest.mark.parametrize("name", ["dpo", "ipo", "chipo", "length_dpo"])
def test_loss_ends_at_its_exact_optimum(tiny, pairs, name):
    config = DirectConfig(
        loss=name,
        num_pairs=100_000,
        epochs=2,
        batch=250,
        evaluations=1,
        learning_rate=5e-3,
        coef=0.3,
        max_grad_norm=10.0,
    )

    ref_params = {k: v for k, v in tiny.ref_params.items() if k != "value"}
    order = da.order(config, len(pairs.labels), jax.random.key(1))
    state, _ = driven(da.Task(config, tiny.net, ref_params, pairs, order, 1.0), None, lambda state: state.step)
    assert state.step == 800
    log_probs = jax.jit(exact.response_log_probs, static_argnums=0)
    p = np.exp(np.asarray(log_probs(tiny.net, state.params, tiny.prompts, tiny.responses), float))
    best, ref = optimum(tiny, name, 0.3), np.exp(np.asarray(tiny.ref, float))
    gap = lambda q: np.abs(q - best).sum(-1).mean()
    others = {n: np.abs(optimum(tiny, n, 0.3) - p).sum(-1).mean() for n in ("dpo", "ipo", "chipo", "length_dpo")}
    print(name, gap(p), "from", gap(ref), "others", others)
    assert gap(p) < 0.25 and gap(p) < 0.35 * gap(ref)  # DPO: 0.15 to 0.19 over four networks
    assert gap(p) < 0.9 * min(other for n, other in others.items() if n != name)  # nearest to its own


def test_labels_decide_which_response_is_chosen(tiny, pairs):
    some = jax.tree.map(lambda a: a[:500], pairs)
    ref_params = {k: v for k, v in tiny.ref_params.items() if k != "value"}
    moved = jax.tree.map(lambda a: 1.2 * a, ref_params)
    task = da.Task(DirectConfig(), tiny.net, ref_params, None, None, BETA)
    loss = jax.jit(lambda params, p: da.loss(da.dpo, task, params, p))
    of = lambda p: float(loss(moved, p))
    swapped = some._replace(responses=some.responses[:, ::-1], labels=~some.labels)
    assert of(swapped) == pytest.approx(of(some), rel=1e-5)
    assert of(some._replace(labels=~some.labels)) != pytest.approx(of(some), rel=1e-3)
    at_start = float(loss(ref_params, some))
    assert at_start == pytest.approx(np.log(2), abs=1e-5)


def test_an_order_takes_as_many_pairs_as_are_wanted():
    config = DirectConfig(num_pairs=1000, batch=100, epochs=3, evaluations=3)
    order = da.order(config, 5000, jax.random.key(0))
    assert order.shape == (30, 100) and len(np.unique(order)) == 1000 and np.max(order) > 1000
    assert all(len(np.unique(epoch)) == 1000 for epoch in np.asarray(order).reshape(3, 1000))
