"""The results that an analysis hands to tables, summary.json and the report."""

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Figure:
    name: str  # file stem in the output folder
    caption: str


@dataclass(frozen=True)
class Table:
    """Numbers; a column `x` with `x_low` and `x_high` beside it is shown as one column with an interval."""

    name: str  # file stem
    title: str
    frame: pd.DataFrame
    of_words: bool = False  # text to be read, not numbers to be compared


@dataclass(frozen=True)
class Findings:
    summary: dict  # becomes summary.json
    figures: list[Figure]
    tables: list[Table]
    warnings: list[str] = field(default_factory=list)
