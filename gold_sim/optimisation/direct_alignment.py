"""Direct alignment: a policy is fit to labelled pairs without a reward model. A batch is a batch of those pairs.

Let u = log(pi / ref_policy) of a whole response. The implicit reward is beta u (Rafailov et al. 2023). Every loss has
the signature (u [D, 2] chosen first, log_probs [D] of the chosen, lengths [D, 2], beta, coef) -> [D].
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gold_sim import policy
from gold_sim.config import DirectConfig
from gold_sim.language import sequences
from gold_sim.networks import pieces, transformer
from gold_sim.networks.adam import adam, schedule
from gold_sim.networks.network import Network

LARGEST_U = 20.0  # chipo: u is cut here inside e^u, as its source cuts the whole margin
MARGIN_RANGE = 20.0  # chipo: 2 R_max


def dpo(u, log_probs, lengths, beta, coef):
    """-log sigmoid(beta (u_w - u_l)) (Rafailov et al. 2023, eq. 7)."""
    return jax.nn.softplus(-beta * (u[:, 0] - u[:, 1]))


def ipo(u, log_probs, lengths, beta, coef):
    """(u_w - u_l - 1 / (2 beta))^2 (Azar et al. 2024, eq. 17; their tau is beta)."""
    return jnp.square(u[:, 0] - u[:, 1] - 1 / (2 * beta))


def slic(u, log_probs, lengths, beta, coef):
    """max(0, 1 - beta (u_w - u_l)): SLiC's hinge on log-ratios (Zhao et al. 2023; Rafailov et al. 2024)."""
    return jax.nn.relu(1 - beta * (u[:, 0] - u[:, 1]))


def rpo(u, log_probs, lengths, beta, coef):
    """DPO - coef log pi(chosen): the likelihood term is pessimism (Liu et al. 2024)."""
    return dpo(u, log_probs, lengths, beta, coef) - coef * log_probs


def chipo(u, log_probs, lengths, beta, coef):
    """DPO with the link e^u + u in place of u and a clipped margin (chi-PO: Huang et al. 2024, eq. 9)."""
    link = jnp.exp(jnp.minimum(u, LARGEST_U)) + u
    return jax.nn.softplus(-jnp.clip(beta * (link[:, 0] - link[:, 1]), -MARGIN_RANGE, MARGIN_RANGE))


def length_dpo(u, log_probs, lengths, beta, coef):
    """-log sigmoid(beta (u_w - u_l) + coef (|w| - |l|)) (R-DPO: Park et al. 2024, eq. 9); coef a token.

    Length explains part of a label, so that the implicit reward need not: the optimum tilts by r - coef |y|.
    """
    return jax.nn.softplus(-beta * (u[:, 0] - u[:, 1]) - coef * (lengths[:, 0] - lengths[:, 1]))


class Pairs(NamedTuple):
    """Labelled pairs of responses, which also serve as a batch. Unlike Preferences they do not hold gold."""

    prompts: jax.Array  # [D, Lp]
    responses: jax.Array  # [D, 2, L]
    labels: jax.Array  # [D] bool: the second response is preferred


class Task(NamedTuple):
    """One run: the pairs that it is fit to, where it starts, and its settings."""

    config: DirectConfig
    net: Network
    ref_params: dict
    pairs: Pairs  # [D]
    batches: jax.Array  # [steps, batch] indices of pairs, as `order` gives them
    beta: jax.Array | float


class TrainState(NamedTuple):
    """All that a run carries from step to step, and so all that a checkpoint holds."""

    params: dict
    opt_state: tuple
    step: jax.Array  # int32


def order(config: DirectConfig, num: int, key):
    """Indices [steps, batch] of config.num_pairs chosen out of `num` pairs, shuffled anew for every epoch."""
    k_pairs, k_order = jax.random.split(key)
    mine = jax.random.permutation(k_pairs, num)[: config.num_pairs]
    per_epoch = config.num_pairs // config.batch
    orders = jax.vmap(lambda k: jax.random.permutation(k, mine))(jax.random.split(k_order, config.epochs))
    return orders[:, : per_epoch * config.batch].reshape(-1, config.batch)


def _optimiser(config: DirectConfig):
    return adam(schedule(config.learning_rate, config.steps, config.warmup_steps), config.max_grad_norm)


def init(task: Task, params=None) -> TrainState:
    """The first state.  params: where the run starts; None: at the reference policy."""
    params = task.ref_params if params is None else params
    return TrainState(params, _optimiser(task.config).init(params), jnp.int32(0))


def rollout(task: Task, state: TrainState) -> Pairs:
    """The pairs of one step."""
    return jax.tree.map(lambda a: a[task.batches[state.step]], task.pairs)


def by(loss_of_pairs):
    """The update that takes one gradient step a batch on one of the losses above."""

    def update(task: Task, state: TrainState, batch: Pairs) -> TrainState:
        mean = lambda params, pairs: loss(loss_of_pairs, task, params, pairs)
        gradient = functools.partial(jax.grad(mean), state.params)
        grads = pieces.mean_in_pieces(gradient, batch, most=pieces.A_GRADIENT // 2)
        updates, opt_state = _optimiser(task.config).update(grads, state.opt_state, state.params)
        return TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1)

    return update


def loss(loss_of_pairs, task: Task, params, pairs: Pairs):
    """Mean of a loss over pairs."""
    own = log_probs(task.net, params, pairs)
    chosen_first = lambda x: jnp.where(pairs.labels[:, None], x[:, ::-1], x)
    u = chosen_first(own - jax.lax.stop_gradient(log_probs(task.net, task.ref_params, pairs)))
    lengths = chosen_first(sequences.lengths(pairs.responses))
    return jnp.mean(loss_of_pairs(u, chosen_first(own)[:, 0], lengths, task.beta, task.config.coef))


def log_probs(net: Network, params, pairs):
    """log pi of both responses of each pair, [D, 2]."""
    tokens = policy.log_probs(transformer.logits(net, params, pairs.prompts, pairs.responses), pairs.responses)
    return jnp.sum(tokens * policy.visited(sequences.lengths(pairs.responses), pairs.responses.shape[-1]), -1)


def log_ratios(net: Network, params, ref_params, pairs):
    """u = log(pi / ref_policy) of both responses of each pair, [D, 2]."""
    return log_probs(net, params, pairs) - log_probs(net, ref_params, pairs)
