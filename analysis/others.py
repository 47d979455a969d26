"""Records of one experiment under other settings: `--set` names them, as it did when they were made."""

import shlex
from collections.abc import Sequence

from gold_sim.settings import overrides
from gold_sim.store import Store
from gold_sim.store.files import words_of
from gold_sim.store.store import settings_key


def named(experiment: str, changes: Sequence[str]) -> str:
    """Name of the records of an experiment that was run with these `--set`, as the store has it.

    changes: texts of the form path=value.  ValueError: one of them is not.
    """
    key = settings_key(overrides(changes))
    return f"{experiment}+{key}" if key else experiment


def commands(store: Store, experiment: str, preset: str | None = None) -> list[str]:
    """Words after `python -m analysis` for each set of records of an experiment whose settings are not its own."""
    return [shlex.join(words_of(manifest)) for manifest in store.others(experiment, preset)]
