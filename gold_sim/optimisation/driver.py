"""The one loop that optimises policies. Stages and tests run `drive`; the benchmark runs `step`.

    states  = algorithm.init(task)                  the first states, at the reference policy
    points  = [measure(states)]
    repeat evaluations times, or until the last point is enough:
        repeat steps / evaluations times:           `step`
            batch  = algorithm.rollout(task, states)
            batch  = batch with its rewards         (a batch of labelled pairs has no rewards)
            states = algorithm.update(task, states, batch)
        where a point is wanted:
            points += [measure(states)], or where a run leaped one of each step
            checkpoint

Reference policies, gold and reward models are fitted before this loop begins, in policy.py and gold_sim/rewards.

An algorithm is written for one run. algorithms.py is the table of all algorithms. A stage maps an algorithm's functions
over runs and compiles each function by itself (stages/training.py), so that only the program that scores depends on the
reward model. A test or a benchmark takes the functions of one run (`of_run`) and compiles them as it likes.
A run may also start at other parameters: `init(task, params)`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np


class State(Protocol):
    """All that a run carries from step to step, and so all that a checkpoint holds: a typed pytree."""

    params: dict  # of the policy
    step: jax.Array  # int32, steps taken


class Algorithm(NamedTuple):
    """An optimiser of policies: three pure functions of one run. None of them has an argument for gold.

    Each takes a task: what the run optimises and how. The family of the algorithm defines the task's type.
    """

    init: Callable[..., State]  # (task, params=None) -> state; None: at the reference policy
    rollout: Callable[..., Any]  # (task, state) -> batch, not yet scored: the same program for every reward
    update: Callable[..., State]  # (task, state, batch) -> state
    values: int = 0  # 1: the policy's network has a value head


class Programs(NamedTuple):
    """The three functions that make up a step, for one run or for many runs together."""

    rollout: Callable[[Any], Any]  # states -> batch
    score: Callable[[jax.Array, jax.Array], jax.Array] | None  # (prompts, responses) -> rewards; None: nothing scores
    update: Callable[[Any, Any], Any]  # (states, batch) -> states


class Checkpoints(Protocol):
    """A place where the state of a run is kept while it is under way."""

    def resume(self, states, points: list) -> tuple[Any, list, int]:
        """(states, points, evaluations done) that were kept last, or those given and 0 where nothing is kept."""

    def keep(self, states, points: list, done: int) -> None:
        """Keep a run's states, points and number of evaluations. Called after all points but the last."""


def of_run(algorithm: Algorithm, task, score=None) -> Programs:
    """The programs of one run, not compiled.  score: (prompts [P, Lp], responses [P, N, L]) -> rewards, or None."""
    rollout, update = (functools.partial(f, task) for f in (algorithm.rollout, algorithm.update))
    return Programs(rollout, score, update)


def step(programs: Programs, states):
    """The states after one step: a batch is written, scored, and used to update."""
    batch = programs.rollout(states)
    if programs.score is not None:
        batch = batch._replace(rewards=programs.score(batch.prompts, batch.responses))
    return programs.update(states, batch)


def drive(
    programs: Programs,
    states,
    measure: Callable,
    steps: int,
    evaluations: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    checkpoints: Checkpoints | None = None,
    enough: Callable[[Any], bool] = lambda point: False,
    leaped: Callable[[Any, Any], bool] | None = None,
    going_on: Callable[[Any], tuple[Programs, Callable]] | None = None,
    wanted: Callable[[int], bool] = lambda number: True,
):
    """(last states, curve) of whole runs; the curve is the measured points stacked along a new first axis [T, ...].

    measure: states -> a pytree of arrays. Its results are stacked, and nothing here reads them. So whatever it
    measures, gold above all, cannot change a policy by a single bit.
    evaluations: number of points after the first, evenly spaced in steps; must divide steps. Where all
    are wanted, T = evaluations + 1.
    enough: point -> whether runs end at it, and T is smaller.
    leaped: (a point, the next one) -> whether the steps between them are taken again, with a point after each. T is
    larger then. None: never, and no states are kept to go back to.
    going_on: a point -> (programs, measure) of the runs that go on after it; None: all do, by those given.
    wanted: number of an evaluation, from 1 -> whether runs are measured at it. They must be at the last,
    and at all where `leaped` is given.
    """
    points, done, interval = [measure(states)], 0, steps // evaluations
    if checkpoints is not None:
        states, points, done = checkpoints.resume(states, points)
    while done < evaluations and not enough(points[-1]):
        if going_on is not None:
            programs, measure = going_on(points[-1])
        before = None if leaped is None else _copied(states)  # as an update may write over them
        for i in range(interval):
            states = step(programs, states)
            progress(done * interval + i + 1, steps)
        done += 1
        if not wanted(done):
            continue
        point = measure(states)
        if leaped is not None and leaped(points[-1], point):
            states = before
            for _ in range(interval):
                states = step(programs, states)
                points.append(measure(states))
        else:
            points.append(point)
        if checkpoints is not None and done < evaluations:
            checkpoints.keep(states, points, done)
    return states, jax.tree.map(lambda *each: np.stack(each), *points)


@jax.jit
def _copied(states):
    return jax.tree.map(jnp.copy, states)
