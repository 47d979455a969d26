"""The command of the simulation: every single fault, then random schedules, and the table of what was done and found.

python -m tests.simulation --schedules 10000            some ten minutes of one core
python -m tests.simulation --seed 1037                  one schedule again
"""

import argparse
import os
import sys
import time
from collections import Counter

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.simulation import command, schedule


def main(argv=None) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    p.add_argument("--schedules", type=int, default=10_000, help="random schedules (default 10000)")
    p.add_argument("--first", type=int, default=0, help="seed of the first of them (default 0)")
    p.add_argument("--seed", type=int, help="run the schedule of this seed alone")
    args = p.parse_args(argv)
    began, ran, injected, checked, failures = time.process_time(), Counter(), Counter(), Counter(), []

    def add(what: str, replay: str, outcome: schedule.Outcome):
        ran[what] += 1
        injected.update(outcome.injected)
        checked.update(outcome.checked)
        failures.extend(f"{replay}: {violation}" for violation in outcome.violations)

    with command.in_place():
        if args.seed is not None:
            plan = schedule.drawn(args.seed)
            outcome = schedule.run(plan)
            add("random schedules", f"--seed {args.seed}", outcome)
            print(plan, file=sys.stderr)
        else:
            for where, base in zip(("a folder", "an object store"), schedule.BASES, strict=True):
                for single in schedule.singles(base):
                    add(f"single faults, {where}", f"{where}, {single}", schedule.run(base, single))
            for seed in range(args.first, args.first + args.schedules):
                add("random schedules", f"--seed {seed}", schedule.run(schedule.drawn(seed)))
    print(table(ran, injected, checked, len(failures)))
    print(f"\n{time.process_time() - began:.0f} CPU-seconds")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def table(ran: Counter, injected: Counter, checked: Counter, failures: int) -> str:
    lines = ["| | number |", "|---|---|"]
    for title, counted in (("schedules", ran), ("faults injected", injected), ("checked", checked)):
        lines.append(f"| **{title}** | **{sum(counted.values()):,}** |")
        lines += [f"| {name} | {number:,} |" for name, number in sorted(counted.items())]
    return "\n".join([*lines, f"| **promises broken** | **{failures}** |"])


if __name__ == "__main__":
    sys.exit(main())
