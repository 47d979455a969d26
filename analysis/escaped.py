"""Escaping of text that comes from others, such as names of groups, for a terminal, Markdown and LaTeX."""

import contextlib
import re
import sys

TYPED = str | bytes | int | float | list | dict | tuple | None  # whose repr is what one types
LONG = 60  # letters of a value that a message repeats


def plain(text) -> str:
    """One line of text that spells out what a terminal would obey or hide (escape codes, line ends, reversals)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))


def say(text="") -> None:
    """Print one line."""
    print(plain(text))


def warn(text) -> None:
    """Print one line on standard error, if that is still there."""
    with contextlib.suppress(OSError):
        print(plain(text), file=sys.stderr)


def value(given) -> str:
    """A value as a message repeats it: as one would type it, not as the program holds it."""
    given = given.tolist() if hasattr(given, "tolist") else given
    text = plain(repr(given) if isinstance(given, TYPED) else given)
    return text if len(text) <= LONG else f"{text[:LONG]}.."


_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # what HTML takes for the beginning of a tag
_ENTITY = re.compile(r"&(?=#?\w+;)")


def markdown(text) -> str:
    """Text for a table's cell or a title: no end of cell or line, no HTML, no link and no picture."""
    text = _ENTITY.sub("&amp;", plain(text).replace("\\", "\\\\"))
    return _TAG.sub("&lt;", text).replace("|", "\\|").replace("](", "]\\(").replace("`", "\\`")


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"\u00b2": "$^2$", "\u2013": "--", "\u221e": r"$\infty$", "<": r"\textless{}", ">": r"\textgreater{}"},
}


def latex(text) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(c, c) for c in plain(text))
