"""The engine: which cell may run next, which is tried again, what is told. Where it runs is the executor's business."""

import time
from collections.abc import Callable
from pathlib import Path

from experiments.executors import Executor, WorkerLost
from gold_sim.records import Store

ATTEMPTS = 3  # of a cell whose worker is lost
TURN_SECONDS = 0.2


def run(root: Path, cells: list, executor: Executor, report: Callable):
    """Compute `cells` (upstream included, in an order that can be run), as many at a time as the executor has slots.

    report: called with (event, cell, done, total), event one of 'start', 'progress', 'lost', 'done', 'wait'.
    Raises the first cell's exception, after the cells in flight have ended; WorkerLost when a cell's worker was lost
    ATTEMPTS times.
    """
    store = Store(root)
    waiting = {cell.fingerprint: cell for cell in cells}
    running, attempts, failure = {}, dict.fromkeys(waiting, 0), None  # running: fingerprint -> (cell, job)
    while running or (waiting and failure is None):
        unfinished = set(waiting) | set(running)
        for code, cell in list(waiting.items()):
            if failure is not None or len(running) >= executor.slots:
                break
            if not any(up.fingerprint in unfinished for up in cell.all_upstream()):
                attempts[code] += 1
                running[code] = (waiting.pop(code), executor.submit(cell))
                report("start", cell, 0, 1)
        time.sleep(TURN_SECONDS)
        for code, (cell, job) in list(running.items()):
            if not job.done():
                if (told := store.reported(code)) is not None:
                    report("progress", cell, *told)
                continue
            del running[code]
            error = job.exception()
            if error is None:
                report("done", cell, 1, 1)
            elif isinstance(error, WorkerLost) and attempts[code] < ATTEMPTS:
                waiting = {code: cell} | waiting  # first in turn: others may wait for it
                report("lost", cell, attempts[code], ATTEMPTS)
            elif isinstance(error, WorkerLost):
                failure = failure or WorkerLost(f"{cell.stage} {cell.name}: worker lost {ATTEMPTS} times ({error})")
            else:
                failure = failure or error
        report("wait", None, 0, 0)
    if failure is not None:
        raise failure
