"""The stage `pretrained`: language models of the reward models' size, whose trunks reward models may start with.

They are trained on demonstrations as the reference policy is, for as many steps and at the same rate. So a pretrained
trunk knows the language and nothing of gold.
"""

import functools

import jax
import numpy as np

from gold_sim import policy, streams
from gold_sim.networks import footprint, transformer
from gold_sim.stages.parallel import mapped, to_numpy
from gold_sim.stages.tables import thinned

HELD_OUT = 2048  # prompts of the reported loss, with a demonstration each


def blank(language, config) -> dict:
    return dict(params=transformer.zeros(policy.network(language, config.trunks), len(config.draws_of_trunks)))


def pretrained(cell, inputs, store, progress):
    """Parameters [R, ...] in the order of Config.draws_of_trunks: by seed, then by member."""
    language, config, draws = inputs.language, cell.config.trunks, cell.config.draws_of_trunks
    shown = [_demonstrated(language, config.batch, config.steps, *draw) for draw in draws]
    k_inits, _ = _keys(*np.asarray(draws, np.int32).T)
    params, losses = _trained(language, config, (k_inits, *map(np.stack, zip(*shown, strict=True))))
    k_prompt, k_demo = jax.random.split(streams.key(config.seed, "trunk.report"))
    prompts = language.prompts(k_prompt, HELD_OUT, held_out=True)
    held_out = to_numpy(_held_out(language, config, params, prompts, policy.shown(language, k_demo, prompts)))
    record = dict(
        params=transformer.num_params(policy.network(language, config)),
        loss_curve=thinned(to_numpy(losses).mean(0)),
        held_out_loss=held_out.tolist(),  # nats a token, of each
    )
    return record, {}, {"arrays": {"params": to_numpy(params)}}


@functools.lru_cache(maxsize=1)  # trunks of all sizes learn from the same: 2 CPU-seconds and 15 MB at preset cpu
def _demonstrated(language, batch: int, steps: int, seed: int, member: int):
    _, k_demos = _keys(*np.array([[seed], [member]], np.int32))
    return policy.demonstrated(language, batch, steps, k_demos[0])


@jax.jit
def _keys(seeds, members):
    """Keys of the trunks' initialisations and of their demonstrations, [R] each."""
    of = lambda seed, member: tuple(jax.random.split(jax.random.fold_in(streams.key(seed, "trunk"), member)))
    return jax.vmap(of)(seeds, members)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _trained(language, config, runs):
    net = policy.network(language, config)
    at_once = footprint.at_once(footprint.of_training(net, config.batch * net.max_len))
    return mapped(lambda run: policy.fitted(language, config, *run), at_once)(runs)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _held_out(language, config, params, prompts, demos):
    net = policy.network(language, config)
    return mapped(lambda params: policy.cross_entropy(net, params, prompts, demos))(params)
