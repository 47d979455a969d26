"""The stage `best_of_n`: responses are selected from a pool by their proxy scores, by best-of-n or a rival rule."""

import functools

import numpy as np

from gold_sim import rewards
from gold_sim.optimisation import best_of_n, measure, selection_rules
from gold_sim.stages import tables


def selection(cell, inputs, store, progress):
    """Curves of gold and proxy over the strength of selection, one a seed: best-of-n over n, or a rival rule.

    The rival rules are those of selection_rules.py. Returns (record, tables, arrays) as every stage does; no arrays.
    """
    config = cell.config
    pool = inputs.arrays("pool") | inputs.arrays("gold_scores")
    pool = {name: np.asarray(values) for name, values in pool.items()}
    gold_net, judge, _ = inputs.gold("gold_scores", "gold")
    prompts, responses = pool.pop("prompts"), pool.pop("responses")
    reward = rewards.load(cell, inputs, gold_net)
    failures, asking = _failures(inputs.language, prompts, pool)
    products = best_of_n.products(pool["gold"], pool["rubric"])
    ns = best_of_n.ns_up_to(responses.shape[1])
    select = functools.partial(selection_rules.RULES[config.selection.rule], ns=ns, coef=config.selection.coef)
    scale, shift = reward.affine()
    runs, hedges, by_prompt = [], [], []
    for s, (scores, optimised) in enumerate(_scores(config, inputs, pool, reward, responses)):
        expected, kl = select(optimised, pool | scores | failures | products)
        means = {name: values.mean(0) for name, values in expected.items()}
        means |= {name: expected[name].sum(0) / max(number, 1) for name, number in asking.items()}
        own = dict(seed=config.seeds[s], control=ns, kl=kl, num_prompts=len(prompts))
        own |= dict(
            proxy_raw=means["proxy"] / scale[s] + shift[s],
            gold_raw=means["gold"] * float(judge.std) + float(judge.mean),
            proxy_spread=means.pop("spread"),
            **{f"{name}_se": _standard_error(expected[name]) for name in ("proxy", "gold", "rubric")},
            **best_of_n.spread(means["gold"], means["rubric"], **{name: means.pop(name) for name in products}),
        )
        runs.append(means | NOT_OF_SELECTION | own)
        by_prompt.append(np.round(expected["gold"][:, np.isin(ns, BY_PROMPT)].T, 3).tolist())
        hedges.append(selection_rules.hedge(optimised, pool["gold"], responses.shape[1]))
    described = dict(tables.describe(cell), policy_params=tables.describe(inputs.cell("pool"))["policy_params"])
    described["policy_loss"] = inputs.record("pool", "policy").get("held_out_loss", np.nan)
    record = dict(hedge={name: [h[name] for h in hedges] for name in hedges[0]})
    kept = [n for n in BY_PROMPT if n <= ns[-1]]
    record["prompts"] = dict(n=kept, seeds=list(config.seeds), gold=by_prompt)
    return record, {"curves": tables.curves(cell, described, config.selection.rule, runs)}, {}


BY_PROMPT = (1, 16, 128, 1024)  # n at which gold of each prompt is recorded, so that prompts can enter intervals

# Columns of a policy's curve that do not exist for a selection, or are known exactly.
NOT_OF_SELECTION = dict(
    kl_coef=0.0,
    kl_se=0.0,
    entropy=np.nan,
    distinct_1=np.nan,
    distinct_2=np.nan,
    same_response=np.nan,
    clip_fraction=np.nan,
)


def _scores(config, inputs, pool: dict, reward, responses):
    """For each seed, ({column: scores of the pool [P, N]}, the reward that is optimised [P, N])."""
    if config.reward == "gold":  # seeds differ in nothing
        members = pool["gold"][None, None]
    else:
        members = inputs.arrays("scores")["average" if rewards.averaged(config) else "members"]  # [S, M, P, N]
    lengths, take = pool["length"].astype(int), config.ensemble.take
    for of_seed in members:
        proxy, spread = (np.asarray(part) for part in rewards.combine(config, of_seed))
        references = proxy[:, : config.shaping.references]
        optimised = np.asarray(reward.shape(proxy, references, responses=responses.astype(np.int32)))
        of_length = measure.by_length(proxy, lengths, responses.shape[-1])[lengths - 1]
        columns = dict(proxy=proxy, spread=spread, proxy_of_length=of_length)
        if config.reward == "proxy" and take is not None and take < len(of_seed):
            columns["proxy_left_out"] = of_seed[take:].mean(0)  # by reward models that are no part of the reward
        yield columns, optimised


def _failures(language, prompts, pool: dict) -> tuple[dict, dict]:
    """({name: which samples failed, 0 or 1 [P, N]}, {name: number of prompts that ask for it})."""
    attributes = {name.removeprefix("attr_"): values for name, values in pool.items() if name.startswith("attr_")}
    each = language.failings(prompts, attributes)
    failures = {name: np.asarray(failed, float) for name, (failed, _) in each.items()}
    return failures, {name: int(np.asarray(asked)[:, 0].sum()) for name, (_, asked) in each.items()}


def _standard_error(values):
    """Standard error of the mean over prompts, the first axis."""
    return values.std(0, ddof=1) / np.sqrt(len(values))
