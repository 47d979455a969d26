"""The loop of stages that train policies: states advance and are measured; a killed run resumes to the bit."""

import time

import jax
import numpy as np

from gold_sim.stages.parallel import to_numpy
from gold_sim.store import files

CHECKPOINT_SECONDS = 20.0  # least time between two checkpoints of one cell, and for every second that one takes


def drive(store, cell, progress, evaluations: int, states, advance, record, times: int = 1):
    """From the first states to the last, checkpointed: (states, curve: name -> [runs, T, ...]).

    advance: states -> states; so many `times` it leads from one evaluation point to the next.
    """
    points = [to_numpy(record(states))]
    if (saved := store.load_checkpoint(cell.fingerprint)) is not None:
        try:
            states, points = _thaw(saved[1], states, points[0])
        except ValueError as error:
            what = f"{store.checkpoint_path(cell.fingerprint)}: not a checkpoint of this cell ({error})"
            raise files.StoreError(f"{what}; remove it and run again") from error
    last_saved, took = time.monotonic(), 0.0
    for t in range(len(points), evaluations + 1):
        for i in range(times):
            states = advance(states)
            progress((t - 1) * times + i + 1, evaluations * times)
        points.append(to_numpy(record(states)))
        due = time.monotonic()
        # Large states on a slow store: saving never takes more than a twentieth of the time.
        if due - last_saved > CHECKPOINT_SECONDS * max(1.0, took) and t < evaluations:
            store.save_checkpoint(cell.fingerprint, t, _freeze(states, points))
            last_saved = time.monotonic()
            took = last_saved - due
    return states, {name: np.stack([p[name] for p in points], axis=1) for name in points[0]}


def _freeze(states, points) -> dict:
    """Checkpoint tree of plain dicts: every leaf of the state by position, and the curve so far."""
    leaves = {f"{i:04d}": to_numpy(leaf) for i, leaf in enumerate(jax.tree.leaves(states))}
    return dict(state=leaves, points={name: np.stack([p[name] for p in points]) for name in points[0]})


def _thaw(saved: dict, like_states, like_point):
    """(states, points) of a checkpoint; ValueError if it is not shaped like this run's."""
    wanted = _freeze(like_states, [like_point])
    shapes = lambda tree, start: {name: (a.dtype.str, a.shape[start:]) for name, a in tree.items()}
    for group, start in (("state", 0), ("points", 1)):  # points: the leading axis is time
        found, expected = shapes(saved.get(group, {}), start), shapes(wanted[group], start)
        if odd := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
            raise ValueError(f"{group} {odd[0]}: found {found.get(odd[0])}, expected {expected.get(odd[0])}")
    leaves = jax.device_put([saved["state"][name] for name in sorted(saved["state"])])
    states = jax.tree.unflatten(jax.tree.structure(like_states), leaves)
    count = len(next(iter(saved["points"].values())))
    return states, [{name: saved["points"][name][t] for name in like_point} for t in range(count)]
