"""Policy gradients: what all policy optimisers share, and RLOO, REINFORCE, expert iteration and distilled best-of-n.

The penalised objective is E[r(x, y)] - kl_coef KL(policy || ref_policy). Its optimum is the exact tilt
ref_policy exp(r / kl_coef) / Z (exact.py). Three algorithms end elsewhere. GRPO divides rewards by their group standard
deviation and puts its own KL term into the loss. Expert iteration ends at the best response. Distillation ends at
best-of-n itself. With config.divergence = "chi2" RLOO and REINFORCE penalise
chi2(policy || ref_policy) = E[policy / ref_policy] - 1 instead.

Every function of an algorithm takes the run's `Task` first; algorithms.py lists which functions make an algorithm.
Nothing here has access to gold.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gold_sim import policy
from gold_sim.config import OptimiserConfig
from gold_sim.networks import pieces, transformer
from gold_sim.networks.adam import adam
from gold_sim.networks.muon import muon
from gold_sim.networks.network import Network
from gold_sim.policy import visited


@dataclass(frozen=True)
class Task:
    """One run: the policy that it starts from, its settings and its KL coefficient.

    Its closures may hold arrays, so make it inside the traced function. The reward is no part of it: the driver scores
    between `rollout` and `update`.
    """

    config: OptimiserConfig
    net: Network  # of the policy; with a value head for PPO
    ref_params: dict  # the reference policy, where the run starts
    length: int  # tokens a response
    draw_prompts: Callable  # (key, num) -> [num, Lp]
    key: jax.Array  # of all that the run draws
    kl_coef: jax.Array | float = 0.0  # reward units a nat; [K] on K plateaus (plateaus.py)
    penalised: bool = True  # False: every kl_coef is 0 and the reference need not be run in training


class TrainState(NamedTuple):
    """All that a run carries from step to step, and so all that a checkpoint holds."""

    params: dict
    opt_state: tuple
    step: jax.Array  # int32
    clip_fraction: jax.Array  # share of token ratios clipped at the last step; NaN where nothing clips


class Batch(NamedTuple):
    """One step's responses and what is fixed about them while parameters move."""

    prompts: jax.Array  # [P, Lp]
    responses: jax.Array  # [P, N, L]
    mask: jax.Array  # [P, N, L] visited states
    old_log_probs: jax.Array  # [P, N, L] under the policy that sampled
    ref_log_probs: jax.Array  # [P, N, L] under the reference (old_log_probs if not penalised)
    rewards: jax.Array | None = None  # [P, N]; None until they are scored


def init(task: Task, params=None) -> TrainState:
    """The first state.  params: where the run starts; None: at the reference policy."""
    params = task.ref_params if params is None else params
    return TrainState(params, _optimiser(task.config).init(params), jnp.int32(0), jnp.float32(jnp.nan))


def rollout(task: Task, state: TrainState) -> Batch:
    """The policy's responses of one step, not yet scored: the same program whatever reward is optimised."""
    return _written_by(state.params, task, state)


def rollout_of_reference(task: Task, state: TrainState) -> Batch:
    """The reference policy's responses of one step, not yet scored; otherwise as `rollout`."""
    return _written_by(task.ref_params, task, state)


def _written_by(params, task: Task, state: TrainState) -> Batch:
    k_prompt, k_sample, _ = keys_of_step(task, state)
    prompts = task.draw_prompts(k_prompt, task.config.prompts)
    s = policy.sample(task.net, params, prompts, task.config.group_size, task.length, k_sample)
    old = policy.log_probs(s.logits, s.responses)
    if task.penalised:
        ref = policy.log_probs(transformer.logits(task.net, task.ref_params, prompts, s.responses), s.responses)
    else:
        ref = old
    return Batch(prompts, s.responses, visited(s.lengths, task.length), old, ref)


def keys_of_step(task: Task, state):
    """Keys of one step: for its prompts, its responses and its update."""
    return jax.random.split(jax.random.fold_in(task.key, state.step), 3)


# --- changes of parameters ----------------------------------------------------------------------


def _optimiser(config: OptimiserConfig):
    rate = _on_plateaus(config) if config.plateau else _warmed_up(config)
    return (muon if config.update_rule == "muon" else adam)(rate, config.max_grad_norm)


def _warmed_up(config: OptimiserConfig):
    return optax.linear_schedule(0.0, config.learning_rate, max(1, config.warmup_steps))


