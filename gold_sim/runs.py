"""Stages that train policies: policy optimisation against a proxy, and direct alignment on preferences.

Every stage is (cell, inputs, store, progress) -> (record, tables, arrays). Both advance states from one evaluation
point to the next and checkpoint in between; a killed run resumes to the same record, to the bit.
"""

import functools
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, preferences, records, rewards, rows, streams
from gold_sim.columns import SAMPLE_COLUMNS
from gold_sim.config import OptimiserConfig
from gold_sim.inputs import mapped, to_numpy
from gold_sim.language import world
from gold_sim.language.prompts import PROMPT_LEN
from gold_sim.networks import footprint
from gold_sim.networks.network import Network
from gold_sim.optimisation import constrained, direct_alignment, measure, policy_gradient
from gold_sim.rewards import gold

REFERENCES = 8  # reference samples a held-out prompt, to learn what proxies give to length alone
CHECKPOINT_SECONDS = 20.0  # least time between two checkpoints of one cell, and for every second that one takes


@dataclass(frozen=True)
class Training:
    """The programs of policy optimisation that no reward model enters.

    Static: cells of one process that agree in these fields share them as they are, others read them from the
    compilation cache. Only `score` and `judged` below are compiled anew for another reward model.
    """

    language: world.World
    net: Network
    config: OptimiserConfig
    penalised: bool  # whether some run's kl_coef is not 0

    @property
    def algorithm(self):
        return policy_gradient if self.config.constraint == "none" else constrained

    def mapped(self, f, xs):
        c, length = self.config, self.language.config.response_len
        tokens = c.prompts * (c.group_size * length + PROMPT_LEN)
        return mapped(f, footprint.at_once(footprint.of_training(self.net, tokens)))(xs)

    def task(self, seed, ref_params) -> policy_gradient.Task:
        draw = self.language.prompts
        if self.config.train_prompts is not None:
            fixed = trained_on(self.language, self.config.train_prompts, seed)
            draw = lambda key, num: fixed[jax.random.randint(key, (num,), 0, len(fixed))]
        length = self.language.config.response_len
        return policy_gradient.Task(self.net, ref_params, length, draw, None, self.penalised)

    @functools.partial(jax.jit, static_argnums=0)
    def begin(self, seeds, starts, ref_params):
        one = lambda both: self.algorithm.init(self.task(both[0], ref_params), self.config, both[1])
        return mapped(one)((seeds, starts))

    @functools.partial(jax.jit, static_argnums=0)
    def rollout(self, seeds, states, ref_params):
        def one(both):
            seed, state = both
            return self.algorithm.rollout(self.task(seed, ref_params), self.config, _key(seed), state)

        return self.mapped(one, (seeds, states))

    @functools.partial(jax.jit, static_argnums=0, donate_argnames="states")
    def update(self, seeds, kl_coefs, states, batch, ref_params):
        def one(run):
            seed, kl_coef, state, batch = run
            return self.algorithm.update(self.task(seed, ref_params), self.config, kl_coef, _key(seed), state, batch)

        return self.mapped(one, (seeds, kl_coefs, states, batch))


def _key(seed):
    return streams.key(seed, "policy")


def trained_on(language, num: int, seed):
    """The fixed training prompts of a seed."""
    return language.prompts(streams.key(seed, "train_prompts"), num)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def write(language, net, gold_net, train_prompts: int | None, seeds, params, held_out, ref_params, judge):
    """What is measured of policies alone: (responses, point).

    Responses to the held-out prompts and, where there are fixed training prompts, to those (None where not).
    """
    truth = lambda p, r: gold.scores(gold_net, judge, p, r)
    on = lambda prompts: measure.of_policy(language, net, ref_params, prompts, truth, judge[1:])

    def one(both):
        seed, params = both
        unseen, point = on(held_out)(params, policy_gradient.measuring(_key(seed)))
        seen = None
        if train_prompts is not None:
            prompts = _cycled(trained_on(language, train_prompts, seed), len(held_out))
            seen, other = on(prompts)(params, policy_gradient.measuring(jax.random.fold_in(_key(seed), 1)))
            point |= dict(gold_training=other["gold"])
        return (unseen, seen), point

    return mapped(one)((seeds, params))


