"""The stage `gold`: the gold reward model is trained on the rubric, then frozen and standardised."""

import functools

import jax
import numpy as np

from gold_sim import streams
from gold_sim.rewards import gold, reward_network
from gold_sim.stages.parallel import alone, here, to_numpy
from gold_sim.stages.tables import thinned


def blank(language, config) -> dict:
    params = reward_network.zeros(gold.network(language, config.gold))
    affine = dict(mean=np.float32(0), std=np.float32(1), rubric_mean=np.float32(0), rubric_std=np.float32(1))
    return dict(params=params, **affine)


def gold_model(cell, inputs, store, progress):
    language, config = inputs.language, cell.config
    net = gold.network(language, config.gold)
    ref_params = inputs.arrays("reference")["params"]
    samples = functools.partial(gold.reference_samples, language, config.reference, ref_params)
    k_train, k_data, k_centre, k_test = jax.random.split(streams.key(config.gold.seed, "gold"), 4)
    trunk = inputs.arrays("trunk")["params"] if config.gold.pretraining else None
    train = alone(lambda *given: gold.train(language, config.gold, k_train, *given))
    params, losses = here(train(*samples(k_data, gold.NUM_REFERENCE, gold.GROUP), trunk))
    centre = samples(k_centre, gold.NUM_CENTRE, 2)
    standardised = gold.standardised(language, net, params, *centre)
    record = dict(
        params=reward_network.num_params(net),
        # Correlation with the rubric, by source.
        fidelity=gold.fidelity(language, net, params, k_test, *(a[: gold.NUM_FIDELITY] for a in centre)),
        loss_curve=thinned(losses),
        mean=float(standardised.mean),
        std=float(standardised.std),
        rubric_mean=float(standardised.rubric_mean),
        rubric_std=float(standardised.rubric_std),
    )
    return record, {}, {"arrays": to_numpy(standardised._asdict())}
