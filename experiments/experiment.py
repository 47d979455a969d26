"""What an experiment is: a base Config, a grid over it, and which curves to draw."""

import itertools
from dataclasses import dataclass, field

from gold_sim.config import Config
from gold_sim.settings import replace


@dataclass(frozen=True)
class Experiment:
    """A question, the Configs that answer it, and what is expected.

    grid: dotted config field -> values; fields joined by "|" move together, each value a tuple.
    stages: the curve stages to run for each Config.
    extra: further overrides, each one Config beside the grid (controls).
    variants: label -> overrides, compared with one another at every point of the grid; the first is the baseline. The
    key "stages" gives a variant stages of its own.
    panels: column of the stored table whose values are told apart beside variants.
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
    variants: dict = field(default_factory=dict)
    panels: str | None = None

    def configs(self, preset: dict, overrides: dict) -> list[Config]:
        """Every Config of the grid, under a preset and the user's --set."""
        return list(dict.fromkeys(config for _, _, config in self.points(preset, overrides)))

    def points(self, preset: dict, overrides: dict) -> list[tuple[str, tuple[str, ...], Config]]:
        """(variant, stages, Config) of every point; the variant is "" where there are none."""
        found = [dict(more) for more in self.extra]
        for values in itertools.product(*self.grid.values()) if self.grid or self.variants else ():
            changes = {}
            for path, value in zip(self.grid, values, strict=True):
                fields = path.split("|")
                changes.update(zip(fields, value if len(fields) > 1 else (value,), strict=True))
            found.append(changes)
        made = []
        for label, own in (self.variants or {"": {}}).items():
            own = dict(own)
            stages = own.pop("stages", self.stages)
            for changes in found:
                config = replace(Config(), preset | self.base | changes | own | overrides)
                made.append((label, stages, config))
        return list(dict.fromkeys(made))  # a --set may make grid points equal
