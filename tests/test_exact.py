"""The answer key agrees with sampling, and its optima are optima."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import policy
from gold_sim.language import sequences
from gold_sim.networks import transformer
from gold_sim.optimisation import exact


@pytest.fixture(scope="module")
def moved(tiny):
    """A policy away from the reference: (params, log-probabilities [P, R])."""
    params = jax.tree.map(lambda a: 1.4 * np.asarray(a), tiny.ref_params)
    return params, jax.jit(exact.response_log_probs, static_argnums=0)(tiny.net, params, tiny.prompts, tiny.responses)


@pytest.fixture(scope="module")
def samples(tiny, moved):
    sample = jax.jit(policy.sample, static_argnums=(0, 3, 4))
    return sample(tiny.net, moved[0], tiny.prompts, 10_000, 3, jax.random.key(5))


def test_listed_responses_are_all_and_distinct(tiny):
    """8 tokens and EOS, up to 3 tokens: 1 + 8 + 64 + 512 = 585."""
    assert len(np.unique(tiny.responses, axis=0)) == len(tiny.responses) == 585
    assert np.array_equal(sequences.close(tiny.responses), tiny.responses)
    assert tiny.responses.max() == tiny.language.num_writable - 1


def test_probabilities_sum_to_one(tiny, moved):
    for log_p in (tiny.ref, moved[1]):
        assert np.allclose(np.exp(log_p).sum(-1), 1, atol=1e-4)


def test_sampled_frequencies_follow_the_listed_probabilities(tiny, moved, samples):
    """Pearson's chi-square within 5 s.d. of its mean; cells expected fewer than 5 times are pooled."""
    base = tiny.language.num_writable ** np.arange(3)
    at = {code: i for i, code in enumerate(tiny.responses @ base)}
    for p, responses in enumerate(np.asarray(samples.responses)):
        seen = np.bincount([at[code] for code in responses @ base], minlength=len(tiny.responses))
        wanted = np.exp(np.asarray(moved[1][p], float)) * len(responses)
        rare = wanted < 5
        seen, wanted = (np.append(a[~rare], a[rare].sum() + 1e-9) for a in (seen, wanted))
        chi_square, freedom = np.sum((seen - wanted) ** 2 / wanted), len(wanted) - 1
        assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_exact_kl_is_the_mean_of_sampled_kl(tiny, moved, samples):
    """Both sampled definitions, the state-wise sum and the log-ratio, are unbiased: within 4 standard errors."""
    ref_logits = transformer.logits(tiny.net, tiny.ref_params, tiny.prompts, samples.responses)
    state_wise = policy.response_kl(samples.logits, ref_logits, samples.lengths)
    ratio = policy.log_probs(samples.logits, samples.responses) - policy.log_probs(ref_logits, samples.responses)
    ratio = jnp.sum(ratio * policy.visited(samples.lengths, 3), -1)
    truth = exact.kl(moved[1], tiny.ref)
    assert np.all(truth > 0.1)
    for estimate in (state_wise, ratio):
        error = np.std(estimate, axis=1) / np.sqrt(estimate.shape[1])
        assert np.all(np.abs(jnp.mean(estimate, 1) - truth) < 4 * error)
    assert np.all(np.std(state_wise, axis=1) < np.std(ratio, axis=1))
    assert np.min(state_wise) > -1e-5


def test_tilt_by_hand():
    """ref = (1/2, 1/2), r = (0, c log 3): Z = (1 + 3) / 2 = 2, pi = (1/4, 3/4)."""
    ref, c = jnp.log(jnp.array([[0.5, 0.5]])), 0.7
    rewards = jnp.array([[0.0, c * np.log(3)]])
    assert np.allclose(jnp.exp(exact.tilt(ref, rewards, c)), [[0.25, 0.75]])
    assert np.allclose(exact.log_partition(ref, rewards, c), np.log(2))


def test_tilt_is_the_maximum_of_the_objective(tiny):
    c = 0.5
    best = exact.tilt(tiny.ref, tiny.rewards, c)
    value = exact.objective(best, tiny.ref, tiny.rewards, c)
    assert np.allclose(value, c * exact.log_partition(tiny.ref, tiny.rewards, c), atol=1e-4)
    for k in range(5):
        log_p = jax.nn.log_softmax(best + 0.5 * jax.random.normal(jax.random.key(k), best.shape))
        below = value - exact.objective(log_p, tiny.ref, tiny.rewards, c)
        # F(pi*) - F(p) = c KL(p || pi*): the gap is the distance.
        assert np.allclose(below, c * exact.kl(log_p, best), atol=1e-4)
        assert np.all(below > 1e-3)


def test_chi2_tilt_by_hand():
    """ref = (1/2, 1/2), r = (0, 1): F(p) = p - c (2 (1 - p)^2 + 2 p^2 - 1) is largest at p = 1/2 + 1/(8 c), or at 1."""
    ref, rewards = jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[0.0, 1.0]])
    for c, wanted in ((1.0, 0.625), (0.5, 0.75), (0.1, 1.0)):
        best = exact.chi2_tilt(ref, rewards, c)
        assert np.allclose(best, [[1 - wanted, wanted]], atol=1e-5)
        assert np.allclose(exact.chi2(best, ref), 2 * (1 - wanted) ** 2 + 2 * wanted**2 - 1, atol=1e-5)


def test_token_tilt_by_hand():
    """Two tokens of {1, 2}, ref uniform, r = c log 3 for (1, 1), else 0.

    After 1: pi = (3/4, 1/4), so Q(1) = 3/4 c log 3. First token: odds exp(Q(1) / c) = 3^0.75 = 2.2795,
    pi(1) = 0.6951. The tilt has odds Z(1) / Z(2) = 2, pi(1) = 2/3.
    """
    responses = np.array([[1, 1], [1, 2], [2, 1], [2, 2]])
    ref, c = jnp.log(jnp.full((1, 4), 0.25)), 0.5
    rewards = jnp.array([[c * np.log(3), 0, 0, 0]])
    first = 0.6951
    wanted = [0.75 * first, 0.25 * first, 0.5 * (1 - first), 0.5 * (1 - first)]
    assert np.allclose(jnp.exp(exact.token_tilt(ref, responses, rewards, c))[0], wanted, atol=1e-4)
    assert np.allclose(jnp.exp(exact.tilt(ref, rewards, c))[0], [0.5, 1 / 6, 1 / 6, 1 / 6], atol=1e-4)


def test_token_tilt_of_single_tokens_is_the_tilt():
    responses = np.arange(1, 6)[:, None]
    ref = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (2, 5)))
    rewards = jax.random.normal(jax.random.key(1), (2, 5))
    assert np.allclose(exact.token_tilt(ref, responses, rewards, 0.3), exact.tilt(ref, rewards, 0.3), atol=1e-5)


def test_grpo_tilt_is_self_consistent_or_nan(tiny):
    """At kl_coef 1 it is its own tilt; at 0.1 std falls to 0, and the penalty with it: no interior solution."""
    log_pi = exact.grpo_tilt(tiny.ref, tiny.responses, tiny.rewards, 1.0)
    c = exact.std(log_pi, tiny.rewards)[:, None]
    assert np.allclose(jnp.exp(log_pi).sum(-1), 1, atol=1e-4)
    assert np.all(exact.kl(log_pi, exact.token_tilt(tiny.ref, tiny.responses, tiny.rewards, c)) < 1e-4)
    assert np.all(np.isnan(exact.grpo_tilt(tiny.ref, tiny.responses, tiny.rewards, 0.1)))
