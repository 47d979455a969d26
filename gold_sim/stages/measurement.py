"""Measurement of policies during training: its prompts, its keys, and the one program that all stages share."""

import functools

import jax
import jax.numpy as jnp

from gold_sim import streams
from gold_sim.optimisation import measure
from gold_sim.rewards import gold
from gold_sim.stages.parallel import mapped, unless_ended


def policy_key(seed):
    return streams.key(seed, "policy")


def trained_on(language, num: int, seed):
    """The fixed training prompts of a seed."""
    return language.prompts(streams.key(seed, "train_prompts"), num)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def write(language, net, gold_net, train_prompts: int | None, seeds, params, held_out, ref_params, judge, ended=None):
    """Responses of all policies and what is measured without a proxy: (responses, OfPolicy, gold_training).

    The responses are to each run's held-out prompts [R, P, Lp] and, where there are fixed training prompts, to those as
    well. Then gold_training is gold on the training prompts; else it is None.
    ended: bool [R], runs that are left out, of which all is zeros; None: none are.
    """
    truth = lambda p, r: gold.scores(gold_net, judge, p, r)
    rubric = lambda p, r: gold.rubric(language, judge, p, r)
    affine = judge.mean, judge.std
    on = lambda prompts: measure.of_policy(language, net, ref_params, prompts, truth, affine, rubric)

    def one(run):
        seed, params, held_out = run
        unseen, point = on(held_out)(params, measure.key_of(policy_key(seed)))
        seen = gold_training = None
        if train_prompts is not None:
            prompts = cycled(trained_on(language, train_prompts, seed), len(held_out))
            seen, other = on(prompts)(params, measure.key_of(jax.random.fold_in(policy_key(seed), 1)))
            gold_training = other.gold
        return (unseen, seen), point, gold_training

    return unless_ended(one)((ended, (seeds, params, held_out)))


def cycled(prompts, num: int):
    """`num` prompts, repeated in a cycle, so that there are as many training prompts as held-out ones."""
    return prompts[jnp.arange(num) % len(prompts)]


@functools.partial(jax.jit, static_argnums=(0, 3))
def held_out_prompts(language, world_seed, seeds, num: int):
    """The prompts on which the policies of each seed [S] are measured, [S, num, Lp].

    Every seed has its own, so that the spread between seeds has the part of prompts in it, and the mean of all seeds is
    of all their prompts. All variants of a seed share them.
    """
    key = streams.key(world_seed, "evaluation")
    return mapped(lambda seed: language.prompts(jax.random.fold_in(key, seed), num, held_out=True))(seeds)
