"""PPO for language models: several clipped gradient steps a batch, with a learned value of every token as baseline."""

import jax
import jax.numpy as jnp

from gold_sim import policy
from gold_sim.networks import transformer
from gold_sim.optimisation import clipped
from gold_sim.optimisation.policy_gradient import Batch, Task, TrainState


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


def update(task: Task, state: TrainState, batch: Batch) -> TrainState:
    """PPO for language models: KL in the token reward, GAE, clipped ratios, a value head (Ziegler et al. 2019)."""
    config = task.config
    last = batch.mask & ~jnp.concatenate([batch.mask[..., 1:], jnp.zeros_like(batch.mask[..., :1])], -1)
    token_rewards = -task.kl_coef * (batch.old_log_probs - batch.ref_log_probs) * batch.mask
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
        loss = -mean(clipped.surrogate(ratio, advantages, config.clip))
        loss = loss + config.value_coef * 0.5 * mean(jnp.square(values - returns))
        return loss, clipped.share(ratio, batch.mask, config.clip)

    return clipped.minibatched(loss_of, task, state, (batch, advantages, returns))
