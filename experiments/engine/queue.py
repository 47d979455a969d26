"""The engine's queue: it decides which cell runs next and which is tried again. The executor decides where."""

import heapq
from collections.abc import Callable
from pathlib import Path

from experiments.engine import costs, worker
from experiments.engine.job import CellFailed, Executor, WorkerLost
from gold_sim.stages.declared import STAGES
from gold_sim.store import Store, StoreError
from gold_sim.store.system import REAL, System

ATTEMPTS = 3  # of a cell whose worker is lost
TURN_SECONDS = 0.2


def longest_first(cells: list, seconds: list[float]) -> list:
    """Cells sorted by the seconds of the longest chain of cells that each begins, so that the critical path goes first.

    seconds: predicted for each cell, > 0. (The upward rank of Topcuoglu, Hariri & Wu 2002, HEFT.)
    """
    takes = {c.fingerprint: s for c, s in zip(cells, seconds, strict=True)}
    way = {}
    for cell in reversed(cells):  # dependents before what they need
        way[cell.fingerprint] = takes[cell.fingerprint] + way.get(cell.fingerprint, 0.0)
        for _, up in cell.upstream:
            way[up.fingerprint] = max(way.get(up.fingerprint, 0.0), way[cell.fingerprint])
    return sorted(cells, key=lambda c: -way[c.fingerprint])


def _of_each_program(root: Path, cells: list, system: System = REAL) -> list:
    """The first cell of each set of programs that can be compiled ahead (rehearsal.py) and that no stored cell had."""
    program = lambda cell: STAGES[cell.stage].program_key(cell.config)
    first = {program(m.cell): None for m in costs.measured(root, system)}
    for cell in cells:
        if cell.can_be_rehearsed:
            first.setdefault(program(cell), cell)
    return list(filter(None, first.values()))


def run(root: Path, cells: list, executor: Executor, report: Callable, system: System = REAL):
    """Compute `cells` (what they need included, unless stored), as many at a time as the executor has slots.

    Of those that may run, the first in the list goes first. While too few may, idle slots compile ahead for the others.

    report: called with (event, cell, done, total), event one of 'start', 'progress', 'lost', 'failed', 'done',
    'wait'.
    Raises, after the cells in flight have ended, what the first cell to fail raised: StoreError, CellFailed, or
    WorkerLost when its worker was lost ATTEMPTS times.
    """
    store = Store(root, system)
    place = {cell.fingerprint: i for i, cell in enumerate(cells)}
    needs = {c.fingerprint: {up.fingerprint for up in c.all_upstream()} & place.keys() for c in cells}
    needed_by = {code: [] for code in place}
    for code, ups in needs.items():
        for up in ups:
            needed_by[up].append(code)
    ready = [place[code] for code, ups in needs.items() if not ups]  # a heap: the first in order goes first
    heapq.heapify(ready)
    running, attempts, failure = {}, dict.fromkeys(place, 0), None  # running: fingerprint -> (cell, job)
    ahead, preparing = _of_each_program(root, cells, system), []
    while running or (ready and failure is None):
        preparing = [job for job in preparing if not job.done()]
        while ready and failure is None and len(running) + len(preparing) < executor.slots:
            cell = cells[heapq.heappop(ready)]
            attempts[cell.fingerprint] += 1
            running[cell.fingerprint] = (cell, executor.submit(cell))
            report("start", cell, 0, 1)
        while ahead and failure is None and len(running) + len(preparing) < executor.slots:
            cell = ahead.pop(0)
            if needs[cell.fingerprint] and (job := executor.prepare(cell)) is not None:  # else it runs or has run
                preparing.append(job)
        system.sleep(TURN_SECONDS)
        for code, (cell, job) in list(running.items()):
            if not job.done():
                if (reported := store.reported(code)) is not None:
                    report("progress", cell, *reported)
                continue
            del running[code]
            error = job.exception()
            if error is None:
                report("done", cell, 1, 1)
                for dependent in needed_by[code]:
                    needs[dependent].discard(code)
                    if not needs[dependent]:
                        heapq.heappush(ready, place[dependent])
            elif isinstance(error, WorkerLost) and attempts[code] < ATTEMPTS:
                heapq.heappush(ready, place[code])
                report("lost", cell, attempts[code], ATTEMPTS)
            elif isinstance(error, WorkerLost):
                failure = failure or WorkerLost(f"{cell.stage} {cell.name}: worker lost {ATTEMPTS} times ({error})")
            else:
                failure = failure or _told(store, cell, error)
                report("failed", cell, 0, 1)
        report("wait", None, 0, 0)
    if failure is not None:
        raise failure


def _told(store: Store, cell, error: BaseException) -> Exception:
    """The exception that a cell raised, as one line that names the cell, wherever the exception came from."""
    return error if isinstance(error, StoreError | CellFailed) else worker.failed(store, cell, error)
