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
    language, config = inputs.language, cell.config
    seeds, members = np.asarray(config.draws_of_trunks, np.int32).T
    params, losses = _trained(language, config.trunks, jax.device_put((seeds, members)))
    held_out = to_numpy(_held_out(language, config.trunks, params))
    record = dict(
        params=transformer.num_params(policy.network(language, config.trunks)),
        loss_curve=thinned(to_numpy(losses).mean(0)),
        held_out_loss=held_out.tolist(),  # nats a token, of each
    )
    return record, {}, {"arrays": {"params": to_numpy(params)}}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _trained(language, config, runs):
    def one(run):
        seed, member = run
        key = jax.random.fold_in(streams.key(seed, "trunk"), member)
        return policy.fitted(language, config, *jax.random.split(key))

    net = policy.network(language, config)
    at_once = footprint.at_once(footprint.of_training(net, config.batch * net.max_len))
    return mapped(one, at_once)(runs)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _held_out(language, config, params):
    k_prompt, k_demo = jax.random.split(streams.key(config.seed, "trunk.report"))
    prompts = language.prompts(k_prompt, HELD_OUT, held_out=True)
    demos = language.demonstrations(k_demo, prompts)
    net = policy.network(language, config)
    return mapped(lambda params: policy.cross_entropy(net, params, prompts, demos))(params)
