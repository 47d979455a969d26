"""The part that PPO and GRPO share: several gradient steps on each batch, with clipped ratios."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gold_sim.optimisation.policy_gradient import Task, TrainState, descend, keys_of_step


def surrogate(ratio, advantages, clip):
    """PPO's pessimistic surrogate of each token (Schulman et al. 2017, eq. 7)."""
    return jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages)


def minibatched(loss_of: Callable, task: Task, state: TrainState, data) -> TrainState:
    """The state after epochs x minibatches gradient steps over `data` (leading axis: prompts).

    loss_of: (params, part of data) -> (loss, share of clipped ratios).
    """
    config, key = task.config, keys_of_step(task, state)[2]

    def one_minibatch(state, pick):
        part = jax.tree.map(lambda a: a[pick], data)
        (_, clipped), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params, part)
        return descend(config, state, grads), clipped

    orders = jax.vmap(lambda k: jax.random.permutation(k, config.prompts))(jax.random.split(key, config.epochs))
    picks = orders.reshape(config.epochs * config.minibatches, -1)
    state, clipped = jax.lax.scan(one_minibatch, state, picks)
    return state._replace(step=state.step + 1, clip_fraction=jnp.mean(clipped))


def share(ratio, mask, clip):
    """Share of visited tokens whose ratio is outside 1 +- clip."""
    return jnp.sum((jnp.abs(ratio - 1) > clip) * mask) / jnp.sum(mask)
