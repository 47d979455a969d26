"""What `python -m analysis bayes` asks for; apart, so that its help needs no jax."""

import argparse
from pathlib import Path

from analysis import sources

RESULT = {"fits", "warnings"}  # keys of what --json holds
ABOUT = """The laws fitted as a hierarchy of runs, sizes and data by NUTS: a second opinion on `fit`.

  python -m analysis bayes NAME [--runs ARCHIVE]                      an experiment with records
  python -m analysis bayes FILE --x kl --form FORM [--help]           a table of curves, as advise reads it

Wants numpyro: pip install 'gold_sim[bayes]'."""
FORMS = ("bon", "rl")  # compared by default


def parser(argv: list[str], make):
    """The parser for NAME, or for FILE where the first word is one or --x is given.  make: the class of parsers."""
    raw = {"description": ABOUT, "formatter_class": argparse.RawTextHelpFormatter}
    made = make(prog="python -m analysis bayes", **raw)
    if any(one.partition("=")[0] in ("--x", "--y") for one in argv) or (argv and Path(argv[0]).is_file()):
        from analysis.fit import options

        options.add(made, form_required=False)  # the options of `advise`: those that a hierarchy has
        made.add_argument("--data", metavar="COLUMN", help="a second size of the groups, as of the training data")
    else:
        about = "of an experiment; of FILE say --x, and --help --x lists its options"
        made.add_argument("name", metavar="NAME", help=about)
        made.add_argument("--preset", help="size of the experiment; default: the largest that has records")
        made.add_argument("--runs", default="runs", help=f"the records: {sources.FORMS}")
        made.add_argument("--method", nargs="+", metavar="METHOD", help="bon, rl, frontier, direct (all there are)")
        made.add_argument("--form", metavar="FORM", help="law of all methods; default: what each is fitted with")
        made.add_argument("--json", type=Path, metavar="OUT", help="write the result here")
    made.add_argument(
        "--compare-forms",
        nargs="*",
        metavar="FORM",
        help="compare forms (bon rl) by what they predict of left-out runs",
    )
    made.add_argument("--figure", type=Path, metavar="FOLDER", help="draw posterior predictive bands there")
    made.add_argument("--chains", type=int, default=4, metavar="C", help="side by side (4)")
    made.add_argument("--warmup", type=int, default=400, metavar="N", help="draws thrown away, a chain (400)")
    made.add_argument("--samples", type=int, default=1000, metavar="N", help="draws kept, a chain (1000)")
    made.add_argument("--draws-seed", type=int, default=0, metavar="SEED", help="of the chains (0)")
    return made


def inputs(args) -> list[Path]:
    """Files that a result may not replace."""
    return [args.file] if hasattr(args, "file") else []