@functools.partial(jax.jit, static_argnums=(0, 1))
def score(training, reward, runs, prompts, responses, ref_params, judge):
    """What every run optimises, of its own responses."""

    def one(both):
        run, asked, written = both
        if training.config.thresholds:
            return reward.components(run, judge)(asked, written)
        return reward.optimised(run, judge, training.net, ref_params)(asked, written)

    return training.mapped(one, (runs, prompts, responses))


@functools.partial(jax.jit, static_argnums=(0, 1))
def judged(reward, train_prompts: int | None, runs, held_out, responses, judge):
    """What the proxy says of what `write` gave."""
    several = reward.config.reward_model.diversity == "components"  # then each component's score is recorded

    def one(both):
        run, (unseen, seen) = both
        proxy = lambda p, r: reward.proxy(run, judge, p, r)
        parts = (lambda p, r: reward.members(run, judge, p, r)) if several else None
        more = dict(left_out=reward.left_out(run), of_length=run.get("of_length"), components=parts)
        told = measure.of_proxy(held_out, unseen, proxy, **more)
        if seen is not None:
            again = _cycled(trained_on(reward.language, train_prompts, run["seed"]), len(held_out))
            told |= dict(proxy_training=measure.of_proxy(again, seen, proxy)["proxy"])
        return told

    return mapped(one)((runs, responses))


def optimisation(cell, inputs, store, progress):
    """Runs are (seed, KL coefficient), the coefficient fastest."""
    language, config, o = inputs.language, cell.config, cell.config.optimiser
    started = inputs.cell("policy").config.reference
    net = policy.network(language, started, values=int(o.name == "ppo"))
    ref_params = _with_value_head(net, inputs.arrays("policy")["params"])
    gold_net, judge, _ = inputs.gold("gold")
    reward = rewards.load(cell, inputs, gold_net)
    held_out = held_out_prompts(language, config.world.seed, o.eval_prompts)
    training = Training(language, net, o, any(c > 0 for c in config.kl_coefs))

    num_coefs = len(config.kl_coefs)
    of_seed = np.repeat(np.arange(len(config.seeds)), num_coefs)
    runs = jax.tree.map(lambda a: np.asarray(a)[of_seed], reward.runs)  # by jax, each shape is a program to compile
    runs = jax.device_put(runs)
    seeds, kl_coefs = runs["seed"], jax.device_put(np.tile(np.asarray(config.kl_coefs, np.float32), len(config.seeds)))

    @jax.jit
    def of_references(runs, ref_params, judge):
        key = streams.key(config.world.seed, "evaluation.length")
        drawn = policy.sample(net, ref_params, held_out, REFERENCES, language.config.response_len, key)
        proxies = mapped(lambda run: reward.proxy(run, judge, held_out, drawn.responses)[0])(runs)
        return proxies, drawn.lengths

    measured = runs
    if o.length_share:
        proxies, lengths = of_references(reward.runs, ref_params, judge)
        by_length = [measure.by_length(each, lengths, language.config.response_len) for each in proxies]
        measured = dict(runs, of_length=jax.device_put(np.stack(by_length).astype(np.float32)[of_seed]))

    def advance(states):
        batch = training.rollout(seeds, states, ref_params)
        scored = score(training, reward, runs, batch.prompts, batch.responses, ref_params, judge)
        batch = batch._replace(rewards=scored)
        return training.update(seeds, kl_coefs, states, batch, ref_params)

    def record(states):
        own = dict(control=states.step, clip_fraction=states.clip_fraction)
        responses, point = write(
            language, net, gold_net, o.train_prompts, seeds, states.params, held_out, ref_params, judge
        )
        return point | judged(reward, o.train_prompts, measured, held_out, responses, judge) | own

    goes_on = config.rounds.count > 1 and config.rounds.start == "continue"  # one policy a seed
    starts = inputs.arrays("last")["policies"] if goes_on else None
    states, curve = _drive(
        *(store, cell, progress, o.evaluations, training.begin(seeds, starts, ref_params)),
        advance=advance,
        times=o.steps // o.evaluations,
        record=record,
    )
    scale, shift = reward.affine()
    settings = []
    for i, s in enumerate(of_seed):
        raw = curve["proxy"][i] / scale[s] + shift[s]
        own = dict(train_prompts=float(o.train_prompts or np.nan))
        own |= dict(seed=config.seeds[s], kl_coef=config.kl_coefs[i % num_coefs], divergence=o.divergence)
        own |= dict(constraint=o.constraint)
        settings.append(dict(own, proxy_raw=raw, num_prompts=o.eval_prompts))
    tables = _tables(cell, language, held_out, o.name, curve, settings)
    return {}, tables, {"arrays": {"policies": to_numpy(states.params)}}


