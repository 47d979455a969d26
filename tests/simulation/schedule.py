"""Schedules of faults from a seed: commands are given until one ends well, then the store's promises are checked."""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments.engine.job import CellFailed, WorkerLost
from gold_sim.store import Damaged, Store, StoreError
from gold_sim.store.files import cells_of
from gold_sim.store.remote import Remote
from tests.simulation import cells, command, objects
from tests.simulation.system import FAULTS, FAULTS_OF_WRITES, SHARED, Simulated
from tests.simulation.world import Host, Process, World

FOLDER = Path(f"{SHARED}/runs")
CHANGES = ("write", "sync", "make", "rename", "unlink", "remove", "put", "move", "delete")
MOST_COMMANDS = 12  # with faults; the next are left in peace
ASK_SECONDS = 3.0  # between looks of the user, and of the engine, at what has ended
OF_STORE = ("error", "lost", "full")  # faults after which a command may say that the store cannot be written


@dataclass(frozen=True)
class Plan:
    """What a schedule draws before it begins."""

    seed: int
    url: bool = False  # an object store in place of a folder
    hosts: int = 1
    kind: str = "local"
    slots: int = 2
    drivers: int = 1
    number: int = 4  # of cells
    turn: float = 0.1  # chance that another process goes on, at each call
    rate: float = 0.0  # chance of a fault at each call that changes files
    outside: float = 0.0  # chance of a kill, a power cut, a full disk or a jump of the clock, every ASK_SECONDS
    lost: float = 0.0  # chance that a worker that works is said to be lost
    most: int = 0  # faults
    listing_age: float = 0.0
    reader: bool = False
    call: float = 0.001  # seconds that a call takes


CONTENDED = 1_000_000  # seeds from here on: many drivers on one small store, slow disks, clocks that often jump


def drawn(seed: int) -> Plan:
    """The plan of a random schedule."""
    plan = _drawn(seed)
    if seed < CONTENDED:
        return plan
    rng = random.Random(f"contended {seed}")
    return dataclasses.replace(
        plan,
        url=False,
        hosts=rng.choice((1, 2)),
        kind="ray",
        slots=2,
        drivers=3,
        number=3,
        turn=rng.choice((0.4, 0.7)),
        rate=0.01,
        outside=0.15,
        lost=0.5,
        most=20,
        listing_age=0.0,
        reader=True,
        call=rng.choice((0.001, 0.1, 0.5)),
    )


def _drawn(seed: int) -> Plan:
    rng = random.Random(f"plan {seed}")
    url, hosts = rng.random() < 0.3, rng.choice((1, 1, 2))
    return Plan(
        seed,
        url,
        hosts,
        kind=rng.choice(("local", "local", "ray", "slurm")) if hosts == 1 else rng.choice(("ray", "slurm")),
        slots=rng.choice((1, 2, 2, 3)),
        drivers=rng.choice((1, 1, 2)),
        number=rng.choice((3, 4, 5)),
        turn=rng.choice((0.02, 0.1, 0.4)),
        rate=rng.choice((0.0, 0.005, 0.02, 0.05)),
        outside=rng.choice((0.0, 0.03, 0.1)),
        lost=rng.choice((0.0, 0.0, 0.2)),
        most=rng.choice((1, 2, 4, 8)),
        listing_age=rng.choice((0.0, 0.0, 3.0, 30.0)) if hosts > 1 or url else 0.0,
        reader=rng.random() < 0.3,
    )


@dataclass
class Outcome:
    plan: Plan
    injected: Counter = field(default_factory=Counter)
    checked: Counter = field(default_factory=Counter)
    violations: list = field(default_factory=list)
    calls: list = field(default_factory=list)  # kinds of the calls that changed files, in order


