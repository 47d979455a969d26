"""A simulated world: hosts with disks, one clock, and processes that take turns as a random generator says.

A process is a thread, of which one at a time runs. Before each of its calls to the system another may be let go on,
and it may be killed there. So a schedule depends on the seed alone, and the store and the engine are the real ones.
"""

import math
import random
import threading
from collections import Counter
from collections.abc import Callable

from tests.simulation.disk import Disk

MOST_CALLS = 200_000  # calls to the system in one schedule, many times what any needs; then it is said not to end


CURRENT = threading.local()  # .process: the simulated process of a thread


class Killed(BaseException):
    """Ends the thread of a killed process; no call to the system has an effect any more."""


class Host:
    def __init__(self, name: str, disk: Disk):
        self.name, self.disk = name, disk
        self.listings = {}  # folder -> (when it was listed, what was in it), as clients of network file systems keep


class Process:
    """One simulated process.  `ended`: when its function has returned, raised `error`, or was killed."""

    def __init__(self, world: "World", number: int, host: Host, parent: "Process | None", role: str):
        self.world, self.number, self.host, self.parent, self.role = world, number, host, parent, role
        self.killed, self.ended, self.error = False, False, None
        self.born, self.task = world.clock, None  # task: what it works at
        self.wake, self.doom = -math.inf, math.inf  # when it is to go on, and when it is to be killed
        self.go = threading.Semaphore(0)


class World:
    """All hosts and processes.  mounts: folder -> disk that all hosts see there; anything else is a host's own."""

    def __init__(self, rng: random.Random, hosts: int, turn: float, call: float = 0.001):
        """turn: chance that another process goes on before a call.  call: seconds that one takes."""
        self.rng, self.clock, self.jumped, self._turn, self._call = rng, 0.0, 0.0, turn, call
        self.calls, self.stuck, self.injected = 0, False, Counter()
        self.mounted = self.disk()
        self.hosts = [Host(f"host{i}", self.disk()) for i in range(hosts)]
        self.processes: list[Process] = []
        self._main = threading.Semaphore(0)
        self.objects: dict[str, tuple[bytes, float]] = {}  # of the object store: path -> (content, when it was put)
        self.cells, self.finished, self.violations = [], {}, []  # finished: fingerprint -> when a worker said so
        self.faults = lambda process, kind, path: None  # -> the kind of fault of a call that changes files, or None
        self.listing_age = 0.0  # seconds for which a host may go on seeing an old listing of a shared folder

    def disk(self) -> Disk:
        return Disk(lambda: 1.8e9 + self.clock + self.jumped)

    # --- processes ---

    def spawn(self, function: Callable[[Process], object], host: Host, parent=None, role="worker") -> Process:
        """Start a process.  Numbers come again soon, as those of processes do."""
        taken = {p.number for p in self.processes if p.host is host and not p.ended}
        number = next(n for n in iter(lambda: self.rng.randrange(100, 140), None) if n not in taken)
        process = Process(self, number, host, parent, role)
        self.processes.append(process)
        threading.Thread(target=self._run, args=(process, function), daemon=True).start()
        return process

    def _run(self, process: Process, function: Callable):
        CURRENT.process = process
        process.go.acquire()
        try:
            if not process.killed:
                function(process)
        except Killed:
            pass
        except BaseException as error:  # noqa: B036 what ended it, for whoever waits for it
            process.error = error
            if process.role == "user":
                self.end_all()
        process.ended = True
        self.processes.remove(process)
        if (following := self._next()) is None:
            self._main.release()
        else:
            following.go.release()

    def run(self, function: Callable[[Process], object]):
        """Run a process that is never killed, and all that it starts, until all have ended."""
        outside = self.spawn(function, Host("outside", self.disk()), role="user")
        outside.go.release()
        self._main.acquire()
        if outside.error is not None:
            raise outside.error

    def _next(self) -> Process | None:
        """The process to go on; the clock is set on where all sleep."""
        if not self.processes:
            return None
        able = [p for p in self.processes if p.wake <= self.clock or p.killed]
        if not able:
            self.clock = min(min(p.wake, p.doom) for p in self.processes)
            able = [p for p in self.processes if min(p.wake, p.doom) <= self.clock]
        return able[0] if len(able) == 1 else self.rng.choice(able)

    def _switch(self, process: Process):
        if (following := self._next()) is not process:
            following.go.release()
            process.go.acquire()

    def point(self, process: Process):
        """Let time pass before a call of a process, and perhaps others go on.  Killed: it was killed meanwhile."""
        self._check(process)
        self.calls += 1
        self.clock += self._call
        if self.calls > MOST_CALLS and not self.stuck:
            self.stuck = True
            self.end_all()
        if self.rng.random() < self._turn:
            self._switch(process)
        self._check(process)

    def sleep(self, process: Process, seconds: float):
        self._check(process)
        self.calls += 1
        process.wake = self.clock + max(seconds, 0.001)
        self._switch(process)
        process.wake = -math.inf
        self._check(process)

    def _check(self, process: Process):
        if process.doom <= self.clock and not process.killed:
            self.kill(process)
        if process.killed:
            raise Killed

    # --- faults ---

    def kill(self, process: Process):
        """Kill a process. Those that die with it do so within a second."""
        process.killed = True
        for child in self.processes:
            if child.parent is process and child.role == "local":
                child.doom = min(child.doom, self.clock + self.rng.uniform(0, 1))

    def violated(self, what: str):
        self.violations.append(what)

    def end_all(self):
        for process in self.processes:
            if process.role != "user":
                process.killed = True

    def cut_power(self, host: Host | None):
        """Cut the power of one host; of None: of all, and of the disk that they share."""
        for process in self.processes:
            if process.role != "user" and host in (None, process.host):
                process.killed = True
        for disk in [host.disk] if host else [self.mounted, *(h.disk for h in self.hosts)]:
            disk.cut(self.rng)
