"""What an analysis hands on to tables, summary.json and the report, and how its numbers are written."""

import math
from dataclasses import asdict, dataclass, field, is_dataclass

import numpy as np
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


def check(holds, found: str, **figures) -> dict:
    """One expected phenomenon: holds is True, False, or None where the records cannot tell."""
    return {"holds": None if holds is None else bool(holds), "found": found, **figures}


def above(interval, threshold: float = 0.0):
    """Whether a whole interval lies above threshold; None without an interval (one seed)."""
    return None if not np.isfinite(interval).all() else bool(interval[0] > threshold)


def excludes_zero(interval):
    return None if not np.isfinite(interval).all() else bool(interval[0] > 0 or interval[1] < 0)


def disjoint_and_above(high, low):
    """Whether interval `high` lies wholly above interval `low`."""
    return None if not np.isfinite([*high, *low]).all() else bool(high[0] > low[1])


def number(x) -> str:
    """Three significant digits; a dash for nothing, words for infinity."""
    if x is None or (isinstance(x, float) and math.isnan(x)):
        return "–"
    if isinstance(x, bool | np.bool_):
        return "yes" if x else "no"
    if isinstance(x, str):
        return x
    if isinstance(x, int | np.integer):
        return f"{x:,}" if abs(x) >= 10_000 else str(x)
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    if x != 0 and not 1e-3 <= abs(x) < 1e5:
        return f"{x:.2e}"
    return f"{x:.3g}" if abs(x) < 1000 else f"{x:,.0f}"


def with_interval(x, interval) -> str:
    """0.512 [0.480, 0.544]: as many decimals in the interval as the number has."""
    if not np.isfinite(interval).all():
        return number(x)
    low, high = (f"{v:.3f}" if max(abs(v) for v in interval) < 10 else f"{v:.3g}" for v in interval)
    value = f"{x:.3f}" if isinstance(x, float) and abs(x) < 10 else number(x)
    return f"{value} [{low}, {high}]"


def slug(text) -> str:
    """A file stem of any text."""
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in str(text))


def plain(value):
    """In JSON's types; NaN and infinities become null, which the format calls for."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
