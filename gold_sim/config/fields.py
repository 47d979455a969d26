"""The types that fields of settings have: each is a range, a length or another rule."""

from collections.abc import Iterable
from typing import Annotated, Literal

from gold_sim import named
from gold_sim.settings import Between, Length, Where

HEAD_WIDTH = 16  # of an attention head; a narrower network has one head
WIDE, WIDE_HEAD = 512, 64  # a network from width 512 on has wider heads, which matrix units want


def heads(width: int) -> int:
    """Attention heads of a network of this width."""
    return max(1, width // (HEAD_WIDTH if width < WIDE else WIDE_HEAD))


Count = Annotated[int, Between(1, 2**31 - 1)]
Seed = Annotated[int, Between(0, 2**31 - 1)]
Rate = Annotated[float, Between(0.0, 1.0)]
Positive = Annotated[float, Between(1e-12, 1e12)]
WHOLE_HEADS = Where(
    lambda width: width % heads(width) == 0,
    f"allowed are multiples of the number of heads, width // {HEAD_WIDTH} (from {WIDE} on width // {WIDE_HEAD})",
)
Width = Annotated[int, Between(4, 16384), WHOLE_HEADS]
Depth = Annotated[int, Between(1, 256)]
Precision = Literal["float32", "bfloat16"]  # of the products within blocks (networks/network.py)
# Adam moves a parameter by about the rate at every step, and fresh parameters have a standard deviation of 0.02 to 0.2:
# above 0.1 a network learns nothing, and at 1e12 all is NaN.
LearningRate = Annotated[float, Between(1e-12, 0.1)]
KlCoef = Annotated[float, Between(0.0, 1e6)]
Weight = Annotated[float, Between(-100.0, 100.0)]
Threshold = Annotated[float, Between(-1e6, 1e6)]
ONCE = Where(lambda values: len(set(values)) == len(values), "allowed is every value once")
AXIS = (Length(1, 1000), ONCE)  # of a field that the pipeline maps


def named_in(known: Iterable[str]) -> Where:
    """The rule that a name is a known one, or `module:function` of yours, imported when an experiment is planned."""
    return Where(lambda name: named.is_allowed(name, known), named.allowed(known))
