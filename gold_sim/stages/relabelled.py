"""The stage of iterated RLHF's later pairs, which the policies of the round before have written."""

import jax
import jax.numpy as jnp

from gold_sim import policy, preferences, rounds
from gold_sim.networks import pieces
from gold_sim.stages.preferences import present


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
    return record, {}, {"arrays": present(stored)}