def alignment(cell, inputs, store, progress):
    """Runs are (seed, beta), beta fastest; a seed chooses the pairs and their order."""
    language, config, d = inputs.language, cell.config, cell.config.direct
    net = policy.network(language, inputs.cell("policy").config.reference)
    ref_params = inputs.arrays("policy")["params"]
    gold_net, judge, _ = inputs.gold("preferences", "gold")
    found = preferences.Preferences(**inputs.arrays("preferences"))
    train, held_out_pairs = preferences.split(config.preferences, found)
    if d.num_pairs > len(train.labels):
        raise ValueError(f"direct.num_pairs={d.num_pairs}: allowed are up to the {len(train.labels)} training pairs")
    held_out = held_out_prompts(language, config.world.seed, d.eval_prompts)
    compared = jax.tree.map(lambda a: a[: d.eval_prompts], held_out_pairs)

    num_betas = len(config.dpo_betas)
    seeds = np.repeat(np.asarray(config.seeds, np.int32), num_betas)
    betas = np.tile(np.asarray(config.dpo_betas, np.float32), len(config.seeds))
    runs = jax.device_put(dict(seed=seeds, beta=betas))

    def task_of(run, ref_params, train):
        key = streams.key(run["seed"], "direct_alignment")
        return direct_alignment.task(net, ref_params, train, d, key)

    @jax.jit
    def begin(runs, ref_params, train):
        return mapped(lambda run: direct_alignment.init(ref_params, d))(runs)

    tokens = 2 * d.batch * (language.config.response_len + PROMPT_LEN)
    at_once = footprint.at_once(footprint.of_training(net, tokens))

    @functools.partial(jax.jit, donate_argnames="states")
    def advance(runs, states, ref_params, train):
        def one(both):
            run, state = both
            return direct_alignment.advance(task_of(run, ref_params, train), d, run["beta"], state)

        return mapped(one, at_once)((runs, states))

    @jax.jit
    def told_apart(states, ref_params, compared):
        """Share of held-out pairs [runs] on whose order the implicit reward agrees with gold."""

        def one(state):
            right = direct_alignment.log_ratios(net, state.params, ref_params, compared)
            return jnp.mean((right[:, 1] > right[:, 0]) == (compared.margin > 0))

        return mapped(one)(states)

    def record(states):
        of_policies = write(language, net, gold_net, None, runs["seed"], states.params, held_out, ref_params, judge)
        point = to_numpy(of_policies[1])
        # The implicit reward is beta log(pi / ref_policy), and its mean over the policy's samples beta KL.
        nothing, unknown = np.zeros_like(betas), np.full_like(betas, np.nan)
        own = dict(proxy=betas * point["kl"], proxy_se=betas * point["kl_se"], proxy_spread=nothing)
        own |= dict(sample_proxy=np.full_like(point["sample_gold"], np.nan), clip_fraction=unknown)
        own |= dict(control=states.step, implicit_accuracy=told_apart(states, ref_params, compared))
        return point | own

    states, curve = _drive(
        *(store, cell, progress, d.evaluations, begin(runs, ref_params, train)),
        advance=lambda states: advance(runs, states, ref_params, train),
        record=record,
    )
    settings = [
        dict(
            seed=int(seed),
            kl_coef=0.0,
            dpo_beta=config.dpo_betas[i % num_betas],
            proxy_raw=curve["proxy"][i],
            num_prompts=d.eval_prompts,
        )
        for i, seed in enumerate(seeds)
    ]
    tables = _tables(cell, language, held_out, d.loss, curve, settings, num_pairs=d.num_pairs)
    return {}, tables, {"arrays": {"policies": to_numpy(states.params)}}


