"""Records of one experiment under other settings: `--set` names them, as it did when they were made."""

import json
import shlex
from collections.abc import Sequence

from gold_sim.settings import overrides, parse
from gold_sim.store import Store
from gold_sim.store.store import settings_key


def named(experiment: str, changes: Sequence[str]) -> str:
    """Name of the records of an experiment that was run with these `--set`, as the store has it.

    changes: texts of the form path=value.  ValueError: one of them is not.
    """
    key = settings_key(overrides(changes))
    return f"{experiment}+{key}" if key else experiment


def commands(store: Store, experiment: str, preset: str | None = None) -> list[str]:
    """Words after `python -m analysis` for each set of records of an experiment whose settings are not its own."""
    return [_command(manifest) for manifest in store.others(experiment, preset)]


def _command(manifest: dict) -> str:
    words = [manifest["experiment"], "--preset", manifest["preset"]]
    for path, value in manifest["overrides"].items():
        plain = isinstance(value, str) and parse(f"{path}={value}") == (path, value)
        words += ["--set", f"{path}={value if plain else json.dumps(value)}"]
    return shlex.join(words)
