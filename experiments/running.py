"""The work of `python -m experiments`: list experiments, predict their cost, or run their cells and write manifests."""

import argparse
import contextlib
import dataclasses
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import catalogue, deciding, extent, page, repair
from experiments.engine import costs, executors, job, queue, room
from experiments.extent import Extent
from experiments.plan import manifest, missing, plan, whole_blocks
from experiments.presets import PRESETS
from experiments.screen import Screen
from gold_sim.store import Damaged, Store, StoreError, archive, sinks
from gold_sim.store.files import cells_of, manifest_name
from gold_sim.store.remote import Remote, is_url
from gold_sim.typed import as_typed


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise ValueError(f"{message} (see {self.prog} --help)")


def _arguments(argv):
    about = "Run an experiment, or several that share workers; the same command resumes."
    p = _Parser(prog=as_typed("python -m experiments"), description=about)
    p.add_argument("names", nargs="*", metavar="NAME", help="experiments; without any, all are listed")
    p.add_argument("--markdown", action="store_true", help="print docs/experiments.md, which lists all of them")
    p.add_argument("--preset", default="cpu", help=f"sizes: {', '.join(PRESETS)} (default cpu)")
    p.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change a field of the config")
    p.add_argument(
        "--world", type=int, metavar="N", help="the seed of language, reference, gold, preferences and pools"
    )
    p.add_argument("--seeds", type=int, metavar="N", help="how many seeds, in blocks of the preset's (default a block)")
    p.add_argument("--until-decided", action="store_true", help="add blocks of seeds until the claims are decided")
    p.add_argument(
        "--most-seeds", type=int, metavar="N", help=f"with --until-decided: N seeds at most ({deciding.MOST})"
    )
    p.add_argument("--dry-run", action="store_true", help="list cells and cost, run nothing")
    p.add_argument("--workers", type=int, help="cells at a time (default: cores here, CPUs of a Ray cluster, 100 jobs)")
    p.add_argument("--engine", default="local", help=f"where cells run: {', '.join(executors.EXECUTORS)}")
    p.add_argument("--resource", action="append", default=[], metavar="KEY=VALUE", help="what a cell is given")
    p.add_argument("--memory", metavar="GIB", help="what local workers may take together (default: what is free)")
    p.add_argument("--repair", action="store_true", help="set damaged cells aside, then compute them again")
    about = f"also show cells that are done in {sinks.FORMS}; the store and its numbers stay as they are"
    p.add_argument("--sink", action="append", default=[], metavar="KIND=DIR", help=about)
    p.add_argument(
        "--runs", default="runs", help="the store: a folder (default runs), or an address as s3://bucket/runs"
    )
    return p.parse_args(argv)


@dataclass(frozen=True)
class Place:
    """The store that --runs names: `where` as it was typed, and the folder that is read and written here."""

    where: str
    store: Store
    remote: Remote | None = None
    archived: bool = False

    @property
    def root(self) -> Path:
        return self.store.root


def _place(where: str) -> Place:
    """The place that --runs names.  StoreError or ValueError: it is no folder, address or archive that can be read."""
    if is_url(where):
        remote = Remote(where)
        return Place(where, remote.store, remote)
    if archive.is_archive(where):
        return Place(where, Store(archive.unpack(Path(where))), archived=True)
    if not where.strip():
        raise ValueError(f"--runs {where!r}: a folder or an address is wanted")
    store = Store(where)
    store.check()
    return Place(where, store)


def _list(place: Place):
    for name in catalogue.NAMES:
        experiment, curves, every = plan(name, "cpu", {})
        spoilt = repair.damaged(place.store, every)
        done = len(every) - len(missing(place.store, curves, every, spoilt))
        print(f"{name:22s} {experiment.question}")
        print(f"{'':22s} {experiment.figure}; {experiment.cost}; {done} of {len(every)} cells done")
        if spoilt:
            mends = as_typed(f"python -m experiments {name} --repair")
            print(f"{'':22s} {len(spoilt)} damaged: {mends} sets them aside and computes them again")
        print()
    print(f"{'throughput':22s} {page.BENCHMARK}")
    print(as_typed(f"{'':22s} a benchmark: python -m experiments throughput; {page.BENCHMARK_COST}"))
    print(f"\nstore: {place.where if place.remote or place.archived else place.root.absolute()}")


def main(argv=None) -> int:
    """Do what the arguments say; the status.  ValueError: its text is one line for the user."""
    args = _arguments(argv)
    try:
        return _main(args)
    except Damaged as error:
        packed = archive.is_archive(args.runs)  # which nobody computes again
        raise ValueError(str(error if packed else Damaged(error.what, repair.REMEDY))) from error
    except (StoreError, job.WorkerLost, job.CellFailed) as error:
        raise ValueError(str(error)) from error


