"""GRPO: PPO's clipped steps, with the group's mean in place of a learned value and the KL penalty in the loss."""

import jax.numpy as jnp

from gold_sim import policy
from gold_sim.networks import transformer
from gold_sim.optimisation import clipped
from gold_sim.optimisation.policy_gradient import Batch, Task, TrainState


def group_normalised(rewards):
    """(r - mean) / std within each prompt's group, [P, N] (GRPO: Shao et al. 2024, eq. 3 ff.)."""
    centred = rewards - jnp.mean(rewards, 1, keepdims=True)
    return centred / (jnp.std(rewards, 1, keepdims=True) + 1e-4)


def update(task: Task, state: TrainState, batch: Batch) -> TrainState:
    """GRPO: group-normalised rewards, clipped token ratios, KL estimator in the loss (Shao et al. 2024, eq. 3-4).

    Losses of tokens are summed over a response. An average over its length would favour long bad responses.
    The KL term acts at each visited state with the visits held fixed, so the optimum is a token-level tilt
    (exact.grpo_tilt), not the tilt of whole responses. kl_loss "k3" is the paper's: its gradient is that of
    KL(ref_policy || policy); "k2" has the gradient of KL(policy || ref_policy) (Schulman 2020, note on
    approximating KL).
    """
    config, advantages = task.config, group_normalised(batch.rewards)

    def loss_of(params, part):
        batch, advantages = part
        logits = transformer.logits(task.net, params, batch.prompts, batch.responses)
        log_probs = policy.log_probs(logits, batch.responses)
        ratio = jnp.exp((log_probs - batch.old_log_probs) * batch.mask)
        objective = clipped.surrogate(ratio, advantages[..., None], config.clip)
        if task.penalised:
            u = log_probs - batch.ref_log_probs
            k2 = 0.5 * jnp.square(u)
            k3 = jnp.exp(-u) - 1 + u
            objective = objective - task.kl_coef * (k2 if config.kl_loss == "k2" else k3)
        loss = -jnp.mean(jnp.sum(objective * batch.mask, -1))
        return loss, clipped.share(ratio, batch.mask, config.clip)

    return clipped.minibatched(loss_of, task, state, (batch, advantages))
