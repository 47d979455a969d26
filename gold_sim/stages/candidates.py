"""The stage `candidates`: responses of the reference policy, from which pairs and rankings are made.

They are drawn apart from their labels, so that all annotators label the same ones, and so that a worker can draw them
while gold is still trained.
"""

import numpy as np

from gold_sim import streams
from gold_sim.rewards import gold


def blank(language, config) -> dict:
    """Zeros shaped as the arrays that the stage `preferences` reads."""
    p = config.preferences
    return dict(
        prompts=np.zeros((p.num_pairs, language.prompt_len), np.int32),
        responses=np.zeros((p.num_pairs, p.drawn, language.response_len), np.uint16),
    )


def candidates(cell, inputs, store, progress):
    """Prompts [D, Lp] and as many responses to each [D, N, L] as an annotator compares."""
    config, params = cell.config.preferences, inputs.arrays("reference")["params"]
    key = streams.key(config.seed, "preferences")
    prompts, responses = gold.reference_samples(
        *(inputs.language, cell.config.reference, params, key),
        *(config.num_pairs, config.drawn),
        progress=progress,
    )
    return {}, {}, {"arrays": dict(prompts=prompts, responses=responses.astype(np.uint16))}
