"""Exact answers on a world whose responses can be listed: optima of the penalised objective over all of them.

`sequences.enumerate_responses` lists every response y, so each policy is a table of log-probabilities
[P, R], and what an optimiser should reach is known without sampling.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy
from gold_sim.language import sequences
from gold_sim.networks import transformer
from gold_sim.networks.network import Network


def response_log_probs(net: Network, params, prompts, responses):
    """Exact log pi(y | x) of every listed response: prompts [P, Lp], responses [R, L] -> [P, R]."""
    listed = jnp.broadcast_to(jnp.asarray(responses), (prompts.shape[0], *responses.shape))
    tokens = policy.log_probs(transformer.logits(net, params, prompts, listed), listed)
    return jnp.sum(tokens * policy.visited(sequences.lengths(listed), responses.shape[1]), -1)


def kl(log_p, log_ref):
    """KL(p || ref) in nats: [P, R] x 2 -> [P]."""
    return jnp.sum(jnp.exp(log_p) * (log_p - log_ref), -1)


def expected(log_p, values):
    """Mean of values [P, R] under p: [P]."""
    return jnp.sum(jnp.exp(log_p) * values, -1)


def objective(log_p, log_ref, rewards, kl_coef):
    """E_p[r] - kl_coef KL(p || ref), [P]; its maximum over p is kl_coef log Z (see `log_partition`)."""
    return expected(log_p, rewards) - kl_coef * kl(log_p, log_ref)


def log_partition(ref_log_probs, rewards, kl_coef):
    """log Z = log E_ref[exp(r / kl_coef)], [P]; kl_coef > 0, in reward units a nat, a scalar or [P, 1]."""
    return jax.nn.logsumexp(ref_log_probs + rewards / kl_coef, -1)


def tilt(ref_log_probs, rewards, kl_coef):
    """Log-probabilities [P, R] of the optimum of `objective`: pi = ref exp(r / kl_coef) / Z.

    Korbak, Perez & Buckley 2022; Rafailov et al. 2023, eq. 4. kl_coef: a scalar or [P, 1].
    """
    return jax.nn.log_softmax(ref_log_probs + rewards / kl_coef)


def chi2_tilt(ref_log_probs, rewards, coef, iterations: int = 60):
    """Probabilities [P, R] of the maximum of E[r] - coef chi2(pi || ref): pi = ref relu((r - lambda) / (2 coef)).

    Laidlaw et al. 2024; Huang et al. 2025. lambda [P] by bisection, so that pi sums to 1.
    """
    ref = jnp.exp(ref_log_probs)
    mass = lambda level: jnp.sum(ref * jnp.maximum(rewards - level[:, None], 0), -1) / (2 * coef)

    def halve(bounds, _):
        low, high = bounds
        middle = (low + high) / 2
        return (jnp.where(mass(middle) > 1, middle, low), jnp.where(mass(middle) > 1, high, middle)), None

    start = (jnp.min(rewards, -1) - 2 * coef, jnp.max(rewards, -1))
    (low, high), _ = jax.lax.scan(halve, start, length=iterations)
    p = ref * jnp.maximum(rewards - low[:, None], 0)
    return p / jnp.sum(p, -1, keepdims=True)


def chi2(p, ref_log_probs):
    """chi2(p || ref) = sum p^2 / ref - 1 of probabilities p [P, R]: [P]."""
    return jnp.sum(jnp.square(p) / jnp.exp(ref_log_probs), -1) - 1


def token_tilt(ref_log_probs, responses, rewards, kl_coef):
    """Stationary point [P, R] where each token is penalised for its own KL but not for that of later tokens.

    That is what a KL estimator summed over tokens in the loss does (GRPO): differentiating it holds the
    visited states fixed. With c = kl_coef, state s, token a, and Q(s, a) the expected reward of the
    response under pi itself,

        pi(a | s) = ref(a | s) exp(Q(s, a) / c) / Z(s),    Q of a prefix = sum_a pi(a | s) Q(s, a),

    solved backwards from the last token. With Q of a prefix = c log Z(s) it would be `tilt`: the mean
    leaves out the KL still to be paid.

    responses: [R, L].  kl_coef: a scalar or [P, 1].
    """
    log_pi, q = jnp.zeros_like(ref_log_probs), rewards
    longer, log_mass = np.arange(len(responses)), ref_log_probs  # prefixes of t + 1 tokens, and their mass
    for t in reversed(range(responses.shape[1])):
        # `first`: for each prefix of t tokens some response that starts so; `shorter`: each response's prefix.
        _, shorter = np.unique(responses[:, :t], axis=0, return_inverse=True) if t else (None, 0 * longer)
        _, first = np.unique(longer, return_index=True)
        parent = shorter.ravel()[first]
        log_mass_t = _segment_logsumexp(log_mass, parent)
        score = log_mass - log_mass_t[:, parent] + q / kl_coef
        log_step = score - _segment_logsumexp(score, parent)[:, parent]
        log_pi = log_pi + log_step[:, longer]
        q = _segment(jax.ops.segment_sum, jnp.exp(log_step) * q, parent)
        longer, log_mass = shorter.ravel(), log_mass_t
    return log_pi


def grpo_tilt(ref_log_probs, responses, rewards, kl_coef, iterations: int = 100):
    """Stationary point [P, R] of GRPO with the k2 loss: `token_tilt` at kl_coef * (std of r under itself).

    GRPO divides rewards by the standard deviation of the prompt's group (Shao et al. 2024), so its KL
    coefficient in reward units is kl_coef * std_pi(r | x), for large groups. k2 has the gradient of
    KL(pi || ref) at each visited state. The point is found by fixed-point iteration from the
    reference's std. A small kl_coef has no interior solution: as the policy sharpens, std falls and
    the penalty falls with it, until only one reward is left. The result is then NaN.
    """

    def sharpen(_, log_pi):
        return token_tilt(ref_log_probs, responses, rewards, kl_coef * std(log_pi, rewards)[:, None])

    return jax.lax.fori_loop(0, iterations, sharpen, ref_log_probs)


def std(log_p, values):
    """Standard deviation of values [P, R] under p: [P]."""
    return jnp.sqrt(expected(log_p, jnp.square(values - expected(log_p, values)[:, None])))


def _segment(reduce, x, segment):
    """`reduce` of x [P, A] over equal entries of segment [A] (0 .. B-1, numpy): [P, B]."""
    return reduce(x.T, segment, int(segment.max()) + 1).T


def _segment_logsumexp(x, segment):
    top = _segment(jax.ops.segment_max, x, segment)
    return top + jnp.log(_segment(jax.ops.segment_sum, jnp.exp(x - top[:, segment]), segment))