class Schedule:
    """One schedule: a world, a user who gives commands, and what became of them."""

    def __init__(self, plan: Plan, single: tuple[int, str] | None = None):
        """single: (number of a call that changes files, its fault), in place of random ones."""
        self.plan, self.single = plan, single
        self.world = World(random.Random(f"world {plan.seed}"), plan.hosts, plan.turn, plan.call)
        self.rng = random.Random(f"faults {plan.seed}")
        self.world.mounted.make(SHARED, False, False)
        self.world.mounted.sync("")
        self.world.cells = cells.cells(random.Random(f"cells {plan.seed}"), plan.number)
        self.world.faults, self.world.listing_age = self._fault, plan.listing_age
        self.where = objects.URL if plan.url else FOLDER
        self.outcome = Outcome(plan)
        self.left, self.full_until, self.of_store, self.peace = plan.most, -1.0, False, False

    # --- faults ---

    def _fault(self, process: Process, kind: str, path) -> str | None:
        if self.peace or process.role in ("user", "reader"):
            return None
        self.outcome.calls.append(kind)
        fault = None
        if self.single is not None:
            fault = self.single[1] if len(self.outcome.calls) == self.single[0] else None
        elif self.world.clock < self.full_until and kind in ("write", "make"):
            self.of_store = True
            return "full" if kind == "write" else "error"
        elif self.left > 0 and self.rng.random() < self.plan.rate:
            fault = self.rng.choice(faults_of(kind))
            self.left -= 1
        if fault is not None:
            self.of_store |= fault in OF_STORE
            self.world.injected[_named(fault, kind, path, process)] += 1
        return fault

    def _from_outside(self):
        """Kill a process, cut the power, fill the disk or set the clock, now and then."""
        world, rng = self.world, self.rng
        if self.left <= 0 or rng.random() >= self.plan.outside:
            return
        self.left -= 1
        what = rng.choice(("kill", "kill", "kill driver", "power", "full disk", "clock jump"))
        mortal = [p for p in world.processes if p.role not in ("user", "reader")]
        if what == "kill" and mortal:
            world.kill(rng.choice(mortal))
        elif what == "kill driver" and (drivers := [p for p in mortal if p.role == "driver"]):
            world.kill(rng.choice(drivers))
        elif what == "power":
            world.cut_power(rng.choice(world.hosts) if self.plan.url else None)
        elif what == "full disk":
            self.full_until = world.clock + rng.uniform(0, 60)
        elif what == "clock jump":
            world.jumped += rng.choice((-1, 1)) * rng.uniform(0, 3) * 86400
        world.injected[what if what != "kill" else "kill of any process"] += 1

    # --- the user ---

    def run(self) -> Outcome:
        try:
            self.world.run(self._user)
        except Exception as error:  # what a reader of a sound store never meets
            self.world.violated(f"half-read: {type(error).__name__}: {error}")
        if self.world.stuck:
            self.world.violated("does not end: too many calls")
        self.outcome.injected, self.outcome.violations = self.world.injected, self.world.violations
        return self.outcome

    def _user(self, user: Process):
        for _ in range(MOST_COMMANDS):
            ended = self._commands(user, self.plan.drivers)
            self._check_finished(user)
            if ended or self.world.stuck:
                break
        self.left, self.world.listing_age, self.of_store, self.peace = 0, 0.0, False, True
        self._until(user, lambda: len(self.world.processes) == 1)  # workers that outlived their driver
        self.world.jumped += 20 * 86400  # what another host has left is swept when it is a day old
        if not self._commands(user, 1) and not self.world.stuck:
            self.world.violated("does not end: a command left in peace does not end well")
        self._check_end(user)

    def _commands(self, user: Process, drivers: int) -> bool:
        """Give a command, or two at once; whether one of them ended well."""
        world, plan = self.world, self.plan
        give = lambda p: command.run(p, self.where, plan.kind, plan.slots, plan.lost if self.left else 0.0)
        given = [world.spawn(give, world.rng.choice(world.hosts), role="driver") for _ in range(drivers)]
        if drivers > 1:
            world.injected["second driver"] += 1
        readers = [world.spawn(self._read, world.hosts[0], role="reader")] if plan.reader else []
        self._until(user, lambda: all(p.ended for p in given))
        for process in readers:
            process.killed = True
        for error in (p.error for p in given):
            self._judge(error)
        return any(p.error is None and not p.killed for p in given)

    def _until(self, user: Process, done: Callable[[], bool]):
        while not done() and not self.world.stuck:
            self.world.sleep(user, ASK_SECONDS)
            self._from_outside()

    def _judge(self, error: BaseException | None):
        """Whether a command may end with this error: one of the store where a fault of the store came before."""
        self.outcome.checked["commands"] += 1
        if error is None or isinstance(error, WorkerLost):
            return
        if isinstance(error, Damaged):
            self.world.violated(f"half-read: {error.what}")
        elif isinstance(error, StoreError):
            swept = self.world.jumped and "No such file" in str(error)  # by another host, for which it was a day old
            if not self.of_store and not swept:
                self.world.violated(f"an error where no call failed: {error}")
        elif isinstance(error, CellFailed) and self.of_store and "OSError" in str(error):
            return
        else:
            self.world.violated(f"an error of the program: {type(error).__name__}: {error}")

    # --- promises ---

    def _stores(self, user: Process, machine: str) -> Store:
        """The store as another machine sees it that has everything fetched."""
        if not self.plan.url:
            return Store(FOLDER, Simulated(user))
        user.host = Host(machine, self.world.disk())
        remote = Remote(self.where, Simulated(user))
        remote.fetch(self.world.cells)
        return remote.store

    def _check_finished(self, user: Process):
        """Nothing lost: what a worker said to be finished is there, and right."""
        try:
            store = self._stores(user, "checking")
            for cell in self.world.cells:
                if cell.fingerprint in self.world.finished:
                    self._check_cell(store, cell, "lost: {} was finished")
        except StoreError as error:
            self.world.violated(f"half-read: {error}")

    def _check_cell(self, store: Store, cell, absent: str) -> bool:
        self.outcome.checked["cells read"] += 1
        path = store.find(cell.stage, cell.fingerprint)
        if path is None:
            self.world.violated(absent.format(cell.name))
            return False
        if not np.array_equal(store.arrays(path, "arrays")["x"], cells.answer(cell)):
            self.world.violated(f"resumed to other bits: {cell.name}")
        return True

    def _read(self, reader: Process):
        """A reader beside the writers: whatever counts is whole."""
        if self.plan.url:
            return
        store = Store(FOLDER, Simulated(reader))
        while True:
            self.world.sleep(reader, self.world.rng.uniform(0, 10))
            known = {c.fingerprint: c for c in self.world.cells}
            try:
                for code in sorted(store.fingerprints()):
                    self._check_cell(store, known[code], "lost: {} was listed")
            except StoreError as error:
                self.world.violated(f"half-read: {error}")
            except Exception as error:  # as of _check_finished
                self.world.violated(f"half-read: {type(error).__name__}: {error}")
                return

    def _check_end(self, user: Process):
        """All is there, once, to the bit, and nothing is left over."""
        try:
            store = self._stores(user, "fresh")
            there = [c for c in self.world.cells if self._check_cell(store, c, "lost: {} at the end")]
            if not self.plan.url:
                self._check_leftovers(store)
            else:
                Remote(self.where, store.system).fetch_experiments()
            named = cells_of("manifest", store.manifest("simulated", "smoke"))
            if named != cells_of("manifest", command.manifest_of(self.world.cells)):
                self.world.violated("lost: the manifest does not name the cells")
            for kind, stage in (("curves", cells.NAMES[2]), ("reward_models", cells.NAMES[1])):
                rows = list(store.table(kind)["stage" if kind == "curves" else "cell"])
                wanted = sorted(2 * [c.name for c in there if c.stage == stage])
                if sorted(rows) != wanted:
                    self.world.violated(f"counted twice: table {kind} has the rows of {rows}, not of {wanted}")
            self.outcome.checked["stores at the end"] += 1
        except StoreError as error:
            self.world.violated(f"half-read: {error}")

    def _check_leftovers(self, store: Store):
        hidden = (".tmp-*", ".checkpoints/*", ".reports/*", ".failed/*", ".damaged/*/*")
        if left := [str(path) for pattern in hidden for path in store.system.glob(store.root, pattern)]:
            self.world.violated(f"left over: {', '.join(left)}")
        folders = sorted(path.name for path in store._every("*", "*"))
        if len(folders) != len(self.world.cells):
            self.world.violated(f"counted twice: folders {folders}")


