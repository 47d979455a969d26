"""Training until the loss of other pairs no longer falls: where it stops, and which parameters are kept.

The rate is constant after a warm-up. After every few steps the mean of the last parameters is evaluated on pairs that
are not trained on. Training stops once that loss has not fallen by `least_fall` within `patience` evaluations, and the
mean of the best evaluation is kept.

Why no cosine: it must know its end beforehand, and here the data decide it. Why means: at a constant rate parameters
jump about a minimum, so that their own loss falls by chance and stops falling too soon. Their mean lies in it, as after
a decay of the rate (Polyak & Juditsky 1992; Hagele et al. 2024, "Scaling laws and compute-optimal training beyond fixed
training durations", section 4). In world 3 the loss of width 24 jumps by 0.01 between evaluations, and that of the
mean by 0.002 (experiments/log/2026-11-30-reward-models-to-a-criterion.md).

All of this is of one run, so runs that are mapped together stop each where it would stop alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

WARMUP = 30  # steps in which the rate rises, as where epochs end training
LAST = 10  # parameters are averaged over about the last tenth of the steps


class Spacing(NamedTuple):
    """Where evaluations lie."""

    a_pass: int  # steps of a pass over the pairs
    steps: int  # from one evaluation to the next
    most: int  # evaluations that the passes allow


class Course(NamedTuple):
    """What decides when a run stops, counted in evaluations."""

    taken: jax.Array  # so far
    best: jax.Array  # of them, the one with the lowest loss; from 1
    best_loss: jax.Array  # nats a pair
    fell: jax.Array  # the last one that lay `least_fall` below the one that fell before it
    fell_to: jax.Array  # its loss
    converged: jax.Array  # whether the loss fell no more
    done: jax.Array  # whether it fell no more, or the passes are over


def begin() -> Course:
    """The course before the first step."""
    none, high, no = jnp.int32(0), jnp.float32(jnp.inf), jnp.bool_(False)
    return Course(none, none, high, none, high, no, no)


def after(course: Course, loss, patience: int, least_fall: float, most: int) -> Course:
    """The course after an evaluation.

    loss: nats a pair.  patience: evaluations without a fall that end training.  least_fall: nats a pair that count as
    a fall, in one evaluation or several.  most: evaluations that the passes allow.
    The first counts as a fall whatever it is, and NaN later never does. So a run that diverges at once keeps NaN.
    """
    taken, first = course.taken + 1, course.taken == 0
    better = first | (loss < course.best_loss)
    falls = first | (loss <= course.fell_to - least_fall)
    fell = jnp.where(falls, taken, course.fell)
    converged = taken - fell >= patience
    return Course(
        taken=taken,
        best=jnp.where(better, taken, course.best),
        best_loss=jnp.where(better, loss, course.best_loss),
        fell=fell,
        fell_to=jnp.where(falls, loss, course.fell_to),
        converged=converged,
        done=converged | (taken >= most),
    )


def rates(first, steps: int):
    """Shares of the learning rate of `steps` steps, [steps].  first: number of the first, from 0."""
    return jnp.minimum(1.0, (first + jnp.arange(steps) + 1) / WARMUP)


def averaged(mean, params, step):
    """The mean of the last parameters with those of one more step.  step: its number, from 0.

    Polynomial-decay averaging (Shamir & Zhang 2013, "Stochastic gradient descent for non-smooth optimization", eq. 9):
    m_t = (1 - w) m_(t-1) + w p_t with w = (LAST + 1) / (t + LAST), t from 1. It needs no number of steps to be known.
    """
    weight = (LAST + 1) / (step + 1 + LAST)
    return jax.tree.map(lambda m, p: m + weight * (p - m), mean, params)


def intervals(space: Spacing, of_epoch: Callable):
    """The batches [..., steps, B] up to each evaluation, on the host.  of_epoch: number of a pass -> its batches."""
    waiting, epoch = np.asarray(of_epoch(0)), 0
    for _ in range(space.most):
        while waiting.shape[-2] < space.steps:
            epoch += 1
            waiting = np.concatenate([waiting, of_epoch(epoch)], -2)
        yield waiting[..., : space.steps, :]
        waiting = waiting[..., space.steps :, :]
