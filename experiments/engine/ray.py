"""Tasks of a Ray cluster."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

from experiments.engine.job import Job, Watched, number
from experiments.engine.worker import environment, import_path, work
from gold_sim.store.needed import needed

PATIENCE_SECONDS = 30.0  # before it is said that no node has what a cell asks for: a cluster may grow
ANSWER_SECONDS = 5.0  # in which the cluster's address must take a connection


class Ray:
    """Tasks of the cluster that RAY_ADDRESS names, or of one started here.

    resources: num_cpus (default 1), num_gpus, memory (bytes), and the cluster's own names, each a cell's share.
    ValueError: nothing answers at RAY_ADDRESS; the cluster started here cannot hold a cell.
    """

    def __init__(self, root: Path | str, workers: int | None, resources: dict[str, str]):
        ray = needed("ray", "cluster", "--engine ray")
        share = {name: number("ray", name, value) for name, value in resources.items()}
        options = {"num_cpus": 1.0} | {n: share.pop(n) for n in ("num_cpus", "num_gpus", "memory") if n in share}
        self._shutdown = ray.shutdown
        self._asked = {{"num_cpus": "CPU", "num_gpus": "GPU"}.get(n, n): v for n, v in (options | share).items() if v}
        self._nodes, self._since, self._said = ray.nodes, time.monotonic(), False
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        _connect(ray)
        try:
            variables = environment(root) | import_path()
            if "RAY_ADDRESS" not in os.environ and (why := self._shortage()) is not None:
                raise ValueError(why)
            # Lost workers are tried again by the engine, alike on every executor.
            self._work = ray.remote(work).options(
                **options, resources=share, max_retries=0, runtime_env={"env_vars": variables}
            )
        except (ValueError, TypeError) as error:
            ray.shutdown()
            raise ValueError(f"--engine ray: {str(error).strip().splitlines()[0]}") from error
        self.root, self.slots = root, workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        errors = ray.exceptions
        self._lost = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError)

    def submit(self, cell) -> Job:
        return Watched(self._work.remote(self.root, cell).future(), *self._lost)

    def prepare(self, cell) -> Job | None:
        return None  # machines of a cluster have caches of their own

    def trouble(self) -> str | None:
        if self._said or time.monotonic() - self._since < PATIENCE_SECONDS:
            return None
        self._said = True
        why = self._shortage()
        return why and f"nothing can run: {why}; waiting for the cluster to grow, Ctrl-C ends"

    def _shortage(self) -> str | None:
        """What a cell asks for and what the nodes have, if none of them could ever hold one."""
        nodes = [node["Resources"] for node in self._nodes() if node["Alive"]]
        if any(all(node.get(name, 0) >= amount for name, amount in self._asked.items()) for node in nodes):
            return None
        amounts = lambda of: ", ".join(f"{name} {of.get(name, 0):g}" for name in self._asked)
        return f"a cell asks for {amounts(self._asked)}; nodes have {'; '.join(map(amounts, nodes)) or 'nothing'}"

    def stop(self) -> None:
        self.close()

    def close(self) -> None:
        self._shutdown()


def _connect(ray) -> None:
    """Join the cluster, or start one.  ValueError: nothing answers where RAY_ADDRESS says."""
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "")
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if colon and port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
        ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
    except (OSError, ValueError, RuntimeError, OverflowError) as error:  # ConnectionError is an OSError
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        of_address = f"RAY_ADDRESS={address}: no Ray cluster answers there"
        where = of_address if address else "--engine ray: none could be started here"
        raise ValueError(f"{where} ({first})") from error
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in its place, which ends the driver in silence