def _cycled(prompts, num: int):
    """As many training prompts as there are held-out ones, over and over."""
    return prompts[jnp.arange(num) % len(prompts)]


def held_out_prompts(language, seed: int, num: int):
    """The prompts on which every policy of a world is measured."""
    return language.prompts(streams.key(seed, "evaluation"), num, held_out=True)


def _drive(store, cell, progress, evaluations: int, states, advance, record, times: int = 1):
    """From the first states to the last, checkpointed: (states, curve: name -> [runs, T, ...]).

    advance: states -> states; so many `times` it leads from one evaluation point to the next.
    """
    points = [to_numpy(record(states))]
    if (saved := store.load_checkpoint(cell.fingerprint)) is not None:
        try:
            states, points = _thaw(saved[1], states, points[0])
        except ValueError as error:
            what = f"{store.checkpoint_path(cell.fingerprint)}: not a checkpoint of this cell ({error})"
            raise records.StoreError(f"{what}; remove it and run again") from error
    last_saved, took = time.monotonic(), 0.0
    for t in range(len(points), evaluations + 1):
        for i in range(times):
            states = advance(states)
            progress((t - 1) * times + i + 1, evaluations * times)
        points.append(to_numpy(record(states)))
        due = time.monotonic()
        # Large states on a slow store: saving never takes more than a twentieth of the time.
        if due - last_saved > CHECKPOINT_SECONDS * max(1.0, took) and t < evaluations:
            store.save_checkpoint(cell.fingerprint, t, _freeze(states, points))
            last_saved = time.monotonic()
            took = last_saved - due
    return states, {name: np.stack([p[name] for p in points], axis=1) for name in points[0]}


def _tables(cell, language, held_out, optimiser: str, curve: dict, settings: list[dict], **described) -> dict:
    """curves and samples of all runs; settings: what tells each run apart, and its own columns."""
    kept = {name.removeprefix("sample_"): curve.pop(name) for name in list(curve) if name.startswith("sample_")}
    runs, samples = [], []
    for i, own in enumerate(settings):
        run = {name: values[i] for name, values in curve.items()}
        told = measure.transcripts(language, held_out, run["control"], {k: v[i] for k, v in kept.items()})
        told |= dict(cell=cell.fingerprint, seed=own["seed"], kl_coef=own["kl_coef"])
        told |= dict(dpo_beta=own.get("dpo_beta", np.nan))
        samples.append(rows.broadcast(told, len(told["proxy"])))
        runs.append(dict(run, **own))
    tables = {"curves": rows.curves(cell, rows.describe(cell) | described, optimiser, runs)}
    tables["samples"] = {name: np.concatenate([part[name] for part in samples]) for name in SAMPLE_COLUMNS}
    return tables


def _with_value_head(net, params):
    """The reference parameters, with a value head of zeros where the network has one."""
    if not net.values:
        return params
    return dict(params, value=dict(kernel=jnp.zeros((net.width, 1)), bias=jnp.zeros(1)))


def _freeze(states, points) -> dict:
    """Checkpoint tree of plain dicts: every leaf of the state by position, and the curve so far."""
    leaves = {f"{i:04d}": to_numpy(leaf) for i, leaf in enumerate(jax.tree.leaves(states))}
    return dict(state=leaves, points={name: np.stack([p[name] for p in points]) for name in points[0]})


def _thaw(saved: dict, like_states, like_point):
    """(states, points) of a checkpoint; ValueError if it is not shaped like this run's."""
    wanted = _freeze(like_states, [like_point])
    shapes = lambda tree, start: {name: (a.dtype.str, a.shape[start:]) for name, a in tree.items()}
    for group, start in (("state", 0), ("points", 1)):  # points: the leading axis is time
        found, expected = shapes(saved.get(group, {}), start), shapes(wanted[group], start)
        if odd := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
            raise ValueError(f"{group} {odd[0]}: found {found.get(odd[0])}, expected {expected.get(odd[0])}")
    leaves = jax.device_put([saved["state"][name] for name in sorted(saved["state"])])
    states = jax.tree.unflatten(jax.tree.structure(like_states), leaves)
    count = len(next(iter(saved["points"].values())))
    return states, [{name: saved["points"][name][t] for name in like_point} for t in range(count)]
