"""Functions known by an address, `module:function`, and those that a setting chooses by name; no jax until one is used.

A setting names a built-in function, or has the address of one of yours.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping

# Name -> address. To add one, write an entry here and the file that it names.
LANGUAGES = {"topics": "gold_sim.language.topics.world:make"}
REWARD_NETWORKS = {"transformer": "gold_sim.rewards.transformer_network:make"}
SHAPINGS = {
    name: f"gold_sim.rewards.shaping:{name}" for name in ("none", "par", "clip", "log_sigmoid", "length_penalty")
}

_YOURS = re.compile(r"[a-z_]\w*(\.[a-z_]\w*)*:[a-z_]\w*", re.ASCII | re.IGNORECASE)  # module:function


def is_allowed(name: str, known: Iterable[str]) -> bool:
    """Whether `name` is known or has the form of an address."""
    return name in known or _YOURS.fullmatch(name) is not None


def allowed(known: Iterable[str]) -> str:
    """The names that `is_allowed` accepts, in words."""
    return f"allowed are {', '.join(known)}, or module:function of yours"


def find(setting: str, name: str, known: Mapping[str, str], *takes: str) -> Callable:
    """The function that `name` stands for; ValueError, saying what is wrong, if there is no such function.

    known: name -> address.  takes: the arguments with which it will be called.
    """
    if not is_allowed(name, known):
        raise ValueError(f"{setting}={name!r}: {allowed(known)}")
    try:
        made = imported(known.get(name, name))
        inspect.signature(made).bind(*takes)
    except (Exception, SystemExit) as error:  # whatever a module of others does when it is imported
        wanted = f"a function ({', '.join(takes)}) is wanted"
        raise ValueError(f"{setting}={name!r}: {wanted}; {type(error).__name__}: {error}") from error
    return made


def imported(address: str) -> Callable:
    """The function at an address."""
    module, _, function = address.partition(":")
    return getattr(importlib.import_module(module), function)
