"""The local engine: cells in parallel processes, each with one thread, as their upstream gets done.

Cells are independent, idempotent and content-addressed, so the engine only schedules: results pass
through the store alone. A worker dies with its driver. JAX is imported in workers only.
"""

import concurrent.futures as futures
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

# Fused emitters make equally fast programs and compile 1.6 times as long (an RLOO step of 17k parameters: 13 s to 8).
XLA_FLAGS = (
    "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1 "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
_ENVIRONMENT = {  # one thread a worker, set before jax starts
    "XLA_FLAGS": XLA_FLAGS,
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_COMPILATION_CACHE_DIR": None,  # filled in by `run`
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
_reports = None  # a worker's queue to the driver


def _start_worker(reports, parent: int):
    global _reports
    _reports = reports

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)  # the driver is gone: nobody waits for this cell, and the same command will redo it

    threading.Thread(target=watch, daemon=True).start()


def _work(root: Path, cell):
    import jax

    from gold_sim import pipeline
    from gold_sim.records import Store

    def progress(done, total):
        _reports.put((cell.fingerprint, done, total))

    progress(0, 1)
    path = str(pipeline.run(Store(root), cell, progress))
    jax.clear_caches()  # programs of one cell serve no other, and would pile up to gigabytes
    return path


def run(root: Path, cells: list, workers: int, report: Callable):
    """Compute `cells` (upstream included, in an order that can be run), `workers` at a time.

    report: called with (event, cell, done, total), event one of 'start', 'progress', 'done', 'wait'.
    Raises the first worker's exception, after the cells in flight have ended.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, str(root / ".compiled") if value is None else value)
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    waiting = {cell.fingerprint: cell for cell in cells}
    known = dict(waiting)
    running, failure = {}, None
    with futures.ProcessPoolExecutor(workers, context, _start_worker, (reports, os.getpid())) as pool:
        while waiting or running:
            blocked = set(waiting) | {c.fingerprint for c in running.values()}
            for code, cell in list(waiting.items()):
                ready = not any(up.fingerprint in blocked for up in cell.all_upstream())
                if failure is None and ready and len(running) < workers:
                    running[pool.submit(_work, root, waiting.pop(code))] = cell
                    report("start", cell, 0, 1)
            if failure is not None and not running:
                break
            done, _ = futures.wait(running, timeout=0.5, return_when=futures.FIRST_COMPLETED)
            while True:
                try:
                    code, at, total = reports.get_nowait()
                except queue.Empty:
                    break
                report("progress", known[code], at, total)
            for future in done:
                cell = running.pop(future)
                if future.exception() is not None:
                    failure = failure or future.exception()
                else:
                    report("done", cell, 1, 1)
            report("wait", None, 0, 0)
    if failure is not None:
        raise failure
