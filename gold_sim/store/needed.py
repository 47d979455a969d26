"""Packages that only some commands and functions need, imported when they are called."""

import importlib


def needed(package: str, extra: str, what: str):
    """The imported package.  ValueError, with the command that installs it, if it is not there.

    extra: of pyproject.toml.  what: needs it, for the message.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        name = package.partition(".")[0]
        line = f"{what} needs {name}, which is not installed: pip install 'gold_sim[{extra}]'"
        raise ValueError(line) from None
