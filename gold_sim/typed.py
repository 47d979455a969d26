"""Hints for whoever typed a command: the command in the form that was typed, and the name that was meant."""

import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path


def as_typed(text: str, commands: Iterable[str] = ()) -> str:
    """A text that names `python -m experiments` or `python -m analysis`, for a user who may have typed `gold-sim`.

    commands: words of analysis that `gold-sim` takes itself (`gold-sim fit`); any other word stands after `analyse`.
    """
    if Path(sys.argv[0]).stem != "gold-sim":
        return text
    own = "|".join(map(re.escape, commands)) or "(?!)"
    text = re.sub(rf"python -m analysis (?=({own})\b)", "gold-sim ", text)
    text = re.sub(r"python -m analysis\b(?!\.)", "gold-sim analyse", text)
    return re.sub(r"python -m experiments\b(?!\.)", "gold-sim run", text)


def meant(given: str, known: Iterable[str]) -> str:
    """The end of a line that refuses a name: the known one that was probably meant, or nothing."""
    close = difflib.get_close_matches(given, known := list(known), n=1)
    return f"; is {close[0]} meant?" if close and given not in known else ""