def faults_of(kind: str) -> tuple[str, ...]:
    if kind in ("put", "move", "delete"):
        return objects.FAULTS
    return FAULTS_OF_WRITES if kind == "write" else FAULTS


def _named(fault: str, kind: str, path, process: Process) -> str:
    """The row of the table of faults."""
    if fault.startswith("killed"):
        return f"{'driver' if process.role == 'driver' else 'worker'} {fault.split()[0]} in a call"
    if fault == "power":
        return "power cut in a call"
    if fault == "full":
        return "no room for a write"
    what = "heartbeat" if ".reports" in str(path) else kind
    where = "object store" if kind in ("put", "move", "delete") else "disk"
    return f"acknowledgement lost, {where}" if fault == "lost" else f"{what} failed"


def run(plan: Plan, single: tuple[int, str] | None = None) -> Outcome:
    """Run one schedule; `command.in_place` must be entered."""
    return Schedule(plan, single).run()


def singles(plan: Plan) -> list[tuple[int, str]]:
    """Every fault of every call that changes files in a plan's undisturbed schedule."""
    calls = run(plan).calls
    return [(i + 1, fault) for i, kind in enumerate(calls) for fault in faults_of(kind)]


BASES = (Plan(seed=0, number=3), Plan(seed=0, number=3, url=True, kind="ray", hosts=2))
