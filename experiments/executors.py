"""Where cells are computed: processes of this machine, a Ray cluster, Slurm jobs. All share one small interface.

Cells are independent, idempotent and content-addressed, and their results pass through the store alone, so an executor
only starts `work` somewhere and says how it ended. The store must be reachable under the same path from every worker.
"""

import multiprocessing
import os
import shlex
import site
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

import gold_sim
from gold_sim.remote import Remote, cache_of, is_url

CODE = Path(gold_sim.__file__).resolve().parent.parent  # the checkout, or site-packages
REPORT_SECONDS = 0.5  # least time between two reports of one cell
# Level 1 compiles in half the time and runs as fast. Any change here rounds otherwise, which training amplifies until
# the numbers are those of other seeds: without fused emitters programs compile in two thirds of the time (LOG.md), but
# whoever changes flags draws again, and must not choose among draws.
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"
ACCELERATOR_FLAGS = "--xla_cpu_multi_thread_eigen=false"  # there level 1 would slow the kernels


class WorkerLost(Exception):
    """The worker of a cell ended without a word (killed, out of memory, its machine gone): it may be tried again."""


class Job(Protocol):
    """One cell under way."""

    def done(self) -> bool: ...

    def exception(self) -> BaseException | None:
        """What ended a job that is done: None, the cell's own exception, or WorkerLost."""


class Executor(Protocol):
    slots: int  # cells at a time

    def submit(self, cell) -> Job: ...

    def prepare(self, cell) -> Job | None:
        """Have a slot that nothing else wants compile the cell's programs ahead; None where that gains nothing."""

    def close(self) -> None: ...


def accelerator() -> bool:
    """Whether this machine seems to have a GPU or TPU that jax may use; told without starting jax."""
    nodes = [node for kind in ("nvidia[0-9]*", "accel[0-9]*", "vfio/[0-9]*", "kfd") for node in Path("/dev").glob(kind)]
    return bool(nodes) and os.environ.get("JAX_PLATFORMS", "") != "cpu"