def _on_plateaus(config: OptimiserConfig):
    """A rate that falls to 0 along each plateau and starts anew at the next (warm restarts: Loshchilov & Hutter 2017).

    A rate that stayed would leave noise in the policy, which is KL without reward.
    """
    updates = config.plateau * config.updates
    return lambda count: config.learning_rate * (1 - count % updates / updates)


def descend(config: OptimiserConfig, state, grads):
    """The state after one update by `grads`; state.step stays as it is."""
    updates, opt_state = _optimiser(config).update(grads, state.opt_state, state.params)
    return state._replace(params=optax.apply_updates(state.params, updates), opt_state=opt_state)


def climb(task: Task, state, batch, advantages):
    """The state after one gradient step up the mean of advantages [P, N] times log pi(response)."""

    def loss_of(params, prompts, responses, mask, advantages):
        logits = transformer.logits(task.net, params, prompts, responses)
        return -jnp.mean(advantages * jnp.sum(policy.log_probs(logits, responses) * mask, -1))

    gradient = functools.partial(jax.grad(loss_of), state.params)
    parts = (batch.prompts, batch.responses, batch.mask, advantages)
    most = pieces.A_GRADIENT // task.config.group_size
    return descend(task.config, state, pieces.mean_in_pieces(gradient, *parts, most=most))


# --- advantages -----------------------------------------------------------------------------------


LINEAR_FROM = 10.0  # log-ratio beyond which pi / ref_policy is taken as linear in it (Laidlaw et al. 2024)


def penalised_rewards(batch: Batch, kl_coef, divergence: str = "kl"):
    """Rewards minus the penalty of each whole response, [P, N].

    Their product with grad log pi has the gradient of the penalised objective as its expectation.
    kl: the penalty is kl_coef u, u = log(pi / ref_policy).  chi2: it is kl_coef 2 e^u, as grad E_pi[pi / ref] =
    2 E_pi[(pi / ref) grad log pi]; the optimum is ref_policy relu(r - lambda) / (2 kl_coef) (exact.chi2_tilt).
    """
    log_ratio = jnp.sum((batch.old_log_probs - batch.ref_log_probs) * batch.mask, -1)
    if divergence == "kl":
        return batch.rewards - kl_coef * log_ratio
    near = jnp.minimum(log_ratio, LINEAR_FROM)
    return batch.rewards - kl_coef * 2 * jnp.exp(near) * (1 + log_ratio - near)


def leave_one_out(rewards):
    """Advantage against the mean of the group's other responses, [P, N] (RLOO: Ahmadian et al. 2024)."""
    n = rewards.shape[1]
    return (rewards - jnp.mean(rewards, 1, keepdims=True)) * n / (n - 1)


def batch_baseline(rewards):
    """Advantage against the mean of all other responses of the batch, [P, N] (REINFORCE with baseline)."""
    n = rewards.size
    return (rewards - jnp.mean(rewards)) * n / max(n - 1, 1)


def best_of_group(rewards):
    """Advantages that raise the likelihood of each group's best response alone: N for it, 0 for the others, [P, N]."""
    n = rewards.shape[1]
    return n * jax.nn.one_hot(jnp.argmax(rewards, 1), n)


# --- updates by E[A grad log pi(response)], one gradient step a batch ------------------------------


def rloo(task: Task, state: TrainState, batch: Batch) -> TrainState:
    """RLOO: each response is compared with the mean of its group's other responses (Ahmadian et al. 2024)."""
    return _by(leave_one_out, task, state, batch)


def reinforce(task: Task, state: TrainState, batch: Batch) -> TrainState:
    """REINFORCE with the mean of the batch's other responses as its baseline."""
    return _by(batch_baseline, task, state, batch)


def towards_the_best(task: Task, state: TrainState, batch: Batch) -> TrainState:
    """One gradient step that raises the likelihood of the best response of each group.

    On the policy's own responses this is expert iteration (RAFT: Dong et al. 2023, one step a batch). On the reference
    policy's responses it is distillation, whose end is best-of-n itself, n = group_size (Amini et al. 2024).
    """
    return _by(best_of_group, task, state, batch)


def _by(advantage_of: Callable, task: Task, state: TrainState, batch: Batch) -> TrainState:
    advantages = advantage_of(penalised_rewards(batch, task.kl_coef, task.config.divergence))
    return climb(task, state, batch, advantages)._replace(step=state.step + 1)
