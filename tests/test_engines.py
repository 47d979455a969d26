"""Where cells are computed: a missing package, Slurm, Ray and workers that are gone, each told in one line."""

import os
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import pytest

from experiments.engine import executors, job, local, queue, ray, slurm, worker
from experiments.plan import plan
from gold_sim.store import StoreError

ROOT = Path(__file__).parent.parent
CELL = plan("rm_size", "smoke", {})[2][0]


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_whose_package_is_missing_says_what_to_install(tmp_path, monkeypatch, engine, package):
    monkeypatch.setitem(sys.modules, package, None)
    line = rf"^--engine {engine} needs {package}, which is not installed: pip install 'gold_sim\[cluster\]'$"
    with pytest.raises(ValueError, match=line):
        executors.make(engine, tmp_path, 1, {})


def test_only_jobs_of_the_slurm_engine_join_the_tasks_of_their_job(tmp_path, monkeypatch):
    """The local engine inside an allocation would wait for tasks that nobody started."""
    calls = []
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setattr(worker, "_work", lambda *_: calls.append("work"))
    monkeypatch.setattr(jax.distributed, "initialize", lambda: calls.append("joined"))
    worker.work(tmp_path, CELL)
    assert calls == ["work"]
    slurm.Requeued()(tmp_path, CELL)
    assert calls == ["work", "joined", "work"]


def test_a_job_that_slurm_does_not_take_is_one_line(tmp_path, monkeypatch):
    def refuses(*_):
        print("sbatch: error: invalid partition", file=sys.stderr)
        raise RuntimeError("sbatch: error: invalid partition\nsbatch: error: Batch job submission failed")

    engine = object.__new__(slurm.Slurm)
    engine.root = tmp_path
    engine._executor = types.SimpleNamespace(update_parameters=lambda **_: None, submit=refuses)
    monkeypatch.setattr(slurm, "_queue", lambda *_: [])
    with pytest.raises(ValueError, match="--engine slurm: sbatch: error: invalid partition sbatch: .*failed"):
        engine.submit(CELL)


def cluster(nodes, error=None):
    """Ray as the engine sees it, with nodes of these resources."""

    def init(**_):
        if error:
            raise error

    return types.SimpleNamespace(
        init=init,
        shutdown=lambda: None,
        is_initialized=lambda: False,
        nodes=lambda: [{"Alive": alive, "Resources": held} for alive, held in nodes],
        cluster_resources=lambda: {"CPU": 4.0},
        remote=lambda work: types.SimpleNamespace(options=lambda **_: None),
        exceptions=types.SimpleNamespace(
            WorkerCrashedError=OSError, NodeDiedError=OSError, OutOfMemoryError=OSError, ObjectLostError=OSError
        ),
    )


NODES = [(True, {"CPU": 4.0, "memory": 1e9}), (False, {"CPU": 4.0, "GPU": 8.0}), (True, {"CPU": 1.0, "GPU": 1.0})]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, None),
        ({"num_cpus": "4"}, None),
        ({"num_gpus": "1"}, None),
        ({"num_gpus": "100"}, "a cell asks for CPU 1, GPU 100; nodes have CPU 4, GPU 0; CPU 1, GPU 1"),
        ({"num_cpus": "2", "num_gpus": "1"}, "a cell asks for CPU 2, GPU 1; "),
        ({"tpu": "1"}, "tpu 1; nodes have CPU 4, tpu 0"),
        ({"num_gpus": "-1"}, "num_gpus=-1: --engine ray wants a number from 0"),
        ({"memory": "inf"}, "memory=inf: --engine ray wants a number from 0"),
    ],
)
def test_what_no_node_of_a_ray_cluster_has_is_told(tmp_path, monkeypatch, asked, why):
    monkeypatch.setattr(ray, "needed", lambda *_: cluster(NODES))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if why is None:
        assert ray.Ray(tmp_path, None, asked).trouble() is None
        return
    with pytest.raises(ValueError, match=f"^--.*{why}"):
        ray.Ray(tmp_path, None, asked)


def test_a_ray_cluster_elsewhere_may_grow_so_it_is_waited_for_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "needed", lambda *_: cluster(NODES))
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    engine = ray.Ray(tmp_path, None, {"num_gpus": "2"})
    assert engine.trouble() is None  # not yet
    monkeypatch.setattr(ray, "PATIENCE_SECONDS", 0.0)
    assert "a cell asks for CPU 1, GPU 2; nodes have" in engine.trouble()
    assert engine.trouble() is None  # once is enough


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("127.0.0.1:9", None),
        ("ray://127.0.0.1:9", None),
        ("nosuchhost.invalid:1", None),
        ("127.0.0.1:99999", None),
        ("foo", ValueError("Invalid address format: foo")),
        ("auto", ConnectionError("Could not find any running Ray instance.\nmore")),
    ],
)
def test_an_address_where_no_ray_answers_is_one_line(tmp_path, monkeypatch, address, error):
    monkeypatch.setattr(ray, "needed", lambda *_: cluster(NODES, error))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ValueError, match=f"^RAY_ADDRESS={address}: no Ray cluster answers there") as told:
        ray.Ray(tmp_path, None, {})
    assert "\n" not in str(told.value)


def test_a_worker_that_was_killed_says_by_what(tmp_path):
    executor = local.Local(tmp_path, 1, {})
    one = executor._begin(time.sleep, None)  # one argument too many: it fails once its process is up
    while not one.done():
        time.sleep(0.02)
    process = next(iter(executor._pools[0]._processes.values()))
    process.kill()
    assert "its process was killed" in local._how_it_ended(process) and "memory" in local._how_it_ended(process)
    executor.stop()


