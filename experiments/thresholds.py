"""Thresholds by search: Nelder-Mead over the ends of short constrained runs (Moskovitz et al. 2024, section 4).

    python -m experiments.thresholds --budget 12 [--preset P] [--set path=value ...] [--runs DIR]

Each evaluation is a cell of the store, so the same command resumes, and a larger budget continues the search. Gold is
evaluated once a run. It is known here; in practice people would have to label. The search runs in one process and takes
about a minute an evaluation of two seeds at preset cpu.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from experiments.presets import PRESETS, of
from experiments.studies.constrained import composite, held
from gold_sim import settings
from gold_sim.config import Config
from gold_sim.settings import replace
from gold_sim.store import Store, StoreError

STEP = 0.05  # gold s.d.: thresholds are rounded to it, so that near ones share a run
STEPS = {"smoke": 4, "cpu": 180}  # policy steps of a run, half of the presets'
FIRST, SIZE = {"smoke": (0.1, 0.1), "cpu": (0.2, 0.4)}, 0.2  # first corner of the simplex, and its edge


def search(value, first, size: float, budget: int) -> list[tuple[tuple[float, ...], float]]:
    """[(thresholds, value)] in the order tried, at most `budget`; thresholds come on a grid of STEP.

    value: thresholds -> gold, asked once for each point of the grid. Coefficients 1, 2, 0.5, 0.5.
    """
    tried = {}

    def loss(point):
        at = tuple(round(float(round(x / STEP) * STEP), 10) for x in point)
        if at not in tried:
            if len(tried) == budget:
                raise StopIteration
            tried[at] = value(at)
        return -tried[at]

    corners = np.asarray(first, float) + np.concatenate([np.zeros((1, len(first))), size * np.eye(len(first))])
    try:
        options = {"initial_simplex": corners, "xatol": STEP / 2, "fatol": 0.0, "maxfev": 100 * budget}
        minimize(loss, corners[0], method="Nelder-Mead", options=options)
    except StopIteration:
        pass
    return list(tried.items())


def gold_of(store: Store, preset: str, overrides: dict):
    """thresholds -> mean gold over seeds at the end of a short xi run, minus its start."""
    from experiments.plan import missing
    from gold_sim.stages import graph, pipeline

    def value(thresholds) -> float:
        num = of(STEPS, preset)
        steps = {"optimiser.steps": num, "optimiser.evaluations": 2, "optimiser.warmup_steps": num}
        changes = of(PRESETS, preset) | composite(preset) | steps | overrides | held("xi", thresholds)
        cell = graph.cell("policy_gradient", replace(Config(), changes))
        for todo in missing(store, [cell], graph.in_order([cell])):
            pipeline.run(store, todo)
        table = store.table("curves", {cell.fingerprint})
        wide = table.pivot(index="control", columns="seed", values="gold").to_numpy()
        return float(np.mean(wide[-1] - wide[0]))

    return value


def main(argv=None) -> int:
    p = argparse.ArgumentParser(prog="python -m experiments.thresholds", description=__doc__.splitlines()[0])
    p.add_argument("--budget", type=int, default=12, help="runs (default 12)")
    p.add_argument("--preset", default="cpu", choices=list(PRESETS))
    p.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change a field of the config")
    p.add_argument("--runs", type=Path, default=Path("runs"), help="the store (default runs)")
    args = p.parse_args(argv)
    try:
        if args.budget < 3:
            raise ValueError(f"--budget {args.budget}: at least the 3 corners of a simplex are wanted")
        value = gold_of(Store(args.runs), args.preset, settings.overrides(args.set))

        def told(thresholds):
            gold = value(thresholds)
            print(f"words {thresholds[0]:.2f}  manners {thresholds[1]:.2f}  gold {gold:+.3f}", flush=True)
            return gold

        tried = search(told, FIRST[args.preset], SIZE, args.budget)
    except (ValueError, StoreError) as error:
        print(f"thresholds: {error}", file=sys.stderr)
        return 2
    best, gold = max(tried, key=lambda pair: pair[1])
    print(f"best of {len(tried)}: words {best[0]:.2f}, manners {best[1]:.2f}, gold {gold:+.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
