"""The stage `reward_model`: proxies are fit to preferences, for every seed and every member of an ensemble."""

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import preferences
from gold_sim.config import RewardModelConfig
from gold_sim.language import Language
from gold_sim.networks import footprint
from gold_sim.rewards import reward_model, reward_network
from gold_sim.stages import tables
from gold_sim.stages.parallel import mapped, to_numpy
from gold_sim.store.columns import REWARD_MODEL_COLUMNS

STEPS_A_CHUNK = 16  # few, because the last chunk computes this many however few of them it needs


def _chunks(plan: reward_model.Plan, progress):
    """Parts of a plan of several runs, [runs, steps, ...], of STEPS_A_CHUNK steps each.

    The last part is filled up with steps at rate 0.
    """
    on_host = to_numpy(plan._replace(seen=None))
    steps = on_host.rates.shape[1]
    for start in range(0, steps, STEPS_A_CHUNK):
        progress(start, steps)
        some = lambda a, start=start: a[:, start : start + STEPS_A_CHUNK]
        missing = max(0, start + STEPS_A_CHUNK - steps)
        filled = lambda a, missing=missing: np.pad(a, [(0, 0), (0, missing)] + [(0, 0)] * (a.ndim - 2))
        yield jax.tree.map(lambda a: filled(some(a)), on_host)._replace(seen=plan.seen)


@dataclass(frozen=True)
class Fitting:
    """The programs that train reward models, the same for every number of pairs: only the plan depends on that number.

    It is a static argument, as policy_gradient.Training is: cells of one process whose fields agree share its programs.
    Data are arguments, because XLA would spend minutes folding data that a program closes over.
    """

    language: Language
    config: RewardModelConfig  # without num_pairs
    apart: bool  # every seed has pairs of its own: data are [S, D, ...] and not [D, ...]

    @property
    def net(self):
        return reward_network.make(self.language, self.config)

    def of(self, data, at):
        """The pairs of one seed."""
        return jax.tree.map(lambda a: a[at], data) if self.apart else data

    def tokens(self, pairs: int) -> int:
        return pairs * 2 * (self.language.response_len + self.language.prompt_len)

    @functools.partial(jax.jit, static_argnums=0)
    def begin(self, runs):
        return mapped(lambda run: reward_model.start(self.language, self.config, *run))(runs)

    @functools.partial(jax.jit, static_argnums=0, donate_argnames="states")
    def advance(self, at, chunk, states, train):
        def one(run):
            at, plan, state = run
            return reward_model.advance(self.language, self.config, self.of(train, at), plan, state)

        at_once = footprint.at_once(self.net.training_bytes(self.tokens(self.config.batch)))
        return mapped(one, at_once)((at, chunk, states))

    @functools.partial(jax.jit, static_argnums=0)
    def finish(self, at, seen, states, held_out):
        def one(run):
            at, seen, state = run
            return reward_model.finish(self.language, self.config, self.of(held_out, at), seen, state)

        at_once = footprint.at_once(self.net.forward_bytes(self.tokens(held_out.labels.shape[-1])))  # all together
        return mapped(one, at_once)((at, seen, states))

    @functools.partial(jax.jit, static_argnums=0)
    def average(self, at, params, held_out):
        one = lambda run: reward_model.weight_average(self.net, run[1], self.of(held_out, run[0]))
        return mapped(one)((at, params))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _plans(language, config, collected: int, runs):
    return mapped(lambda run: reward_model.plan(language, config, collected, *run))(runs)


def blank(language, config) -> dict:
    rm, seeds = config.reward_model, len(config.seeds)

    def models(*leading: int):
        params = reward_network.zeros(reward_network.make(language, rm), *leading)
        return dict(params=params, scale=np.ones(leading, np.float32), shift=np.zeros(leading, np.float32))

    if rm.members == 1:
        return models(seeds)
    return dict(models(seeds, rm.members), average=models(seeds))


def reward_models(cell, inputs, store, progress):
    """Proxies of every seed; with several members, [S, M, ...] and beside them the average of each seed's weights."""
    language, config, rm = inputs.language, cell.config, cell.config.reward_model_of_round
    pairs = preferences.Preferences(**inputs.arrays("preferences"))
    if config.preferences.labelled_anew:
        pairs = preferences.labelled_anew(config.preferences, language, pairs, config.seeds)
    pairs = to_numpy(pairs)
    members, num_seeds = rm.members, len(config.seeds)
    fitting = Fitting(language, dataclasses.replace(rm, num_pairs=None), apart=pairs.labels.ndim > 1)
    of_config = lambda p: preferences.split(config.preferences, p)
    if not fitting.apart:
        train, held_out = of_config(pairs)
    else:
        each = [of_config(fitting.of(pairs, i)) for i in range(num_seeds)]
        train, held_out = (jax.tree.map(lambda *a: np.stack(a), *part) for part in zip(*each, strict=True))

    at, member = np.repeat(np.arange(num_seeds), members), np.tile(np.arange(members), num_seeds)
    seeds = np.asarray(config.seeds, np.int32)[at]
    on_host, changed = held_out, np.mean(train.labels != (train.gold[..., 1] > train.gold[..., 0]), -1)
    places, *run = jax.device_put([np.asarray(a, np.int32) for a in (at, seeds, member)])
    train, held_out = jax.device_put((train, held_out))
    plan, states = _plans(language, rm, train.labels.shape[-1], run), fitting.begin(run)
    losses = []
    for chunk in _chunks(plan, progress):
        states, loss = fitting.advance(places, chunk, states, train)
        losses.append(loss)
        jax.block_until_ready(losses[-2:-1])  # else progress would count steps that are only queued
    seen = fitting.finish(places, plan.seen, states, held_out)
    models, metrics = _calibrated(*seen, [fitting.of(on_host, i) for i in at])
    losses, steps = np.concatenate(list(map(to_numpy, losses)), 1), plan.rates.shape[1]
    metrics["train_loss"] = losses[:, steps - reward_model.last_steps(steps) : steps].mean(1)
    arrays = models._asdict()
    if members > 1:
        by_seed = jax.tree.map(lambda a: a.reshape(num_seeds, members, *a.shape[1:]), models)
        seen = fitting.average(jnp.arange(num_seeds), jax.device_put(by_seed.params), held_out)
        averaged, _ = _calibrated(*seen, [fitting.of(on_host, i) for i in range(num_seeds)])
        arrays = dict(by_seed._asdict(), average=averaged._asdict())
    table = dict(tables.describe(cell), cell=cell.fingerprint, seed=seeds, member=member, **metrics)
    table["labels_changed"] = changed[at] if fitting.apart else changed
    columns = {name: table[name] for name in REWARD_MODEL_COLUMNS}
    record = dict(params=reward_network.num_params(fitting.net))
    return record, {"reward_models": tables.broadcast(columns, len(seeds))}, {"arrays": arrays}


def _calibrated(params, raw, held_out: list):
    """(RewardModel, metrics) of several runs, stacked, on the host.  held_out: the held-out pairs of each run."""
    params, raw = to_numpy((params, raw))
    take = lambda i: jax.tree.map(lambda a: a[i], params)
    each = [reward_model.calibrated(take(i), *one) for i, one in enumerate(zip(raw, held_out, strict=True))]
    return jax.tree.map(lambda *a: np.stack(a), *each)
