"""The interface of executors: a job under way, a worker lost, and the checks that executors share."""

import math
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol


class WorkerLost(Exception):
    """The worker of a cell died without a message (killed, out of memory, its machine gone): it may be tried again."""


class CellFailed(Exception):
    """A cell raised: one line that names the cell, the kind of error, and the file that keeps the traceback."""


class Job(Protocol):
    """One cell under way."""

    def done(self) -> bool: ...

    def exception(self) -> BaseException | None:
        """What ended a job that is done: None, the cell's own exception, or WorkerLost."""


class Executor(Protocol):
    slots: int  # cells at a time

    def submit(self, cell) -> Job: ...

    def prepare(self, cell) -> Job | None:
        """Have an idle slot compile the cell's programs ahead; None where that gains nothing."""

    def trouble(self) -> str | None:
        """One line on why jobs cannot begin, where that is known and not yet said; None otherwise."""

    def stop(self) -> None:
        """End at once what is running here; checkpoints and finished cells stay."""

    def close(self) -> None:
        """Wait for what is running, and let go of the workers."""


class Watched:
    """A future that turns the exceptions that mean a dead worker into WorkerLost."""

    def __init__(self, future: Future, *lost: type[BaseException], how: Callable[[], str] | None = None):
        """how: what became of a dead worker, in words; None: as the exception has it."""
        self._future, self._lost, self._how = future, lost, how
        self.done = future.done

    def exception(self) -> BaseException | None:
        error = self._future.exception()
        if isinstance(error, self._lost) and self._how is not None:
            return WorkerLost(self._how())
        if isinstance(error, self._lost):
            return WorkerLost(in_a_line(error))
        return getattr(error, "cause", None) or error  # Ray wraps the cell's own


def in_a_line(error: BaseException) -> str:
    """Kind and first line of an exception."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}{f': {first}' if first else ''}"


def check_resources(engine: str, resources: dict[str, str], allowed: tuple[str, ...]) -> None:
    if unknown := sorted(set(resources) - set(allowed)):
        raise ValueError(f"--resource {unknown[0]}: --engine {engine} takes {', '.join(allowed)}")


def number(engine: str, name: str, value: str) -> float:
    try:
        given = float(value)
    except ValueError:
        given = math.nan
    if not 0 <= given < math.inf:
        raise ValueError(f"--resource {name}={value}: --engine {engine} wants a number from 0")
    return given
