"""A store under fire: eight workers write while workers and drivers are killed at random moments and clocks jump.

    python -m tests.soak --kills 100 --folder FOLDER        about 15 minutes on two cores

Small real cells (selection rules on one pool, the smoke preset) are computed once in peace. Then all are computed again
and again in a second store until so many processes were killed with SIGKILL: three in four of them workers, the others
drivers; now and then two drivers share the store, and files' times are set days ahead or back. In the end every table,
array and curve must be what peace gave, to the bit, each cell once, with nothing left over.
"""

import argparse
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from experiments.experiment import Experiment

ROOT = Path(__file__).resolve().parent.parent
CELLS = 32


def experiment(preset: str) -> Experiment:
    """Found by `python -m experiments tests.soak`."""
    return Experiment(
        name="soak",
        title="Soak",
        question="Does the store keep what was finished, whatever dies?",
        figure="none",
        expected="The same tables as in peace.",
        cost="of smoke",
        axis="rm_params",
        stages=("best_of_n",),
        base={"selection.rule": "soft"},
        grid={"selection.coef": tuple(0.1 + 0.01 * i for i in range(CELLS))},
    )


def start(store: Path, workers: int) -> subprocess.Popen:
    line = [sys.executable, "-m", "experiments", "tests.soak", "--preset", "smoke", "--runs", store]
    words = [str(word) for word in (*line, "--workers", workers)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def workers_of(driver: subprocess.Popen) -> list[int]:
    """Processes that the driver spawned and that compute cells; its resource tracker is left alone."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            line = (status.parent / "cmdline").read_bytes()
        except OSError:  # gone meanwhile
            continue
        if parent == driver.pid and b"spawn_main" in line:
            found.append(int(status.parent.name))
    return found


def skew(store: Path, rng: random.Random):
    """Times of a third of the files and folders, up to three days ahead or back."""
    for path in store.rglob("*"):
        if rng.random() < 1 / 3:
            at = time.time() + rng.uniform(-3, 3) * 86400
            try:
                os.utime(path, (at, at))
            except OSError:  # a writer's temporary folder, gone meanwhile
                continue


def finished(store: Path) -> int:
    return len(list((store / "best_of_n").glob("*/record.json")))


def wait_for(cells: int, drivers: list, store: Path):
    """Until so many cells are finished, or the drivers have ended."""
    while finished(store) < min(cells, CELLS) and any(driver.poll() is None for driver in drivers):
        time.sleep(0.05)


def soak(folder: Path, kills: int, workers: int, seed: int) -> dict:
    """What was done to the second store."""
    rng, done = random.Random(seed), dict(workers=0, drivers=0, rounds=0, second_drivers=0, skewed=0, given_up=0)
    peace, war = folder / "peace", folder / "war"
    driver = start(peace, 2)
    said = driver.communicate()[1]
    assert driver.returncode == 0, said
    shutil.copytree(peace, war)
    while True:
        enough = done["workers"] + done["drivers"] >= kills
        shutil.rmtree(war / "best_of_n", ignore_errors=True)
        done["rounds"] += 1
        while finished(war) < CELLS:
            drivers = [start(war, workers)]
            if rng.random() < 0.2 and not enough:
                drivers.append(start(war, workers))
                done["second_drivers"] += 1
            while any(driver.poll() is None for driver in drivers):
                # Starting takes longest by far: most kills should meet workers that compute and write.
                wait_for(finished(war) + rng.choice((0, 1, 1, 2, 4)), drivers, war)
                time.sleep(rng.uniform(0.0, 1.0))
                alive = [driver for driver in drivers if driver.poll() is None]
                if done["workers"] + done["drivers"] >= kills or not alive:
                    continue
                if rng.random() < 0.2:
                    skew(war, rng)
                    done["skewed"] += 1
                driver = rng.choice(alive)
                if rng.random() < 0.25:
                    driver.send_signal(signal.SIGKILL)
                    done["drivers"] += 1
                elif found := workers_of(driver):
                    os.kill(rng.choice(found), signal.SIGKILL)
                    done["workers"] += 1
            for driver in drivers:
                said = driver.communicate()[1]
                lost = "worker lost 3 times" in said
                assert driver.returncode in (0, -signal.SIGKILL) or lost, said  # a cell killed thrice is given up: told
                done["given_up"] += lost
            print(done, flush=True)
        if enough:
            return done


def differences(one: Path, other: Path) -> list[str]:
    """Files of finished cells that are not the same, or not in both; records differ in times and hosts alone."""
    names = {p.relative_to(root) for root in (one, other) for p in root.glob("*/*/*") if p.parent.parent.name[0] != "."}
    kept = [name for name in names if name.name != "record.json" and name.parts[0] != "experiments"]
    both = lambda name: (one / name).exists() and (other / name).exists()
    return sorted(str(name) for name in kept if not (both(name) and filecmp.cmp(one / name, other / name, False)))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="an empty or new folder")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    done = soak(args.folder.resolve(), args.kills, args.workers, args.seed)
    wrong = differences(args.folder / "peace", args.folder / "war")
    left = [str(p) for p in (args.folder / "war").glob(".tmp-*")]
    left += [str(p) for p in (args.folder / "war" / ".checkpoints").glob("*")]
    print(f"{done}; {time.monotonic() - began:.0f} s; {len(wrong)} files differ, {len(left)} left over")
    print("\n".join(wrong + left))
    return int(bool(wrong or left))


if __name__ == "__main__":
    sys.exit(main())
