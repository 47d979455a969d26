"""The machinery of settings: they are checked when made, overridden by dotted paths, read from JSON and hashed.

Why it is written by hand and not with pydantic: experiments/log/2026-11-30-settings-by-pydantic.md.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

SHOWN = 80  # characters of a refused value in a message
OPTIONAL = (types.UnionType, typing.Union)  # `X | None`, the second where X is Annotated
WANTED = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}


@dataclass(frozen=True)
class Between:
    """The closed range that a number must lie in."""

    low: float
    high: float

    def allows(self, value) -> bool:
        return self.low <= value <= self.high  # False for NaN

    def __str__(self):
        return f"allowed from {self.low:.12g} to {self.high:.12g}"


@dataclass(frozen=True)
class Length:
    """The number of values that a tuple may have; without `most` exactly `least`."""

    least: int
    most: int | None = None

    def allows(self, value) -> bool:
        return self.least <= len(value) <= (self.least if self.most is None else self.most)

    def __str__(self):
        return f"allowed are {self.least if self.most is None else f'{self.least} to {self.most}'} values"


@dataclass(frozen=True)
class Where:
    """The rule that `allows(value)` must hold; `wanted` says in words when it does."""

    allows: Callable[[object], bool]
    wanted: str

    def __str__(self):
        return self.wanted


def later(default):
    """A field added after cells were stored. At its default it is left out of fingerprints, so that those stay valid.

    default: a value, or the class of a group of settings, of which one instance then serves all.
    """
    make = functools.cache(default) if isinstance(default, type) else lambda: default
    return field(default_factory=make, metadata={"later": make})


class Checked:
    """The base of groups of settings: each field is checked against its type, then all fields together by `faults`."""

    def __post_init__(self):
        for name, read in _readers(type(self)).items():
            object.__setattr__(self, name, read(name, getattr(self, name)))
        for fault in self.faults():
            raise ValueError(fault)

    def faults(self) -> Iterable[str]:
        """A message for every rule between fields that is broken; it begins with a field's name."""
        return ()


@functools.cache
def _hints(cls) -> dict:
    """Type of every field, by name."""
    return typing.get_type_hints(cls, include_extras=True)


@functools.cache
def _readers(cls) -> dict:
    """What checks and reads every field, by name."""
    return {name: _reader(hint) for name, hint in _hints(cls).items()}


def _reader(hint) -> Callable[[str, object], object]:
    """The function (name, value) -> `value` as the type `hint` wants it, or ValueError; made once a type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return functools.partial(_ruled, _reader(args[0]), args[1:])
    if origin is Literal:
        return functools.partial(_one_of, args)
    if origin in OPTIONAL:
        inner = _reader(_not_none(hint))
        return lambda name, value: None if value is None else inner(name, value)
    if origin is tuple:
        one = _reader(args[0])
        values = lambda value: value if isinstance(value, list | tuple) else (value,)
        return lambda name, value: tuple([one(name, v) for v in values(value)])
    return functools.partial(_group if dataclasses.is_dataclass(hint) else _scalar, hint)


def _ruled(inner: Callable, rules: tuple, name: str, value):
    value = inner(name, value)
    for rule in rules:
        if not rule.allows(value):
            raise ValueError(f"{name}={_shown(value)}: {rule}")
    return value


def _one_of(allowed: tuple, name: str, value):
    if value not in allowed:
        raise ValueError(f"{name}={_shown(value)}: allowed are {', '.join(map(repr, allowed))}")
    return value


def _group(cls, name: str, value):
    """A group of settings: an instance as it is, or made from a dict of its fields."""
    if isinstance(value, cls):
        return value
    if not isinstance(value, dict):
        raise ValueError(_group_wanted(name, value, cls))
    with _within(name):
        return from_dict(cls, value)


def _scalar(hint, name: str, value):
    """`value` as a bool, int, float or str, whichever `hint` is."""
    of_kind = isinstance(value, int | float) if hint in (int, float) else isinstance(value, hint)
    if not of_kind or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{name}={_shown(value)}: {WANTED[hint]} is wanted")
    try:
        made = hint(value)
    except (ValueError, OverflowError):  # NaN and infinity are no whole numbers, 10**400 is no float
        made = None
    if made is None or (hint is int and made != value):
        raise ValueError(f"{name}={_shown(value)}: {WANTED[hint]} is wanted")
    return made + 0.0 if hint is float else made  # -0.0 is 0.0: both would be one setting of two fingerprints


def _group_wanted(name: str, value, cls) -> str:
    example = f"{name}.{next(iter(_hints(cls)))}=.."
    return f"{name}={_shown(value)}: a group of settings is set field by field, as in {example}"


def _shown(value) -> str:
    """A refused value on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}.."


