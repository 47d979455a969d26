"""The type of a stage's declaration, and the unit in which its work is counted; no jax."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gold_sim.config import Config
from gold_sim.networks.network import Network, blocks_written_out


@dataclass(frozen=True)
class Work:
    """An amount of computation: operations (2 a multiply-add), and tokens, counted once for every block they pass."""

    flops: float
    tokens: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.tokens + other.tokens)

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.tokens * times)

    __rmul__ = __mul__


@dataclass(frozen=True)
class Stage:
    """Everything about a stage except the function that computes it.

    A field that is a function of a Config describes the cell of that Config, with all its seeds, coefficients and
    members.
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
    shared: Callable[[Config], tuple] | None = None  # as `program`, for the programs that other cells have as well
    tables: tuple[str, ...] = ()  # kinds of gold_sim.store.columns that it writes; an archive keeps these alone
    stepwise: bool = False  # whether it is many calls of few programs, which an idle worker can compile ahead
    blank: str | None = None  # "module:name" of (language, config) -> zeros shaped as its arrays; None: not made ahead

    def blocks(self, config: Config) -> int:
        """Blocks in its programs."""
        return sum(map(blocks_written_out, self.networks(config)))

    def program_key(self, config: Config) -> tuple:
        """A key that is equal for cells that compile the same programs.

        Weights, labels, seeds and coefficients are arguments of programs and no part of it.
        """
        return (self.name, config.world, *self.program(config))

    def shared_key(self, config: Config) -> tuple | None:
        """A key that is equal for cells with some programs in common; None: cells share all of them or none."""
        return None if self.shared is None else (self.name, config.world, *self.shared(config))
