"""The stage of direct alignment: policies fitted to preferences without a reward model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, preferences, streams
from gold_sim.language.prompts import PROMPT_LEN
from gold_sim.networks import footprint
from gold_sim.optimisation import direct_alignment
from gold_sim.stages.checkpointed import drive
from gold_sim.stages.measurement import held_out_prompts, write
from gold_sim.stages.parallel import mapped, to_numpy
from gold_sim.stages.tables import curves_and_samples


def alignment(cell, inputs, store, progress):
    """Runs are (seed, beta), beta fastest; a seed chooses the pairs and their order."""
    language, config, d = inputs.language, cell.config, cell.config.direct
    net = policy.network(language, inputs.cell("policy").config.reference)
    ref_params = inputs.arrays("policy")["params"]
    gold_net, judge, _ = inputs.gold("preferences", "gold")
    found = preferences.Preferences(**inputs.arrays("preferences"))
    train, held_out_pairs = preferences.split(config.preferences, found)
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

    states, curve = drive(
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
    tables = curves_and_samples(cell, language, held_out, d.loss, curve, settings, num_pairs=d.num_pairs)
    return {}, tables, {"arrays": {"policies": to_numpy(states.params)}}
