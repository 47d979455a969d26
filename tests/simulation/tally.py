"""Many schedules, their sums and their table."""

import time
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation import command, schedule


@dataclass
class Found:
    """Sums over schedules."""

    ran: Counter = field(default_factory=Counter)
    injected: Counter = field(default_factory=Counter)
    checked: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)  # each after what runs it again
    seconds: float = 0.0

    def add(self, what: str, again: str, outcome: schedule.Outcome):
        self.ran[what] += 1
        self.injected.update(outcome.injected)
        self.checked.update(outcome.checked)
        self.failures += [f"{again}: {violation}" for violation in outcome.violations]

    def join(self, other: "Found"):
        for name in ("ran", "injected", "checked"):
            getattr(self, name).update(getattr(other, name))
        self.failures += other.failures
        self.seconds += other.seconds


def batch(work: list[tuple]) -> Found:
    """Run (what, plan, single fault or None) one after another."""
    found, began = Found(), time.process_time()
    with command.in_place():
        for what, plan, single in work:
            again = f"--seed {plan.seed}" if single is None else f"{what}, {single}"
            found.add(what, again, schedule.run(plan, single))
    found.seconds = time.process_time() - began
    return found


def everything(schedules: int) -> list[tuple]:
    """All single faults of both bases, and so many random schedules, a tenth of them of contention."""
    with command.in_place():
        singles = [
            (f"single faults, {where}", base, single)
            for where, base in zip(("folder", "object store"), schedule.BASES, strict=True)
            for single in schedule.singles(base)
        ]
    contended = schedules // 10
    seeds = [("random schedules", seed) for seed in range(schedules - contended)]
    seeds += [("random schedules, contention", schedule.CONTENDED + i) for i in range(contended)]
    return singles + [(what, schedule.drawn(seed), None) for what, seed in seeds]


def table(found: Found) -> str:
    lines = ["| | number |", "|---|---|"]
    groups = (("schedules", found.ran), ("faults injected", found.injected), ("checked", found.checked))
    for title, counted in groups:
        lines.append(f"| **{title}** | **{sum(counted.values()):,}** |")
        lines += [f"| {name} | {number:,} |" for name, number in sorted(counted.items())]
    return "\n".join([*lines, f"| **promises broken** | **{len(found.failures)}** |"])
