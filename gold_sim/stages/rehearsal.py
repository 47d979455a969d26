"""Rehearsal of a cell: its first step runs on zeros before its inputs exist, so that its programs are compiled ahead.

Programs depend on shapes alone. The stage itself is run on zeros, shaped as its upstream's results will be, until it
reports its first step. What it compiled stays in the compilation cache; what it computed is dropped.
"""

import contextlib

from gold_sim import named
from gold_sim.stages.inputs import Inputs
from gold_sim.store.system import REAL


class _FirstStepDone(Exception):
    pass


def rehearse(store, cell) -> None:
    """Compile the programs of a cell that `can_be_rehearsed`. The store is only read."""

    def progress(done: int, total: int):
        if done > 0:
            raise _FirstStepDone

    with contextlib.suppress(_FirstStepDone):
        named.imported(cell.declared.function)(cell, _Blank(store, cell), _Forgetful(), progress)


class _Forgetful:
    """A store without checkpoints."""

    system = REAL

    def load_checkpoint(self, fingerprint: str):
        return None


class _Blank(Inputs):
    """Inputs with zeros, by the `blank` of its stage, where an upstream result is not stored yet."""

    def arrays(self, *roles: str) -> dict:
        cell = self.cell(*roles)
        if self._store.find(cell.stage, cell.fingerprint) is not None:
            return super().arrays(*roles)
        return named.imported(cell.declared.blank)(self.language, cell.config)
