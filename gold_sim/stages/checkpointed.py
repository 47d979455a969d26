"""Checkpoints of one cell in a store, for the driver: a killed run resumes to the bit."""

import jax
import numpy as np

from gold_sim.stages.parallel import to_numpy
from gold_sim.store import files

CHECKPOINT_SECONDS = 20.0  # least time between checkpoints of a cell; times the seconds of saving one, if over 1


class Checkpointed:
    """driver.Checkpoints in a store. However slow the store, saving takes at most a twentieth of the time."""

    def __init__(self, store, cell):
        self._store, self._code, self._now = store, cell.fingerprint, store.system.monotonic
        self._last, self._took = 0.0, 0.0  # when the last checkpoint was saved, and how long saving took

    def resume(self, states, points: list):
        """(states, points, evaluations done) of the last checkpoint, or those given and 0.

        Raises StoreError if its shapes are not this cell's.
        """
        done = 0
        if (saved := self._store.load_checkpoint(self._code)) is not None:
            try:
                done, (states, points) = saved[0], _thaw(saved[1], states, points[0])
            except ValueError as error:
                what = f"{self._store.checkpoint_path(self._code)}: not a checkpoint of this cell ({error})"
                raise files.StoreError(f"{what}; remove it and run again") from error
        self._last = self._now()
        return states, points, done

    def keep(self, states, points: list, done: int) -> None:
        """Save a checkpoint, unless the last one is too recent."""
        due = self._now()
        if due - self._last > CHECKPOINT_SECONDS * max(1.0, self._took):
            self._store.save_checkpoint(self._code, done, _freeze(states, points))
            self._last = self._now()
            self._took = self._last - due


def _freeze(states, points: list) -> dict:
    """Checkpoint tree of plain dicts: every leaf of the state by position, of the points by path, stacked [t, ...]."""
    leaves = {f"{i:04d}": to_numpy(leaf) for i, leaf in enumerate(jax.tree.leaves(states))}
    return dict(state=leaves, points=_by_path(jax.tree.map(lambda *each: np.stack(each), *points)))


def _by_path(tree) -> dict:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree.leaves_with_path(tree)
    }


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
    stacked = jax.tree.unflatten(
        jax.tree.structure(like_point), [saved["points"][name] for name in _by_path(like_point)]
    )
    count = len(jax.tree.leaves(stacked)[0])
    return states, [jax.tree.map(lambda a, t=t: a[t], stacked) for t in range(count)]
