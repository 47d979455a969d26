"""The stage `relabelled`: policies write the preference pairs that the next round of iterated RLHF learns from.

Round 1 is ordinary RLHF. The policies that round k - 1 ended with write the pairs of round k, so every seed has pairs
of its own, [S, D, ...]. The held-out pairs, by which reward models are calibrated, are still those of the reference
policy. So scores keep their zero and unit.
"""

import jax
import jax.numpy as jnp

from gold_sim import policy, preferences, streams
from gold_sim.config import Config
from gold_sim.language import Language
from gold_sim.networks import pieces
from gold_sim.networks.network import Network
from gold_sim.optimisation import algorithms
from gold_sim.preferences import Preferences
from gold_sim.rewards import gold, reward_model
from gold_sim.stages.preferences import present


def relabelled(cell, inputs, store, progress):
    """The pairs that a later round of iterated RLHF learns from, for every seed."""
    language, config = inputs.language, cell.config
    gold_net, judge, _ = inputs.gold("gold")
    started = inputs.cell("policies", "policy").config.reference
    net = policy.network(language, started, algorithms.find(config.optimiser).values)

    @jax.jit
    def pairs(found, policies, judge):
        old, held_out = drawn_before(config, found)
        new = relabel(language, config, net, policies, gold_net, judge, pieces.CHUNK)
        return joined(config, old, new, held_out), new

    found = preferences.Preferences(**inputs.arrays("preferences"))
    stored, new = pairs(found, inputs.arrays("policies")["policies"], judge)
    agreement = jnp.mean(new.labels == (new.gold[..., 1] > new.gold[..., 0]))
    record = dict(gold_of_pairs=float(jnp.mean(new.gold)), agreement_with_gold=float(agreement))
    return record, {}, {"arrays": present(stored)}


def drawn_before(config: Config, found: Preferences) -> tuple[Preferences, Preferences]:
    """(training pairs [S, D, ...] of the round before, held-out pairs [S, H, ...]).

    found: as stored, of all collected pairs [D, ...] if the round before was the first, else [S, D, ...].
    """
    seeds = jnp.asarray(config.seeds, jnp.int32)
    if found.labels.ndim == 2:
        return jax.vmap(lambda of_seed: preferences.split(config.preferences, of_seed))(found)
    train, held_out = preferences.split(config.preferences, found)

    def of_seed(seed):
        mine = reward_model.pairs_of_seed(config.reward_model, len(train.labels), seed)
        return jax.tree.map(lambda a: a[mine], train)

    return jax.vmap(of_seed)(seeds), jax.tree.map(lambda a: jnp.stack([a] * len(seeds)), held_out)


def relabel(language: Language, config: Config, net: Network, policies, gold_net, judge, chunk: int):
    """New pairs [S, rounds.num_pairs, ...], written by `policies` (leading axis S) and labelled by gold's annotator."""
    wanted, drawn = config.rounds.num_pairs, config.preferences.drawn

    def of_seed(seed_and_params):
        seed, params = seed_and_params
        key = jax.random.fold_in(streams.key(seed, "relabelled"), config.rounds.count)
        keys = jax.random.split(key, 1 - (-wanted // chunk))

        def some(key):
            k_prompt, k_sample = jax.random.split(key)
            prompts = language.prompts(k_prompt, chunk)
            sample = policy.sample(net, params, prompts, drawn, language.response_len, k_sample)
            return prompts, sample.responses, gold.scores(gold_net, judge, prompts, sample.responses)

        parts = jax.lax.map(some, keys[1:])
        flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:wanted], parts)
        return preferences.collect(config.preferences, language, *flat, key=keys[0])

    return jax.lax.map(of_seed, (jnp.asarray(config.seeds, jnp.int32), policies))


def joined(config: Config, old: Preferences, new: Preferences, held_out: Preferences) -> Preferences:
    """The pairs that are stored for a round, [S, D, ...]: those to learn from, then the held-out ones."""
    parts = [old, new, held_out] if config.rounds.data == "concatenate" else [new, held_out]
    return jax.tree.map(lambda *a: jnp.concatenate(a, 1), *parts)
