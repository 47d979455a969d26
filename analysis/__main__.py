"""python -m analysis NAME: figures, tables, summary.json and report.html of an experiment, from its records.

python -m analysis fit FILE: the laws, fitted to any log.  python -m analysis: what can be analysed.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from analysis.escaped import say, warn
from gold_sim import exits
from gold_sim.typed import as_typed, meant


class _Parser(argparse.ArgumentParser):
    def __init__(self, prog, **options):
        super().__init__(prog=as_typed(prog, COMMANDS), **options)

    def error(self, message):
        raise SystemExit(_complain(f"{message} (see {self.prog} --help)"))


def _add_runs(parser):
    from analysis.sources import FORMS

    parser.add_argument("--runs", default=RUNS, help=f"the records: {FORMS}")


def _add_several_runs(parser, of_several: str):
    from analysis.sources import FORMS

    parser.add_argument("--runs", nargs="+", default=[RUNS], help=f"one or more stores: {FORMS}; {of_several}")


def _add_extent(parser):
    parser.add_argument("--world", type=int, metavar="N", help="of records made with --world N")
    parser.add_argument("--seeds", type=int, metavar="N", help="of the first N seeds alone; default: all there are")


RUNS = "runs"
OUT = Path("analysis/out")


def _add_out(parser):
    parser.add_argument("--out", type=Path, default=OUT, help=f"where results go ({OUT})")


def _complain(text) -> int:
    warn(f"analysis: {as_typed(' '.join(str(text).split()), COMMANDS)}")
    return exits.REFUSED


def main(argv=None) -> int:
    """Run what the first word names; the status to exit with."""
    return exits.run("analysis", lambda: _work(sys.argv[1:] if argv is None else argv))


def _work(argv) -> int:
    from gold_sim.store import StoreError  # here and below, as they take a second: a Ctrl-C meanwhile is one line

    try:
        return COMMANDS[argv[0]](argv[1:]) if argv[:1] and argv[0] in COMMANDS else _experiment(argv)
    except (StoreError, ValueError) as error:
        return _complain(error)
    except OSError as error:
        if error.filename in (None, exits.OUTPUT):
            raise
        return _complain(f"{error.filename}: {error.strerror}; a place that can be read and written to is wanted")


def _experiment(argv) -> int:
    parser = _Parser(prog="python -m analysis", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", nargs="?", help="an experiment that has records; or fit")
    parser.add_argument("--preset", help="size of the experiment; default: the largest that has records")
    what = "of records made with other settings: the --set that they were made with"
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help=what)
    _add_extent(parser)
    _add_runs(parser)
    _add_out(parser)
    args, more = parser.parse_known_args(argv)
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}{meant(args.name or '', COMMANDS)}")
    if args.name is None:
        return _list(args.runs)
    from analysis import listing, others, sources
    from gold_sim.store import outputs

    with sources.opened(args.runs, makes=args.name) as [source]:
        name = others.found(source.store, args.name, args.preset, args.set, args.world, args.seeds)
        folder = args.out / name
        if name not in (*source.names(), "throughput"):
            return _complain(listing.no_records(source, args, COMMANDS))
        outputs.check_folder(folder)
        if name == "throughput":
            from analysis.studies import throughput

            return throughput.tell(source.store.root / "throughput", folder)
        from analysis import analyse  # here, so that a wrong name is told without waiting for matplotlib

        data, findings = analyse.analyse(source.store, name, args.preset, folder, args.seeds)
        aside = (
            []
            if args.set or args.world is not None
            else others.commands(source.store, args.name, data.manifest["preset"])
        )
    analyse.show(data, findings, folder)
    for words in aside:
        say(as_typed(f"others   stored with other settings: python -m analysis {words}", COMMANDS))
    return 0


def _list(runs: str) -> int:
    from analysis import listing

    say(as_typed(f"python -m analysis NAME, with NAME one of those that have records in {runs}", COMMANDS))
    if runs != RUNS or Path(RUNS).exists():  # before the first run there is none
        listing.experiments(runs)
    say(f"  {'throughput':<22} speed: every stage against the roofline, runs mapped into one program")
    for command, what in listing.COMMANDS.items():
        say(as_typed(f"{command:<50} {what}", COMMANDS))
    return 0


def _of_file(prog: str, about: str) -> _Parser:
    """What `fit` and `advise` both ask about a file of curves."""
    from analysis.fit import options

    raw = argparse.RawTextHelpFormatter
    parser = _Parser(prog=f"python -m analysis {prog}", description=about, formatter_class=raw)
    options.add(parser, form_required=prog == "fit")
    return parser


def _fit(argv) -> int:
    """The laws, fitted to any log of curves."""
    from analysis.fit import known_columns, options

    if "--known-columns" in argv:
        for line in known_columns.plain_text():
            say(line)
        return 0
    parser = _of_file("fit", "Fit a law to a table with one row a point.")
    parser.add_argument("--known-columns", action="store_true", help="say what trainers' columns of KL are, and end")
    args = parser.parse_args(argv)
    if args.surface is not None:
        return _surface(args)
    if missing := [name for name in ("x", "form") if getattr(args, name) is None]:
        parser.error(f"the following arguments are required: {', '.join(f'--{name}' for name in missing)}")
    from analysis.drawing import tables
    from analysis.fit import checklist, fits
    from analysis.numbers import label, with_interval

    chosen = options.chosen(args, args.share)
    _check_json(args.json, FITTED, args.file)
    points, odd, chosen = fits.load_named(args.file, chosen)
    result = fits.fit(points, chosen)
    result["warnings"] = odd + result["warnings"] + fits.on_intervals(result, chosen)
    for line in tables.plain_text(fits.table(result)):
        say(line)
    if args.halves:
        for line in fits.add_halves(result, points, chosen):
            say(line)
    for name, line in result["trends"].items():
        say(f"{name} per tenfold {args.by}: {with_interval(line['slope'], line['slope_ci'])}")
    if args.compare:
        result["comparison"] = fits.compare(points, chosen)
        for group in result["comparison"]:
            say(f"{args.by or 'group'} {label(group[args.by or 'group'])}: {group['text']}")
    for line in checklist.added(result, chosen, args.compare):
        say(line)
    return _tell(result, args.json, any(group["converged"] for group in result["groups"]))


def _surface(args) -> int:
    """A score, or a law's coefficients, as a surface over named columns."""
    from analysis.drawing import tables
    from analysis.fit import surfaces

    _check_json(args.json, FITTED, args.file)
    result = surfaces.command(args)
    for line in tables.plain_text(surfaces.table(result)):
        say(line)
    return _tell(result, args.json)


