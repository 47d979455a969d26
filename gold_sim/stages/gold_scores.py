"""The stage `gold_scores`: gold and the rubric score the samples of a pool."""

import functools

import jax
import numpy as np

from gold_sim.networks import pieces
from gold_sim.rewards import gold
from gold_sim.stages.parallel import to_numpy


def gold_scores(cell, inputs, store, progress):
    """Gold and the rubric of every sample, [P, N] each, in their own standard deviations."""
    net, judge, _ = inputs.gold("gold")
    stored = inputs.arrays("pool")
    prompts, responses = np.asarray(stored["prompts"]), np.asarray(stored["responses"], np.int32)
    parts = []
    for i in range(len(prompts)):
        parts.append(to_numpy(_of_prompt(inputs.language, net, judge, prompts[i], responses[i])))
        progress(i + 1, len(prompts))
    return {}, {}, {"arrays": {name: np.stack([part[name] for part in parts]) for name in parts[0]}}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _of_prompt(language, net, judge, prompt, responses):
    """Gold's and the rubric's scores of the responses [N, L] to one prompt, [N] each."""

    def some(responses):
        each = prompt[None], responses[None]
        return dict(gold=gold.scores(net, judge, *each)[0], rubric=gold.rubric(language, judge, *each)[0])

    return pieces.of_samples(some, responses)
