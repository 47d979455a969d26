"""The queue of cells: what goes first, that each runs once after what it needs, and what idle slots compile ahead."""

import dataclasses
import time
import types

import numpy as np

from experiments.engine import job
from experiments.plan import missing, plan
from gold_sim.store import Store


def test_what_holds_up_the_end_goes_first():
    """By hand: b - d and c - e hang on a, f on nothing; the ways are a 9, c 8, e 6, b 5, f 4, d 1."""
    from experiments.engine import queue
    from gold_sim.stages.graph import Cell

    made = {}
    for name, *ups in ("a", "f", "ba", "ca", "db", "ec"):
        made[name] = Cell("gold", name, name, None, tuple((up, made[up]) for up in ups))
    cells = list(made.values())  # a f b c d e
    assert [c.name for c in queue.longest_first(cells, [1.0, 4.0, 4.0, 2.0, 1.0, 6.0])] == list("acebfd")
    assert [c.name for c in queue.longest_first(cells, [1.0] * 6)] == list("abcfde")  # ties: as they came


def test_ten_thousand_cells_run_once_each_after_what_they_need(tmp_path, monkeypatch):
    """The schedule alone, of cells that each need up to three earlier ones; every fiftieth loses its worker once."""
    from experiments.engine import job, queue
    from gold_sim.stages.graph import Cell

    rng, cells = np.random.default_rng(0), []
    for i in range(10_000):
        picked = rng.choice(max(i, 1), min(i, 3), replace=False) if i % 7 else []
        ups = tuple((f"up{j}", dataclasses.replace(cells[j], upstream=())) for j in picked)
        cells.append(Cell("gold", f"tiny{i}", f"{i:016x}", None, ups))
    done, tries = set(), dict.fromkeys((c.fingerprint for c in cells), 0)

    class Instant:
        slots = 64

        def submit(self, cell):
            assert all(up.fingerprint in done for _, up in cell.upstream), cell.name
            tries[cell.fingerprint] += 1
            lost = int(cell.fingerprint, 16) % 50 == 0 and tries[cell.fingerprint] == 1
            return types.SimpleNamespace(done=lambda: True, exception=lambda: job.WorkerLost("made") if lost else None)

        def prepare(self, cell):
            return None

    def report(event, cell, *_):
        if event == "done":
            assert cell.fingerprint not in done
            done.add(cell.fingerprint)

    monkeypatch.setattr(queue, "TURN_SECONDS", 0.0)
    queue.run(tmp_path, cells, Instant(), report)
    assert len(done) == 10_000 and sum(tries.values()) == 10_200


def program(cell) -> tuple:
    return cell.declared.program_key(cell.config)


def test_idle_slots_compile_ahead_and_keep_nobody_waiting(tmp_path, monkeypatch):
    """Each set of programs once, of cells that cannot run yet; never more jobs than slots; a lost one does no harm."""
    from experiments.engine import queue

    _, curves, every = plan("rm_size", "smoke", {})
    cells, started, prepared, open_jobs = missing(Store(tmp_path), curves, every), [], [], []

    class Watched:
        slots = 2

        def _begin(self, turns, error=None):
            job = types.SimpleNamespace(left=turns, exception=lambda: error)
            job.done = lambda: job.left <= 0
            open_jobs[:] = [other for other in open_jobs if not other.done()] + [job]
            assert len(open_jobs) <= self.slots
            return job

        def submit(self, cell):
            started.append(cell.fingerprint)
            return self._begin(6)

        def prepare(self, cell):
            assert cell.fingerprint not in started
            prepared.append(cell)
            return self._begin(2, job.WorkerLost("made"))

    def turn(_):
        for one in open_jobs:
            one.left -= 1

    monkeypatch.setattr(time, "sleep", turn)
    queue.run(tmp_path, cells, Watched(), lambda *_: None)
    assert sorted(started) == sorted(c.fingerprint for c in cells)
    assert len({program(c) for c in prepared}) == len(prepared) > 3
    optimised = {"policy_gradient", "frontier"}
    assert {c.stage for c in prepared} <= {"reward_model", "pool", "gold_scores", "scores"} | optimised


def test_a_cell_that_runs_is_not_compiled_ahead(tmp_path):
    """Three slots, two cells that need nothing: the third slot stays idle."""
    from experiments.engine import queue

    _, curves, _ = plan("rm_size", "smoke", {})
    cells = [dataclasses.replace(c, upstream=()) for c in curves if c.stage == "policy_gradient"]
    prepared, turns = [], dict.fromkeys((c.fingerprint for c in cells), 0)

    class Idle:
        slots = 3

        def submit(self, cell):
            def done():
                turns[cell.fingerprint] += 1
                return turns[cell.fingerprint] > 2

            return types.SimpleNamespace(done=done, exception=lambda: None)

        def prepare(self, cell):
            prepared.append(cell)

    queue.run(tmp_path, cells, Idle(), lambda *_: None)
    assert len(cells) == 2 and not prepared
