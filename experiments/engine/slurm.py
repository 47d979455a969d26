"""One Slurm job a cell, by submitit."""

import contextlib
import io
import os
import shlex
import subprocess
import time
from pathlib import Path

from experiments.engine.job import CellFailed, Job, WorkerLost
from experiments.engine.worker import environment, import_path, local_folder, work
from gold_sim.store import Store
from gold_sim.store.needed import needed
from gold_sim.store.remote import Remote, is_url


class Slurm:
    """One job a cell, by submitit. resources: its parameters, such as timeout_min=60, slurm_partition=gpu.

    A job that is preempted or reaches its time limit is put back in the queue and goes on from its checkpoint. Jobs
    outlive the driver: the same command finds them by name and waits for them instead of submitting them again.
    """

    def __init__(self, root: Path | str, workers: int | None, resources: dict[str, str]):
        submitit = needed("submitit", "cluster", "--engine slurm")
        self.root, self.slots = root, workers or 100
        exports = environment(root) | import_path()
        setup = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
        try:
            self._executor = submitit.AutoExecutor(
                local_folder(root) / ".slurm", cluster="slurm", slurm_max_num_timeout=1000
            )
            settings = {name: int(v) if v.isdigit() else v for name, v in resources.items()}
            self._executor.update_parameters(**{"timeout_min": 240, "slurm_setup": setup} | settings)
        except (RuntimeError, ValueError, NameError) as error:  # no srun here; an unknown or odd parameter
            raise ValueError(f"--engine slurm: {str(error).splitlines()[0]}") from error
        self._job_class = submitit.SlurmJob

    def submit(self, cell) -> Job:
        name = f"gold_sim-{cell.fingerprint}"
        live = _queue("--name", name)
        if live:  # of a driver that died
            job = self._job_class(local_folder(self.root) / ".slurm", min(live))
        else:
            self._executor.update_parameters(name=name)
            try:
                with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it then raises
                    job = self._executor.submit(Requeued(), self.root, cell)
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:  # sbatch refuses it, or is gone
                raise ValueError(f"--engine slurm: {' '.join(str(error).split())[-300:]}") from error
        return _SlurmJob(self.root, cell, job)

    def prepare(self, cell) -> Job | None:
        return None  # a job would wait in the queue

    def trouble(self) -> str | None:
        return None

    def stop(self) -> None:
        pass  # jobs outlive the driver

    def close(self) -> None:
        pass


class Requeued:
    """`work` in the form that submitit needs to put a job back in the queue; cells keep their own checkpoints."""

    def __call__(self, root: Path | str, cell) -> None:
        # Only in jobs that this engine began: other commands inside an allocation would wait for ever.
        if int(os.environ.get("SLURM_NTASKS", "1")) > 1:  # tasks of one job share the runs of one cell
            import jax

            jax.distributed.initialize()
        work(root, cell)

    def checkpoint(self, root: Path | str, cell):
        import submitit

        return submitit.helpers.DelayedSubmission(self, root, cell)


class _SlurmJob:
    """A Slurm job, judged by the queue and the store.

    Because sacct may be absent, submitit's own files are read only to learn what went wrong.
    """

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
                last = str(error).strip().splitlines()[-1]
                kind, _, text = last.partition(": ")
                said = kind.rpartition(".")[2] in ("CellFailed", "StoreError")  # one line, made by the worker
                where = f"{self._cell.stage} {self._cell.name}: {last}; see {self._job.paths.stderr}"
                return CellFailed(text if said else where)
        return WorkerLost(f"Slurm job {self._job.job_id} ended without a result (cancelled, or its node gone)")


def _queue(*words: str) -> list[str]:
    """Ids of the jobs that Slurm still has to run or to end."""
    line = ["squeue", "--noheader", "--format=%i", "--states=PD,R,CF,CG,S,RQ", *words]
    found = subprocess.run(line, capture_output=True, text=True, check=False)
    if found.returncode and "Invalid job id" not in found.stderr:
        return words[-1:] if words[0] == "--jobs" else []  # the controller does not answer: ask again later
    return found.stdout.split()
