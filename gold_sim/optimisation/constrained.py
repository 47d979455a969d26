"""Optimisation under constraints: component rewards held at their proxy points, and a KL penalty that seeks its target.

A proxy point is the value of a component past which gold falls (Moskovitz et al. 2024). The Lagrangian is
max_pi min_mu v_0 + sum_i mu_i (v_i - theta_i), with bounded multipliers: the mixed advantage is
(C - sum_i s(mu_i)) A_0 + sum_i s(mu_i) A_i, every stream whitened before it is mixed (their section 4 and code).

    mu           v_0 = -KL, every component at least at its threshold; s = sigmoid
    xi           v_0 = -KL, every component at its threshold; s = tanh, which may push back
    all          v_0 = sum of the components, none above its threshold; s = sigmoid
    sat          no multipliers: the reward of a response is -sum_i (r_i - theta_i)^2
    adaptive_kl  reward - c KL, c rising while KL is above its target (Ziegler et al. 2019, section 2.2)

The task is policy_gradient.Task. Its kl_coef is not used, since constraints set their own weight of the KL. A batch is
scored with component rewards [C, P, N], or with one reward [P, N] for adaptive_kl.

A threshold below the reference policy's value cannot be met. Near it the whitened KL stream, of weight C - sum_i s > 0,
pulls back harder than a component of weight s pushes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gold_sim import policy
from gold_sim.networks import transformer
from gold_sim.optimisation import policy_gradient as pg

MULTIPLIER_RATE, MULTIPLIER_MOMENTUM = 0.02, 0.1  # descent on the multipliers (the authors: 0.1, 0.1)
# Weight of the violation itself beside its integral mu. The authors have none; without it policy and multipliers circle
# each other undamped, since whitened streams pull as hard near the threshold as far from it (Stooke et al. 2020).
PROPORTIONAL = 1.0
ADAPT_LIMIT, ADAPT_RATE = 0.2, 0.1  # adaptive_kl: the relative error of KL is cut at the limit; its weight a step
FIRST_KL_COEF = 0.1  # adaptive_kl: the coefficient at the start, gold s.d. a nat


class TrainState(NamedTuple):
    """policy_gradient.TrainState with the multipliers.

    adaptive_kl has one multiplier, the logarithm of its coefficient.
    """

    params: dict
    opt_state: tuple
    step: jax.Array
    clip_fraction: jax.Array
    multipliers: jax.Array  # [C]
    velocity: jax.Array  # [C] of the multipliers' momentum


class Batch(NamedTuple):
    """One step's responses and what is fixed about them while parameters move."""

    prompts: jax.Array  # [P, Lp]
    responses: jax.Array  # [P, N, L]
    mask: jax.Array  # [P, N, L] visited states
    log_ratio: jax.Array  # [P, N] of whole responses, policy over reference, nats
    kl: jax.Array  # mean over responses, nats
    rewards: jax.Array | None = None  # [C, P, N], or [P, N] for adaptive_kl; None until they are scored


def init(task: pg.Task, params=None) -> TrainState:
    """The first state, with all multipliers at 0.  params: where the run starts; None: at the reference policy."""
    return _starting_at(0.0, task, params)


def init_adaptive_kl(task: pg.Task, params=None) -> TrainState:
    """The first state of adaptive_kl, as by `init`; its one multiplier is the logarithm of FIRST_KL_COEF."""
    return _starting_at(jnp.log(FIRST_KL_COEF), task, params)


def _starting_at(first, task: pg.Task, params) -> TrainState:
    multipliers = jnp.full(max(1, len(task.config.thresholds)), first, jnp.float32)
    return TrainState(*pg.init(task, params), multipliers, jnp.zeros_like(multipliers))


