"""The stage `gold_trunk`: a language model in gold's size, with whose trunk gold starts.

It is fit to demonstrations as the reference policy is, and reads nothing else. So a worker can train it while the
reference policy is trained, and golds that differ in what follows share it.
"""

import jax

from gold_sim import policy, streams
from gold_sim.networks import transformer
from gold_sim.stages.parallel import alone, to_numpy


def blank(language, config) -> dict:
    return dict(params=transformer.zeros(policy.network(language, config.gold_trunk)))


def gold_trunk(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.gold_trunk
    of_gold = jax.random.split(streams.key(config.seed, "gold"), 4)[0]  # when gold trained its own, it split this key
    k_init, k_demos = jax.random.split(jax.random.fold_in(of_gold, 1))
    # Parameters alone: with the losses XLA fuses otherwise, and gold's last bits move.
    fit = alone(jax.jit(lambda *shown: policy.fitted(language, config, k_init, *shown)[0]))
    params = fit(*policy.demonstrated(language, config.batch, config.steps, k_demos))
    record = dict(params=transformer.num_params(policy.network(language, config)))
    return record, {}, {"arrays": {"params": to_numpy(params)}}
