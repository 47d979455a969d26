"""The programs of a cell's training: its algorithm's three functions, mapped over runs and compiled.

No reward model enters them. So cells of one process with equal `Training` share them, and other processes read them
from the compilation cache. What runs have in common, such as the reference policy, is an argument. As a constant it
would make every cell compile the program anew.
"""

import functools
from typing import Protocol

import jax

from gold_sim.networks import footprint
from gold_sim.networks.network import Network
from gold_sim.optimisation.driver import Algorithm, Programs
from gold_sim.stages.parallel import mapped, unless_ended


class Training(Protocol):
    """The part of a cell's settings that is written into its programs; hashable, equal where all of it is."""

    net: Network

    @property
    def algorithm(self) -> Algorithm: ...

    @property
    def tokens(self) -> int:
        """Number of tokens in one gradient step of one run."""

    def task(self, run, common):
        """The task of one run, made inside the traced function.

        run: an entry of `runs`.  common: what all runs share.
        """


@functools.partial(jax.jit, static_argnums=0)
def begin(training, runs, common, starts=None):
    """The first states of all runs.  starts: parameters [R, ...] where they start; None: at the reference policy."""
    one = lambda each: training.algorithm.init(training.task(each[0], common), each[1])
    return mapped(one)((runs, starts))


@functools.partial(jax.jit, static_argnums=0)
def rollout(training, runs, common, states, ended=None):
    """A batch of every run, not yet scored.  ended: bool [R], runs that are left out; None: none are."""
    one = lambda each: training.algorithm.rollout(training.task(each[0], common), each[1])
    return side_by_side(training, one)((ended, (runs, states)))


@functools.partial(jax.jit, static_argnums=0, donate_argnames="states")
def update(training, runs, common, states, batch, ended=None):
    """The next states of all runs, written over the memory of the old ones; those that have ended keep theirs."""
    one = lambda each: training.algorithm.update(training.task(each[0], common), *each[1:])
    return side_by_side(training, one, lambda each: each[1])((ended, (runs, states, batch)))


def programs(training, runs, common, score=None, ended=None) -> Programs:
    """The programs of all runs that have not ended, for the driver."""
    step = lambda states: rollout(training, runs, common, states, ended)
    return Programs(step, score, lambda states, batch: update(training, runs, common, states, batch, ended))


def side_by_side(training, one, instead=None):
    """`unless_ended` of `one`, with as many runs at once as fit a device's memory in a gradient step."""
    return unless_ended(one, footprint.at_once(footprint.of_training(training.net, training.tokens)), instead)
