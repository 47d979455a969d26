"""The command of the simulation: every single fault, then random schedules, and the table of what was done and found.

    python -m tests.simulation --schedules 10000 --workers 2        about ten CPU-minutes
    python -m tests.simulation --seed 1037                          one schedule again, with its plan

Whatever breaks a promise is listed with the words that run it again. The status is then 1.
"""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.simulation import schedule, tally

BATCH = 50  # schedules that a process runs at a time


def main(argv=None) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    p.add_argument("--schedules", type=int, default=10_000, help="random schedules (default 10000)")
    p.add_argument("--seed", type=int, help="run the schedule of this seed alone")
    p.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    args = p.parse_args(argv)
    if args.seed is not None:
        print(schedule.drawn(args.seed))
        found = tally.batch([("random schedules", schedule.drawn(args.seed), None)])
    else:
        work, found = tally.everything(args.schedules), tally.Found()
        parts = [work[i : i + BATCH] for i in range(0, len(work), BATCH)]
        with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as pool:
            for i, part in enumerate(pool.map(tally.batch, parts)):
                found.join(part)
                if i % 20 == 0:
                    print(f"{sum(found.ran.values())} of {len(work)}", file=sys.stderr, flush=True)
    print(tally.table(found))
    print(f"\n{found.seconds:.0f} CPU-seconds")
    print(*found.failures, sep="\n")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())
