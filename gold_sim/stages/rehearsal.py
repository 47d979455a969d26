"""A cell's first step on zeros, before what it reads is there: so that a worker with nothing to do compiles ahead.

Programs depend on shapes alone. The stage itself is run, on zeros of the shapes that its upstream will have, until it
has told of its first step; what it compiled stays in the compilation cache, what it computed is dropped.
"""

import contextlib

import jax
import numpy as np

from gold_sim import policy, preferences
from gold_sim.networks import transformer
from gold_sim.rewards import gold, reward_network
from gold_sim.stages.inputs import Inputs
from gold_sim.stages.pipeline import STAGES


class _FirstStepDone(Exception):
    pass


def rehearse(store, cell) -> None:
    """Compile the programs of a cell of a stage in cells.STEPWISE, of the first round. The store is only read."""

    def progress(done: int, total: int):
        if done > 0:
            raise _FirstStepDone

    with contextlib.suppress(_FirstStepDone):
        STAGES[cell.stage](cell, _Blank(store, cell), _Forgetful(), progress)


class _Forgetful:
    """A store without checkpoints."""

    def load_checkpoint(self, fingerprint: str):
        return None


class _Blank(Inputs):
    """Zeros where an upstream result is not stored yet."""

    def arrays(self, *roles: str) -> dict:
        cell = self.cell(*roles)
        if self._store.find(cell.stage, cell.fingerprint) is not None:
            return super().arrays(*roles)
        return _BLANK[cell.stage](self.language, cell.config)


def _params(shapes, *leading: int) -> dict:
    return jax.tree.map(lambda a: np.zeros((*leading, *a.shape), a.dtype), shapes)


def _reference(language, config):
    return dict(params=_params(transformer.shapes(policy.network(language, config.reference))))


def _gold(language, config):
    return dict(
        params=_params(reward_network.shapes(gold.network(language, config.gold))),
        mean=np.float32(0),
        std=np.float32(1),
    )


def _preferences(language, config):
    p, length = config.preferences, language.response_len
    found = dict(
        prompts=np.zeros((p.num_pairs, language.prompt_len), np.int32),
        responses=np.zeros((p.num_pairs, 2, length), np.int32),
        gold=np.zeros((p.num_pairs, 2), np.float32),
        labels=np.zeros(p.num_pairs, bool),
    )
    if p.annotator in preferences.RANKERS and p.keep == "ranking":
        found["ranked"] = np.zeros((p.num_pairs, p.ranked, length), np.int32)
    return found


def _reward_model(language, config):
    rm, seeds = config.reward_model, len(config.seeds)

    shapes = reward_network.shapes(reward_network.make(language, rm))

    def models(*leading: int):
        scale, shift = np.ones(leading, np.float32), np.zeros(leading, np.float32)
        return dict(params=_params(shapes, *leading), scale=scale, shift=shift)

    if rm.members == 1:
        return models(seeds)
    return dict(models(seeds, rm.members), average=models(seeds))


def _pool(language, config):
    b = config.best_of_n
    return dict(
        prompts=np.zeros((b.num_prompts, language.prompt_len), np.int32),
        responses=np.zeros((b.num_prompts, b.num_samples, language.response_len), np.uint16),
    )


_BLANK = dict(reference=_reference, gold=_gold, preferences=_preferences, reward_model=_reward_model, pool=_pool)
