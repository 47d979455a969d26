"""The stage `scores`: reward models score the samples of a pool, once for all the rules that select by them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import rewards
from gold_sim.networks import pieces
from gold_sim.rewards import gold
from gold_sim.stages.parallel import mapped, to_numpy


def scores(cell, inputs, store, progress):
    """Calibrated scores of every member on the pool, [S, M, P, N], and of their weight average [S, 1, P, N]."""
    stored = inputs.arrays("pool")
    gold_net, judge = gold.network(inputs.language, cell.config.gold), None
    if cell.config.reward != "proxy":
        _, judge, _ = inputs.gold("gold")
    prompts, responses = np.asarray(stored["prompts"]), np.asarray(stored["responses"], np.int32)
    wanted = {"members": rewards.load(cell, inputs, gold_net)}
    if cell.config.reward == "proxy" and cell.config.reward_model.members > 1:
        wanted["average"] = rewards.load(cell, inputs, gold_net, average=True)
    arrays = {}
    for name, reward in wanted.items():
        parts = []
        for i in range(len(prompts)):
            parts.append(to_numpy(_scored(reward, reward.runs, judge, prompts[i], responses[i])))
            progress(i + 1, len(prompts))
        arrays[name] = np.stack(parts, axis=2)
    return {}, {}, {"arrays": arrays}


@functools.partial(jax.jit, static_argnums=0)
def _scored(reward, runs, judge, prompt, responses):
    """Scores [S, M, N] of the responses [N, L] to one prompt."""

    def some(part):
        scores = mapped(lambda run: reward.members(run, judge, prompt[None], part[None])[:, 0])(runs)
        return jnp.moveaxis(scores, -1, 0)

    return jnp.moveaxis(pieces.of_samples(some, responses), 0, -1)
