"""The stages that make models and data: reference policy, gold, preferences, reward models.

Every stage is (cell, inputs, store, progress) -> (record, tables, arrays).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import gold, memory, policy, preferences, reward_model, rounds, rows, streams, transformer, world
from gold_sim.columns import REWARD_MODEL_COLUMNS
from gold_sim.inputs import alone, mapped, to_numpy


def reference(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.reference
    params, losses = _here(alone(lambda: policy.sft(language, config))())
    net = policy.network(language, config)
    key = streams.key(config.seed, "reference.report")
    prompts = world.prompts(language, key, 2048, held_out=True)
    drawn = policy.responses(net, params, prompts, 2, language.config.response_len, jax.random.fold_in(key, 2))

    @jax.jit
    def report(params, prompts, drawn):
        demos = world.demonstrations(language, jax.random.fold_in(key, 1), prompts)
        moments = lambda r: {
            name: jnp.stack([jnp.mean(v), jnp.std(v)]) for name, v in world.attributes(language, prompts, r).items()
        }
        return dict(
            held_out_loss=policy.cross_entropy(net, params, prompts, demos),  # nats a token
            demonstration_attributes=moments(demos),  # name -> [mean, s.d.]
            sampled_attributes=moments(drawn),
        )

    told = report(params, prompts, drawn)
    record = dict(
        params=transformer.num_params(net),
        loss_curve=_thinned(losses),
        **jax.tree.map(lambda a: np.asarray(a, float).tolist(), told),
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
        new = rounds.relabel(language, config, net, policies, gold_net, judge, memory.CHUNK)
        return rounds.joined(config, old, new, held_out), new

    found = preferences.Preferences(**inputs.arrays("preferences"))
    stored, new = pairs(found, inputs.arrays("policies")["policies"], judge)
    agreement = jnp.mean(new.labels == (new.gold[..., 1] > new.gold[..., 0]))
    record = dict(gold_of_pairs=float(jnp.mean(new.gold)), agreement_with_gold=float(agreement))
    return record, {}, {"arrays": _present(stored)}


def reward_models(cell, inputs, store, progress):
    """Proxies of every seed; with several members, [S, M, ...] and the weight average of each seed's beside them."""
    language, config, rm = inputs.language, cell.config, cell.config.reward_model_of_round
    found = to_numpy(preferences.Preferences(**inputs.arrays("preferences")))
    net, members, num_seeds = reward_model.network(language, rm), rm.members, len(config.seeds)
    of_config = lambda p: preferences.split(config.preferences, p)
    if found.labels.ndim == 1:  # one set of pairs for all seeds
        (train, held_out), of = of_config(found), lambda data, i: data
    else:  # [S, D, ...]: a later round
        of = lambda data, i: jax.tree.map(lambda a: a[i], data)
        each = [of_config(of(found, i)) for i in range(num_seeds)]
        train, held_out = (jax.tree.map(lambda *a: np.stack(a), *part) for part in zip(*each, strict=True))
    collected = train.labels.shape[-1]

    of_pair = 2 * (language.config.response_len + world.PROMPT_LEN)  # tokens
    training = memory.at_once(memory.of_training(net, rm.batch * of_pair))
    validating = memory.at_once(memory.of_forward(net, held_out.labels.shape[-1] * of_pair))  # all pairs together

    # Data are arguments: closed over, XLA would fold them as constants for minutes. `advance` is one program for all
    # numbers of pairs: what they decide is in the plan, of which it takes a chunk at a time.
    @jax.jit
    def plans(runs):
        return mapped(lambda run: reward_model.plan(language, rm, collected, *run))(runs)

    @jax.jit
    def begin(runs):
        return mapped(lambda run: reward_model.start(language, rm, *run))(runs)

    @functools.partial(jax.jit, donate_argnames="states")
    def advance(at, chunk, states, train):
        def one(run):
            at, plan, state = run
            return reward_model.advance(language, rm, of(train, at), plan, state)

        return mapped(one, training)((at, chunk, states))

    @jax.jit
    def finish(at, seen, states, held_out):
        def one(run):
            at, seen, state = run
            return reward_model.finish(language, rm, of(held_out, at), seen, state)

        return mapped(one, validating)((at, seen, states))

    @jax.jit
    def average(runs, held_out):
        return mapped(lambda run: reward_model.weight_average(net, run[1], of(held_out, run[0])))(runs)

    at, member = np.repeat(np.arange(num_seeds), members), np.tile(np.arange(members), num_seeds)
    seeds = np.asarray(config.seeds, np.int32)[at]
    told_of = held_out
    places, *run = jax.device_put([np.asarray(a, np.int32) for a in (at, seeds, member)])
    train, held_out = jax.device_put((train, held_out))
    plan, states = plans(run), begin(run)
    losses = []
    for chunk in _chunks(plan, progress):
        states, loss = advance(places, chunk, states, train)
        losses.append(loss)
        jax.block_until_ready(losses[-2:-1])  # else progress would be of what is queued
    models, metrics = _calibrated(*finish(places, plan.seen, states, held_out), [of(told_of, i) for i in at])
    losses, steps = np.concatenate(list(map(to_numpy, losses)), 1), plan.rates.shape[1]
    metrics["train_loss"] = losses[:, steps - reward_model.last_steps(steps) : steps].mean(1)
    arrays = models._asdict()
    if members > 1:
        by_seed = jax.tree.map(lambda a: a.reshape(num_seeds, members, *a.shape[1:]), models)
        seen = average((jnp.arange(num_seeds), jax.device_put(by_seed.params)), held_out)
        averaged, _ = _calibrated(*seen, [of(told_of, i) for i in range(num_seeds)])
        arrays = dict(by_seed._asdict(), average=averaged._asdict())
    table = dict(rows.describe(cell), cell=cell.fingerprint, seed=seeds, member=member, **metrics)
    columns = {name: table[name] for name in REWARD_MODEL_COLUMNS}
    record = dict(params=transformer.num_params(net))
    return record, {"reward_models": rows.broadcast(columns, len(seeds))}, {"arrays": arrays}


def _calibrated(params, raw, held_out: list):
    """(RewardModel, metrics) of several runs, stacked, on the host.  held_out: the pairs of each."""
    params, raw = to_numpy((params, raw))
    take = lambda i: jax.tree.map(lambda a: a[i], params)
    each = [reward_model.calibrated(take(i), *one) for i, one in enumerate(zip(raw, held_out, strict=True))]
    return jax.tree.map(lambda *a: np.stack(a), *each)
