"""Checkpoints: replaced whole, set aside when corrupt, and saved in a twentieth of the time at most."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gold_sim.optimisation import driver
from gold_sim.stages import checkpointed
from gold_sim.store import Store
from tests.made_cells import A


def test_checkpoints_are_replaced_dropped_and_set_aside_when_corrupt(tmp_path):
    store = Store(tmp_path)
    tree = {"params": {"w": np.float32([[1, 2]])}, "key": np.uint32([3, 4]), "count": np.int32(5)}
    store.save_checkpoint(A, 10, {"old": np.ones(3)})
    store.save_checkpoint(A, 20, tree)
    step, back = store.load_checkpoint(A)
    assert step == 20 and back.keys() == tree.keys() and back["count"].shape == ()
    assert back["params"]["w"].dtype == np.float32 and back["params"]["w"].tolist() == [[1, 2]]
    path = tmp_path / ".checkpoints" / f"{A}.safetensors"
    content = path.read_bytes()
    for at in (3, 20, content.index(b"count"), *range(len(content) - 60, len(content), 7)):
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert store.load_checkpoint(A) is None, at
        assert not path.exists() and Path(f"{path}.corrupt").read_bytes() == damaged
    path.write_bytes(content[:-5])
    assert store.load_checkpoint(A) is None
    store.save_checkpoint(A, 30, tree)
    assert store.load_checkpoint(A)[0] == 30
    store.drop_checkpoint(A)
    store.drop_checkpoint(A)
    assert store.load_checkpoint(A) is None
    with pytest.raises(TypeError, match="tree/x"):
        store.save_checkpoint(A, 1, {"x": None})


@pytest.mark.parametrize("takes, saved_at", [(0.1, range(2, 100, 2)), (30.0, (2, 62))])
def test_saving_takes_a_twentieth_of_the_time_at_most(takes, saved_at):
    """A point takes 10 s: checkpoints of 0.1 s come every 20 s, those of 30 s every 600 s after the first."""
    clock, saved = [0.0], []

    class Slow:
        system = SimpleNamespace(monotonic=lambda: clock[0])

        def load_checkpoint(self, fingerprint):
            return None

        def save_checkpoint(self, fingerprint, step, tree):
            saved.append(step)
            clock[0] += takes

    def update(state, batch):
        clock[0] += 10.001
        return state

    checkpoints = checkpointed.Checkpointed(Slow(), SimpleNamespace(fingerprint=A))
    programs = driver.Programs(lambda state: None, None, update)
    driver.drive(programs, np.zeros(1), lambda state: {"gold": state}, 100, 100, checkpoints=checkpoints)
    assert saved == list(saved_at)
