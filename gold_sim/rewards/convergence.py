"""Training until the loss of other pairs no longer falls: when it stops, and at which rate it goes on until then.

The rate is constant after a warm-up. After every few steps the loss of pairs that are not trained on is evaluated.
Once it has not fallen for `patience` evaluations, training goes back to the best of them, and the rate falls linearly
to 0 within as many steps as patience had. The parameters of the best evaluation of all are kept.

Why not a cosine: it must know its end beforehand, and here the data decide it. A constant rate with a decay at the end
reaches the losses of cosines of every length (Hagele et al. 2024, "Scaling laws and compute-optimal training beyond
fixed training durations"). Why back to the best: few pairs are overfitted by the time patience has run out.

All of this is scalars of one run, so runs that are mapped together stop apart, each where it would stop alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

WARMUP = 30  # steps in which the rate rises, as where epochs end training


class Course(NamedTuple):
    """What decides when a run stops. All but the loss and the flags are counted in evaluations."""

    taken: jax.Array  # in all
    path: jax.Array  # that led to the present parameters: what was left for the best one does not count
    best_path: jax.Array  # that led to the best parameters
    best_loss: jax.Array  # nats a pair
    waited: jax.Array  # since the best, at the constant rate
    decay: jax.Array  # that the decay takes; 0 while the rate is constant
    decayed: jax.Array  # of the decay
    converged: jax.Array  # whether patience ran out, and not the passes allowed
    done: jax.Array


def begin() -> Course:
    """The course before the first step."""
    none = jnp.int32(0)
    return Course(none, none, none, jnp.float32(jnp.inf), none, none, none, jnp.bool_(False), jnp.bool_(False))


def rates(course: Course, steps: int):
    """Shares of the learning rate of the `steps` steps up to the next evaluation, [steps]."""
    at = jnp.arange(steps)
    rising = jnp.minimum(1.0, (course.path * steps + at + 1) / WARMUP)
    falling = 1.0 - (course.decayed * steps + at) / jnp.maximum(course.decay * steps, 1)
    return rising * jnp.where(course.decay > 0, falling, 1.0)


def after(course: Course, loss, patience: int, most: int) -> tuple[Course, jax.Array, jax.Array]:
    """(Course after an evaluation, whether it is the best so far, whether training goes back to the best).

    loss: nats a pair.  patience: evaluations without a fall.  most: evaluations that the passes allow.
    The first counts as a fall whatever it is, and NaN after it never does. So a run that diverges at once keeps NaN.
    """
    taken, path, decaying = course.taken + 1, course.path + 1, course.decay > 0
    better = (loss < course.best_loss) | (course.taken == 0)
    waited, left = jnp.where(better, 0, course.waited + 1), most - taken
    exhausted = waited >= patience
    turns = ~decaying & (exhausted | (left <= patience))
    best_path, decayed = jnp.where(better, path, course.best_path), course.decayed + decaying
    found = Course(
        taken=taken,
        path=jnp.where(turns, best_path, path),
        best_path=best_path,
        best_loss=jnp.where(better, loss, course.best_loss),
        waited=waited,
        decay=jnp.where(turns, jnp.minimum(patience, left), course.decay),
        decayed=decayed,
        converged=course.converged | (turns & exhausted),
        done=(left <= 0) | (decaying & (decayed >= course.decay)),
    )
    return found, better, turns
