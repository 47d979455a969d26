"""Policy optimisation against a reward, each algorithm one pure function of a run: PPO, RLOO, GRPO, REINFORCE, expert
iteration, distilled best-of-n and online DPO.

All share sampling, the schedule and the curve; they differ in `_UPDATES`: how a batch of
responses becomes a change of parameters. Nothing here knows gold: `measure` is opaque and its result
is only stacked into the curve, so replacing gold cannot move the policy by a bit.

The penalised objective is E[r(x, y)] - kl_coef KL(policy || ref_policy), whose optimum is the exact
tilt ref_policy exp(r / kl_coef) / Z (exact.py), except for GRPO, which divides rewards by their
group standard deviation and puts its own KL term into the loss; for expert iteration, which ends at the best response;
and for distillation, whose end is best-of-n itself. With config.divergence = "chi2" RLOO and REINFORCE penalise
chi2(policy || ref_policy) = E[policy / ref_policy] - 1 instead.
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
from gold_sim.networks.network import Network
from gold_sim.policy import visited


@dataclass(frozen=True)
class Task:
    """What one run optimises; closures over arrays are allowed, so make it inside the traced function."""

    net: Network  # of the policy; with a value head for PPO
    ref_params: dict  # the reference policy, where the run starts
    length: int  # tokens a response
    draw_prompts: Callable  # (key, num) -> [num, Lp]
    reward: Callable | None  # (prompts [P, Lp], responses [P, N, L]) -> [P, N]; `rollout`, `update` do not read it
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


def init(task: Task, config: OptimiserConfig, params=None) -> TrainState:
    """params: where the run starts; None: at the reference policy."""
    params = task.ref_params if params is None else params
    return TrainState(params, _optimiser(config).init(params), jnp.int32(0), jnp.float32(jnp.nan))


def train(task: Task, config: OptimiserConfig, kl_coef, measure: Callable, key):
    """One whole run.  measure: (policy params, key) -> pytree of scalars.

    Returns (TrainState, curve): the measured pytree with a leading axis of evaluations + 1, the first
    at step 0. Long runs call `init`, `rollout`, `update` and `record` themselves and checkpoint in between (runs.py).
    """

    def to_next_point(state, _):
        state = advance(task, config, kl_coef, key, state)
        return state, record(state, measure, key)

    start = init(task, config)
    first = record(start, measure, key)
    state, rest = jax.lax.scan(to_next_point, start, length=config.evaluations)
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)


def advance(task: Task, config: OptimiserConfig, kl_coef, key, state: TrainState) -> TrainState:
    """steps / evaluations policy steps: the way from one point of the curve to the next."""
    one = lambda s, _: (step(task, config, kl_coef, key, s), None)
    return jax.lax.scan(one, state, length=config.steps // config.evaluations)[0]


def record(state: TrainState, measure: Callable, key):
    """One point of the curve: every measurement of a run uses the same uniforms (common random numbers)."""
    return dict(measure(state.params, measuring(key)), control=state.step, clip_fraction=state.clip_fraction)


def measuring(key):
    """The key of every measurement of the run that has `key`."""
    return jax.random.fold_in(key, 2**31 - 1)


def step(task: Task, config: OptimiserConfig, kl_coef, key, state: TrainState) -> TrainState:
    """Sample one batch, score it, update."""
    batch = rollout(task, config, key, state)
    batch = batch._replace(rewards=task.reward(batch.prompts, batch.responses))
    return update(task, config, kl_coef, key, state, batch)


def rollout(task: Task, config: OptimiserConfig, key, state: TrainState) -> Batch:
    """The responses of one step, not yet scored: the same program whatever reward is optimised."""
    k_prompt, k_sample, _ = keys_of_step(key, state)
    prompts = task.draw_prompts(k_prompt, config.prompts)
    writer = task.ref_params if config.name in _FROM_REFERENCE else state.params
    s = policy.sample(task.net, writer, prompts, config.group_size, task.length, k_sample)
    old = policy.log_probs(s.logits, s.responses)
    if task.penalised:
        ref = policy.log_probs(transformer.logits(task.net, task.ref_params, prompts, s.responses), s.responses)
    else:
        ref = old
    return Batch(prompts, s.responses, visited(s.lengths, task.length), old, ref)


def update(task: Task, config: OptimiserConfig, kl_coef, key, state: TrainState, batch: Batch) -> TrainState:
    """One step's change of the policy by a scored batch."""
    return _UPDATES[config.name](task, config, kl_coef, keys_of_step(key, state)[2], state, batch)


def keys_of_step(key, state):
    """Of the prompts, of the responses, of the update."""
    return jax.random.split(jax.random.fold_in(key, state.step), 3)


