"""What `python -m analysis stopping` asks for; apart, so that its help needs neither pandas nor the laws."""

import argparse
from pathlib import Path

from analysis import sources as stores
from analysis.stopping_rules.rules import RULES

RESULT = {"rate", "rules", "warnings"}  # keys of what --json holds
LABELS = (16, 128)
METHODS = ("rl", "bon", "frontier", "direct")
ABOUT = """When to stop optimising: rules, scored by the gold that they lose.

NAME is an experiment with records, FILE a table of curves as `fit` reads it. What a rule learns it learns on other
seeds than those that it is scored on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", metavar="NAME|FILE")
    names = ", ".join(RULES)
    parser.add_argument("--rule", nargs="+", metavar="RULE", help=f"{names}, or module:function of yours (all)")
    parser.add_argument("--rate", type=float, default=0.1, help="of false alarms, to which thresholds are set (0.1)")
    about = f"labels a checkpoint, of gold_labels {LABELS}"
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS, metavar="K", help=about)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result here")
    of_records = parser.add_argument_group("of an experiment")
    of_records.add_argument("--method", choices=METHODS, default="rl", help="whose curves (rl)")
    of_records.add_argument("--preset", help="size of the experiment; default: the largest that has records")
    of_records.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="of records made with it")
    of_records.add_argument("--world", type=int, metavar="N", help="of records made with --world N")
    of_records.add_argument("--seeds", type=int, metavar="N", help="of the first N seeds alone")
    of_records.add_argument("--runs", default="runs", help=f"the records: {stores.FORMS}")
    of_file = parser.add_argument_group("of a file")
    of_file.add_argument("--x", metavar="kl|sqrt_kl|n[=COLUMN]", help="distance from the reference")
    of_file.add_argument("--y", default="gold", metavar="COLUMN", help="gold minus its value at the reference (gold)")
    about = "gold at the reference policy, which is subtracted: a number, or first for that of each run's first row"
    of_file.add_argument("--reference", metavar="VALUE|first", help=about)
    for option, what in COLUMNS.items():
        of_file.add_argument(f"--{option}", metavar="COLUMN", help=what)
    of_file.add_argument("--see", nargs="+", default=[], metavar="COLUMN", help="others that a rule of yours asks for")
    of_file.add_argument("--kl-unit", metavar="response|token", help="of KL; to be stated for a trainer's log")
    of_file.add_argument("--control", metavar="COLUMN=VALUE", help="rows of runs that optimise gold itself")
    of_file.add_argument("--form", default="rl", help="law of fixed_kl (rl)")


COLUMNS = {  # option -> its help
    "by": "one group of runs for each value of it, as the size of the reward model",
    "seed-column": "tells runs apart, outermost first (world,seed)",
    "step": "order of a run's rows; without it, their order in the file",
    "proxy": "the reward that is optimised",
    "left-out": "a reward model that is not optimised",
    "spread": "spread over the members of an ensemble",
    "length": "mean tokens a response",
    "repetition": "share of repeated words",
    "gold-sd": "standard deviation of gold over responses",
}