def test_what_runs_is_ended_at_once_where_a_run_is_cut_short(tmp_path):
    executor, began = local.Local(tmp_path, 2, {}), time.monotonic()
    executor.root = "__import__('time').sleep(60)"
    jobs = [executor._begin(eval, {}) for _ in range(2)]
    executor.stop()
    assert all(one.done() for one in jobs) and time.monotonic() - began < 30


class Odd(Exception):
    """It cannot be unpickled: its __init__ wants two values."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}\nmore")


FAILURES = [
    (KeyError("x"), "KeyError: 'x'"),
    (Odd(1, 2), "Odd: 1 2;"),
    (MemoryError(), "out of memory (MemoryError); fewer --workers"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nmore"), "out of memory (RuntimeError: RES"),
    (ValueError("shapes"), "ValueError: shapes"),
    (SystemError(), "SystemError;"),
]


@pytest.mark.parametrize(("error", "named"), FAILURES)
def test_what_a_cell_raises_is_one_line_that_names_it_and_keeps_the_traceback(tmp_path, monkeypatch, error, named):
    def fails(*_):
        raise error

    monkeypatch.setattr(worker, "_work", fails)
    with pytest.raises(job.CellFailed) as told:
        worker.work(tmp_path, CELL)
    line, kept = str(told.value), tmp_path / ".failed" / f"{CELL.stage}-{CELL.name}-{CELL.fingerprint}.txt"
    assert line.startswith(f"{CELL.stage} {CELL.name}: ") and named in line and str(kept) in line and "\n" not in line
    text = kept.read_text()
    assert "Traceback" in text and "in fails" in text and CELL.fingerprint in text and "seeds=" in text
    monkeypatch.setattr(worker, "_work", lambda *_: None)
    worker.work(tmp_path, CELL)
    assert not kept.exists()  # it no longer fails
    (tmp_path / "file").touch()
    monkeypatch.setattr(worker, "_work", fails)
    with pytest.raises(job.CellFailed, match=r"could not be kept \(.*Not a directory"):
        worker.work(tmp_path / "file", CELL)


def test_trouble_with_the_store_keeps_its_own_line(tmp_path, monkeypatch):
    def fails(*_):
        raise StoreError("runs/x: corrupt")

    monkeypatch.setattr(worker, "_work", fails)
    with pytest.raises(StoreError, match=r"^runs/x: corrupt$"):
        worker.work(tmp_path, CELL)
    assert not list(tmp_path.iterdir())


def test_an_error_from_outside_a_cell_names_the_cell_and_is_told_at_once(tmp_path, monkeypatch):
    """As Ray's own, or what cannot be pickled."""
    events, error = [], RuntimeError("the cluster is gone")
    one = types.SimpleNamespace(done=lambda: True, exception=lambda: error)
    executor = types.SimpleNamespace(slots=1, submit=lambda cell: one, prepare=lambda cell: None)
    with pytest.raises(job.CellFailed, match=f"{CELL.stage} {CELL.name}: RuntimeError: the cluster is gone; traceback"):
        queue.run(tmp_path, [CELL], executor, lambda event, *_: events.append(event))
    assert events == ["start", "failed", "wait"]


def test_a_backend_that_is_not_there_is_one_line(tmp_path):
    """Through real workers: jax says it in a hundred lines."""
    line = [sys.executable, "-m", "experiments", "rm_size", "--preset", "smoke", "--runs", tmp_path / "r"]
    environment = dict(os.environ, JAX_PLATFORMS="nosuch")
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("experiments: JAX_PLATFORMS=nosuch: "), done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted by Linux's /proc")
def test_a_worker_on_a_cpu_computes_on_one_thread(tmp_path, monkeypatch):
    """Otherwise two workers on two cores are four threads, each a fifth slower."""
    monkeypatch.delenv("PJRT_NPROC")
    count = "import jax, glob; jax.devices(); names = [open(p).read() for p in glob.glob('/proc/self/task/*/comm')]"
    environment = os.environ | worker.environment(tmp_path) | {"JAX_PLATFORMS": "cpu"}
    line = [sys.executable, "-c", f"{count}; print(sum('XLAEigen' in name for name in names))"]
    assert subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout.strip() == "1"


def test_a_cell_whose_worker_dies_every_time_is_named(tmp_path):
    """A cell that takes its process with it, three times: real processes, one line."""
    from experiments.engine import local, queue

    class Killed(local.Local):
        def submit(self, cell):
            job = super().submit(cell)
            next(iter(self._pools[0]._processes.values())).kill()
            return job

    executor, events = Killed(tmp_path, 1, {}), []
    cell = plan("rm_size", "smoke", {})[2][0]
    with pytest.raises(job.WorkerLost, match=f"{cell.stage} {cell.name}: worker lost 3 times"):
        queue.run(tmp_path, [cell], executor, lambda event, *_: events.append(event))
    executor.close()
    assert events.count("start") == 3 and events.count("lost") == 2 and "done" not in events


def test_a_worker_killed_with_nothing_to_do_is_replaced(tmp_path):
    """As by a system short of memory: the next cell finds its pool broken."""

    def result_of(name):
        job = executor._begin(os.path.join, name)
        while not job.done():
            time.sleep(0.05)
        assert job.exception() is None
        return executor._busy[0].result()

    executor = local.Local(tmp_path, 1, {})
    assert result_of("one") == str(tmp_path / "one")
    first = executor._pools[0]
    next(iter(first._processes.values())).kill()
    while not first._broken:
        time.sleep(0.05)
    assert result_of("two") == str(tmp_path / "two")
    executor.close()
