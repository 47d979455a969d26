"""The arguments of `python -m analysis scores`, and what it prints.  Its help imports neither pandas nor scipy."""

import argparse
from pathlib import Path

ABOUT = {
    "description": """Best-of-n from a table of scored samples: one row a sample of a prompt, with its two scores.

Gold and proxy of the best of n by the unbiased estimator (n = 1, 2, 3, 4, 6, ... up to the samples a prompt),
the law R(d) = d (alpha - beta d) with d = sqrt(KL), HedgeTune's n, at which gold stops rising, the tail index
of the proxy and of its error, accuracy and rank correlation within prompts. All with 90 % intervals between
prompts and, where their column is named, between reward models.""",
    "epilog": "example: python -m analysis scores scored.csv --prompt id --sample sample --proxy rm --gold judge",
    "formatter_class": argparse.RawTextHelpFormatter,
}
SCORED = {"curve", "hedge", "tail"}  # keys of the result
OPTIONS = {  # option -> (whether it must be given, help)
    "prompt": (True, "tells prompts apart"),
    "proxy": (True, "the proxy's score, by which the best of n is selected; any unit"),
    "gold": (True, "the score that stands for the truth; any unit"),
    "sample": (False, "tells a prompt's samples apart, so that rows which stand twice are found"),
    "by": (False, "one curve and law for each value of it, as the proxy's size"),
    "seed-column": (False, "tells reward models apart that scored the same prompts: their variance enters intervals"),
}


def with_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("file", metavar="TABLE", type=Path, help="CSV, Parquet or JSON lines, one row a sample")
    for name, (required, what) in OPTIONS.items():
        parser.add_argument(f"--{name}", required=required, metavar="COLUMN", help=what)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result here")
    return parser


def work(args) -> dict:
    """The result of a table; prints it."""
    from analysis.drawing import tables
    from analysis.escaped import say
    from analysis.fit import pools, scores

    columns = pools.Columns(args.prompt, args.proxy, args.gold, args.sample, args.by, args.seed_column)
    result = scores.scores(args.file, columns)
    for table in scores.tables(result):
        for line in (*tables.plain_text(table), ""):
            say(line)
    return result
