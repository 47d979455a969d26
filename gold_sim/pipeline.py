"""What each stage computes, and every mapped axis: from a cell to its stored result, resumable at any moment.

This is the one file that knows mapped axes (order: seed, coefficient). Algorithms are written for one
run. On an accelerator runs are vmapped; on a CPU they follow one another inside one compiled program,
because mapping there gains nothing per run and cells run in parallel processes instead.
"""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import (
    best_of_n,
    gold,
    measure,
    policy,
    policy_gradient,
    preferences,
    records,
    reward_model,
    streams,
    transformer,
    world,
)
from gold_sim.cells import Cell
from gold_sim.columns import CURVE_COLUMNS, REWARD_MODEL_COLUMNS, SAMPLE_COLUMNS
from gold_sim.config import to_dict
from gold_sim.records import Store

CHECKPOINT_SECONDS = 20.0  # least time between two checkpoints of one cell


# --- running ----------------------------------------------------------------------------------


def run(store: Store, cell: Cell, progress: Callable[[int, int], None] = lambda done, total: None):
    """Compute one cell whose upstream is stored, and store it; returns its folder. A stored cell is kept."""
    if (path := store.find(cell.stage, cell.fingerprint)) is not None:
        return path
    wall, cpu = time.perf_counter(), time.process_time()
    inputs = _Inputs(store, cell)
    record, tables, arrays = _STAGES[cell.stage](cell, inputs, store, progress)
    spent = dict(wall_seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)
    precision = jax.config.jax_default_matmul_precision or "default (float32 on CPU)"
    device = dict(device=jax.devices()[0].device_kind, precision=precision)
    upstream = {role: c.fingerprint for role, c in cell.upstream}
    record = dict(record, upstream=upstream, **spent, **device, **records.provenance(to_dict(cell.config)))
    path = store.write(cell.stage, cell.name, cell.fingerprint, record, tables=tables, arrays=arrays)
    store.drop_checkpoint(cell.fingerprint)
    return path


class _Inputs:
    """What a stage reads: the language, and the stored results of the cells upstream, as jax arrays."""

    def __init__(self, store: Store, cell: Cell):
        self._store, self._cells = store, dict(cell.upstream)
        self.language = world.make(cell.config.world)

    def cell(self, *roles: str) -> Cell:
        """The cell reached by following roles upstream, as in cell('preferences', 'gold')."""
        at = self._cells[roles[0]]
        for role in roles[1:]:
            at = dict(at.upstream)[role]
        return at

    def arrays(self, *roles: str) -> dict:
        found = self.cell(*roles)
        path = self._store.find(found.stage, found.fingerprint)
        if path is None:
            raise records.StoreError(f"{found.stage} {found.name}-{found.fingerprint} is not stored: run it first")
        return jax.tree.map(jnp.asarray, self._store.arrays(path, "arrays"))

    def gold(self, *roles: str):
        """(network, Gold, cell)."""
        found = self.cell(*roles)
        a = self.arrays(*roles)
        return gold.network(self.language, found.config.gold), gold.Gold(a["params"], a["mean"], a["std"]), found


def _mapped(f: Callable) -> Callable:
    """`f` over the leading axis of its argument: vmap on accelerators, one after another on a CPU."""
    if jax.default_backend() == "cpu":
        return lambda xs: jax.lax.map(f, xs)
    return jax.vmap(f)


def _to_numpy(tree):
    return jax.tree.map(np.asarray, tree)


