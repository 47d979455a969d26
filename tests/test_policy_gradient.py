"""Every optimiser reaches the optimum that enumeration gives, and its parts are what the papers say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import policy
from gold_sim.config import OptimiserConfig
from gold_sim.networks import network, transformer
from gold_sim.optimisation import algorithms, best_of_n, clipped, driver, exact, grpo, measure, ppo
from gold_sim.optimisation import policy_gradient as pg
from tests.conftest import driven, logits

KL_COEF = {"rloo": 0.5, "reinforce": 0.5, "ppo": 0.5, "online_dpo": 0.5, "grpo": 1.0}  # grpo: in group s.d.
response_log_probs = jax.jit(exact.response_log_probs, static_argnums=0)
# Settings in which the update is unbiased: fresh samples for each gradient step, and GAE with lambda = 1.
UNBIASED = dict(epochs=1, minibatches=1, gae_lambda=1.0, value_coef=1.0, kl_loss="k2", max_grad_norm=10.0)


def config_of(name, **changes):
    return OptimiserConfig(name=name, **{**UNBIASED, "prompts": 4, "group_size": 128, **changes})


def task_of(tiny, config, kl_coef, key=0, **changes):
    net, values = tiny.net, algorithms.find(config).values
    if values:
        net = network.Network(net.width, net.depth, net.vocab_size, net.outputs, net.max_len, values=1)
    params = {k: v for k, v in tiny.ref_params.items() if k != "value" or values}
    every_prompt = lambda key, num: jnp.tile(tiny.prompts, (num // len(tiny.prompts), 1))
    return pg.Task(config, net, params, 3, every_prompt, jax.random.key(key), kl_coef, **changes)


def enumerated(tiny):
    """A measurement without sampling: exact reward and KL, averaged over the prompts."""

    def at(state):
        log_p = exact.response_log_probs(tiny.net, state.params, tiny.prompts, tiny.responses)
        reward, kl = jnp.mean(exact.expected(log_p, tiny.rewards)), jnp.mean(exact.kl(log_p, tiny.ref))
        return dict(control=state.step, reward=reward, kl=kl)

    return at


def trained(tiny, config, kl_coef):
    """(TrainState, curve of exact values) of a whole run."""
    return driven(task_of(tiny, config, kl_coef), tiny.reward, enumerated(tiny))


# --- whole runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(KL_COEF))
def test_optimiser_reaches_its_exact_optimum(tiny, name):
    """KL(policy || optimum) < 0.03 nats, from 0.3 or more at the start; the objective within 0.02 of kl_coef log Z.

    GRPO's distance is 0.03 to 0.06 over four networks.
    """
    c, config = KL_COEF[name], config_of(name, steps=600, evaluations=2, learning_rate=3e-3)
    state, curve = trained(tiny, config, c)
    log_p = response_log_probs(tiny.net, state.params, tiny.prompts, tiny.responses)
    if name == "grpo":
        best = exact.grpo_tilt(tiny.ref, tiny.responses, tiny.rewards, c)
    else:
        best = exact.tilt(tiny.ref, tiny.rewards, c)
        top = float(c * jnp.mean(exact.log_partition(tiny.ref, tiny.rewards, c)))
        assert curve["reward"][-1] - c * curve["kl"][-1] == pytest.approx(top, abs=0.02)
    distance = jnp.mean(exact.kl(log_p, best))
    print(name, "KL(policy || optimum)", distance, "reward, kl", curve["reward"], curve["kl"])
    assert curve["kl"][0] == pytest.approx(0, abs=1e-5)  # the run starts at the reference policy
    assert jnp.mean(exact.kl(tiny.ref, best)) > 0.3
    assert distance < (0.1 if name == "grpo" else 0.03)


@pytest.mark.parametrize("name", ["rloo", "reinforce"])
def test_chi2_penalty_reaches_its_exact_optimum(tiny, name):
    """ref relu(r - lambda) / (2 c), which is 0 on the worst responses; its objective is the largest."""
    c, config = 0.5, config_of(name, steps=600, evaluations=2, learning_rate=3e-3, divergence="chi2")
    state, _ = trained(tiny, config, c)
    log_p = response_log_probs(tiny.net, state.params, tiny.prompts, tiny.responses)
    best = exact.chi2_tilt(tiny.ref, tiny.rewards, c)
    value = lambda p: jnp.mean(jnp.sum(p * tiny.rewards, -1) - c * exact.chi2(p, tiny.ref))
    print(name, value(jnp.exp(log_p)), value(best), value(jnp.exp(exact.tilt(tiny.ref, tiny.rewards, c))))
    assert value(best) - value(jnp.exp(tiny.ref)) > 0.3
    assert value(best) - value(jnp.exp(log_p)) < 0.03
    assert jnp.mean(jnp.sum(jnp.abs(jnp.exp(log_p) - best), -1)) < 0.2


def test_expert_iteration_ends_at_the_best_response(tiny):
    config = config_of("expert_iteration", steps=300, evaluations=2, group_size=32, learning_rate=1e-2)
    _, curve = trained(tiny, config, 0.0)
    assert curve["reward"][-1] > 0.9 * jnp.mean(jnp.max(tiny.rewards, -1)) > curve["reward"][0] + 1


def test_distillation_ends_at_best_of_n(tiny):
    """n = group_size = 8 on the reference policy's samples: the exact distribution of best_of_n, ties and all.

    Summed |p - q| ends at 0.27 to 0.32 over four networks.
    """
    config = config_of("distillation", steps=1500, evaluations=2, prompts=32, group_size=8, learning_rate=2e-3)
    state, curve = trained(tiny, config, 0.0)
    log_p = response_log_probs(tiny.net, state.params, tiny.prompts, tiny.responses)
    ref, rewards = np.exp(np.asarray(tiny.ref, float)), np.asarray(tiny.rewards)
    best = np.stack([best_of_n.exact_distribution(q / q.sum(), r, 8) for q, r in zip(ref, rewards, strict=True)])
    print(np.abs(np.exp(log_p) - best).sum(-1), np.abs(ref - best).sum(-1))
    assert np.abs(np.exp(log_p) - best).sum(-1).mean() < 0.4 < 1.0 < np.abs(ref - best).sum(-1).mean()
    assert curve["reward"][-1] == pytest.approx(np.mean(np.sum(best * rewards, -1)), abs=0.05)


@pytest.mark.parametrize("name", ["rloo", "reinforce", "ppo", "grpo"])
def test_without_penalty_the_reward_rises(tiny, name):
    """And penalised=False, which never runs the reference, is the same run as kl_coef = 0."""
    config = config_of(name, steps=60, evaluations=4, group_size=32, learning_rate=5e-3)
    run = lambda penalised: driven(task_of(tiny, config, 0.0, penalised=penalised), tiny.reward, enumerated(tiny))[1]
    curve = run(False)
    assert np.all(np.diff(curve["reward"]) > -0.01)
    assert curve["reward"][-1] > curve["reward"][0] + 1
    assert np.array_equal(curve["control"], [0, 15, 30, 45, 60])
    if name == "rloo":
        assert np.allclose(curve["reward"], run(True)["reward"], atol=1e-3)


def test_gold_cannot_leak_into_training(tiny):
    """Two golds give two gold curves and the same parameters to the bit."""
    task = task_of(tiny, config_of("rloo", steps=6, evaluations=2, group_size=8), 0.1, key=3)
    proxy = lambda p, r: (tiny.reward(p, r),) * 2

    def run(gold):
        write = measure.of_policy(tiny.language, tiny.net, task.ref_params, tiny.prompts, gold, (0.0, 1.0), tiny.reward)

        def point(state):
            responses, of_policy = write(state.params, measure.key_of(task.key))
            return of_policy, measure.of_proxy(tiny.prompts, responses, proxy)

        return driven(task, tiny.reward, point, options={})  # six steps

    one, (policies, proxies) = run(tiny.reward)
    other, (other_policies, other_proxies) = run(lambda p, r: -3.0 * jnp.sum(r, -1))
    assert jax.tree.all(jax.tree.map(np.array_equal, one.params, other.params))
    assert np.array_equal(proxies.proxy, other_proxies.proxy) and np.array_equal(policies.kl, other_policies.kl)
    assert not np.any(policies.gold == other_policies.gold)
    assert np.allclose(policies.gold, proxies.proxy, atol=1e-6)  # here gold is the proxy
    assert jax.tree.all(jax.tree.map(lambda a, b: not np.array_equal(a, b), one.params, task.ref_params))


# --- the expected gradient -----------------------------------------------------------------------


def expected_gradient(tiny, name, params, kl_loss, kl_coef):
    """Exact gradient at `params` of the loss whose sampled form the optimiser follows."""
    listed = jnp.broadcast_to(tiny.responses, (4, *tiny.responses.shape))
    lengths = jnp.broadcast_to(jnp.sum(tiny.responses != 0, -1) + 1, listed.shape[:2]).clip(max=3)
    ref_logits = logits(tiny.net, tiny.ref_params, tiny.prompts, listed)

    def loss_of(params):
        log_p = exact.response_log_probs(tiny.net, params, tiny.prompts, tiny.responses)
        if name != "grpo":
            return -jnp.mean(exact.objective(log_p, tiny.ref, tiny.rewards, kl_coef))
        held = jax.lax.stop_gradient(jnp.exp(log_p))  # visits are held fixed
        own = transformer.logits(tiny.net, params, tiny.prompts, listed)
        pair = (own, ref_logits) if kl_loss == "k2" else (ref_logits, own)
        return kl_coef * jnp.mean(jnp.sum(held * policy.response_kl(*pair, lengths), -1))

    return jax.jit(jax.grad(loss_of))(params)


@pytest.mark.parametrize("name, kl_loss", [("rloo", "k2"), ("reinforce", "k2"), ("grpo", "k2"), ("grpo", "k3")])
def test_expected_gradient(tiny, monkeypatch, name, kl_loss):
    """The sampled gradient of 80,000 responses, in 20 batches that fit the cache, is the exact one.

    For GRPO the reward is 0 here, so only its KL loss is left: with k2 that of KL(policy || ref_policy)
    at each visited state, with k3 that of KL(ref_policy || policy).
    """
    for module in (pg, clipped):
        monkeypatch.setattr(module, "descend", lambda config, state, grads: state._replace(params=grads))
    task = task_of(tiny, config_of(name, group_size=1000, kl_loss=kl_loss), 0.5, key=2)
    score = tiny.reward if name != "grpo" else lambda p, r: jnp.zeros(r.shape[:2])
    programs = driver.of_run(algorithms.find(task.config), task, score)
    params = jax.tree.map(lambda a: 1.3 * a, task.ref_params)
    start = pg.TrainState(params, (), jnp.int32(0), jnp.float32(jnp.nan))
    of = lambda step: driver.step(programs, start._replace(step=step)).params
    given = jax.jit(lambda: jax.tree.map(lambda a: jnp.mean(a, 0), jax.lax.map(of, jnp.arange(20))))()
    wanted = expected_gradient(tiny, name, params, kl_loss, 0.5)
    given, wanted = (jnp.concatenate([a.ravel() for a in jax.tree.leaves(g)]) for g in (given, wanted))
    assert jnp.linalg.norm(given - wanted) < 0.05 * jnp.linalg.norm(wanted)


def test_gradients_of_kl_estimators():
    """With y from pi and u = log(pi / ref): E grad(u^2 / 2) = E[u grad log pi] = grad KL(pi || ref), and
    E grad(exp(-u) - 1 + u) = E[(1 - ref / pi) grad log pi] = -E_ref[grad log pi] = grad KL(ref || pi)."""
    theta, phi = jax.random.normal(jax.random.key(0), (2, 7))
    log_ref = jax.nn.log_softmax(phi)
    u = lambda t: jax.nn.log_softmax(t) - log_ref
    k2, k3 = (lambda t: 0.5 * u(t) ** 2), (lambda t: jnp.exp(-u(t)) - 1 + u(t))
    mean_gradient = lambda k: jax.nn.softmax(theta) @ jax.jacobian(k)(theta)
    forward = jax.grad(lambda t: exact.kl(jax.nn.log_softmax(t), log_ref))(theta)
    backward = jax.grad(lambda t: exact.kl(log_ref, jax.nn.log_softmax(t)))(theta)
    assert np.allclose(mean_gradient(k2), forward, atol=1e-5)
    assert np.allclose(mean_gradient(k3), backward, atol=1e-5)
    assert not np.allclose(forward, backward, atol=1e-2)


# --- parts by hand -------------------------------------------------------------------------------


def test_best_of_group_by_hand():
    """(1, 2, 6): the third alone, by 3; of equals the first."""
    assert np.array_equal(pg.best_of_group(jnp.array([[1.0, 2.0, 6.0], [5.0, 5.0, 4.0]])), [[0, 0, 3], [3, 0, 0]])


def test_chi2_penalty_by_hand():
    """r = 2, u = log 3, c = 0.1: 2 - 0.2 * 3 = 1.4.  u = 12 is past 10: 2 - 0.2 * e^10 * (1 + 2)."""
    for u, wanted in ((np.log(3), 1.4), (12.0, 2 - 0.6 * np.exp(10.0))):
        old = jnp.full((1, 1, 1), u)
        batch = pg.Batch(None, None, jnp.ones((1, 1, 1), bool), old, jnp.zeros_like(old), jnp.array([[2.0]]))
        assert np.allclose(pg.penalised_rewards(batch, 0.1, "chi2"), wanted, rtol=1e-5)


def test_leave_one_out_by_hand():
    """(1, 2, 6): 1 - (2 + 6)/2 = -3;  2 - (1 + 6)/2 = -1.5;  6 - (1 + 2)/2 = 4.5."""
    assert np.allclose(pg.leave_one_out(jnp.array([[1.0, 2.0, 6.0]])), [[-3, -1.5, 4.5]])


def test_batch_baseline_by_hand():
    """(1, 2), (3, 6): 1 - 11/3 = -8/3;  2 - 10/3 = -4/3;  3 - 9/3 = 0;  6 - 6/3 = 4."""
    assert np.allclose(pg.batch_baseline(jnp.array([[1.0, 2.0], [3.0, 6.0]])), [[-8 / 3, -4 / 3], [0, 4]], atol=1e-5)


def test_group_normalised_by_hand():
    """(1, 3): mean 2, std 1.  (2, 2): std 0 gives 0, not NaN.  Blind to shift and positive scale."""
    rewards = jnp.array([[1.0, 3.0], [2.0, 2.0]])
    assert np.allclose(grpo.group_normalised(rewards), [[-1, 1], [0, 0]], atol=2e-4)
    assert np.allclose(grpo.group_normalised(5 * rewards + 7), grpo.group_normalised(rewards), atol=2e-4)


def test_generalised_advantages_by_hand():
    """lambda = 1/2, r = (1, 0, 2), V = (0.5, 1, 1.5).

    All visited: delta = (1 + 1 - 0.5, 0 + 1.5 - 1, 2 - 1.5) = (1.5, 0.5, 0.5);
                 A = (1.5 + 0.75/2, 0.5 + 0.5/2, 0.5) = (1.875, 0.75, 0.5).
    Two visited: delta = (1 + 1 - 0.5, 0 - 1) = (1.5, -1);  A = (1.5 - 1/2, -1, 0).
    """
    gae = functools.partial(ppo.generalised_advantages, gae_lambda=0.5)
    rewards, values = jnp.array([1.0, 0.0, 2.0]), jnp.array([0.5, 1.0, 1.5])
    assert np.allclose(gae(rewards, values, jnp.array([True, True, True])), [1.875, 0.75, 0.5])
    assert np.allclose(gae(rewards, values, jnp.array([True, True, False])), [1.0, -1.0, 0.0])


def test_clipped_surrogate_by_hand():
    """clip 0.2.  A = 1: min(1.5, 1.2), min(0.5, 0.8).  A = -1: min(-1.5, -1.2), min(-0.5, -0.8)."""
    ratio, advantages = jnp.array([1.5, 0.5, 1.5, 0.5]), jnp.array([1.0, 1.0, -1.0, -1.0])
    assert np.allclose(clipped.surrogate(ratio, advantages, 0.2), [1.2, 0.5, -1.5, -0.8])


def test_penalised_rewards_by_hand():
    """r = 2, log-ratios (0.5, 1.0, and 9 behind EOS), kl_coef 0.4: 2 - 0.4 * 1.5 = 1.4."""
    old = jnp.array([[[0.5, 1.0, 9.0]]])
    mask = jnp.array([[[True, True, False]]])
    batch = pg.Batch(None, None, mask, old, jnp.zeros_like(old), jnp.array([[2.0]]))
    assert np.allclose(pg.penalised_rewards(batch, 0.4), 1.4)
