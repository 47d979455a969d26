"""The interface of executors: a job under way, a worker lost, and the checks that executors share."""

from concurrent.futures import Future
from typing import Protocol


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


class Watched:
    """A future, with the exceptions that mean a dead worker told apart."""

    def __init__(self, future: Future, *lost: type[BaseException]):
        self._future, self._lost = future, lost
        self.done = future.done

    def exception(self) -> BaseException | None:
        error = self._future.exception()
        if isinstance(error, self._lost):
            return WorkerLost(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        return getattr(error, "cause", None) or error  # Ray wraps the cell's own


def check_resources(engine: str, resources: dict[str, str], allowed: tuple[str, ...]) -> None:
    if unknown := sorted(set(resources) - set(allowed)):
        raise ValueError(f"--resource {unknown[0]}: --engine {engine} takes {', '.join(allowed)}")


def number(engine: str, name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"--resource {name}={value}: --engine {engine} wants a number") from None


def imported(package: str):
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise ValueError(f"--engine wants {package}, which is not installed: pip install 'gold_sim[cluster]'") from None
