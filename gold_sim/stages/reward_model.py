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
from gold_sim.rewards import convergence, reward_model, reward_network
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
    def begin(self, runs, trunks):
        """trunks: parameters that each run starts with [R, ...], or None."""
        return mapped(lambda run: reward_model.start(self.language, self.config, *run[0], run[1]))((runs, trunks))

    @functools.partial(jax.jit, static_argnums=0, donate_argnames="states")
    def advance(self, at, chunk, states, train):
        def one(run):
            at, plan, state = run
            return reward_model.advance(self.language, self.config, self.of(train, at), plan, state)

        at_once = footprint.at_once(self.net.training_bytes(self.tokens(self.config.batch)))
        return mapped(one, at_once)((at, chunk, states))

    @functools.partial(jax.jit, static_argnums=0)
    def seek(self, at, batches, seen, most, searches, train, stopping):
        """Every run's steps up to its next evaluation, and that; runs that are done stay as they are."""

        def one(run):
            at, batches, seen, search = run
            pairs = self.of(train, at), self.of(stopping, at)
            return reward_model.seek(self.language, self.config, *pairs, batches, seen, most, search)

        of_step = self.net.training_bytes(self.tokens(self.config.batch))
        at_once = footprint.at_once(max(of_step, self.net.forward_bytes(self.tokens(stopping.labels.shape[-1]))))
        return mapped(one, at_once)((at, batches, seen, searches))

    @functools.partial(jax.jit, static_argnums=0)
    def finish(self, at, seen, params, held_out):
        def one(run):
            at, seen, params = run
            return reward_model.finish(self.language, self.config, self.of(held_out, at), seen, params)

        at_once = footprint.at_once(self.net.forward_bytes(self.tokens(held_out.labels.shape[-1])))  # all together
        return mapped(one, at_once)((at, seen, params))

    @functools.partial(jax.jit, static_argnums=0)
    def average(self, at, params, held_out):
        one = lambda run: reward_model.weight_average(self.net, run[1], self.of(held_out, run[0]))
        return mapped(one)((at, params))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _plans(language, config, collected: int, runs):
    return mapped(lambda run: reward_model.plan(language, config, collected, *run))(runs)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _orders(config, collected: int, runs, epoch):
    return mapped(lambda run: reward_model.order(config, collected, *run, epoch))(runs)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _seen(language, config, runs):
    return mapped(lambda run: reward_model.seen_by(language, config, *run))(runs)


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
    train, stopping, held_out = _parts(fitting, config, pairs)

    at, member = np.repeat(np.arange(num_seeds), members), np.tile(np.arange(members), num_seeds)
    seeds = np.asarray(config.seeds, np.int32)[at]
    on_host, changed = held_out, np.mean(train.labels != (train.gold[..., 1] > train.gold[..., 0]), -1)
    places, *run = jax.device_put([np.asarray(a, np.int32) for a in (at, seeds, member)])
    train, stopping, held_out = jax.device_put((train, stopping, held_out))
    states = fitting.begin(run, _trunks(inputs, rm, at, member))
    if rm.train_until == "converged":
        seen, params, metrics = _until_converged(fitting, rm, places, run, states, train, stopping, progress)
    else:
        seen, params, metrics = _for_epochs(fitting, rm, places, run, states, train, progress)
    models, measured = _calibrated(
        *fitting.finish(places, seen, params, held_out), [fitting.of(on_host, i) for i in at]
    )
    arrays = models._asdict()
    if members > 1:
        by_seed = jax.tree.map(lambda a: a.reshape(num_seeds, members, *a.shape[1:]), models)
        seen = fitting.average(jnp.arange(num_seeds), jax.device_put(by_seed.params), held_out)
        averaged, _ = _calibrated(*seen, [fitting.of(on_host, i) for i in range(num_seeds)])
        arrays = dict(by_seed._asdict(), average=averaged._asdict())
    table = dict(tables.describe(cell), cell=cell.fingerprint, seed=seeds, member=member, **measured, **metrics)
    table |= dict(train_until=rm.train_until, start=rm.start, trunk=rm.trunk if rm.start == "pretrained" else "none")
    table["labels_changed"] = changed[at] if fitting.apart else changed
    columns = {name: table[name] for name in REWARD_MODEL_COLUMNS}
    record = dict(params=reward_network.num_params(fitting.net))
    return record, {"reward_models": tables.broadcast(columns, len(seeds))}, {"arrays": arrays}


def _parts(fitting: Fitting, config, pairs):
    """(pairs to train on, pairs that stop training, pairs that measure and calibrate), stacked where seeds differ."""

    def of_seed(pairs):
        train, held_out = preferences.split(config.preferences, pairs)
        return train, *reward_model.shares(fitting.config, held_out)

    if not fitting.apart:
        return of_seed(pairs)
    each = [of_seed(fitting.of(pairs, i)) for i in range(len(config.seeds))]
    return tuple(jax.tree.map(lambda *a: np.stack(a), *part) for part in zip(*each, strict=True))


def _trunks(inputs, rm: RewardModelConfig, at, member):
    """The parameters that each run starts with [R, ...]; None where they are fresh.  at, member: of each run [R]."""
    if rm.start == "fresh":
        return None
    trunks = inputs.arrays("trunk")["params"]
    if rm.start == "reference":
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (len(at), *a.shape)), trunks)
    place = {"shared": 0 * at, "by_seed": at, "own": at * rm.members + member}[rm.trunk]
    return jax.tree.map(lambda a: a[place], trunks)


def _for_epochs(fitting: Fitting, rm: RewardModelConfig, places, run, states, train, progress):
    """(seen, trained parameters, columns of columns.REWARD_MODEL_COLUMNS) of all runs after rm.epochs passes."""
    plan = _plans(fitting.language, rm, train.labels.shape[-1], run)
    losses = []
    for chunk in _chunks(plan, progress):
        states, loss = fitting.advance(places, chunk, states, train)
        losses.append(loss)
        jax.block_until_ready(losses[-2:-1])  # else progress would count steps that are only queued
    losses = np.concatenate(list(map(to_numpy, losses)), 1)[:, : plan.rates.shape[1]]
    return plan.seen, states.params, reward_model.of_epochs(rm, losses)


def _until_converged(fitting: Fitting, rm: RewardModelConfig, places, run, states, train, stopping, progress):
    """The results of `_for_epochs` for runs that each stop where their loss on other pairs no longer falls."""
    collected = train.labels.shape[-1]
    space = reward_model.spacing(rm, collected)
    seen, searches = _seen(fitting.language, rm, run), mapped(reward_model.begin_search)(states)
    of_epoch = lambda epoch: to_numpy(_orders(rm, collected, run, epoch))
    for i, batches in enumerate(convergence.intervals(space, of_epoch)):
        progress(i, space.most)
        searches = fitting.seek(places, batches, seen, space.most, searches, train, stopping)
        if to_numpy(searches.course.done).all():
            break
    return seen, searches.best, reward_model.of_search(to_numpy(searches), space)


def _calibrated(params, raw, held_out: list):
    """(RewardModel, metrics) of several runs, stacked, on the host.  held_out: the held-out pairs of each run."""
    params, raw = to_numpy((params, raw))
    take = lambda i: jax.tree.map(lambda a: a[i], params)
    each = [reward_model.calibrated(take(i), *one) for i, one in enumerate(zip(raw, held_out, strict=True))]
    return jax.tree.map(lambda *a: np.stack(a), *each)
