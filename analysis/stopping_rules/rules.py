"""Rules for when to stop optimising, each a function of a run as far as it has come.

A rule sees what one sees in practice, and never gold. It returns one of

- True or False: stop here, or go on;
- a number: how alarming the run is. The run is stopped where it exceeds a threshold, which is learned elsewhere
  (thresholds.py) so that runs that optimise gold itself are seldom stopped;
- a Reading: either of these, and the checkpoint that is kept if the run stops here, or ends here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Lacking(Exception):
    """A column that a rule asks for is not in the records, or has gaps."""


class Reading(NamedTuple):
    """What a rule says at one point of a run."""

    alarm: float | bool
    keep: int  # index of the checkpoint that is kept if the run stops or ends here


@dataclass(frozen=True)
class Curve:
    """A run as far as it has come: curve["kl"] is an array [t], from the reference policy to the present point.

    Columns of records have the names of docs/schema.md; those that tell of gold are not there. `labelled` and
    `labelled_se` are the mean of gold, and its standard error, of k responses that were labelled at each point.
    """

    columns: Mapping[str, np.ndarray]  # [T], the whole run
    seen: int  # points up to now
    budget: Callable[[], float]  # -> kl_budget; a fit, so made only where a rule asks

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise Lacking(name)
        values = self.columns[name][: self.seen]
        if np.isnan(values[-1]):
            raise Lacking(name)
        return values

    @property
    def now(self) -> int:
        """Index of the present point."""
        return self.seen - 1

    @property
    def kl_budget(self) -> float:
        """KL in nats where gold is expected to peak, by `advise` on other runs; infinity where they do not turn."""
        return self.budget()


def last(_curve: Curve) -> bool:
    """Never stop, keep the last checkpoint."""
    return False


def best_proxy(curve: Curve) -> Reading:
    """Never stop, keep the checkpoint that the proxy scores highest."""
    return Reading(False, int(np.argmax(curve["proxy"])))


def fixed_kl(curve: Curve) -> Reading:
    """Stop beyond the KL at which other runs' gold peaks, keep the checkpoint before."""
    over = bool(curve["kl"][-1] > curve.kl_budget)
    return Reading(over, max(curve.now - over, 0))


def left_out(curve: Curve) -> Reading:
    """Alarming is how far a reward model that is not optimised has fallen below its best, gold s.d."""
    return _fallen(curve["proxy_left_out"])


def spread(curve: Curve) -> float:
    """Alarming is how far the spread over an ensemble's members has risen, gold s.d. (Coste et al. 2024)."""
    return _moved(curve["proxy_spread"])


def length_drift(curve: Curve) -> float:
    """Alarming is how far the mean length has moved from the reference policy's, tokens (Singhal et al. 2023)."""
    return abs(_moved(curve["attr_length"]))


def repetition_drift(curve: Curve) -> float:
    """Alarming is how far the share of repeated words has moved from the reference policy's."""
    return abs(_moved(curve["attr_repetition"]))


def gold_labels(curve: Curve) -> Reading:
    """Alarming is how far the mean of k fresh labels has fallen below its best, in standard errors of the difference.

    The checkpoint with the highest mean is kept.
    """
    measured, error = curve["labelled"], curve["labelled_se"]
    best = int(np.argmax(measured))
    return Reading(float((measured[best] - measured[-1]) / math.hypot(error[best], error[-1])), best)


def _moved(values) -> float:
    return float(values[-1] - values[0])


def _fallen(values) -> Reading:
    best = int(np.argmax(values))
    return Reading(float(values[best] - values[-1]), best)


# Name -> address. To add one, write an entry here and its function.
RULES = {
    name: f"analysis.stopping_rules.rules:{name}"
    for name in (
        *("last", "best_proxy", "fixed_kl", "left_out", "spread", "length_drift", "repetition_drift", "gold_labels"),
    )
}


def read(name: str, rule, columns: Mapping, count: int, budget: Callable[[], float]) -> tuple[np.ndarray, np.ndarray]:
    """(alarms [T], checkpoints kept [T]) of a rule along a run of T = count points; True is an alarm of infinity.

    Lacking if it asks for a column that is not there; ValueError if it returns what is no answer.
    """
    alarms, keeps = np.empty(count), np.empty(count, int)
    for now in range(count):
        alarms[now], keeps[now] = _answer(name, rule(Curve(columns, now + 1, budget)), now)
    if len(set(np.isfinite(alarms))) > 1:
        raise ValueError(f"rule {name}: a finite number at some points and none at others; one of them is wanted")
    return alarms, keeps


def _answer(name: str, said, now: int) -> tuple[float, int]:
    alarm, keep = said if isinstance(said, tuple) and len(said) == 2 else (said, now)
    if isinstance(alarm, bool | np.bool_):
        alarm = math.inf if alarm else -math.inf
    number = isinstance(alarm, int | float | np.number) and not math.isnan(alarm)
    if not number or not isinstance(keep, int | np.integer) or not 0 <= keep <= now:
        allowed = f"allowed are True, False, a number, or one of them with a checkpoint from 0 to {now}"
        raise ValueError(f"rule {name}: {said!r} at point {now}; {allowed}")
    return float(alarm), int(keep)
