"""The command of the simulation: every single fault, then random schedules, and the table of what was done and found.

python -m tests.simulation --schedules 10000            some ten minutes of one core
python -m tests.simulation --seed 1037                  one schedule again, with its plan
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.simulation import command, schedule

BATCH = 50


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


def main(argv=None) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    p.add_argument("--schedules", type=int, default=10_000, help="random schedules (default 10000)")
    p.add_argument("--seed", type=int, help="run the schedule of this seed alone")
    p.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    args = p.parse_args(argv)
    if args.seed is not None:
        print(schedule.drawn(args.seed))
        found = batch([("random schedules", schedule.drawn(args.seed), None)])
    else:
        work, found = everything(args.schedules), Found()
        parts = [work[i : i + BATCH] for i in range(0, len(work), BATCH)]
        with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as pool:
            for i, part in enumerate(pool.map(batch, parts)):
                found.join(part)
                if i % 20 == 0:
                    print(f"{sum(found.ran.values())} of {len(work)}", file=sys.stderr, flush=True)
    print(table(found))
    print(f"\n{found.seconds:.0f} CPU-seconds")
    print(*found.failures, sep="\n")
    return 1 if found.failures else 0


def table(found: Found) -> str:
    lines = ["| | number |", "|---|---|"]
    groups = (("schedules", found.ran), ("faults injected", found.injected), ("checked", found.checked))
    for title, counted in groups:
        lines.append(f"| **{title}** | **{sum(counted.values()):,}** |")
        lines += [f"| {name} | {number:,} |" for name, number in sorted(counted.items())]
    return "\n".join([*lines, f"| **promises broken** | **{len(found.failures)}** |"])


if __name__ == "__main__":
    sys.exit(main())
