"""What an experiment is: a base Config, a grid over it, and which curves to draw."""

import itertools
from dataclasses import dataclass

from gold_sim.config import Config, replace


@dataclass(frozen=True)
class Experiment:
    """A question, the Configs that answer it, and what is expected.

    grid: dotted config field -> values; fields joined by "|" move together, each value a tuple.
    stages: the curve stages to run for each Config.
    extra: further overrides, each one Config beside the grid (controls).
    """

    name: str
    title: str
    question: str
    figure: str  # of the source paper
    expected: str
    cost: str  # at preset cpu, on two cores
    axis: str  # column of the stored table by which curves are grouped
    stages: tuple[str, ...]
    grid: dict
    base: dict
    extra: tuple[dict, ...] = ()

    def configs(self, preset: dict, overrides: dict) -> list[Config]:
        """Every Config of the grid, under a preset and the user's --set."""
        found = [dict(more) for more in self.extra]
        for values in itertools.product(*self.grid.values()) if self.grid else ():
            changes = {}
            for path, value in zip(self.grid, values, strict=True):
                fields = path.split("|")
                changes.update(zip(fields, value if len(fields) > 1 else (value,), strict=True))
            found.append(changes)
        made = [replace(Config(), preset | self.base | changes | overrides) for changes in found]
        return list(dict.fromkeys(made))  # a --set may make grid points equal