def _reference(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.reference
    params, losses = policy.sft(language, config)
    net = policy.network(language, config)
    key = streams.key(config.seed, "reference.report")
    prompts = world.prompts(language, key, 2048, held_out=True)
    demos = world.demonstrations(language, jax.random.fold_in(key, 1), prompts)
    sampled = policy.sample(net, params, prompts, 1, language.config.response_len, jax.random.fold_in(key, 2)).responses
    moments = lambda r: {
        name: [float(jnp.mean(v)), float(jnp.std(v))] for name, v in world.attributes(language, prompts, r).items()
    }
    record = dict(
        params=transformer.num_params(net),
        held_out_loss=float(policy.cross_entropy(net, params, prompts, demos)),  # nats a token
        loss_curve=[float(x) for x in losses[:: max(1, len(losses) // 50)]],
        demonstration_attributes=moments(demos),  # name -> [mean, s.d.]
        sampled_attributes=moments(sampled),
    )
    return record, {}, {"arrays": {"params": _to_numpy(params)}}


def _gold(cell, inputs, store, progress):
    language, config = inputs.language, cell.config
    ref_params = inputs.arrays("reference")["params"]
    found, losses, fidelity = gold.train(language, config.reference, config.gold, ref_params)
    record = dict(
        params=transformer.num_params(gold.network(language, config.gold)),
        fidelity={name: float(v) for name, v in fidelity.items()},  # correlation with the rubric, by source
        loss_curve=[float(x) for x in losses[:: max(1, len(losses) // 50)]],
        mean=float(found.mean),
        std=float(found.std),
    )
    return record, {}, {"arrays": _to_numpy(found._asdict())}


PAIRS_A_CHUNK = 512  # pairs sampled and scored at once


def _preferences(cell, inputs, store, progress):
    language, config = inputs.language, cell.config
    net, judge, _ = inputs.gold("gold")
    ref_params = inputs.arrays("gold", "reference")["params"]

    @jax.jit
    def pairs(keys, ref_params, judge):
        def some(key):
            prompts, responses = gold.reference_samples(language, config.reference, ref_params, key, PAIRS_A_CHUNK, 2)
            return prompts, responses, gold.scores(net, judge, prompts, responses)

        return jax.lax.map(some, keys)

    chunks = -(-config.preferences.num_pairs // PAIRS_A_CHUNK)
    keys = jax.random.split(streams.key(config.preferences.seed, "preferences"), chunks)
    drawn = pairs(keys, ref_params, judge)
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: config.preferences.num_pairs], drawn)
    found = preferences.collect(config.preferences, *flat)
    agreement = jnp.mean(found.labels == (found.margin > 0))
    record = dict(margin_sd=float(jnp.std(found.margin)), agreement_with_gold=float(agreement))
    return record, {}, {"arrays": _to_numpy(found._asdict())}


def _reward_model(cell, inputs, store, progress):
    language, config = inputs.language, cell.config
    found = preferences.Preferences(**inputs.arrays("preferences"))
    train, held_out = preferences.split(config.preferences, found)

    @jax.jit
    def fit(seeds, train, held_out):  # data are arguments: closed over, XLA would fold them as constants for minutes
        return _mapped(lambda s: reward_model.fit(language, config.reward_model, train, held_out, s))(seeds)

    models, metrics = fit(jnp.asarray(config.seeds, jnp.int32), train, held_out)
    metrics = _to_numpy(metrics)
    table = dict(_describe(cell), cell=cell.fingerprint, seed=np.asarray(config.seeds), **metrics)
    columns = {name: table[name] for name in REWARD_MODEL_COLUMNS}
    record = dict(params=columns["rm_params"])
    return record, {"reward_models": _broadcast(columns, len(config.seeds))}, {"arrays": _to_numpy(models._asdict())}


def _describe(cell: Cell) -> dict:
    """The settings that a row of a table carries, by column name."""
    config = cell.config
    language = world.make(config.world)
    rm = config.reward_model
    p = config.preferences
    started = config.policy or config.reference
    net = reward_model.network(language, rm)
    collected = p.num_pairs - int(p.num_pairs * p.held_out)
    return dict(
        reward=config.reward,
        gold_kind=config.gold.kind,
        gold_params=transformer.num_params(gold.network(language, config.gold)),
        rm_width=rm.width,
        rm_depth=rm.depth,
        rm_params=transformer.num_params(net),
        num_pairs=rm.num_pairs or collected,
        label_noise=p.label_noise,
        annotator=p.annotator,
        policy_params=transformer.num_params(policy.network(language, started)),
        world_seed=config.world.seed,
        gold_seed=config.gold.seed,
    )


def _broadcast(columns: dict, length: int) -> dict:
    return {name: np.broadcast_to(np.asarray(value), (length,)) for name, value in columns.items()}


def _proxies(cell, inputs):
    """(network or None, stacked models with a leading axis of seeds, or gold itself as the proxy)."""
    if cell.config.reward == "gold":
        return None, None
    net = reward_model.network(inputs.language, cell.config.reward_model)
    return net, reward_model.RewardModel(**inputs.arrays("proxy"))


SAMPLES_A_CHUNK = 1024  # of one prompt, sampled and scored at once: fits a core's cache


def _pool(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.best_of_n
    started = inputs.cell("policy").config.reference
    policy_net = policy.network(language, started)
    params = inputs.arrays("policy")["params"]
    net, judge, _ = inputs.gold("gold")
    key = streams.key(config.seed, "best_of_n")
    prompts = world.prompts(language, jax.random.fold_in(key, 0), config.num_prompts, held_out=True)
    chunk = min(SAMPLES_A_CHUNK, config.num_samples)
    chunks = -(-config.num_samples // chunk)

    @jax.jit
    def one_prompt(prompt, key, params, judge):
        def some(key):
            prompts = prompt[None]
            s = policy.sample(policy_net, params, prompts, chunk, language.config.response_len, key)
            found = dict(gold=gold.scores(net, judge, prompts, s.responses), length=s.lengths)
            for name, value in world.attributes(language, prompts, s.responses).items():
                found[f"attr_{name}"] = value
            return dict(responses=s.responses[0], **{k: v[0].astype(jnp.float32) for k, v in found.items()})

        drawn = jax.lax.map(some, jax.random.split(key, chunks))
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: config.num_samples], drawn)

    parts = []
    for i, prompt in enumerate(prompts):
        parts.append(_to_numpy(one_prompt(prompt, jax.random.fold_in(key, i + 1), params, judge)))
        progress(i + 1, config.num_prompts)
    stacked = {name: np.stack([p[name] for p in parts]) for name in parts[0]}
    stacked["responses"] = stacked["responses"].astype(np.uint16)
    record = dict(distinct_responses=float(np.mean([len(np.unique(r, axis=0)) for r in stacked["responses"]])))
    return record, {}, {"arrays": dict(stacked, prompts=np.asarray(prompts))}


def _best_of_n(cell, inputs, store, progress):
    config = cell.config
    pool = inputs.cell("pool")
    found = {k: np.asarray(v) for k, v in inputs.arrays("pool").items()}
    _, judge, _ = inputs.gold("pool", "gold")
    prompts, responses = found.pop("prompts"), found.pop("responses")
    net, models = _proxies(cell, inputs)
    seeds = config.seeds if net is not None else config.seeds[:1]

    @jax.jit
    def score(models, prompt, responses):
        chunk = min(SAMPLES_A_CHUNK, responses.shape[0])
        padded = jnp.pad(responses, ((0, -responses.shape[0] % chunk), (0, 0)))

        def some(part):
            of_model = lambda m: reward_model.rewards(net, m, prompt[None], part[None])[0]
            return _mapped(of_model)(models)

        scored = jax.lax.map(some, padded.reshape(-1, chunk, padded.shape[-1]))  # [chunks, S, chunk]
        return jnp.moveaxis(scored, 1, 0).reshape(scored.shape[1], -1)[:, : responses.shape[0]]

    if net is None:
        proxies = found["gold"][None]
        scale, shift = np.ones(1), np.zeros(1)
    else:
        parts = []
        for i in range(len(prompts)):
            parts.append(np.asarray(score(models, prompts[i], responses[i].astype(np.int32))))
            progress(i + 1, len(prompts))
        proxies = np.stack(parts, axis=1)  # [S, P, N]
        scale, shift = np.asarray(models.scale), np.asarray(models.shift)

    ns = best_of_n.ns_up_to(proxies.shape[-1])
    rows = []
    for s, seed in enumerate(seeds):
        expected = best_of_n.expected(proxies[s], dict(found, proxy=proxies[s]), ns)
        means = {name: values.mean(0) for name, values in expected.items()}
        error = lambda name, expected=expected: expected[name].std(0, ddof=1) / np.sqrt(len(prompts))
        kl = best_of_n.kl_bound(ns)
        rows.append(
            dict(
                means,
                seed=seed,
                kl_coef=0.0,
                control=ns,
                kl=kl,
                kl_se=0.0,
                proxy_se=error("proxy"),
                proxy_raw=means["proxy"] / scale[s] + shift[s],
                gold_se=error("gold"),
                gold_raw=means["gold"] * float(judge.std) + float(judge.mean),
                entropy=np.nan,
                distinct_1=np.nan,
                distinct_2=np.nan,
                clip_fraction=np.nan,
                num_prompts=len(prompts),
            )
        )
    described = dict(_describe(cell), policy_params=_describe(pool)["policy_params"])
    return {}, {"curves": _curves(cell, described, "best_of_n", rows)}, {}


def _curves(cell: Cell, described: dict, optimiser: str, rows: list[dict]) -> dict:
    """Columns of curves.parquet from one dict a run, whose values are scalars or [T] arrays."""
    proxy = dict(cell.upstream).get("proxy")
    common = dict(
        described,
        stage=cell.stage,
        cell=cell.fingerprint,
        rm_cell=proxy.fingerprint if proxy else "",
        optimiser=optimiser,
    )
    parts = []
    for row in rows:
        length = len(row["control"])
        whole = _broadcast(dict(common, **row), length)
        finite = np.isfinite(np.stack([whole["kl"], whole["proxy"], whole["gold"]])).all()
        whole["d"] = np.sqrt(np.maximum(whole["kl"], 0.0))
        whole["status"] = np.full(length, "ok" if finite else "diverged")
        parts.append({name: whole[name] for name in CURVE_COLUMNS})
    return {name: np.concatenate([p[name] for p in parts]) for name in CURVE_COLUMNS}


def _policy_gradient(cell, inputs, store, progress):
    language, config, o = inputs.language, cell.config, cell.config.optimiser
    started = inputs.cell("policy").config.reference
    net = policy.network(language, started, values=int(o.name == "ppo"))
    ref_params = _with_value_head(net, inputs.arrays("policy")["params"])
    gold_net, judge, _ = inputs.gold("gold")
    proxy_net, models = _proxies(cell, inputs)
    judged = functools.partial(gold.scores, gold_net)
    held_out = world.prompts(language, streams.key(config.world.seed, "evaluation"), o.eval_prompts, held_out=True)

    # Runs are (seed, coefficient), the coefficient fastest.
    num_seeds, num_coefs = len(config.seeds), len(config.kl_coefs)
    of_seed = jnp.repeat(jnp.arange(num_seeds), num_coefs)
    seeds = jnp.asarray(config.seeds, jnp.int32)[of_seed]
    runs = dict(seed=seeds, kl_coef=jnp.tile(jnp.asarray(config.kl_coefs), num_seeds))
    if models is not None:
        runs["model"] = jax.tree.map(lambda a: a[of_seed], models)

    def parts(run, ref_params, judge):
        if models is None:
            proxy = lambda p, r: judged(judge, p, r)
        else:
            proxy = lambda p, r: reward_model.rewards(proxy_net, run["model"], p, r)
        draw = lambda key, num: world.prompts(language, key, num)
        penalised = any(c > 0 for c in config.kl_coefs)
        task = policy_gradient.Task(net, ref_params, language.config.response_len, draw, proxy, penalised)
        score = measure.scores(language, net, ref_params, held_out, proxy, lambda p, r: judged(judge, p, r), judge[1:])
        return task, score, streams.key(run["seed"], "policy")

    # Three programs, each compiled once: measuring inside the other two would compile it twice.
    @jax.jit
    def begin(runs, ref_params, judge):
        return _mapped(lambda run: policy_gradient.init(parts(run, ref_params, judge)[0], o))(runs)

    @jax.jit
    def advance(runs, states, ref_params, judge):
        def one(both):
            run, state = both
            task, _, key = parts(run, ref_params, judge)
            return policy_gradient.advance(task, o, run["kl_coef"], key, state)

        return _mapped(one)((runs, states))

    @jax.jit
    def record(runs, states, ref_params, judge):
        def one(both):
            run, state = both
            _, score, key = parts(run, ref_params, judge)
            return policy_gradient.record(state, score, key)

        return _mapped(one)((runs, states))

    states = begin(runs, ref_params, judge)
    points = [_to_numpy(record(runs, states, ref_params, judge))]
    if (saved := store.load_checkpoint(cell.fingerprint)) is not None:
        try:
            states, points = _thaw(saved[1], states, points[0])
        except ValueError as error:
            what = f"{store.checkpoint_path(cell.fingerprint)}: not a checkpoint of this cell ({error})"
            raise records.StoreError(f"{what}; remove it and run again") from error
    last_saved = time.monotonic()
    for t in range(len(points), o.evaluations + 1):
        progress(t - 1, o.evaluations)
        states = advance(runs, states, ref_params, judge)
        points.append(_to_numpy(record(runs, states, ref_params, judge)))
        if time.monotonic() - last_saved > CHECKPOINT_SECONDS and t < o.evaluations:
            store.save_checkpoint(cell.fingerprint, t, _freeze(states, points))
            last_saved = time.monotonic()
    curve = {name: np.stack([p[name] for p in points], axis=1) for name in points[0]}  # [runs, T]

    kept = {name.removeprefix("sample_"): curve.pop(name) for name in list(curve) if name.startswith("sample_")}
    rows, samples = [], []
    for i in range(num_seeds * num_coefs):
        row = {name: values[i] for name, values in curve.items()}
        told = measure.transcripts(language, held_out, row["control"], {k: v[i] for k, v in kept.items()})
        told |= dict(cell=cell.fingerprint, seed=int(seeds[i]), kl_coef=config.kl_coefs[i % num_coefs])
        samples.append(_broadcast(told, len(told["proxy"])))
        scale, shift = (1.0, 0.0) if models is None else (float(runs["model"].scale[i]), float(runs["model"].shift[i]))
        raw = row["proxy"] / scale + shift
        settings = dict(seed=int(seeds[i]), kl_coef=config.kl_coefs[i % num_coefs], num_prompts=o.eval_prompts)
        rows.append(dict(row, **settings, proxy_raw=raw))
    arrays = {"policies": _to_numpy(states.params)}
    tables = {"curves": _curves(cell, _describe(cell), o.name, rows)}
    tables["samples"] = {name: np.concatenate([part[name] for part in samples]) for name in SAMPLE_COLUMNS}
    return {}, tables, {"arrays": arrays}


def _with_value_head(net, params):
    """The reference parameters, with a value head of zeros where the network has one."""
    if not net.values:
        return params
    return dict(params, value=dict(kernel=jnp.zeros((net.width, 1)), bias=jnp.zeros(1)))


def _freeze(states, points) -> dict:
    """Checkpoint tree of plain dicts: every leaf of the state by position, and the curve so far."""
    leaves = {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(states))}
    return dict(state=leaves, points={name: np.stack([p[name] for p in points]) for name in points[0]})


def _thaw(saved: dict, like_states, like_point):
    """(states, points) of a checkpoint; ValueError if it is not shaped like this run's."""
    wanted = _freeze(like_states, [like_point])
    shapes = lambda tree, start: {name: (a.dtype.str, a.shape[start:]) for name, a in tree.items()}
    for group, start in (("state", 0), ("points", 1)):  # points: the leading axis is time
        found, expected = shapes(saved.get(group, {}), start), shapes(wanted[group], start)
        if odd := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
            raise ValueError(f"{group} {odd[0]}: found {found.get(odd[0])}, expected {expected.get(odd[0])}")
    leaves = [jnp.asarray(saved["state"][name]) for name in sorted(saved["state"])]
    states = jax.tree.unflatten(jax.tree.structure(like_states), leaves)
    count = len(next(iter(saved["points"].values())))
    return states, [{name: saved["points"][name][t] for name in like_point} for t in range(count)]


_STAGES = dict(
    reference=_reference,
    gold=_gold,
    preferences=_preferences,
    reward_model=_reward_model,
    pool=_pool,
    best_of_n=_best_of_n,
    policy_gradient=_policy_gradient,
)
