"""Stages on one pool of reference samples a held-out prompt: the pool, and selection from it by a proxy.

Every stage is (cell, inputs, store, progress) -> (record, tables, arrays).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, rewards, rows, streams
from gold_sim.inputs import mapped, to_numpy
from gold_sim.networks import pieces
from gold_sim.networks.pieces import SAMPLES_AT_ONCE
from gold_sim.optimisation import best_of_n, measure, selection_rules
from gold_sim.rewards import gold

SAMPLES_A_CHUNK = 1024  # of one prompt, drawn by one key
SCORED_A_CHUNK = 128  # by a reward model: the MLP of width 48 then fits a core's cache, in 0.53 to 0.71 of the time


def pool(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.best_of_n
    started = inputs.cell("policy").config.reference
    policy_net = policy.network(language, started)
    params = inputs.arrays("policy")["params"]
    net, judge, _ = inputs.gold("gold")
    key = streams.key(config.seed, "best_of_n")
    # On the host: to take an array of jax's apart is a program of its own.
    prompts = np.asarray(language.prompts(jax.random.fold_in(key, 0), config.num_prompts, held_out=True))
    static = (language, policy_net, net, config.num_samples)
    parts = []
    for i, prompt in enumerate(prompts):
        drawn = _of_prompt(*static, prompt, jax.random.fold_in(key, i + 1), params, judge)
        parts.append(to_numpy(drawn))
        progress(i + 1, config.num_prompts)
    stacked = {name: np.stack([p[name] for p in parts]) for name in parts[0]}
    stacked["responses"] = stacked["responses"].astype(np.uint16)
    record = dict(distinct_responses=float(np.mean([len(np.unique(r, axis=0)) for r in stacked["responses"]])))
    return record, {}, {"arrays": dict(stacked, prompts=prompts)}


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _of_prompt(language, policy_net, net, num_samples: int, prompt, key, params, judge):
    """Samples of one prompt with gold's scores and attributes, [num_samples, ...] each."""
    chunk = min(SAMPLES_A_CHUNK, num_samples)
    chunks = -(-num_samples // chunk)

    def some(uniforms):  # [samples, L]
        prompts = prompt[None]
        s = policy.written(policy_net, params, prompts, uniforms.T[:, None])
        found = dict(gold=gold.scores(net, judge, prompts, s.responses), length=s.lengths)
        for name, value in language.attributes(prompts, s.responses).items():
            found[f"attr_{name}"] = value
        return dict(responses=s.responses[0], **{k: v[0].astype(jnp.float32) for k, v in found.items()})

    def of_key(key):
        uniforms = policy.uniforms(key, 1, chunk, language.config.response_len)
        return pieces.in_pieces(some, uniforms[:, 0].T)

    drawn = pieces.streamed(of_key, jax.random.split(key, chunks), SAMPLES_AT_ONCE // SAMPLES_A_CHUNK)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:num_samples], drawn)


def scores(cell, inputs, store, progress):
    """Calibrated scores of every member on the pool, [S, M, P, N], and of their weight average [S, 1, P, N]."""
    found = inputs.arrays("pool")
    gold_net, judge, _ = inputs.gold("pool", "gold")
    prompts, responses = np.asarray(found["prompts"]), np.asarray(found["responses"], np.int32)
    wanted = {"members": rewards.load(cell, inputs, gold_net)}
    if cell.config.reward == "proxy" and cell.config.reward_model.members > 1:
        wanted["average"] = rewards.load(cell, inputs, gold_net, average=True)
    arrays = {}
    for name, reward in wanted.items():
        parts = []
        for i in range(len(prompts)):
            parts.append(to_numpy(_scored(reward, reward.runs, judge, prompts[i], responses[i])))
            progress(i + 1, len(prompts))
        arrays[name] = np.stack(parts, axis=2)
    return {}, {}, {"arrays": arrays}


@functools.partial(jax.jit, static_argnums=0)
def _scored(reward, runs, judge, prompt, responses):
    """Scores [S, M, N] of the responses [N, L] to one prompt."""
    chunk = min(SCORED_A_CHUNK, responses.shape[0])
    padded = jnp.pad(responses, ((0, -responses.shape[0] % chunk), (0, 0)))

    def some(part):
        return mapped(lambda run: reward.members(run, judge, prompt[None], part[None])[:, 0])(runs)

    parts = padded.reshape(-1, chunk, padded.shape[-1])
    scored = pieces.streamed(some, parts, SAMPLES_AT_ONCE // SCORED_A_CHUNK)  # [chunks, S, M, chunk]
    scored = jnp.moveaxis(scored, 0, 2)
    return scored.reshape(*scored.shape[:2], -1)[..., : responses.shape[0]]


def _leaves_out(config, members) -> bool:
    """Whether some reward models of [S, M, P, N] are no part of the reward."""
    take = config.ensemble.take
    return config.reward == "proxy" and take is not None and take < members.shape[1]


def selection(cell, inputs, store, progress):
    """A curve over how hard is selected, one a seed: best-of-n over n, or another rule of inference.py."""
    config = cell.config
    found = {k: np.asarray(v) for k, v in inputs.arrays("pool").items()}
    gold_net, judge, _ = inputs.gold("pool", "gold")
    prompts, responses = found.pop("prompts"), found.pop("responses")
    reward = rewards.load(cell, inputs, gold_net)
    if config.reward == "gold":  # seeds differ in nothing
        members = found["gold"][None, None]
    else:
        members = inputs.arrays("scores")["average" if rewards.averaged(config) else "members"]
    num_seeds = len(members)
    left_out = members[:, config.ensemble.take :].mean(1) if _leaves_out(config, members) else None
    proxies, spreads = (np.stack(part) for part in zip(*(rewards.combine(config, m) for m in members), strict=True))

    attributes = {name.removeprefix("attr_"): values for name, values in found.items() if name.startswith("attr_")}
    failed_of = {  # name -> (failed [P, N], prompts that ask for it)
        name: (np.asarray(failed, float), int(np.asarray(asked)[:, 0].sum()))
        for name, (failed, asked) in inputs.language.failings(prompts, attributes).items()
    }
    references = proxies[:, :, : config.shaping.references]
    shape = functools.partial(reward.shape, responses=responses.astype(np.int32))
    optimised = [np.asarray(shape(*of_seed)) for of_seed in zip(proxies, references, strict=True)]
    scale, shift = reward.affine()
    ns = best_of_n.ns_up_to(proxies.shape[-1])
    select = functools.partial(selection_rules.RULES[config.selection.rule], ns=ns, coef=config.selection.coef)
    lengths = found["length"].astype(int)
    runs, hedges = [], []
    for s in range(num_seeds):
        wanted = dict(found, proxy=proxies[s], spread=spreads[s])
        if left_out is not None:
            wanted |= dict(proxy_left_out=left_out[s])
        wanted |= {name: failed for name, (failed, _) in failed_of.items()}
        wanted |= dict(proxy_of_length=measure.by_length(proxies[s], lengths, responses.shape[-1])[lengths - 1])
        expected, kl = select(optimised[s], wanted)
        means = {name: values.mean(0) for name, values in expected.items()}
        means |= {name: expected[name].sum(0) / max(asked, 1) for name, (_, asked) in failed_of.items()}
        error = lambda name, expected=expected: expected[name].std(0, ddof=1) / np.sqrt(len(prompts))
        hedges.append(selection_rules.hedge(optimised[s], found["gold"], proxies.shape[-1]))
        runs.append(
            dict(
                {name: means[name] for name in means if name != "spread"},
                seed=config.seeds[s],
                kl_coef=0.0,
                control=ns,
                kl=kl,
                kl_se=0.0,
                proxy_se=error("proxy"),
                proxy_raw=means["proxy"] / scale[s] + shift[s],
                proxy_spread=means["spread"],
                gold_se=error("gold"),
                gold_raw=means["gold"] * float(judge.std) + float(judge.mean),
                entropy=np.nan,
                distinct_1=np.nan,
                distinct_2=np.nan,
                clip_fraction=np.nan,
                num_prompts=len(prompts),
            )
        )
    described = dict(rows.describe(cell), policy_params=rows.describe(inputs.cell("pool"))["policy_params"])
    record = dict(hedge={name: [h[name] for h in hedges] for name in hedges[0]})
    return record, {"curves": rows.curves(cell, described, config.selection.rule, runs)}, {}