# --- updates ----------------------------------------------------------------------------------


def _optimiser(config: OptimiserConfig):
    rate = optax.linear_schedule(0.0, config.learning_rate, max(1, config.warmup_steps))
    return adam(rate, config.max_grad_norm)


def _apply(config, state, grads):
    updates, opt_state = _optimiser(config).update(grads, state.opt_state, state.params)
    return state._replace(params=optax.apply_updates(state.params, updates), opt_state=opt_state)


LINEAR_FROM = 10.0  # log-ratio beyond which pi / ref_policy is taken as linear in it (Laidlaw et al. 2024)


def penalised_rewards(batch: Batch, kl_coef, divergence: str = "kl"):
    """r minus the penalty of each whole response, [P, N], by whose expectation times grad log pi the objective climbs.

    kl: kl_coef u, u = log(pi / ref_policy).  chi2: kl_coef 2 e^u, as grad E_pi[pi / ref] = 2 E_pi[(pi / ref) grad log
    pi]; the optimum is ref_policy relu(r - lambda) / (2 kl_coef) (exact.chi2_tilt).
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


def group_normalised(rewards):
    """(r - mean) / std within each prompt's group, [P, N] (GRPO: Shao et al. 2024, eq. 3 ff.)."""
    centred = rewards - jnp.mean(rewards, 1, keepdims=True)
    return centred / (jnp.std(rewards, 1, keepdims=True) + 1e-4)


def best_of_group(rewards):
    """N for the best response of a group and 0 for the others, [P, N]: its log-likelihood is what then climbs."""
    n = rewards.shape[1]
    return n * jax.nn.one_hot(jnp.argmax(rewards, 1), n)


def climb(task, config, state, batch, advantages):
    """One gradient step up the mean of advantages [P, N] times log pi(response)."""

    def loss_of(params, prompts, responses, mask, advantages):
        logits = transformer.logits(task.net, params, prompts, responses)
        return -jnp.mean(advantages * jnp.sum(policy.log_probs(logits, responses) * mask, -1))

    gradient = functools.partial(jax.grad(loss_of), state.params)
    parts = (batch.prompts, batch.responses, batch.mask, advantages)
    return _apply(config, state, pieces.mean_in_pieces(gradient, *parts, most=pieces.A_GRADIENT // config.group_size))


def _score_function(advantage_of):
    """Update by E[A grad log pi(response)], one gradient step a batch."""

    def update(task, config, kl_coef, key, state, batch):
        advantages = advantage_of(penalised_rewards(batch, kl_coef, config.divergence))

        return climb(task, config, state, batch, advantages)._replace(step=state.step + 1)

    return update


def _clipped(ratio, advantages, clip):
    """PPO's pessimistic surrogate of each token (Schulman et al. 2017, eq. 7)."""
    return jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages)


def _minibatched(loss_of, config, key, state, data):
    """epochs x minibatches gradient steps over `data` (leading axis: prompts); loss_of -> (loss, clipped share)."""

    def one_minibatch(state, pick):
        part = jax.tree.map(lambda a: a[pick], data)
        (_, clipped), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params, part)
        return _apply(config, state, grads), clipped

    orders = jax.vmap(lambda k: jax.random.permutation(k, config.prompts))(jax.random.split(key, config.epochs))
    picks = orders.reshape(config.epochs * config.minibatches, -1)
    state, clipped = jax.lax.scan(one_minibatch, state, picks)
    return state._replace(step=state.step + 1, clip_fraction=jnp.mean(clipped))


def _clip_share(ratio, mask, clip):
    return jnp.sum((jnp.abs(ratio - 1) > clip) * mask) / jnp.sum(mask)


def generalised_advantages(rewards, values, mask, gae_lambda):
    """GAE with gamma = 1 over visited states (Schulman et al. 2016): [..., L] each; returns advantages.

    delta_t = r_t + V_{t+1} - V_t with V = 0 behind the response; A_t = delta_t + gae_lambda A_{t+1}.
    """
    values = values * mask
    following = jnp.concatenate([values[..., 1:], jnp.zeros_like(values[..., :1])], -1)
    deltas = (rewards + following - values) * mask
    back = lambda later, delta: (delta + gae_lambda * later,) * 2
    _, advantages = jax.lax.scan(back, jnp.zeros_like(deltas[..., 0]), jnp.moveaxis(deltas, -1, 0), reverse=True)
    return jnp.moveaxis(advantages, 0, -1) * mask


