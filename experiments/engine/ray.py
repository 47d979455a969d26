"""Tasks of a Ray cluster."""

import os
from pathlib import Path

from experiments.engine.job import Job, Watched, imported, number
from experiments.engine.worker import environment, import_path, work


class Ray:
    """Tasks of the cluster that RAY_ADDRESS names, or of one started here.

    resources: num_cpus (default 1), num_gpus, memory (bytes), and the cluster's own names, each a cell's share.
    """

    def __init__(self, root: Path | str, workers: int | None, resources: dict[str, str]):
        ray = imported("ray")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
        share = {name: number("ray", name, value) for name, value in resources.items()}
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
        return Watched(self._work.remote(self.root, cell).future(), *self._lost)

    def prepare(self, cell) -> Job | None:
        return None  # machines of a cluster have caches of their own

    def close(self) -> None:
        imported("ray").shutdown()
