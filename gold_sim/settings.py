"""The machinery of settings: checked when made, overridden by dotted paths, read from JSON, hashed."""

import dataclasses
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Annotated, Literal


@dataclass(frozen=True)
class Between:
    """Allowed closed range of a number, or of every element of a tuple."""

    low: float
    high: float


def later(default):
    """A field that came after cells were stored: left out of fingerprints at its default, so that they stay valid.

    default: a value, or the class of a group of settings.
    """
    make = default if isinstance(default, type) else lambda: default
    return field(default_factory=make, metadata={"later": make})


class Checked:
    def __post_init__(self):
        hints = typing.get_type_hints(type(self), include_extras=True)
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _checked(f.name, getattr(self, f.name), hints[f.name]))


def _checked(name: str, value, hint):
    """`value` as the type `hint` wants it, or ValueError."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        base, *rules = typing.get_args(hint)
        value = _checked(name, value, base)
        for rule in rules:
            if not rule.low <= value <= rule.high:  # False for NaN as well
                raise ValueError(f"{name}={value!r}: allowed from {rule.low:g} to {rule.high:g}")
        return value
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ValueError(f"{name}={value!r}: allowed are {', '.join(map(repr, typing.get_args(hint)))}")
        return value
    if origin is types.UnionType or origin is typing.Union:
        if value is None:
            return None
        return _checked(name, value, next(a for a in typing.get_args(hint) if a is not type(None)))
    if origin is tuple:
        if not isinstance(value, list | tuple):
            value = (value,)
        return tuple(_checked(name, v, typing.get_args(hint)[0]) for v in value)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, name)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"{name}={value!r}: a value of type {hint.__name__} is wanted")
    return value


def from_dict(cls, values, where: str = "config"):
    """Config of class `cls` from nested dicts, as `to_dict` makes them."""
    known = [f.name for f in dataclasses.fields(cls)]
    if not isinstance(values, dict):
        raise ValueError(f"{where}={values!r}: a group of settings with fields {', '.join(known)} is wanted")
    for name in values:
        if name not in known:
            raise ValueError(f"{where} has no field {name!r}: allowed are {', '.join(known)}")
    return cls(**values)


def to_dict(config) -> dict:
    return dataclasses.asdict(config)


def to_hashed(config) -> dict:
    """As `to_dict`, without the fields that were added later and are at their default: what fingerprints see."""
    out = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if "later" in f.metadata and value == f.metadata["later"]():
            continue
        out[f.name] = to_hashed(value) if dataclasses.is_dataclass(value) else value
    return out


def replace(config, changes: dict):
    """`config` with dotted fields changed together: {"reward_model.width": 32, "seeds": (1, 2)}."""
    values = to_dict(config)
    for path, value in changes.items():
        *groups, last = path.split(".")
        at, cls = values, type(config)
        for group in groups:
            if group not in at:
                raise ValueError(f"--set {path}: no field {group!r}; allowed are {', '.join(at)}")
            if at[group] is None:  # an optional group starts from its defaults
                hint = typing.get_type_hints(cls)[group]
                at[group] = to_dict(next(a for a in typing.get_args(hint) if a is not type(None))())
            if not isinstance(at[group], dict):
                raise ValueError(f"--set {path}: {group!r} is a single value, it has no fields")
            cls = typing.get_type_hints(cls)[group]
            cls = cls if isinstance(cls, type) else next(a for a in typing.get_args(cls) if a is not type(None))
            at = at[group]
        if last not in at:
            raise ValueError(f"--set {path}: no field {last!r}; allowed are {', '.join(at)}")
        at[last] = value
    return from_dict(type(config), values)


def parse(text: str) -> tuple[str, object]:
    """One `path=value` of the command line; the value is JSON, or else a word."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ValueError(f"--set {text!r}: path=value is wanted, as in --set reward_model.width=32")
    try:
        return path, json.loads(value)
    except json.JSONDecodeError:
        return path, value


def fingerprint(stage: str, version: int, values: dict, upstream: dict[str, str]) -> str:
    """sha256 (first 16 hex digits) of what decides a cell's numbers; TypeError without a canonical form.

    values: the config groups that the stage reads.  upstream: fingerprints of the cells it reads.
    """
    parts = {"stage": stage, "version": version, "config": values, "upstream": upstream}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