def _main(args) -> int:
    if args.markdown:
        print(page.markdown(), end="")
        return 0
    executors.check(args.engine, args.workers)
    if args.repair and (args.dry_run or not args.names or archive.is_archive(args.runs)):
        raise ValueError("--repair: names of experiments are wanted with it, not --dry-run, and no archive")
    if args.memory is not None and args.engine != "local":
        raise ValueError(f"--memory: of --engine local alone; --engine {args.engine} asks its machines by --resource")
    deciding.check(args.most_seeds, args.until_decided, args.dry_run)
    if args.sink and (not args.names or "throughput" in args.names):
        raise ValueError(f"--sink {args.sink[0]}: names of experiments are wanted with it")
    args.sink = [sinks.open_sink(text) for text in dict.fromkeys(args.sink)]
    place = _place(args.runs)
    if not args.names:
        _list(place)
        return 0
    if "throughput" in args.names:
        if len(args.names) > 1:
            raise ValueError(f"{' '.join(args.names)}: throughput is a benchmark and runs alone")
        from experiments.benchmark import throughput

        return throughput.main(args, place.root)
    extents = _extents(args, place)
    if not args.until_decided:
        return _run(args, place, extents)
    most = deciding.MOST if args.most_seeds is None else args.most_seeds
    deciding.until_decided(extents, args.preset, most, place.store, lambda more: _run(args, place, more))
    return 0


@dataclass(frozen=True)
class Planned:
    """One experiment of the command: its manifest, all its cells, and those of them that it still waits for."""

    manifest: dict
    every: list
    waits: frozenset[str]  # fingerprints


def _extents(args, place: Place) -> dict[str, Extent]:
    """What is asked of each experiment named; blocks beyond it that the store has whole belong to the study as well."""
    extents = {}
    for name in dict.fromkeys(args.names):
        wanted = extent.asked(name, args.preset, args.set, args.world, args.seeds)
        fetch = place.remote.fetch if place.remote else lambda cells: None
        blocks = whole_blocks(place.store, name, args.preset, wanted, fetch)
        extents[name] = dataclasses.replace(wanted, blocks=blocks)
    return extents


def _run(args, place: Place, extents: dict[str, Extent]) -> int:
    """Run the cells of all named experiments in one queue, and report each experiment when its last cell is done.

    Experiments are begun in the order named. Within one, cells with the longest work behind them go first, so that
    workers end together.
    """
    resources = dict(executors.resource(text) for text in args.resource)
    most = None if args.memory is None else room.limit(args.memory)
    planned, todo = _plan(args, place, extents)
    found = costs.measured(place.root, place.store.system)
    predicted = costs.model(found)
    local = lambda: room.workers(args.workers, todo.values(), predicted, most)
    if args.dry_run:
        _price({c.fingerprint: c for p in planned for c in p.every}, todo, found, predicted)
        if args.preset == "gpu" and not found:
            print("seconds are of a CPU's core until some cells are stored; docs/speed.md tells of a card")
        if args.engine == "local":
            _tell_room(local)
        return 0
    workers, line = local() if args.engine == "local" else (args.workers, None)
    root = place.where if place.remote else place.root
    executor = executors.make(args.engine, root, workers, resources) if todo else None
    with _ending(executor):  # from here on work is spent
        written = _opened(place, todo, [p.manifest for p in planned])
        if place.remote and written:
            place.remote.publish_kept({c.fingerprint: c for p in planned for c in p.every}.values())
        if line:
            print(line, flush=True)
        _show(args, place, [c for p in planned for c in p.every if c.fingerprint not in todo], _warn)
        planned = _tell(args, place, planned, written)
        if todo:
            _work(args, place, planned, todo, executor, found)
    return 0


def _plan(args, place: Place, extents: dict[str, Extent]) -> tuple[list[Planned], dict]:
    """These experiments, and the cells to compute by fingerprint; prints how many there are of each."""
    planned, todo = [], {}
    for name, wanted in extents.items():
        experiment, curves, every = plan(name, args.preset, wanted.overrides, range(1, wanted.blocks + 1))
        module = None if experiment.name in catalogue.NAMES else name
        made = manifest(experiment, args.preset, wanted.overrides, curves, module, wanted.blocks)
        if args.repair:
            for line in repair.set_aside(place.store, place.remote, every, manifest_name(made)):
                print(line, flush=True)
        if place.remote:
            place.remote.fetch(every)
        missed = {c.fingerprint: c for c in missing(place.store, curves, every)}
        repair.check(place.store, every, missed.values())
        todo |= missed
        planned.append(Planned(made, every, frozenset(missed)))
        seeds = wanted.blocks * made["seeds_a_block"]
        cells = f"{len(every)} cells, {len(every) - len(missed)} stored, {len(missed)} to do"
        print(f"{experiment.title}: {seeds} seeds, {cells}; at preset cpu {experiment.cost}", flush=True)
    _check_names(place.store, [p.manifest for p in planned])
    return planned, todo