def _typed(text: str) -> str:
    """What somebody typed, on one line, cut where it is long."""
    return _shown(text).strip("'\"")


def _not_none(hint):
    """The type of an optional field's value; any other type is itself."""
    if typing.get_origin(hint) not in OPTIONAL:
        return hint
    return next(a for a in typing.get_args(hint) if a is not types.NoneType)


@contextlib.contextmanager
def _within(group: str):
    """Have the messages of a group's fields name the group as well."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{group}.{error}") from None


def _known(cls, names: Iterable[str]):
    """ValueError unless all are fields of `cls`."""
    for name in names:
        if name not in _hints(cls):
            raise ValueError(f"{_typed(name)}: no such field; allowed are {', '.join(_hints(cls))}")


def from_dict(cls, values: dict):
    """Config of class `cls` from nested dicts, as `to_dict` makes them."""
    _known(cls, values)
    return cls(**values)


def to_dict(config) -> dict:
    return dataclasses.asdict(config)


def to_hashed(config) -> dict:
    """The settings that fingerprints see: those of `to_dict` without later fields that are at their default."""
    out = {}
    for name, later_default in _fields(type(config)):
        value = getattr(config, name)
        if later_default is not None and value == later_default():
            continue
        out[name] = _group_hashed(value) if isinstance(value, Checked) else value
    return out


@functools.lru_cache(maxsize=1024)  # the groups of thousands of Configs are few
def _group_hashed(group) -> dict:
    return to_hashed(group)


@functools.cache
def _fields(cls) -> list[tuple[str, Callable | None]]:
    """(name, what makes the default of a later field) of every field."""
    return [(f.name, f.metadata.get("later")) for f in dataclasses.fields(cls)]


def replace(config, changes: dict):
    """`config` with dotted fields changed together: {"reward_model.width": 32, "seeds": (1, 2)}.

    A group is changed field by field, or replaced by a whole one (a dataclass, or None where it is optional). A dict
    is refused, since it does not say what the fields that it omits should be. An optional group starts from its
    defaults.
    """
    own, inner = {}, {}
    for path, value in changes.items():
        name, dotted, rest = path.partition(".")
        _known(type(config), [name])
        group = _not_none(_hints(type(config))[name])
        if dotted and not dataclasses.is_dataclass(group):
            raise ValueError(f"{_typed(path)}: {name} is a single value, it has no fields")
        if dotted:
            inner.setdefault(name, {})[rest] = value
            continue
        if isinstance(value, dict) and dataclasses.is_dataclass(group):
            raise ValueError(_group_wanted(name, value, group))
        own[name] = value
        inner.pop(name, None)
    for name, of_group in inner.items():
        base = own.get(name, getattr(config, name))
        base = _not_none(_hints(type(config))[name])() if base is None else base
        with _within(name):
            own[name] = replace(base, of_group)
    return dataclasses.replace(config, **own)


def parse(text: str) -> tuple[str, object]:
    """One `path=value` of the command line; the value is JSON, or else a word."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ValueError(f"--set {_shown(text)}: path=value is wanted, as in --set reward_model.width=32")
    try:
        return path, json.loads(value)
    except json.JSONDecodeError:
        return path, value
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise ValueError(f"--set {_typed(text)}: a value of JSON or a word is wanted ({error})") from None


def overrides(texts: Iterable[str]) -> dict[str, object]:
    """The fields that a command line changes; ValueError if one is set twice, or once as a part of its group."""
    changes, said = {}, {}
    for text in texts:
        path, value = parse(text)
        for other in changes:
            if f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}."):
                raise ValueError(f"--set {_typed(said[other])} and --set {_typed(text)}: a field is set once")
        changes[path], said[path] = value, text
    return changes


def fingerprint(stage: str, version: int, values: dict, upstream: dict[str, str]) -> str:
    """sha256 (first 16 hex digits) of what decides a cell's numbers; TypeError without a canonical form.

    values: the config groups that the stage reads.  upstream: fingerprints of the cells it reads.
    """
    parts = {"stage": stage, "version": version, "config": values, "upstream": upstream}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