def rollout(task: pg.Task, state: TrainState) -> Batch:
    """The policy's responses of one step, not yet scored."""
    k_prompt, k_sample, _ = pg.keys_of_step(task, state)
    prompts = task.draw_prompts(k_prompt, task.config.prompts)
    s = policy.sample(task.net, state.params, prompts, task.config.group_size, task.length, k_sample)
    mask = policy.visited(s.lengths, task.length)
    ref_logits = transformer.logits(task.net, task.ref_params, prompts, s.responses)
    log_ratio = policy.log_probs(s.logits, s.responses) - policy.log_probs(ref_logits, s.responses)
    kl = jnp.mean(policy.response_kl(s.logits, ref_logits, s.lengths))
    return Batch(prompts, s.responses, mask, jnp.sum(log_ratio * mask, -1), kl)


def whitened(rewards):
    """Leave-one-out advantages [P, N] over their standard deviation in the batch."""
    advantages = pg.leave_one_out(rewards)
    return advantages / (jnp.std(advantages) + 1e-6)


def by(mix):
    """The update that climbs the advantages of a mixing rule.

    mix: (config, state, batch) -> (advantages [P, N], multipliers [C], velocity [C]).
    """

    def update(task: pg.Task, state: TrainState, batch: Batch) -> TrainState:
        """One step's change of policy and multipliers by a scored batch."""
        advantages, multipliers, velocity = mix(task.config, state, batch)
        state = pg.climb(task, state, batch, advantages)
        return state._replace(step=state.step + 1, multipliers=multipliers, velocity=velocity)

    return update


def mu(config, state: TrainState, batch: Batch):
    """The mixing for least KL with every component at least at its threshold."""
    return _lagrangian(-batch.log_ratio, jax.nn.sigmoid, 1.0, config, state, batch)


def xi(config, state: TrainState, batch: Batch):
    """The mixing for least KL with every component at its threshold."""
    return _lagrangian(-batch.log_ratio, jnp.tanh, 1.0, config, state, batch)


def up_to_all(config, state: TrainState, batch: Batch):
    """The mixing for the largest sum of the components with none above its threshold."""
    return _lagrangian(jnp.sum(batch.rewards, 0), jax.nn.sigmoid, -1.0, config, state, batch)


def _lagrangian(objective, bound, sense, config, state, batch):
    """The mixing of `objective` [P, N] with constraints sense x (v_i - theta_i) >= 0, weighted by bound(mu_i)."""
    components = batch.rewards
    # The multipliers descend sum_i s(mu_i) sense (v_i - theta_i): up while the constraint is broken.
    slack = sense * (jnp.mean(components, (1, 2)) - jnp.asarray(config.thresholds))
    slope = jax.grad(lambda mu: jnp.sum(bound(mu) * slack))(state.multipliers)
    velocity = MULTIPLIER_MOMENTUM * state.velocity + slope
    weights = bound(state.multipliers - PROPORTIONAL * slack)
    streams = jax.vmap(whitened)(sense * components)
    total = len(config.thresholds) - jnp.sum(weights)
    advantages = total * whitened(objective) + jnp.einsum("c,cpn->pn", weights, streams)
    return advantages, state.multipliers - MULTIPLIER_RATE * velocity, velocity


def sat(config, state: TrainState, batch: Batch):
    """PPO-SAT: responses are rewarded for lying near the thresholds, and nothing holds them to the reference."""
    missed = batch.rewards - jnp.asarray(config.thresholds)[:, None, None]
    return pg.leave_one_out(-jnp.sum(jnp.square(missed), 0)), state.multipliers, state.velocity


def adaptive_kl(config, state: TrainState, batch: Batch):
    """RLOO with a KL coefficient that rises while KL is above its target; one reward [P, N] in place of components."""
    error = jnp.clip(batch.kl / config.kl_target - 1, -ADAPT_LIMIT, ADAPT_LIMIT)
    advantages = pg.leave_one_out(batch.rewards - jnp.exp(state.multipliers[0]) * batch.log_ratio)
    return advantages, state.multipliers + jnp.log1p(ADAPT_RATE * error), state.velocity
