"""The declaration of an experiment: a question, the Configs that answer it, and how they are compared.

Everything that the project needs to know about an experiment is in its declaration. Lists, manifests, the page
docs/experiments.md and the analysis read it there.
"""

import itertools
import re
from dataclasses import dataclass, field

from gold_sim.config import Config
from gold_sim.settings import replace


@dataclass(frozen=True)
class Variant:
    """One of the alternatives that an experiment compares.

    label: its name in tables and figures, free to be reworded; programs know a variant by its key.
    overrides: dotted config field -> value.
    stages: its own curve stages; None: those of the experiment.
    """

    label: str
    overrides: dict = field(default_factory=dict)
    stages: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Experiment:
    """A question, the Configs that answer it, and what is expected.

    grid: dotted config field -> values; fields joined by "|" move together, each value a tuple.
    stages: the curve stages to run for each Config.
    extra: further overrides, each one Config beside the grid (controls).
    variants: key -> Variant, compared with one another at every point of the grid; the first is the baseline. A plain
    dict of overrides stands for a variant whose label is its key; "stages" in it gives the variant's own stages.
    panels: column of the stored table whose values get panels of their own, beside variants.
    study: the module of analysis/studies that draws and judges the records; "variants" is analysis/templates/variants.
    order: place in lists of experiments, the lowest first.
    ValueError if the key of a variant is not of letters, digits and _, or two variants share a label.
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
    variants: dict[str, Variant | dict] = field(default_factory=dict)
    panels: str | None = None
    study: str = "variants"
    order: int = 1_000

    def __post_init__(self):
        variants = {key: _variant(key, one) for key, one in self.variants.items()}
        if odd := [key for key in variants if not re.fullmatch(r"\w+", key)]:
            raise ValueError(
                f"{self.name}: variant {odd[0]!r}: keys are of letters, digits and _; "
                f"Variant({odd[0]!r}, {{...}}) under such a key keeps this as its label"
            )
        labels = [one.label for one in variants.values()]
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise ValueError(f"{self.name}: two variants are labelled {twice!r}; each needs a label of its own")
        object.__setattr__(self, "variants", variants)

    def configs(self, preset: dict, overrides: dict) -> list[Config]:
        """Every Config of the grid, under a preset and the user's --set."""
        return list(dict.fromkeys(config for _, _, config in self.points(preset, overrides)))

    def points(self, preset: dict, overrides: dict) -> list[tuple[str, tuple[str, ...], Config]]:
        """(key of the variant, stages, Config) of every point; the key is "" where there are no variants."""
        places = [dict(more) for more in self.extra]
        for values in itertools.product(*self.grid.values()) if self.grid or self.variants else ():
            changes = {}
            for path, value in zip(self.grid, values, strict=True):
                fields = path.split("|")
                changes.update(zip(fields, value if len(fields) > 1 else (value,), strict=True))
            places.append(changes)
        made = []
        for key, variant in (self.variants or {"": Variant("")}).items():
            stages = self.stages if variant.stages is None else variant.stages
            for changes in places:
                config = replace(Config(), preset | self.base | changes | variant.overrides | overrides)
                made.append((key, stages, config))
        return list(dict.fromkeys(made))  # a --set may make grid points equal


def digits(value: float) -> str:
    """A number as part of a key: 0.03 -> "0_03"."""
    return f"{value:g}".replace(".", "_")


def _variant(key: str, one: Variant | dict) -> Variant:
    if isinstance(one, Variant):
        return one
    overrides = dict(one)
    stages = overrides.pop("stages", None)
    return Variant(key, overrides, stages)
