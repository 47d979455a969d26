"""The work of a worker's process: set its environment, compute and store one cell, compile programs ahead."""

import math
import os
import platform
import site
import time
import traceback
from pathlib import Path

import gold_sim
from experiments.engine.job import CellFailed, in_a_line
from gold_sim.store import Store, StoreError
from gold_sim.store.remote import Remote, cache_of, is_url
from gold_sim.store.system import REAL, System

CODE = Path(gold_sim.__file__).resolve().parent.parent  # the checkout, or site-packages
PATIENCE_SECONDS = 60.0  # for cells that another machine has finished: NFS shows listings of up to this age
REPORT_SECONDS = 0.5  # least time between two reports of one cell
# Level 1 compiles in half the time and runs as fast. Any change of flags changes rounding, and training amplifies that
# until the numbers are those of other seeds. Without fused emitters programs compile in two thirds of the time. But to
# change flags is to draw anew, and one must not choose among draws (experiments/log/2026-11-23-compiler-flags.md).
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"
ACCELERATOR_FLAGS = "--xla_cpu_multi_thread_eigen=false"  # there level 1 would slow the kernels


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
        "JAX_COMPILATION_CACHE_DIR": str(local_folder(root) / ".compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    if not accelerator():  # else jax runs a program's independent parts on as many threads as there are cores
        wanted["PJRT_NPROC"] = "1"
        # By default glibc returns a program's buffers above 32 MB to the system, which clears every page for the next
        # program: a tenth of a gradient step at 0.8M parameters. Here they are returned between cells only.
        wanted |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
    passed_on = [name for name in ("GOLD_SIM_MODEL_DEVICES",) if name in os.environ]
    return {name: os.environ.get(name, value) for name, value in wanted.items()} | {n: os.environ[n] for n in passed_on}


def import_path() -> dict[str, str]:
    """What workers started by others need to import this code: a checkout's folder; nothing where it is installed."""
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    return {} if CODE in (Path(folder).resolve() for folder in folders) else {"PYTHONPATH": str(CODE)}


def local_folder(root: Path | str) -> Path:
    """The folder of a store on this machine."""
    return cache_of(root) if is_url(root) else root


def work(root: Path | str, cell, system: System = REAL) -> None:
    """Compute and store one cell, in any process, and report its progress.  root: a folder or an address.

    StoreError, as it is; CellFailed for any other exception of the cell.
    """
    store = Store(local_folder(root), system)
    try:
        _check_devices()
        _work(root, cell, system)
    except (StoreError, CellFailed):
        raise
    except Exception as error:
        raise failed(store, cell, error) from None  # what another process cannot unpickle would end that one
    store.drop_failure(cell)


def failed(store: Store, cell, error: BaseException) -> CellFailed:
    """The exception of a failed cell in one line; its traceback is first kept in the store."""
    what = in_a_line(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in what:
        what = (
            f"out of memory ({what}); fewer --workers or smaller settings are wanted, --dry-run tells what cells take"
        )
    head = f"{cell.stage} {cell.name} {cell.fingerprint}\n{platform.node()}, {time.ctime()}\n{cell.config}\n\n"
    try:
        where = f"traceback in {store.keep_failure(cell, head + ''.join(traceback.format_exception(error)))}"
    except StoreError as trouble:
        where = f"its traceback could not be kept ({trouble})"
    return CellFailed(f"{cell.stage} {cell.name}: {what:.400}; {where}")


def _check_devices() -> None:
    """Start jax.  CellFailed: it lacks the devices that JAX_PLATFORMS names, whatever the cell."""
    import jax

    try:
        jax.devices()
    except Exception as error:  # RuntimeError, or an assertion where none of those named is there
        first = next(iter(str(error).strip().splitlines()), "jax finds none")
        wanted = os.environ.get("JAX_PLATFORMS", "")
        raise CellFailed(f"JAX_PLATFORMS={wanted}: {platform.node()} has no such device ({first})") from None


def _work(root: Path | str, cell, system: System) -> None:
    from gold_sim.stages import pipeline

    remote = Remote(root, system) if is_url(root) else None
    store, last = remote.store if remote else Store(root, system), -math.inf

    def progress(done: int, total: int):
        nonlocal last
        if system.monotonic() - last >= REPORT_SECONDS:
            last = system.monotonic()
            store.report(cell.fingerprint, done, total)

    progress(0, 1)
    _forget_programs()
    try:
        _wait_for_upstream(store, remote, cell)
        path = pipeline.run(store, cell, progress)
        if remote:
            remote.publish(path)
    finally:
        store.drop_report(cell.fingerprint)


def _wait_for_upstream(store: Store, remote: Remote | None, cell) -> None:
    """Until what a cell reads is seen on this machine. It is finished, but listings of shared storage may lag."""
    began = store.system.monotonic()
    while True:
        if remote:
            remote.fetch([*cell.all_upstream(), cell])
        unseen = [up for _, up in cell.upstream if store.find(up.stage, up.fingerprint) is None]
        if not unseen or store.find(cell.stage, cell.fingerprint) is not None:
            return
        if store.system.monotonic() - began > PATIENCE_SECONDS:
            return  # its stage says what is not there
        store.system.sleep(1.0)


def rehearse(root: Path | str, cell) -> None:
    """Compile a cell's programs ahead, in whatever process."""
    from gold_sim.stages import rehearsal

    _forget_programs()
    rehearsal.rehearse(Store(local_folder(root)), cell)


MOST_KEPT = 24  # cells and rehearsals: one's programs take 10 to 60 MB (measured)
_kept = 0  # whose programs this process still holds


def _forget_programs():
    """Drop compiled programs now and then, before a cell. Until then cells of one shape find their programs here."""
    global _kept
    if _kept == MOST_KEPT:
        import jax

        jax.clear_caches()
        _kept = 0
    _kept += 1
