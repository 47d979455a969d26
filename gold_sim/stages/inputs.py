"""Inputs of a stage: the language, and the results of the cells upstream."""

import jax

from gold_sim import language as languages
from gold_sim.rewards import gold
from gold_sim.stages.graph import Cell
from gold_sim.store import Store, files


class Inputs:
    """The language, and the stored results of the cells upstream of one cell, as jax arrays."""

    def __init__(self, store: Store, cell: Cell):
        self._store, self._cells = store, dict(cell.upstream)
        self.language = languages.make(cell.config.world)

    def cell(self, *roles: str) -> Cell:
        """The cell reached by following roles upstream, as in cell('preferences', 'gold')."""
        at = self._cells[roles[0]]
        for role in roles[1:]:
            at = dict(at.upstream)[role]
        return at

    def arrays(self, *roles: str) -> dict:
        upstream = self.cell(*roles)
        path = self._store.find(upstream.stage, upstream.fingerprint)
        if path is None:
            raise files.StoreError(
                f"{upstream.stage} {upstream.name}-{upstream.fingerprint} is not stored: run it first"
            )
        return jax.device_put(self._store.arrays(path, "arrays"))

    def record(self, *roles: str) -> dict:
        """The record of a cell upstream; {} where it is not stored, as in a rehearsal."""
        upstream = self.cell(*roles)
        path = self._store.find(upstream.stage, upstream.fingerprint)
        return {} if path is None else self._store.record(path)

    def gold(self, *roles: str):
        """(network, Gold, cell)."""
        upstream = self.cell(*roles)
        return gold.network(self.language, upstream.config.gold), gold.Gold(**self.arrays(*roles)), upstream
