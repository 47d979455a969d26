"""Measurement of a cell's compile seconds and peak memory, for its record."""

import contextlib
import ctypes
import time
from pathlib import Path

import jax


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
            # Tracing a function traces those that it calls, whose events come first: only the outermost span counts.
            end = time.perf_counter()
            while self._spans and self._spans[-1][0] >= end - seconds:
                self._spans.pop()
            self._spans.append((end - seconds, end))


COMPILING = _Compiling()
_STATUS, _PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak():
    """Reset the peak memory of this process, so that each cell of a worker has its own. Only Linux can.

    Memory that earlier cells freed is given back to the system first.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # the allocator would keep most of the last program's buffers
    with contextlib.suppress(OSError):
        _PEAK.write_text("5")


def peak() -> int | None:
    """Most bytes held since `forget_peak`: of the accelerator if there is one, of the process on a CPU."""
    if (stats := jax.local_devices()[0].memory_stats()) and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    with contextlib.suppress(OSError):
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return None
