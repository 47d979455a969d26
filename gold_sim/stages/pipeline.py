"""The way from a cell to its stored result: its stage's function is run, and the record says what that took.

Algorithms are written for one run. Stages map them over runs (order: seed, then coefficient or member). On an
accelerator runs are vmapped. On a CPU they follow one another inside one compiled program, because vmap makes no run
faster there; cells run in parallel processes instead.
"""

import time
from collections.abc import Callable

import jax

from gold_sim import named
from gold_sim.settings import to_dict
from gold_sim.stages.graph import Cell
from gold_sim.stages.inputs import Inputs
from gold_sim.stages.spent import COMPILING, forget_peak, peak
from gold_sim.store import Store, provenance


def run(store: Store, cell: Cell, progress: Callable[[int, int], None] = lambda done, total: None):
    """Compute one cell whose upstream is stored, and store it; returns its folder. A stored cell is kept."""
    if (path := store.find(cell.stage, cell.fingerprint)) is not None:
        store.settle([cell.stage])
        return path
    stage, compute = cell.declared, named.imported(cell.declared.function)
    wall, cpu = time.perf_counter(), time.process_time()
    forget_peak()
    COMPILING.clear()
    inputs = Inputs(store, cell)
    record, tables, arrays = compute(cell, inputs, store, progress)
    if sorted(tables) != sorted(stage.tables):
        raise ValueError(f"stage {stage.name}: wrote tables {sorted(tables)}; it declares {sorted(stage.tables)}")
    spent = dict(wall_seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu, peak_bytes=peak())
    spent |= dict(compile_seconds=COMPILING.seconds(), compile_saved_seconds=COMPILING.saved)
    precision = jax.config.jax_default_matmul_precision or "default (float32 on CPU)"
    device = dict(device=jax.devices()[0].device_kind, precision=precision)
    upstream = {role: c.fingerprint for role, c in cell.upstream}
    record = dict(record, upstream=upstream, **spent, **device, **provenance.provenance(to_dict(cell.config)))
    path = store.write(cell.stage, cell.name, cell.fingerprint, record, tables=tables, arrays=arrays)
    store.drop_checkpoint(cell.fingerprint)
    return path
