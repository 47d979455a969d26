"""The text of numbers: three digits, intervals, file stems, JSON."""

import math
from dataclasses import asdict, is_dataclass

import numpy as np


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


def label(key) -> str:
    """A key of groups as tables and messages name it: a size with all its digits, which may tell it from the next."""
    if isinstance(key, float | np.floating):
        return number(int(key)) if abs(key) < 1e15 and key == int(key) else f"{key:.6g}"
    return number(key)


def slug(text) -> str:
    """A file stem of any text."""
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in str(text))


def plain(value):
    """A value in JSON's types; NaN and infinities become null, as JSON has neither."""
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