def environment(root: Path | str) -> dict[str, str]:
    """What a worker's process needs before jax starts: one thread a worker, one compilation cache for all."""
    wanted = {
        "XLA_FLAGS": ACCELERATOR_FLAGS if accelerator() else XLA_FLAGS,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(_local(root) / ".compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    if not accelerator():  # else jax runs a program's independent parts on as many threads as there are cores
        wanted["PJRT_NPROC"] = "1"
        # Else glibc gives back what a program held for its time where that is more than 32 MB, and the system clears
        # every page anew for the next: a tenth of a gradient step at 0.8M parameters. Between cells it is given back.
        wanted |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
    passed_on = [name for name in ("GOLD_SIM_MODEL_DEVICES",) if name in os.environ]
    return {name: os.environ.get(name, value) for name, value in wanted.items()} | {n: os.environ[n] for n in passed_on}


def import_path() -> dict[str, str]:
    """What workers started by others need to import this code: a checkout's folder; nothing where it is installed."""
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    return {} if CODE in (Path(folder).resolve() for folder in folders) else {"PYTHONPATH": str(CODE)}


def _local(root: Path | str) -> Path:
    """The folder of a store on this machine."""
    return cache_of(root) if is_url(root) else root


def work(root: Path | str, cell) -> None:
    """Compute and store one cell, in whatever process, and tell of it as it goes.  root: a folder or an address."""
    import jax

    from gold_sim import pipeline
    from gold_sim.records import Store

    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:  # tasks of one job share the runs of one cell
        jax.distributed.initialize()
    remote = Remote(root) if is_url(root) else None
    store, last = remote.store if remote else Store(root), -REPORT_SECONDS

    def progress(done: int, total: int):
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            store.report(cell.fingerprint, done, total)

    progress(0, 1)
    _forget_programs()
    try:
        if remote:
            remote.fetch([*cell.all_upstream(), cell])
        path = pipeline.run(store, cell, progress)
        if remote:
            remote.publish(path)
    finally:
        store.drop_report(cell.fingerprint)


def rehearse(root: Path | str, cell) -> None:
    """Compile a cell's programs ahead, in whatever process."""
    from gold_sim import rehearsal
    from gold_sim.records import Store

    _forget_programs()
    rehearsal.rehearse(Store(_local(root)), cell)


MOST_KEPT = 24  # cells and rehearsals: one's programs take 10 to 60 MB (measured)
_kept = 0  # whose programs this process still holds


def _forget_programs():
    """Now and then, before a cell. Until then policies of one shape find theirs, whatever ran in between."""
    global _kept
    if _kept == MOST_KEPT:
        import jax

        jax.clear_caches()
        _kept = 0
    _kept += 1


# --- local ------------------------------------------------------------------------------------


class Local:
    """Processes of this machine, one a slot; they die with the driver.

    resources: devices=0,1 gives slot i one of them, devices=0+1,2+3 two.

    Each slot is a pool of one: when a process is killed, the cells of the others go on.
    """

    def __init__(self, root: Path | str, workers: int | None, resources: dict[str, str]):
        _check("local", resources, ("devices",))
        devices = resources["devices"].split(",") if "devices" in resources else [None]
        self.root, self.slots = root, workers or _usual(len(devices))
        self._devices = [devices[i % len(devices)] for i in range(self.slots)]
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._busy: dict[int, Future] = {}
        os.environ.update(environment(root))  # spawned processes inherit it
        sharing = -(-self.slots // len(devices))  # jax takes most of a device's memory at its start
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / sharing:.2f}")

    def submit(self, cell) -> Job:
        return self._begin(work, cell)

    def prepare(self, cell) -> Job | None:
        return None if accelerator() else self._begin(rehearse, cell)  # there a device would be taken from a cell

    def _begin(self, what: Callable, cell) -> Job:
        slot = next(i for i in range(self.slots) if i not in self._busy or self._busy[i].done())
        try:
            self._busy[slot] = self._pool(slot).submit(what, self.root, cell)
        except BrokenProcessPool:  # its process was killed: with its last cell, or with nothing to do
            self._pools.pop(slot).shutdown(wait=False)
            self._busy[slot] = self._pool(slot).submit(what, self.root, cell)
        return _Told(self._busy[slot], BrokenProcessPool)

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        if slot not in self._pools:
            context = multiprocessing.get_context("spawn")
            self._pools[slot] = ProcessPoolExecutor(1, context, _start, (os.getpid(), self._devices[slot]))
        return self._pools[slot]

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)


A_DEVICE = 4  # workers: while one computes there the others compile, read and sort


def _usual(devices: int) -> int:
    """Workers of this machine where nobody says how many: one a core, or a few a device that they share."""
    cores = os.cpu_count() or 1
    return min(cores, A_DEVICE * devices) if accelerator() else cores


def _start(driver: int, device: str | None):
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device.replace("+", ",")

    def watch():
        while os.getppid() == driver:
            time.sleep(0.5)
        os._exit(1)  # the driver is gone: nobody waits for this cell, and the same command will redo it

    threading.Thread(target=watch, daemon=True).start()


class _Told:
    """A future, with the exceptions that mean a dead worker told apart."""

    def __init__(self, future: Future, *lost: type[BaseException]):
        self._future, self._lost = future, lost
        self.done = future.done

    def exception(self) -> BaseException | None:
        error = self._future.exception()
        if isinstance(error, self._lost):
            return WorkerLost(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        return getattr(error, "cause", None) or error  # Ray wraps the cell's own


# --- Ray --------------------------------------------------------------------------------------


class Ray:
    """Tasks of the cluster that RAY_ADDRESS names, or of one started here.

    resources: num_cpus (default 1), num_gpus, memory (bytes), and the cluster's own names, each a cell's share.
    """

    def __init__(self, root: Path | str, workers: int | None, resources: dict[str, str]):
        ray = _imported("ray")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
        share = {name: _number("ray", name, value) for name, value in resources.items()}
        options = {name: share.pop(name) for name in ("num_cpus", "num_gpus", "memory") if name in share}
        variables = environment(root) | import_path()
        # Lost workers are tried again by the engine, alike on every executor.
        self._work = ray.remote(work).options(
            **{"num_cpus": 1} | options, resources=share, max_retries=0, runtime_env={"env_vars": variables}
        )
        self.root, self.slots = root, workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        errors = ray.exceptions
        self._lost = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError)

    def submit(self, cell) -> Job:
        return _Told(self._work.remote(self.root, cell).future(), *self._lost)

    def prepare(self, cell) -> Job | None:
        return None  # machines of a cluster have caches of their own

    def close(self) -> None:
        _imported("ray").shutdown()


# --- Slurm ------------------------------------------------------------------------------------


class Slurm:
    """One job a cell, by submitit. resources: its parameters, such as timeout_min=60, slurm_partition=gpu.

    A job that is preempted or runs into its time is put back in the queue and goes on from its checkpoint. Jobs outlive
    the driver: the same command finds them by name and waits for them in place of submitting them again.
    """

    def __init__(self, root: Path | str, workers: int | None, resources: dict[str, str]):
        submitit = _imported("submitit")
        self.root, self.slots = root, workers or 100
        exports = environment(root) | import_path()
        setup = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
        try:
            self._executor = submitit.AutoExecutor(_local(root) / ".slurm", cluster="slurm", slurm_max_num_timeout=1000)
            settings = {name: int(v) if v.isdigit() else v for name, v in resources.items()}
            self._executor.update_parameters(**{"timeout_min": 240, "slurm_setup": setup} | settings)
        except (RuntimeError, ValueError, NameError) as error:  # no srun here; an unknown or odd parameter
            raise ValueError(f"--engine slurm: {str(error).splitlines()[0]}") from error
        self._job_class = submitit.SlurmJob

    def submit(self, cell) -> Job:
        name = f"gold_sim-{cell.fingerprint}"
        live = _queue("--name", name)
        if live:  # of a driver that died
            job = self._job_class(_local(self.root) / ".slurm", min(live))
        else:
            self._executor.update_parameters(name=name)
            job = self._executor.submit(Requeued(), self.root, cell)
        return _SlurmJob(self.root, cell, job)

    def prepare(self, cell) -> Job | None:
        return None  # a job would wait in the queue

    def close(self) -> None:
        pass


class Requeued:
    """`work` as submitit wants it for jobs that may be put back in the queue: cells keep their own checkpoints."""

    def __call__(self, root: Path | str, cell) -> None:
        work(root, cell)

    def checkpoint(self, root: Path | str, cell):
        import submitit

        return submitit.helpers.DelayedSubmission(self, root, cell)


class _SlurmJob:
    """Judged by the queue and the store, and by submitit's own files only for what went wrong: sacct may be absent."""

    ASK_SECONDS = 2.0

    def __init__(self, root: Path | str, cell, job):
        self._root, self._cell, self._job = root, cell, job
        self._asked, self._gone = time.monotonic(), False

    def done(self) -> bool:
        if not self._gone and time.monotonic() - self._asked > self.ASK_SECONDS:
            self._asked = time.monotonic()
            self._gone = self._job.job_id not in _queue("--jobs", self._job.job_id)
        return self._gone

    def exception(self) -> BaseException | None:
        from gold_sim.records import Store

        if is_url(self._root):
            stored = self._cell.fingerprint in Remote(self._root).present()
        else:
            stored = Store(self._root).find(self._cell.stage, self._cell.fingerprint) is not None
        if stored:
            return None
        if self._job.paths.result_pickle.exists():
            import pickle

            outcome, error = pickle.loads(self._job.paths.result_pickle.read_bytes())
            if outcome == "error":
                return RuntimeError(str(error).strip().splitlines()[-1])
        return WorkerLost(f"Slurm job {self._job.job_id} ended without a result (cancelled, or its node gone)")


def _queue(*words: str) -> list[str]:
    """Ids of the jobs that Slurm still has to run or to end."""
    line = ["squeue", "--noheader", "--format=%i", "--states=PD,R,CF,CG,S,RQ", *words]
    found = subprocess.run(line, capture_output=True, text=True, check=False)
    if found.returncode and "Invalid job id" not in found.stderr:
        return words[-1:] if words[0] == "--jobs" else []  # the controller does not answer: ask again later
    return found.stdout.split()


# --- the table --------------------------------------------------------------------------------

EXECUTORS: dict[str, Callable[[Path | str, int | None, dict], Executor]] = {"local": Local, "ray": Ray, "slurm": Slurm}


def make(name: str, root: Path | str, workers: int | None, resources: dict[str, str]) -> Executor:
    """The executor of that name.  ValueError: one line, what was given and what is allowed."""
    check(name, workers)
    return EXECUTORS[name](root if is_url(root) else root.absolute(), workers, resources)


def resource(text: str) -> tuple[str, str]:
    """'num_gpus=1' -> ('num_gpus', '1')."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"--resource {text!r}: KEY=VALUE is wanted, as in num_gpus=1")
    return name, value


def check(name: str, workers: int | None) -> None:
    if name not in EXECUTORS:
        raise ValueError(f"--engine {name!r}: allowed are {', '.join(EXECUTORS)}")
    if workers is not None and workers < 1:
        raise ValueError(f"--workers {workers}: at least 1 is wanted")


def _check(engine: str, resources: dict[str, str], allowed: tuple[str, ...]) -> None:
    if unknown := sorted(set(resources) - set(allowed)):
        raise ValueError(f"--resource {unknown[0]}: --engine {engine} takes {', '.join(allowed)}")


def _number(engine: str, name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"--resource {name}={value}: --engine {engine} wants a number") from None


def _imported(package: str):
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise ValueError(f"--engine wants {package}, which is not installed: pip install 'gold_sim[cluster]'") from None