def _advise(argv) -> int:
    """Advice from a file of curves, or from an experiment's records with a back-test."""
    from analysis.fit import advise
    from analysis.numbers import label

    if argv and re.fullmatch(r"[A-Za-z]\w*", argv[0]) and not Path(argv[0]).exists():
        parser = _Parser(prog="python -m analysis advise", description=advise.__doc__)
        parser.add_argument("name")
        parser.add_argument("--preset", help="size of the experiment; default: the largest that has records")
        parser.add_argument("--at-kl", type=float, help="nats a response, where you stand (the end of the curves)")
        _add_runs(parser)
        parser.add_argument("--json", type=Path, metavar="OUT", help="write the result here")
        args = parser.parse_args(argv)
        from analysis import records, sources

        _check_json(args.json, FITTED)
        with sources.opened(args.runs, makes=args.name) as [source]:
            read = records.load(source.store, args.name, args.preset)
        parts = advise.parts(read)
        warnings, unit = read.warnings, "s.d."
    else:
        parser = _of_file("advise", "How far may I optimise? From an experiment NAME or a file of curves.")
        parser.add_argument("--at-kl", type=float, help="nats a response, where you stand (the end of the curves)")
        args = parser.parse_args(argv)
        from analysis.fit import fits, options

        chosen = options.of_budget(args)
        _check_json(args.json, FITTED, args.file)
        points, warnings = fits.load(args.file, chosen)
        parts, said = fits.parts(points, chosen)
        warnings, unit = warnings + said, f"of {args.y}"
    if args.at_kl is not None and not 0 < args.at_kl < float("inf"):
        return _complain(f"--at-kl {args.at_kl:g}: allowed are numbers above 0, nats a response")
    result = {"groups": [], "backtest": None, "warnings": warnings}
    own = advise.peaks([(form, ds, golds, units) for form, _, ds, golds, units in parts])
    for (form, key, ds, golds, units), peaks in zip(parts, own, strict=True):
        advice = advise.advise(form, ds, golds, units, args.at_kl, own=peaks, of=unit)
        result["groups"].append(key | vars(advice))
        say(f"{' '.join(f'{k} {label(v)}' for k, v in key.items())}, {form} law: {advice.text}")
    tested = advise.backtest([(form, ds, golds) for form, _, ds, golds, _ in parts])
    if tested["runs"]:
        result["backtest"] = tested
        say(f"back-test: each run from the others of its group: the {tested['level']:.0%} interval holds the peak of "
              f"{tested['covered']} of {tested['runs']} runs ({tested['share']:.0%})")  # fmt: skip
    return _tell(result, args.json, any(group["fitted"] for group in result["groups"]))


