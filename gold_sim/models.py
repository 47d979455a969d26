"""The stages that make models and data: reference policy, gold, preferences, reward models.

Every stage is (cell, inputs, store, progress) -> (record, tables, arrays).
"""

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, preferences, rounds, rows, streams
from gold_sim.columns import REWARD_MODEL_COLUMNS
from gold_sim.config import RewardModelConfig
from gold_sim.inputs import alone, mapped, to_numpy
from gold_sim.language import rubric, world
from gold_sim.language.prompts import PROMPT_LEN
from gold_sim.networks import footprint, pieces, transformer
from gold_sim.rewards import gold, reward_model


def reference(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.reference
    params, losses = _here(alone(lambda: policy.sft(language, config))())
    net = policy.network(language, config)
    key = streams.key(config.seed, "reference.report")
    prompts = language.prompts(key, 2048, held_out=True)
    drawn = policy.responses(net, params, prompts, 2, language.config.response_len, jax.random.fold_in(key, 2))

    @jax.jit
    def report(params, prompts, drawn):
        demos = language.demonstrations(jax.random.fold_in(key, 1), prompts)
        # Read together and told in one array: one by one they would be a hundred kernels to compile.
        read = language.attributes(prompts, jnp.concatenate([demos, drawn], axis=1))
        rows = jnp.stack([read[name].astype(jnp.float32) for name in rubric.ATTRIBUTES])
        moments = lambda rows: jnp.stack([jnp.mean(rows, (1, 2)), jnp.std(rows, (1, 2))], axis=-1)
        written = demos.shape[1]
        return (
            policy.cross_entropy(net, params, prompts, demos),
            moments(rows[..., :written]),
            moments(rows[..., written:]),
        )

    loss, of_demos, of_samples = to_numpy(report(params, prompts, drawn))
    named = lambda moments: dict(zip(rubric.ATTRIBUTES, moments.tolist(), strict=True))  # name -> [mean, s.d.]
    record = dict(
        params=transformer.num_params(net),
        loss_curve=_thinned(losses),
        held_out_loss=float(loss),  # nats a token
        demonstration_attributes=named(of_demos),
        sampled_attributes=named(of_samples),
    )
    return record, {}, {"arrays": {"params": to_numpy(params)}}


def _here(tree):
    """What several devices made, on one of them."""
    return jax.device_put(to_numpy(tree))


def _thinned(losses) -> list[float]:
    """Some fifty of all."""
    losses = to_numpy(losses)
    return losses[:: max(1, len(losses) // 50)].tolist()


def gold_model(cell, inputs, store, progress):
    language, config = inputs.language, cell.config
    net = gold.network(language, config.gold)
    ref_params = inputs.arrays("reference")["params"]
    samples = functools.partial(gold.reference_samples, language, config.reference, ref_params)
    k_train, k_data, k_centre, k_test = jax.random.split(streams.key(config.gold.seed, "gold"), 4)
    train = alone(lambda prompts, responses: gold.train(language, config.gold, k_train, prompts, responses))
    params, losses = _here(train(*samples(k_data, gold.NUM_REFERENCE, gold.GROUP)))
    centre = samples(k_centre, gold.NUM_CENTRE, 2)
    found = gold.standardised(net, params, *centre)
    record = dict(
        params=transformer.num_params(net),
        # Correlation with the rubric, by source.
        fidelity=gold.fidelity(language, net, params, k_test, *(a[: gold.NUM_FIDELITY] for a in centre)),
        loss_curve=_thinned(losses),
        mean=float(found.mean),
        std=float(found.std),
    )
    return record, {}, {"arrays": to_numpy(found._asdict())}


def preference_data(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.preferences
    net, judge, _ = inputs.gold("gold")
    ref_params = inputs.arrays("gold", "reference")["params"]
    key, drawn = streams.key(config.seed, "preferences"), preferences.sampled(config)
    prompts, responses = gold.reference_samples(
        language, cell.config.reference, ref_params, key, config.num_pairs, drawn, progress=progress
    )
    raw = gold.raw_of(net, judge.params, prompts, responses)
    scores = (raw - np.asarray(judge.mean)) / np.asarray(judge.std)
    found = to_numpy(preferences.collect(config, language, prompts, responses, scores))
    agreement = np.mean(found.labels == (found.margin > 0))
    record = dict(margin_sd=float(np.std(found.margin)), agreement_with_gold=float(agreement))
    return record, {}, {"arrays": _present(found)}


def _present(found) -> dict:
    """Arrays of preferences; rankings may not have been kept."""
    return to_numpy({name: a for name, a in found._asdict().items() if a is not None})


STEPS_A_CHUNK = 16  # few: the last chunk computes as many, whatever it needs


def _chunks(plan: reward_model.Plan, progress):
    """A plan of several runs, [runs, steps, ...], by so many steps; the last is filled up with steps at rate 0."""
    told = to_numpy(plan._replace(seen=None))
    steps = told.rates.shape[1]
    for start in range(0, steps, STEPS_A_CHUNK):
        progress(start, steps)
        some = lambda a, start=start: a[:, start : start + STEPS_A_CHUNK]
        missing = max(0, start + STEPS_A_CHUNK - steps)
        filled = lambda a, missing=missing: np.pad(a, [(0, 0), (0, missing)] + [(0, 0)] * (a.ndim - 2))
        yield jax.tree.map(lambda a: filled(some(a)), told)._replace(seen=plan.seen)


def relabelled(cell, inputs, store, progress):
    """What a later round of iterated RLHF learns from, of every seed (rounds.py)."""
    language, config = inputs.language, cell.config
    gold_net, judge, _ = inputs.gold("gold")
    started = inputs.cell("policies", "policy").config.reference
    net = policy.network(language, started, values=int(config.optimiser.name == "ppo"))

    @jax.jit
    def pairs(found, policies, judge):
        old, held_out = rounds.drawn_before(config, found)
        new = rounds.relabel(language, config, net, policies, gold_net, judge, pieces.CHUNK)
        return rounds.joined(config, old, new, held_out), new

    found = preferences.Preferences(**inputs.arrays("preferences"))
    stored, new = pairs(found, inputs.arrays("policies")["policies"], judge)
    agreement = jnp.mean(new.labels == (new.gold[..., 1] > new.gold[..., 0]))
    record = dict(gold_of_pairs=float(jnp.mean(new.gold)), agreement_with_gold=float(agreement))
    return record, {}, {"arrays": _present(stored)}


@dataclass(frozen=True)
class Fitting:
    """The programs of reward models' training, the same for all numbers of pairs: what these decide is in the plan.

    Static, as runs.Training: cells of one process that agree in these fields share them. Data are arguments: closed
    over, XLA would fold them as constants for minutes.
    """

    language: world.World
    config: RewardModelConfig  # without num_pairs
    apart: bool  # every seed has pairs of its own: data are [S, D, ...] and not [D, ...]

    @property
    def net(self):
        return reward_model.network(self.language, self.config)

    def of(self, data, at):
        """The pairs of one seed."""
        return jax.tree.map(lambda a: a[at], data) if self.apart else data

    def tokens(self, pairs: int) -> int:
        return pairs * 2 * (self.language.config.response_len + PROMPT_LEN)

    @functools.partial(jax.jit, static_argnums=0)
    def begin(self, runs):
        return mapped(lambda run: reward_model.start(self.language, self.config, *run))(runs)

    @functools.partial(jax.jit, static_argnums=0, donate_argnames="states")
    def advance(self, at, chunk, states, train):
        def one(run):
            at, plan, state = run
            return reward_model.advance(self.language, self.config, self.of(train, at), plan, state)

        at_once = footprint.at_once(footprint.of_training(self.net, self.tokens(self.config.batch)))
        return mapped(one, at_once)((at, chunk, states))

    @functools.partial(jax.jit, static_argnums=0)
    def finish(self, at, seen, states, held_out):
        def one(run):
            at, seen, state = run
            return reward_model.finish(self.language, self.config, self.of(held_out, at), seen, state)

        at_once = footprint.at_once(
            footprint.of_forward(self.net, self.tokens(held_out.labels.shape[-1]))
        )  # all together
        return mapped(one, at_once)((at, seen, states))

    @functools.partial(jax.jit, static_argnums=0)
    def average(self, at, params, held_out):
        one = lambda run: reward_model.weight_average(self.net, run[1], self.of(held_out, run[0]))
        return mapped(one)((at, params))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _plans(language, config, collected: int, runs):
    return mapped(lambda run: reward_model.plan(language, config, collected, *run))(runs)


def reward_models(cell, inputs, store, progress):
    """Proxies of every seed; with several members, [S, M, ...] and the weight average of each seed's beside them."""
    language, config, rm = inputs.language, cell.config, cell.config.reward_model_of_round
    found = to_numpy(preferences.Preferences(**inputs.arrays("preferences")))
    members, num_seeds = rm.members, len(config.seeds)
    fitting = Fitting(language, dataclasses.replace(rm, num_pairs=None), apart=found.labels.ndim > 1)  # a later round
    of_config = lambda p: preferences.split(config.preferences, p)
    if not fitting.apart:
        train, held_out = of_config(found)
    else:
        each = [of_config(fitting.of(found, i)) for i in range(num_seeds)]
        train, held_out = (jax.tree.map(lambda *a: np.stack(a), *part) for part in zip(*each, strict=True))

    at, member = np.repeat(np.arange(num_seeds), members), np.tile(np.arange(members), num_seeds)
    seeds = np.asarray(config.seeds, np.int32)[at]
    told_of = held_out
    places, *run = jax.device_put([np.asarray(a, np.int32) for a in (at, seeds, member)])
    train, held_out = jax.device_put((train, held_out))
    plan, states = _plans(language, rm, train.labels.shape[-1], run), fitting.begin(run)
    losses = []
    for chunk in _chunks(plan, progress):
        states, loss = fitting.advance(places, chunk, states, train)
        losses.append(loss)
        jax.block_until_ready(losses[-2:-1])  # else progress would be of what is queued
    seen = fitting.finish(places, plan.seen, states, held_out)
    models, metrics = _calibrated(*seen, [fitting.of(told_of, i) for i in at])
    losses, steps = np.concatenate(list(map(to_numpy, losses)), 1), plan.rates.shape[1]
    metrics["train_loss"] = losses[:, steps - reward_model.last_steps(steps) : steps].mean(1)
    arrays = models._asdict()
    if members > 1:
        by_seed = jax.tree.map(lambda a: a.reshape(num_seeds, members, *a.shape[1:]), models)
        seen = fitting.average(jnp.arange(num_seeds), jax.device_put(by_seed.params), held_out)
        averaged, _ = _calibrated(*seen, [fitting.of(told_of, i) for i in range(num_seeds)])
        arrays = dict(by_seed._asdict(), average=averaged._asdict())
    table = dict(rows.describe(cell), cell=cell.fingerprint, seed=seeds, member=member, **metrics)
    columns = {name: table[name] for name in REWARD_MODEL_COLUMNS}
    record = dict(params=transformer.num_params(fitting.net))
    return record, {"reward_models": rows.broadcast(columns, len(seeds))}, {"arrays": arrays}


def _calibrated(params, raw, held_out: list):
    """(RewardModel, metrics) of several runs, stacked, on the host.  held_out: the pairs of each."""
    params, raw = to_numpy((params, raw))
    take = lambda i: jax.tree.map(lambda a: a[i], params)
    each = [reward_model.calibrated(take(i), *one) for i, one in enumerate(zip(raw, held_out, strict=True))]
    return jax.tree.map(lambda *a: np.stack(a), *each)