def _ppo(task, config, kl_coef, key, state, batch):
    """PPO for language models: KL in the token reward, GAE, clipped ratios, a value head (Ziegler et al. 2019)."""
    last = batch.mask & ~jnp.concatenate([batch.mask[..., 1:], jnp.zeros_like(batch.mask[..., :1])], -1)
    token_rewards = -kl_coef * (batch.old_log_probs - batch.ref_log_probs) * batch.mask
    token_rewards = token_rewards + jnp.where(last, batch.rewards[..., None], 0.0)
    _, values = transformer.logits_and_values(task.net, state.params, batch.prompts, batch.responses)
    advantages = generalised_advantages(token_rewards, values, batch.mask, config.gae_lambda)
    returns = advantages + values * batch.mask
    count = jnp.sum(batch.mask)
    mean = jnp.sum(advantages * batch.mask) / count
    std = jnp.sqrt(jnp.sum(jnp.square(advantages - mean) * batch.mask) / count)
    advantages = (advantages - mean) / (std + 1e-4)

    def loss_of(params, part):
        batch, advantages, returns = part
        logits, values = transformer.logits_and_values(task.net, params, batch.prompts, batch.responses)
        ratio = jnp.exp((policy.log_probs(logits, batch.responses) - batch.old_log_probs) * batch.mask)
        mean = lambda x: jnp.sum(x * batch.mask) / jnp.sum(batch.mask)
        loss = -mean(_clipped(ratio, advantages, config.clip))
        loss = loss + config.value_coef * 0.5 * mean(jnp.square(values - returns))
        return loss, _clip_share(ratio, batch.mask, config.clip)

    return _minibatched(loss_of, config, key, state, (batch, advantages, returns))


def _grpo(task, config, kl_coef, key, state, batch):
    """GRPO: group-normalised rewards, clipped token ratios, KL estimator in the loss (Shao et al. 2024, eq. 3-4).

    Tokens are summed over a response (not averaged by its length, which would favour long bad ones).
    The KL term acts at each visited state with the visits held fixed, so the optimum is a token-level tilt
    (exact.grpo_tilt), not the tilt of whole responses. kl_loss "k3" is the paper's: its gradient is that of
    KL(ref_policy || policy); "k2" has the gradient of KL(policy || ref_policy) (Schulman 2020, note on
    approximating KL).
    """
    advantages = group_normalised(batch.rewards)

    def loss_of(params, part):
        batch, advantages = part
        logits = transformer.logits(task.net, params, batch.prompts, batch.responses)
        log_probs = policy.log_probs(logits, batch.responses)
        ratio = jnp.exp((log_probs - batch.old_log_probs) * batch.mask)
        objective = _clipped(ratio, advantages[..., None], config.clip)
        if task.penalised:
            u = log_probs - batch.ref_log_probs
            k2 = 0.5 * jnp.square(u)
            k3 = jnp.exp(-u) - 1 + u
            objective = objective - kl_coef * (k2 if config.kl_loss == "k2" else k3)
        loss = -jnp.mean(jnp.sum(objective * batch.mask, -1))
        return loss, _clip_share(ratio, batch.mask, config.clip)

    return _minibatched(loss_of, config, key, state, (batch, advantages))


def _online_dpo(task, config, kl_coef, key, state, batch):
    """DPO on pairs of the policy's own responses, labelled by the reward's Bradley-Terry probability (Guo et al. 2024).

    beta is kl_coef. A pair's loss is least where kl_coef (u_1 - u_2) = r_1 - r_2, so whoever writes the pairs the
    optimum is the exact tilt. Responses (0, 1), (2, 3), .. of a group are its pairs.
    """
    rewards = batch.rewards.reshape(config.prompts, -1, 2)
    label = jax.nn.sigmoid(rewards[..., 0] - rewards[..., 1])

    def loss_of(params):
        logits = transformer.logits(task.net, params, batch.prompts, batch.responses)
        log_ratio = policy.log_probs(logits, batch.responses) - batch.ref_log_probs
        u = jnp.sum(log_ratio * batch.mask, -1).reshape(rewards.shape)
        margin = kl_coef * (u[..., 0] - u[..., 1])
        return jnp.mean(jax.nn.softplus(margin) - label * margin)

    return _apply(config, state, jax.grad(loss_of)(state.params))._replace(step=state.step + 1)


_FROM_REFERENCE = ("distillation",)  # whose responses the reference policy writes
_UPDATES = {
    "rloo": _score_function(leave_one_out),
    "reinforce": _score_function(batch_baseline),
    "expert_iteration": _score_function(best_of_group),  # RAFT: Dong et al. 2023, one step a batch
    "distillation": _score_function(best_of_group),  # towards best-of-n itself, n = group_size (Amini et al. 2024)
    "online_dpo": _online_dpo,
    "ppo": _ppo,
    "grpo": _grpo,
}