@contextlib.contextmanager
def _ending(executor: job.Executor | None):
    """A block at whose end the workers end: at once where the block is cut short."""
    try:
        yield
    except BaseException:
        if executor is not None:
            executor.stop()
        raise
    if executor is not None:
        executor.close()


def _tell_room(local):
    """Print --dry-run's line where memory is too small; it is no error, as another machine may do the work."""
    try:
        _, line = local()
    except ValueError as error:
        line = f"here this would be refused: {error}"
    if line:
        print(line)


def _work(args, place: Place, planned: list, todo: dict, executor: job.Executor, found: list):
    """Have the executor compute the cells to do, and report progress."""
    screen = Screen(len(todo))

    def report(event, cell, done, total):
        nonlocal planned
        screen(event, cell, done, total)
        if event == "wait" and (why := executor.trouble()) is not None:
            screen.say(why)
        if event == "done":
            _show(args, place, [cell], screen.say)
            planned = [dataclasses.replace(p, waits=p.waits - {cell.fingerprint}) for p in planned]
            planned = _tell(args, place, planned, written=True)

    try:
        queue.run(place.root, _queue([p.every for p in planned], todo, found), executor, report, place.store.system)
    finally:
        screen.close()


def _show(args, place: Place, cells: list, say):
    """Have every sink show these cells, where they have curves and it does not show them yet.

    A sink that fails is left out from then on, and the sweep goes on: its results are in the store.
    """
    for sink in list(args.sink):
        try:
            if place.remote:
                place.remote.fetch(cells)
            sinks.export(sink, place.store, dict.fromkeys((c.stage, c.fingerprint) for c in cells))
        except Exception as error:  # whatever a package of others raises
            args.sink.remove(sink)
            why = str(error) if isinstance(error, StoreError) else job.in_a_line(error)
            again = as_typed(f"python -m analysis export NAME --to {sink}", ["export"])
            say(f"warning: sink {sink}: {why}; results are stored as ever, and {again} shows them later")


def _warn(line: str):
    print(f"experiments: {line}", file=sys.stderr, flush=True)


def _check_names(store: Store, manifests: list[dict]):
    """Raise ValueError for two modules whose experiments share a name, here or in the store, and so a manifest."""
    for i, made in enumerate(manifests):
        others = [*manifests[:i], *filter(None, [store.stored_manifest(made)])]
        for other in others:
            if other["experiment"] == made["experiment"] and other.get("module", made["module"]) != made["module"]:
                of = lambda m: f"module {m['module']}" if m["module"] else "this project"
                what = f"experiment {made['experiment']!r} of {of(made)}: {of(other)} has one of the same name"
                raise ValueError(f"{what}; another name is wanted, or another --runs")


def _opened(place: Place, todo: dict, manifests: list[dict]) -> bool:
    """Whether the store can be written, tried before work is spent.  StoreError: it cannot, and must be."""
    try:
        if place.archived:
            raise StoreError(f"{place.where}: an archive can be read and not written; --runs FOLDER is wanted")
        place.store.open({c.stage for c in todo.values()})
        if place.remote:
            place.remote.open()
        place.store.sweep()
    except StoreError:
        if todo or not all(map(place.store.answers, manifests)):
            raise
        return False
    return True


def _queue(experiments: list, todo: dict, found: list) -> list:
    """The cells to do, in the order in which they should be begun."""
    ordered = {}
    for every in experiments:
        own = [c for c in every if c.fingerprint in todo and c.fingerprint not in ordered]
        own = queue.longest_first(own, costs.seconds(costs.model(found), own, found))
        ordered |= {c.fingerprint: c for c in own}
    return list(ordered.values())


def _price(every: dict, todo: dict, found: list, predicted: costs.Model):
    """What --dry-run prints: each cell, stored or with its predicted cost, and their sum."""
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


def _tell(args, place: Place, planned: list[Planned], written: bool) -> list[Planned]:
    """Write the manifests of those experiments that wait for no cell; the others are returned.

    written: whether the store can be written; where it cannot, it has them.
    """
    for made in (p.manifest for p in planned if not p.waits):
        if written:
            if not place.remote:
                place.store.settle({stage for stage, _ in cells_of(manifest_name(made), made)})
            path = place.store.write_manifest(manifest_name(made), made)
            if place.remote:
                place.remote.publish_manifest(path)
        preset = "" if args.preset == "cpu" else f" --preset {args.preset}"
        changes = "".join(f" --set {shlex.quote(text)}" for text in args.set)
        changes += "" if args.world is None else f" --world {args.world}"
        changes += f" --seeds {args.seeds}" if args.seeds is not None and "seeds" in made["overrides"] else ""
        where = place.where if place.remote or place.archived else place.root.absolute()
        print(as_typed(f"stored in {where}; next: python -m analysis {made['experiment']}{preset}{changes}"))
    return [p for p in planned if p.waits]
