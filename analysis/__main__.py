"""python -m analysis NAME: figures, tables, summary.json and report.html of an experiment, from its records.

python -m analysis fit FILE: the laws, fitted to any log.  python -m analysis: what can be analysed.
"""

import argparse
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

from gold_sim.store import Store, StoreError, archive
from gold_sim.store.columns import TABLES
from gold_sim.store.remote import Remote, is_url
from gold_sim.typed import as_typed


class _Parser(argparse.ArgumentParser):
    def __init__(self, prog, **options):
        super().__init__(prog=as_typed(prog, COMMANDS), **options)

    def error(self, message):
        raise SystemExit(_complain(f"{message} (see {self.prog} --help)"))


def _folder(where: str) -> Path:
    """The records' folder; what is at an address is fetched first, an archive unpacked."""
    if archive.is_archive(where):
        return archive.unpack(where)
    if not is_url(where):
        return Path(where)
    remote = Remote(where)
    remote.fetch_experiments()
    return remote.store.root


WHERE = "a folder, an address, or an archive (.tar.xz)"


def _add_runs(parser):
    parser.add_argument("--runs", type=_folder, default=Path("runs"), help=f"the records: {WHERE}")


def _add_several_runs(parser, of_several: str):
    what = f"one or more stores: {WHERE}; {of_several}"
    parser.add_argument("--runs", type=_folder, nargs="+", default=[Path("runs")], help=what)


def _complain(text) -> int:
    print(f"analysis: {' '.join(str(text).split())}", file=sys.stderr)
    return 2


