"""Policies fit to demonstrations: what they learn from is written by a program of its own, and once for all sizes."""

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy
from gold_sim.config import PolicyConfig, WorldConfig
from gold_sim.language.topics import world
from gold_sim.stages import pretrained

LANGUAGE, CONFIG, STEPS = world.make(WorldConfig(response_len=6)), PolicyConfig(width=8, depth=2, batch=16), 60


def test_each_step_has_demonstrations_of_its_own_key_however_many_are_written_in_one_call():
    key = jax.random.key(1)
    prompts, responses = policy.demonstrated(LANGUAGE, CONFIG.batch, STEPS, key)
    assert policy.STEPS_AT_ONCE < STEPS == len(prompts) == len(responses)
    for t in (0, 29, 30, 59):  # two calls write thirty steps each
        k_prompt, k_demo = jax.random.split(jax.random.fold_in(key, t))
        asked = LANGUAGE.prompts(k_prompt, CONFIG.batch)
        np.testing.assert_array_equal(prompts[t], asked)
        np.testing.assert_array_equal(responses[t], policy.shown(LANGUAGE, k_demo, asked))


def test_a_policy_is_the_same_to_the_bit_where_one_program_writes_its_demonstrations_too():
    config = PolicyConfig(width=8, depth=2, batch=16, steps=STEPS)
    k_init, key = jax.random.split(jax.random.key(2))
    apart = policy.fitted(LANGUAGE, config, k_init, *policy.demonstrated(LANGUAGE, config.batch, STEPS, key))

    @jax.jit
    def together():
        shown = policy._demonstrated(LANGUAGE, config.batch, key, jnp.arange(STEPS))
        return policy.fitted(LANGUAGE, config, k_init, *shown)

    for one, other in zip(*map(jax.tree.leaves, (apart, together())), strict=True):
        np.testing.assert_array_equal(one, other)


def test_trunks_of_all_sizes_read_the_demonstrations_of_a_draw_and_those_are_written_once(monkeypatch):
    calls, demonstrated = [], policy.demonstrated
    monkeypatch.setattr(policy, "demonstrated", lambda *given: calls.append(1) or demonstrated(*given))
    pretrained._demonstrated.cache_clear()
    first, again, other = (pretrained._demonstrated(LANGUAGE, 16, 2, seed, 0) for seed in (3, 3, 4))
    assert again is first and len(calls) == 2
    assert not np.array_equal(first[1], other[1])
