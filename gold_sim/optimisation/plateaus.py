"""Runs whose KL coefficient falls from plateau to plateau, so that one run passes through many equilibria.

A run that starts at the reference policy with a small coefficient rushes ahead and spends KL that earns no reward; the
small penalty then takes long to win it back. From the equilibrium of the coefficient before, the way is short
(experiments/log/2026-11-30-path-and-frontier.md has the measurement).
"""

import dataclasses

from gold_sim.optimisation.driver import Algorithm


def over(algorithm: Algorithm, steps: int) -> Algorithm:
    """The algorithm on plateaus of so many steps: the coefficient in force is task.kl_coef[state.step // steps].

    The task's kl_coef is [K]. Every function of the algorithm is given the one coefficient in force, a scalar.
    """

    def at(task, state):
        return dataclasses.replace(task, kl_coef=task.kl_coef[state.step // steps])

    return algorithm._replace(
        rollout=lambda task, state: algorithm.rollout(at(task, state), state),
        update=lambda task, state, batch: algorithm.update(at(task, state), state, batch),
    )
