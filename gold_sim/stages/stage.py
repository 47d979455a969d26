"""What a declaration of a stage says: the type, and the unit in which its work is counted; no jax."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gold_sim.config import Config
from gold_sim.networks.network import Network, blocks_written_out


@dataclass(frozen=True)
class Work:
    """What must be computed: operations (2 a multiply-add), and tokens, once for every block that they pass."""

    flops: float
    tokens: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.tokens + other.tokens)

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.tokens * times)

    __rmul__ = __mul__


@dataclass(frozen=True)
class Stage:
    """All that is known of a stage beside the function that computes it.

    What takes a Config tells of a cell of that Config, with all its seeds, coefficients and members.
    """

    name: str
    version: int  # raised when its numbers change: it and all that reads it then run anew
    function: str  # "module:name" of (cell, inputs, store, progress) -> (record, tables, arrays), imported when it runs
    label: Callable[[Config], str]  # what a cell is called; its fingerprint is what counts
    reads: Callable[[Config], dict]  # the settings that its numbers follow from
    parents: Callable[[Config], dict[str, tuple[str, Config]]]  # role -> (stage, Config) of a cell that it reads
    work: Callable[[Config], Work]  # what it computes
    holds: Callable[[Config], float]  # bytes at once on a CPU, where runs follow one another: largest step, and arrays
    networks: Callable[[Config], tuple[Network, ...]]  # those whose blocks it compiles
    program: Callable[[Config], tuple]  # what is written into its programs beside the world: shapes, counts, constants
    faults: Callable[[Config], Iterable[str]] = lambda c: ()  # a line for every rule of its own that settings break
    shared: Callable[[Config], tuple] | None = None  # likewise, of those that cells of another `program` have too
    tables: tuple[str, ...] = ()  # that it writes, kinds of gold_sim.store.columns; they are what an archive keeps
    stepwise: bool = False  # whether it is many calls of few programs, which an idle worker can compile ahead
    blank: str | None = None  # "module:name" of (language, config) -> zeros shaped as its arrays; None: not made ahead

    @property
    def makes_curves(self) -> bool:
        return "curves" in self.tables

    def blocks(self, config: Config) -> int:
        """Blocks in its programs."""
        return sum(map(blocks_written_out, self.networks(config)))

    def program_key(self, config: Config) -> tuple:
        """Equal for cells that compile the same programs. Weights, labels, seeds and coefficients are arguments."""
        return (self.name, config.world, *self.program(config))

    def shared_key(self, config: Config) -> tuple | None:
        """Equal for cells that have some programs in common; None: they have all or none."""
        return None if self.shared is None else (self.name, config.world, *self.shared(config))


def imported(where: str) -> Callable:
    """The function that "module:name" names."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