def _paper(argv) -> int:
    """The figure set of a paper, from the records of all experiments."""
    parser = _Parser(prog="python -m analysis paper", description="The figures of a paper, from our records.")
    parser.add_argument("name", choices=["gao2023"], help="gao2023: Scaling laws for reward model overoptimization")
    parser.add_argument("--venue", default="neurips", help="sizes and letters: neurips, icml, iclr, ... (neurips)")
    parser.add_argument("--preset", help="size of the experiments; default: the largest that has records")
    _add_runs(parser)
    _add_out(parser)
    args = parser.parse_args(argv)
    from analysis import sources
    from analysis.paper import venue
    from gold_sim.store import outputs

    venue.check(args.venue)
    out = args.out / f"paper_{args.name}"
    outputs.check_folder(out)
    with sources.opened(args.runs) as [source]:
        sources.check_preset([source], args.preset)
        made, missing = venue.make(source.store, out, args.venue, args.preset)
    for plate, seen in made:
        say(f"figure {int(plate.number):>2}  {plate.title}. {seen}")
    for plate, why in missing:
        warn(f"analysis: figure {int(plate.number)} not drawn: {source.named(why)}")
    if not made:
        return _complain(f"no figure could be drawn from {source.where}; what an earlier run wrote is left as it was")
    say(f"{len(made)} figures, tables and captions.md in {out}")
    return 0


def _claims(argv) -> int:
    """Every claim of the literature that has an experiment here."""
    parser = _Parser(prog="python -m analysis claims", description="What the literature says, tested on the records.")
    parser.add_argument("--preset", help="size of the experiments; default: the largest that has records")
    _add_several_runs(parser, "a world of an experiment is read from the first that has it")
    _add_out(parser)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the entries here: {claims: [..]}")
    args = parser.parse_args(argv)
    from analysis import sources
    from analysis.claims import verdicts
    from analysis.drawing import tables
    from gold_sim.store import outputs

    folder = args.out / "claims"
    outputs.check_folder(folder)
    _check_json(args.json, {"claims"})
    with sources.opened(*args.runs) as read:
        sources.check_preset(read, args.preset)
        found = verdicts.entries([source.store for source in read], args.preset)
    tables.write(folder, [verdicts.table(found)])
    for one in found:
        say(f"{one['verdict']:>10}  {one['says']} ({one['source']}; {one['experiment']})")
        say(f"{'':10}  {one['found']}")
    say()
    say(verdicts.counted(found))
    say(f"table  {folder / 'claims.md'}")
    if args.json:
        _write_json({"claims": found}, args.json)
    errors = [one["found"] for one in found if one["verdict"] == verdicts.ERROR]
    return max((_complain(error) for error in errors), default=0)


def _power(argv) -> int:
    """What more seeds would decide of an experiment's claims, and their cost."""
    parser = _Parser(prog="python -m analysis power", description="Seeds and CPU-hours to decide each claim.")
    parser.add_argument("name")
    parser.add_argument("--preset", help="size of the experiment; default: the largest that has records")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="of records made with it")
    parser.add_argument("--savings", action="store_true", help="what other ways to measure would save, from RL's runs")
    _add_extent(parser)
    _add_runs(parser)
    args = parser.parse_args(argv)
    from analysis import others, records, sources
    from analysis.claims import power, savings
    from analysis.drawing import tables

    with sources.opened(args.runs, makes=args.name) as [source]:
        name = others.found(source.store, args.name, args.preset, args.set, args.world, args.seeds)
        read = records.load(source.store, name, args.preset, args.seeds)
        found = [power.table(read), *(savings.tables(read) if args.savings else ())]
    if found[0].frame.empty:
        say(f"{args.name}: no claim that seeds decide")
    for line in (line for table in found if not table.frame.empty for line in tables.plain_text(table)):
        say(line)
    return 0


