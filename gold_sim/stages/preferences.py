"""The stage `preferences`: an annotator who reads gold labels pairs of the candidates, or ranks them."""

import numpy as np

from gold_sim import preferences
from gold_sim.rewards import gold
from gold_sim.stages.parallel import to_numpy


def blank(language, config) -> dict:
    p, length = config.preferences, language.response_len
    arrays = dict(
        prompts=np.zeros((p.num_pairs, language.prompt_len), np.int32),
        responses=np.zeros((p.num_pairs, 2, length), np.int32),
        gold=np.zeros((p.num_pairs, 2), np.float32),
        labels=np.zeros(p.num_pairs, bool),
    )
    if p.keep == "ranking":
        arrays["ranked"] = np.zeros((p.num_pairs, p.ranked, length), np.int32)
    return arrays


def preference_data(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.preferences
    net, judge, _ = inputs.gold("gold")
    drawn = inputs.arrays("candidates")
    prompts, responses = np.asarray(drawn["prompts"]), np.asarray(drawn["responses"], np.int32)
    raw = gold.raw_of(net, judge.params, prompts, responses, progress=progress)
    scores = (raw - np.asarray(judge.mean)) / np.asarray(judge.std)
    collected = to_numpy(preferences.collect(config, language, prompts, responses, scores))
    agreement = np.mean(collected.labels == (collected.margin > 0))
    record = dict(margin_sd=float(np.std(collected.margin)), agreement_with_gold=float(agreement))
    return record, {}, {"arrays": present(collected)}


def present(found) -> dict:
    """Arrays of preferences; rankings may not have been kept."""
    return to_numpy({name: a for name, a in found._asdict().items() if a is not None})
