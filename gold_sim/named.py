"""What a setting chooses by name: one of ours, or `module:function` of yours; no jax until it is called for."""

import importlib
from collections.abc import Callable, Mapping

# Name -> address, in the form in which yours are given. To add one is an entry here and the file that it names.
LANGUAGES = {"topics": "gold_sim.language.topics.world:make"}
REWARD_NETWORKS = {"transformer": "gold_sim.rewards.transformer_network:make"}


def checked(setting: str, name: str, known: Mapping) -> str:
    """`name`, if it is known or has the form of an address; ValueError that says what is allowed."""
    if name not in known and ":" not in name:
        raise ValueError(f"{setting}={name!r}: allowed are {', '.join(known)}, or module:function of yours")
    return name


def find(setting: str, name: str, known: Mapping[str, str | Callable]) -> Callable:
    """The function that `name` stands for; ValueError where there is none.  known: name -> function or its address."""
    entry = known.get(checked(setting, name, known), name)
    if callable(entry):
        return entry
    module, _, function = entry.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{setting}={name!r}: {error}") from error
    if not callable(made):
        raise ValueError(f"{setting}={name!r}: {made!r:.60} is no function")
    return made