def _pack(argv) -> int:
    """What analysis reads, in one file to publish, or as a data set that Croissant describes."""
    from analysis import publishing

    parser = _Parser(prog="python -m analysis pack", description=publishing.OF_PACK)
    publishing.add_pack(parser)
    _add_several_runs(parser, "of what several have, the first one's counts")
    publishing.pack(parser.parse_args(argv))
    return 0


def _export(argv) -> int:
    """An experiment's curves as TensorBoard event files, or as offline runs of Weights & Biases."""
    from analysis import publishing

    parser = _Parser(prog="python -m analysis export", description=publishing.OF_EXPORT)
    publishing.add_export(parser)
    _add_extent(parser)
    _add_runs(parser)
    publishing.export(parser.parse_args(argv))
    return 0


def _calibration(argv) -> int:
    """How good intervals and verdicts are, on curves made by known laws."""
    from analysis import calibration

    parser = _Parser(prog="python -m analysis calibration", description=calibration.ABOUT)
    calibration.add_arguments(parser)
    args = parser.parse_args(argv)
    if args.replications < calibration.FEWEST:
        return _complain(f"--replications {args.replications}: allowed from {calibration.FEWEST}")
    for lines in calibration.printed(args.part, args.replications):
        for line in lines:
            say(line)
        sys.stdout.flush()
    return 0


def _stopping(argv) -> int:
    """Rules for when to stop optimising, scored by the gold that they lose."""
    from analysis.stopping_rules import arguments

    parser = _Parser(prog="python -m analysis stopping", description=arguments.ABOUT)
    arguments.add_arguments(parser)
    args = parser.parse_args(argv)
    from analysis.stopping_rules import command

    _check_json(args.json, arguments.RESULT, Path(args.name))
    return _tell(command.work(args), args.json)


def _bayes(argv) -> int:
    """The laws fitted as a hierarchy of runs and sizes: a second opinion on fit."""
    from analysis.bayes import arguments

    args = arguments.parser(argv, _Parser).parse_args(argv)
    from analysis.bayes import command

    _check_json(args.json, arguments.RESULT, *arguments.inputs(args))
    return _tell(*command.work(args))


def _scores(argv) -> int:
    """Best-of-n curves, law and tails from a table of scored samples."""
    from analysis.fit import score_command as command

    args = command.with_arguments(_Parser(prog="python -m analysis scores", **command.ABOUT)).parse_args(argv)
    _check_json(args.json, command.SCORED, args.file)
    return _tell(command.work(args), args.json)


def _check_json(path: Path | None, keys: set[str], *inputs: Path) -> None:
    """Before work is spent: that a result can be written there and takes no other file's place.

    keys: those that a result of the same command has.
    """
    from gold_sim.store import StoreError, outputs

    if path is None:
        return
    outputs.check_file(path, inputs)
    if path.is_file() and path.stat().st_size and not _has(path, keys):
        raise StoreError(f"--json {path}: is there already and no result of this command; another name is wanted")


FITTED = {"groups", "warnings"}  # keys of what fit and advise write


def _has(path: Path, keys: set[str]) -> bool:
    try:
        return keys <= json.loads(path.read_bytes()).keys()
    except (ValueError, AttributeError, RecursionError):
        return False


def _tell(result: dict, path: Path | None, fitted: bool = True) -> int:
    """Warnings to stderr, the result to the file; the status, 1 if nothing was fitted."""
    for warning in result["warnings"]:
        warn(f"analysis: warning: {warning}")
    if path:
        _write_json(result, path)
    return 0 if fitted else 1


def _write_json(result: dict, path: Path) -> None:
    from analysis import numbers
    from gold_sim.store import outputs

    outputs.write(path, json.dumps(numbers.plain(result), indent=1, allow_nan=False) + "\n")
    say(f"written to {path}")


COMMANDS = {  # what is not the name of an experiment; the first line of each docstring is what `gold-sim --help` says
    "fit": _fit,
    "advise": _advise,
    "stopping": _stopping,
    "scores": _scores,
    "bayes": _bayes,
    "paper": _paper,
    "calibration": _calibration,
    "claims": _claims,
    "power": _power,
    "pack": _pack,
    "export": _export,
}

if __name__ == "__main__":
    sys.exit(main())
