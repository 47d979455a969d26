"""From a cell to its stored result: the table of stages, and what every record says of its making.

Algorithms are written for one run. Stages map them over runs (order: seed, then coefficient or member): on an
accelerator runs are vmapped; on a CPU they follow one another inside one compiled program, because mapping there gains
nothing per run, and cells run in parallel processes instead.
"""

import contextlib
import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import jax

from gold_sim import models, pools, records, runs
from gold_sim.cells import Cell
from gold_sim.inputs import Inputs
from gold_sim.records import Store
from gold_sim.settings import to_dict

STAGES = dict(
    reference=models.reference,
    gold=models.gold_model,
    preferences=models.preference_data,
    reward_model=models.reward_models,
    pool=pools.pool,
    scores=pools.scores,
    best_of_n=pools.selection,
    policy_gradient=runs.optimisation,
    direct_alignment=runs.alignment,
    relabelled=models.relabelled,
)


def run(store: Store, cell: Cell, progress: Callable[[int, int], None] = lambda done, total: None):
    """Compute one cell whose upstream is stored, and store it; returns its folder. A stored cell is kept."""
    if (path := store.find(cell.stage, cell.fingerprint)) is not None:
        return path
    wall, cpu = time.perf_counter(), time.process_time()
    _forget_peak()
    _COMPILING.clear()
    inputs = Inputs(store, cell)
    record, tables, arrays = STAGES[cell.stage](cell, inputs, store, progress)
    spent = dict(wall_seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu, peak_bytes=_peak())
    spent |= dict(compile_seconds=_COMPILING.seconds(), compile_saved_seconds=_COMPILING.saved)
    precision = jax.config.jax_default_matmul_precision or "default (float32 on CPU)"
    device = dict(device=jax.devices()[0].device_kind, precision=precision)
    upstream = {role: c.fingerprint for role, c in cell.upstream}
    record = dict(record, upstream=upstream, **spent, **device, **records.provenance(to_dict(cell.config)))
    path = store.write(cell.stage, cell.name, cell.fingerprint, record, tables=tables, arrays=arrays)
    store.drop_checkpoint(cell.fingerprint)
    return path


class _Compiling:
    """Wall seconds that this process spends on tracing, lowering and compiling, and those that the cache spares it."""

    def __init__(self):
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        self.clear()

    def clear(self):
        self._spans, self.saved = [], 0.0

    def seconds(self) -> float:
        return sum(end - start for start, end in self._spans)

    def _listen(self, event: str, seconds: float, **_):
        if event == "/jax/compilation_cache/compile_time_saved_sec":
            self.saved += seconds
        elif event.startswith("/jax/core/compile/"):
            # Tracing a function traces those that it calls, which are told first: the span that holds theirs counts.
            end = time.perf_counter()
            while self._spans and self._spans[-1][0] >= end - seconds:
                self._spans.pop()
            self._spans.append((end - seconds, end))


_COMPILING = _Compiling()


_STATUS, _PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _forget_peak():
    """Of this process, so that a worker's cells are told apart; what they freed goes back first. Linux alone can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # the allocator would keep most of the last program's buffers
    with contextlib.suppress(OSError):
        _PEAK.write_text("5")


def _peak() -> int | None:
    """Most bytes held since `_forget_peak`: of the accelerator if there is one, of the process on a CPU."""
    if (stats := jax.local_devices()[0].memory_stats()) and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    with contextlib.suppress(OSError):
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return None
