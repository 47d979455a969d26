"""Online DPO: a preference loss on pairs that the policy writes itself."""

import jax
import jax.numpy as jnp

from gold_sim import policy
from gold_sim.networks import transformer
from gold_sim.optimisation.policy_gradient import Batch, Task, TrainState, descend


def update(task: Task, state: TrainState, batch: Batch) -> TrainState:
    """DPO on pairs of the policy's own responses, labelled by the reward's Bradley-Terry probability (Guo et al. 2024).

    beta is kl_coef. A pair's loss is least where kl_coef (u_1 - u_2) = r_1 - r_2, so the optimum is the exact tilt,
    whichever policy writes the pairs. The pairs of a group are its responses (0, 1), (2, 3), ...
    """
    rewards = batch.rewards.reshape(task.config.prompts, -1, 2)
    label = jax.nn.sigmoid(rewards[..., 0] - rewards[..., 1])

    def loss_of(params):
        logits = transformer.logits(task.net, params, batch.prompts, batch.responses)
        log_ratio = policy.log_probs(logits, batch.responses) - batch.ref_log_probs
        u = jnp.sum(log_ratio * batch.mask, -1).reshape(rewards.shape)
        margin = task.kl_coef * (u[..., 0] - u[..., 1])
        return jnp.mean(jax.nn.softplus(margin) - label * margin)

    return descend(task.config, state, jax.grad(loss_of)(state.params))._replace(step=state.step + 1)
