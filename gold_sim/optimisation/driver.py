"""The one loop that optimises policies: stages, tests and probe problems run `drive`, the benchmark its `step`.

    states  = algorithm.init(task)                  the first states, at the reference policy
    points  = [measure(states)]
    repeat evaluations times:
        repeat steps / evaluations times:           `step`
            batch  = algorithm.rollout(task, states)
            batch  = batch with its rewards         (a batch of labelled pairs has no rewards)
            states = algorithm.update(task, states, batch)
        points += [measure(states)]
        checkpoint

Reference policies, gold and reward models are fitted before, in policy.py and gold_sim/rewards.

An algorithm is written for one run. algorithms.py is the table of all. A stage maps its functions over runs and
compiles them one by one (stages/training.py), so that only the program that scores depends on the reward model. A
test or a benchmark takes those of one run as they are (`of_run`) and compiles them as it likes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np


class State(Protocol):
    """All that a run carries from step to step, and so all that a checkpoint holds: a typed pytree."""

    params: dict  # of the policy
    step: jax.Array  # int32, steps taken


class Algorithm(NamedTuple):
    """An optimiser of policies: three pure functions of one run. None of them has an argument for gold.

    task: what the run optimises and how, of the type that the algorithm's family defines.
    """

    init: Callable[..., State]  # (task, params=None) -> state; None: at the reference policy
    rollout: Callable[..., Any]  # (task, state) -> batch, not yet scored: the same program for every reward
    update: Callable[..., State]  # (task, state, batch) -> state
    values: int = 0  # 1: the policy's network has a value head


class Programs(NamedTuple):
    """The three parts of a step, of one run or of many."""

    rollout: Callable[[Any], Any]  # states -> batch
    score: Callable[[jax.Array, jax.Array], jax.Array] | None  # (prompts, responses) -> rewards; None: nothing scores
    update: Callable[[Any, Any], Any]  # (states, batch) -> states


class Checkpoints(Protocol):
    """Where a run is kept on its way."""

    def resume(self, states, points: list) -> tuple[Any, list]:
        """(states, points) as kept last; as given where nothing is kept."""

    def keep(self, states, points: list) -> None:
        """Called at every point but the first and the last; may do nothing."""


def of_run(algorithm: Algorithm, task, score=None) -> Programs:
    """The programs of one run, not compiled.  score: (prompts [P, Lp], responses [P, N, L]) -> rewards, or None."""
    rollout, update = (functools.partial(f, task) for f in (algorithm.rollout, algorithm.update))
    return Programs(rollout, score, update)


def step(programs: Programs, states):
    """One step: write a batch, score it, update."""
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
):
    """Whole runs: (last states, curve), the curve being the measured points stacked along a new first axis [T, ...].

    measure: states -> a pytree of arrays. Its results are stacked and read by nothing here, so whatever it measures,
    gold above all, cannot move a policy by a bit.
    evaluations: points after the first, at equal distances; must divide steps. T = evaluations + 1.
    """
    points, interval = [measure(states)], steps // evaluations
    if checkpoints is not None:
        states, points = checkpoints.resume(states, points)
    for t in range(len(points), evaluations + 1):
        for i in range(interval):
            states = step(programs, states)
            progress((t - 1) * interval + i + 1, steps)
        points.append(measure(states))
        if checkpoints is not None and t < evaluations:
            checkpoints.keep(states, points)
    return states, jax.tree.map(lambda *each: np.stack(each), *points)
