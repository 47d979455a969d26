"""The command `python -m analysis calibration`: how good intervals and verdicts are, on data made by known laws."""

from collections.abc import Iterable, Iterator

ABOUT = "Coverage and verdicts on made data."
FEWEST = 20  # replications
PARTS = {  # part -> what is measured
    "decisions": "the sequential rule",
    "curves": "fits of laws",
    "alarms": "rules for when to stop optimising",
    "scores": "tables of scored samples",
    "bounded": "laws that saturate, shares, surfaces, first halves",
    "bayes": "hierarchical fits, which want numpyro and are left out unless named",
}


def add_arguments(parser) -> None:
    parser.add_argument("--replications", type=int, default=500, help="made data sets a form; 20 times as many studies")
    about = "; ".join(f"{part}: {what}" for part, what in PARTS.items())
    default = [part for part in PARTS if part != "bayes"]
    parser.add_argument("--part", nargs="+", choices=PARTS, default=default, help=about)


def printed(parts: Iterable[str], replications: int) -> Iterator[tuple[str, ...]]:
    """The lines of each table of these parts, as it is done."""
    from analysis.bayes import calibration as of_bayes
    from analysis.drawing import tables
    from analysis.fit import bounded_coverage, coverage, decision_errors, score_coverage, variate_errors
    from analysis.stopping_rules import made

    made_by = {
        "decisions": lambda: decision_errors.tables(20 * replications) + variate_errors.tables(7 * replications),
        "curves": lambda: coverage.tables(replications),
        "alarms": lambda: made.tables(replications),
        "scores": lambda: score_coverage.tables(replications),
        "bounded": lambda: bounded_coverage.tables(replications),
        "bayes": lambda: of_bayes.tables(replications),
    }
    for table in (table for part in parts for table in made_by[part]()):
        yield (*tables.plain_text(table), "")
