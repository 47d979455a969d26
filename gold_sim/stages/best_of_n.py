"""The stage `best_of_n`: responses are selected from a pool by their proxy scores, by best-of-n or a rival rule."""

import functools

import numpy as np

from gold_sim import rewards
from gold_sim.optimisation import best_of_n, measure, selection_rules
from gold_sim.stages import tables


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
    described = dict(tables.describe(cell), policy_params=tables.describe(inputs.cell("pool"))["policy_params"])
    record = dict(hedge={name: [h[name] for h in hedges] for name in hedges[0]})
    return record, {"curves": tables.curves(cell, described, config.selection.rule, runs)}, {}


def _leaves_out(config, members) -> bool:
    """Whether some reward models of [S, M, P, N] are no part of the reward."""
    take = config.ensemble.take
    return config.reward == "proxy" and take is not None and take < members.shape[1]
