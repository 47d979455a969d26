"""python -m experiments [NAME ..] [--preset P] [--set path=value ...] [--dry-run] [--workers N] [--engine E]"""

import argparse
import os
import signal
import sys
from pathlib import Path

from experiments import catalogue, page
from experiments.engine import costs, executors, job, queue
from experiments.plan import manifest, missing, plan
from experiments.presets import PRESETS
from experiments.screen import Screen
from gold_sim import settings
from gold_sim.store import Store, StoreError
from gold_sim.store.remote import Remote, is_url
from gold_sim.typed import as_typed


def _arguments(argv):
    about = "Run an experiment, or several that share workers; the same command resumes."
    p = argparse.ArgumentParser(prog=as_typed("python -m experiments"), description=about)
    p.add_argument("names", nargs="*", metavar="NAME", help="experiments; without any, all are listed")
    p.add_argument("--markdown", action="store_true", help="print docs/experiments.md, which lists all of them")
    p.add_argument("--preset", default="cpu", help=f"sizes: {', '.join(PRESETS)} (default cpu)")
    p.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change a field of the config")
    p.add_argument("--dry-run", action="store_true", help="list cells and cost, run nothing")
    p.add_argument("--workers", type=int, help="cells at a time (default: cores here, CPUs of a Ray cluster, 100 jobs)")
    p.add_argument("--engine", default="local", help=f"where cells run: {', '.join(executors.EXECUTORS)}")
    p.add_argument("--resource", action="append", default=[], metavar="KEY=VALUE", help="what a cell is given")
    p.add_argument(
        "--runs", default="runs", help="the store: a folder (default runs), or an address as s3://bucket/runs"
    )
    return p.parse_args(argv)


def _list(root: Path):
    store = Store(root)
    for name in catalogue.NAMES:
        experiment, curves, every = plan(name, "cpu", {})
        done = len(every) - len(missing(store, curves, every))
        print(f"{name:22s} {experiment.question}")
        print(f"{'':22s} {experiment.figure}; {experiment.cost}; {done} of {len(every)} cells done\n")
    print(f"{'throughput':22s} {page.BENCHMARK}")
    print(as_typed(f"{'':22s} a benchmark: python -m experiments throughput; {page.BENCHMARK_COST}"))
    print(f"\nstore: {root.absolute()}")


def main(argv=None) -> int:
    args = _arguments(argv)
    try:
        done = _main(args)
        sys.stdout.flush()
        return done
    except (ValueError, StoreError, job.WorkerLost) as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("\nexperiments: interrupted; finished cells are stored, the same command resumes", file=sys.stderr)
        return 130


def _main(args) -> int:
    if args.markdown:
        print(page.markdown(), end="")
        return 0
    executors.check(args.engine, args.workers)
    args.remote = Remote(args.runs) if is_url(args.runs) else None
    args.where, args.runs = args.runs, args.remote.store.root if args.remote else Path(args.runs)
    if not args.names:
        _list(args.runs)
        return 0
    if "throughput" in args.names:
        if len(args.names) > 1:
            raise ValueError(f"{' '.join(args.names)}: throughput is a benchmark and runs alone")
        from experiments.benchmark import throughput

        return throughput.main(args)
    return _run(args)


def _run(args) -> int:
    """One queue of the cells of all experiments named, first named first; each told when its last cell is done.

    Within an experiment what holds up its end goes first, so that workers end together.
    """
    overrides = settings.overrides(args.set)
    resources = dict(executors.resource(text) for text in args.resource)
    plans = [plan(name, args.preset, overrides) for name in dict.fromkeys(args.names)]
    store, todo = Store(args.runs), {}
    for experiment, curves, every in plans:
        if args.remote:
            args.remote.fetch(every)
        missed = missing(store, curves, every)
        todo |= {c.fingerprint: c for c in missed}
        print(
            f"{experiment.title}: {len(every)} cells, {len(every) - len(missed)} stored, {len(missed)} to do; "
            f"at preset cpu {experiment.cost}",
            flush=True,
        )
    if args.dry_run:
        _price(args.runs, {c.fingerprint: c for _, _, every in plans for c in every}, todo)
        if args.preset == "gpu" and not costs.measured(args.runs):
            print("seconds are of a CPU's core until some cells are stored; docs/speed.md tells of a card")
        return 0
    store.sweep()
    waiting = [(e, curves, todo.keys() & {c.fingerprint for c in every}) for e, curves, every in plans]
    waiting = _tell(args, store, overrides, waiting)
    if todo:
        root = args.where if args.remote else args.runs
        executor = executors.make(args.engine, root, args.workers, resources)
        screen = Screen(len(todo))

        def report(event, cell, done, total):
            nonlocal waiting
            screen(event, cell, done, total)
            if event == "done":
                waiting = [(e, curves, cells - {cell.fingerprint}) for e, curves, cells in waiting]
                waiting = _tell(args, store, overrides, waiting)

        try:
            queue.run(args.runs, _queue(args.runs, plans, todo), executor, report)
        finally:
            screen.close()
            executor.close()
    return 0


def _queue(root: Path, plans: list, todo: dict) -> list:
    """The cells to do, in the order in which they should be begun."""
    found = costs.measured(root)
    ordered = {}
    for _, _, every in plans:
        own = [c for c in every if c.fingerprint in todo and c.fingerprint not in ordered]
        own = queue.longest_first(own, costs.seconds(costs.model(found), own, found))
        ordered |= {c.fingerprint: c for c in own}
    return list(ordered.values())


def _price(root: Path, every: dict, todo: dict):
    """What --dry-run prints: each cell, stored or with its predicted cost, and their sum."""
    found = costs.measured(root)
    predicted = costs.model(found)
    seconds = dict(zip(todo, costs.seconds(predicted, todo.values(), found), strict=True))
    for code, c in every.items():
        cost = f"to do {seconds[code]:6.0f} s {predicted.bytes(c) / 2**30:5.1f} GiB" if code in todo else "stored"
        print(f"  {cost:24s}  {c.stage:16s} {c.name}-{code}")
    flops, most = (
        sum(c.declared.work(c.config).flops for c in todo.values()),
        max(map(predicted.bytes, todo.values()), default=0),
    )
    largest = f"the largest cell takes {max(seconds.values(), default=0) / 60:.1f} min, or {most / 2**30:.1f} GiB"
    print(f"about {sum(seconds.values()) / 60:.0f} min of one worker, {flops:.1e} operations; {largest}")


def _tell(args, store, overrides: dict, waiting: list) -> list:
    """Write the manifests of those experiments that wait for no cell; the others are returned."""
    for experiment, curves, _ in (one for one in waiting if not one[2]):
        path = store.write_manifest(
            f"{experiment.name}-{args.preset}", manifest(experiment, args.preset, overrides, curves)
        )
        if args.remote:
            args.remote.publish_manifest(path)
        preset = "" if args.preset == "cpu" else f" --preset {args.preset}"
        where = args.where if args.remote else args.runs.absolute()
        print(as_typed(f"stored in {where}; next: python -m analysis {experiment.name}{preset}"))
    return [one for one in waiting if one[2]]


if __name__ == "__main__":
    sys.exit(main())