def main(argv=None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    try:
        done = COMMANDS[argv[0]](argv[1:]) if argv[:1] and argv[0] in COMMANDS else _experiment(argv)
        sys.stdout.flush()
        return done
    except BrokenPipeError:  # whoever read our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (StoreError, ValueError) as error:
        return _complain(error)
    except OSError as error:  # of a place to write to; readers say theirs themselves
        return _complain(f"{error.filename}: {error.strerror}; a place that can be written to is wanted")


def _experiment(argv) -> int:
    parser = _Parser(prog="python -m analysis", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", nargs="?", help="an experiment that has records; or fit")
    parser.add_argument("--preset", help="size of the experiment; default: the largest that has records")
    what = "of records made with other settings: the --set that they were made with"
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help=what)
    _add_runs(parser)
    parser.add_argument("--out", type=Path, default=Path("analysis/out"), help="where results go (analysis/out)")
    args = parser.parse_args(argv)
    if args.name is None:
        return _list(args.runs)
    from analysis import others

    given, args.name = args.name, others.named(args.name, args.set)
    folder = args.out / args.name
    if args.name == "throughput":
        return _throughput(args.runs, folder)
    if args.name not in (stored := _stored(args.runs)):
        how = f"python -m experiments {given}" + (f" --preset {args.preset}" if args.preset else "")
        how += "".join(f" --set {shlex.quote(text)}" for text in args.set)
        have = f"{args.runs} has those of {', '.join(stored) or 'no experiment'}"
        if own := others.commands(Store(args.runs), given.partition("+")[0]):
            have += as_typed(f"; with other settings: python -m analysis {', python -m analysis '.join(own)}", COMMANDS)
        return _complain(f"experiment {given!r}: no records; {have}; {as_typed(how, COMMANDS)} makes them")
    from analysis import analyse  # here, so that a wrong name is told without waiting for matplotlib

    data, findings = analyse.analyse(Store(args.runs), args.name, args.preset, folder)
    analyse.show(data, findings, folder)
    for words in others.commands(Store(args.runs), given, data.manifest["preset"]):
        if not args.set:
            print(as_typed(f"others   stored with other settings: python -m analysis {words}", COMMANDS))
    return 0


def _list(runs: Path) -> int:
    say = lambda line: print(as_typed(line, COMMANDS))
    say(f"python -m analysis NAME, with NAME one of those that have records in {runs}")
    for name, presets in _stored(runs).items():
        print(f"  {name:<22} {_question(runs, name)}  [records: {', '.join(presets)}]")
    print(f"  {'throughput':<22} speed: every stage against the roofline, runs mapped into one program")
    say("python -m experiments                              every experiment there is, those without records too")
    say("python -m analysis fit FILE --x kl --y gold --by COLUMN --form FORM  the laws, fitted to any log")
    say("python -m analysis calibration                     how good intervals and verdicts are, on made curves")
    say("python -m analysis claims                          what the literature says, and what the records say of it")
    say("python -m analysis pack FILE.tar.xz                   all records in one file, which --runs then takes")
    say("python -m analysis paper gao2023 [--venue icml]     the figures of the paper, from all records")
    say("python -m analysis advise NAME, or FILE and the options of fit      how far may one optimise?")
    return 0


def _stored(runs: Path) -> dict[str, list[str]]:
    """Experiment -> presets of its records, in order of name."""
    found = {}
    for path in sorted((runs / "experiments").glob("*-*.json")):
        name, _, preset = path.stem.rpartition("-")
        found.setdefault(name, []).append(preset)
    return found


def _question(runs: Path, name: str) -> str:
    """What an experiment asks, as its records say."""
    try:
        return Store(runs).manifest(name).get("question", "")
    except StoreError as error:
        return str(error)


def _throughput(runs: Path, folder: Path) -> int:
    """Figures of the newest measurements of its parts."""
    from analysis.studies import throughput

    figures = throughput.study(runs / "throughput", folder)
    if not figures:
        how = "python -m experiments throughput --set part=stages"
        print(f"throughput: nothing measured yet; this does: {as_typed(how)}")
        return 0
    print(f"figures  {'  '.join(str(folder / f'{name}.png') for name in figures)}")
    return 0


def _fit_arguments(prog: str, about: str) -> _Parser:
    """What `fit` and `advise` both ask about a file of curves."""
    from gold_sim import laws  # here, as it takes a second to import

    raw = argparse.RawTextHelpFormatter
    parser = _Parser(prog=f"python -m analysis {prog}", description=about, formatter_class=raw)
    parser.add_argument("file", type=Path, help="CSV, Parquet, JSON lines, trainer_state.json, TensorBoard events")
    parser.add_argument("--x", required=True, metavar="kl|sqrt_kl|n[=COLUMN]", help="distance from the reference")
    parser.add_argument("--y", default="gold", metavar="COLUMN", help="gold minus its value at the reference (gold)")
    parser.add_argument("--by", metavar="COLUMN", help="one law for each value of it; default: one law for all rows")
    forms = "\n".join(f"{name}: {law.formula}" for name, law in laws.FORMS.items())
    parser.add_argument("--form", required=prog == "fit", default="rl", metavar="FORM", help=forms)
    parser.add_argument("--seed-column", metavar="COLUMN[,...]", help="tells runs apart, outermost first (world,seed)")
    parser.add_argument("--se", metavar="COLUMN", help="standard errors of y: points are weighted by 1 / se^2")
    parser.add_argument("--d-min", type=float, help="leave out points nearer than this, nats^0.5 (rl 0.3, others 0)")
    parser.add_argument("--kl-unit", metavar="response|token", help="of KL, in nats; to be stated for a trainer's log")
    parser.add_argument("--length", metavar="COLUMN", help="mean tokens a response, for --kl-unit token")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result here")
    return parser


def _fit_options(args, share=None):
    from analysis.fit import fits
    from gold_sim import laws

    laws.form_named(args.form)
    if args.d_min is not None and not args.d_min >= 0:
        raise ValueError(f"--d-min {args.d_min}: allowed from 0")
    seeds = tuple(args.seed_column.split(",")) if args.seed_column else ()
    return fits.Options(
        x=args.x,
        form=args.form,
        y=args.y,
        by=args.by,
        seeds=seeds,
        se=args.se,
        share=share,
        d_min=args.d_min,
        kl_unit=args.kl_unit,
        length=args.length,
    )


def _fit(argv) -> int:
    """The laws, fitted to any log of curves."""
    parser = _fit_arguments("fit", "Fit a law to a table with one row a point.")
    parser.add_argument("--share", metavar="alpha|beta", help="one alpha (or beta) for all groups")
    parser.add_argument("--compare", action="store_true", help="also say which of the forms each group follows")
    args = parser.parse_args(argv)
    if args.share not in (None, "alpha", "beta"):
        return _complain(f"--share {args.share}: allowed are alpha, beta")
    from analysis.drawing import tables
    from analysis.fit import fits
    from analysis.numbers import with_interval

    options = _fit_options(args, args.share)
    if options.share and options.se:
        return _complain("--share with --se: a shared coefficient is fitted with equal weights; leave one out")
    points, odd = fits.load(args.file, options)
    result = fits.fit(points, options)
    result["warnings"] = odd + result["warnings"]
    print(tables.plain_text(fits.table(result)))
    for name, line in result["trends"].items():
        print(f"{name} per tenfold {args.by}: {with_interval(line['slope'], line['slope_ci'])}")
    if args.compare:
        result["comparison"] = fits.compare(points, options)
        for told in result["comparison"]:
            print(f"{args.by or 'all'} {told[args.by or 'group']}: {told['text']}")
    return _tell(result, args.json)


def _advise(argv) -> int:
    """Advice from a file of curves, or from an experiment's records with a back-test."""
    from analysis.fit import advise

    if argv and re.fullmatch(r"[A-Za-z]\w*", argv[0]) and not Path(argv[0]).exists():
        parser = _Parser(prog="python -m analysis advise", description=advise.__doc__)
        parser.add_argument("name")
        parser.add_argument("--preset", help="size of the experiment; default: the largest that has records")
        parser.add_argument("--at-kl", type=float, help="nats a response, where you stand (the end of the curves)")
        _add_runs(parser)
        parser.add_argument("--json", type=Path, metavar="OUT", help="write the result here")
        args = parser.parse_args(argv)
        from analysis import curves, records

        read = records.load(Store(args.runs), args.name, args.preset)
        gs = [g for part in curves.groups(read.curves, read.axis).values() for g in part]
        parts = [(g.form, {read.axis: g.key}, *curves.gains(g), g.units) for g in gs]
        warnings = read.warnings
    else:
        parser = _fit_arguments("advise", "How far may I optimise? From an experiment NAME or a file of curves.")
        parser.add_argument("--at-kl", type=float, help="nats a response, where you stand (the end of the curves)")
        args = parser.parse_args(argv)
        from analysis.fit import fits

        options = _fit_options(args)
        points, warnings = fits.load(args.file, options)
        parts = fits.parts(points, options)
    if args.at_kl is not None and not args.at_kl > 0:
        return _complain(f"--at-kl {args.at_kl:g}: allowed are numbers above 0, nats a response")
    result = {"groups": [], "backtest": None, "warnings": warnings}
    for form, key, ds, golds, units in parts:
        told = advise.advise(form, ds, golds, units, args.at_kl)
        result["groups"].append(key | vars(told))
        print(f"{' '.join(f'{k} {v}' for k, v in key.items())}, {form} law: {told.text}")
    tested = advise.backtest([(form, ds, golds) for form, _, ds, golds, _ in parts])
    if tested["runs"]:
        result["backtest"] = tested
        print(f"back-test: each run from the others of its group: the {tested['level']:.0%} interval holds the peak of "
              f"{tested['covered']} of {tested['runs']} runs ({tested['share']:.0%})")  # fmt: skip
    return _tell(result, args.json)


def _paper(argv) -> int:
    """The figure set of a paper, from the records of all experiments."""
    parser = _Parser(prog="python -m analysis paper", description="The figures of a paper, from our records.")
    parser.add_argument("name", choices=["gao2023"], help="gao2023: Scaling laws for reward model overoptimization")
    parser.add_argument("--venue", default="neurips", help="sizes and letters: neurips, icml, iclr, ... (neurips)")
    parser.add_argument("--preset", help="size of the experiments; default: the largest that has records")
    _add_runs(parser)
    parser.add_argument("--out", type=Path, default=Path("analysis/out"), help="where results go (analysis/out)")
    args = parser.parse_args(argv)
    from analysis.paper import venue

    out = args.out / f"paper_{args.name}"
    made, missing = venue.make(Store(args.runs), out, args.venue, args.preset)
    for plate, seen in made:
        print(f"figure {int(plate.number):>2}  {plate.title}. {seen}")
    for plate, why in missing:
        print(f"analysis: figure {int(plate.number)} not drawn: {why}", file=sys.stderr)
    print(f"{len(made)} figures, tables and captions.md in {out}")
    return 0 if made else 2


def _claims(argv) -> int:
    """Every claim of the literature that has an experiment here."""
    parser = _Parser(prog="python -m analysis claims", description="What the literature says, tested on the records.")
    parser.add_argument("--preset", help="size of the experiments; default: the largest that has records")
    _add_several_runs(parser, "an experiment is read from the first that has it")
    parser.add_argument("--out", type=Path, default=Path("analysis/out"), help="where results go (analysis/out)")
    args = parser.parse_args(argv)
    from analysis.claims import catalogue
    from analysis.drawing import tables

    table = catalogue.table([Store(root) for root in args.runs], args.preset)
    tables.write(args.out / "claims", [table])
    for row in table.frame.to_dict("records"):
        print(f"{row['']:>7}  {row['claim']} ({row['source']}; {row['experiment']})\n         {row['found']}")
    counts = table.frame[""].value_counts()
    rest = (catalogue.NOT_TESTED, catalogue.NOT_RUN, catalogue.ERROR)
    words = [word for word in (*catalogue.VERDICTS.values(), *rest) if word in counts]
    print("\n" + ", ".join(f"{counts[word]} {word}" for word in words))
    print(f"table  {args.out / 'claims' / 'claims.md'}")
    errors = table.frame.loc[table.frame[""] == catalogue.ERROR, "found"]
    return max((_complain(error) for error in errors), default=0)


def _pack(argv) -> int:
    """What analysis reads, in one file to publish."""
    parser = _Parser(prog="python -m analysis pack", description="Records and tables, without weights, in one file.")
    parser.add_argument("file", type=Path, help=f"to write; ends in {archive.SUFFIX}")
    parser.add_argument("--leave", nargs="*", default=(), metavar="TABLE", help="tables to leave out, as in samples")
    _add_several_runs(parser, "of what several have, the first one's counts")
    args = parser.parse_args(argv)
    if not archive.is_archive(args.file):
        return _complain(f"file {str(args.file)!r}: a name that ends in {archive.SUFFIX} is wanted")
    if unknown := sorted(set(args.leave) - set(TABLES)):
        return _complain(f"--leave {unknown[0]}: allowed are {', '.join(TABLES)}")
    cells = archive.pack([Store(root) for root in args.runs], args.file, tuple(args.leave))
    print(f"{cells} cells, {args.file.stat().st_size / 1e6:.1f} MB in {args.file}; --runs {args.file} reads them")
    return 0


def _calibration(argv) -> int:
    """How good intervals and verdicts are, on curves made by known laws."""
    parser = _Parser(prog="python -m analysis calibration", description="Coverage and verdicts on made curves.")
    parser.add_argument("--replications", type=int, default=500, help="made data sets a form (500)")
    args = parser.parse_args(argv)
    if args.replications < 20:
        return _complain(f"--replications {args.replications}: allowed from 20")
    from analysis.drawing import tables
    from analysis.fit import coverage

    for table in coverage.tables(args.replications):
        print(tables.plain_text(table) + "\n", flush=True)
    return 0


def _tell(result: dict, path: Path | None) -> int:
    """Warnings to stderr, the result to the file."""
    from analysis.numbers import plain

    for warning in result["warnings"]:
        print(f"analysis: warning: {warning}", file=sys.stderr)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plain(result), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        print(f"written to {path}")
    return 0


COMMANDS = {  # what is not the name of an experiment; the first line of each docstring is what `gold-sim --help` says
    "fit": _fit,
    "advise": _advise,
    "paper": _paper,
    "calibration": _calibration,
    "claims": _claims,
    "pack": _pack,
}

if __name__ == "__main__":
    sys.exit(main())
