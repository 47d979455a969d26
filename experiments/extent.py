"""How much of an experiment is run: in which world, and on how many seeds.

Seeds come in blocks. Block 1 has the seeds of the preset, 200 to 207 at preset cpu; block 2 has the next ones, 208 to
215. A cell holds one block. So a block that is added leaves the cells of the others as they are, and a study may have
any number of blocks.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from experiments import catalogue
from experiments.experiment import Experiment
from experiments.presets import PRESETS
from gold_sim import settings
from gold_sim.config import Config
from gold_sim.store.files import WORLD_SEEDS


@dataclass(frozen=True)
class Extent:
    """What a command asks of one experiment: settings beside its own, and the number of blocks that it wants."""

    overrides: dict
    blocks: int


def asked(name: str, preset: str, texts: Iterable[str], world: int | None, seeds: int | None) -> Extent:
    """The extent of an experiment under `--set` texts, `--world` and `--seeds`.

    Fewer seeds than a block are a block of their own, as `--set seeds=` would give. ValueError: the experiment varies
    its world itself, a field is set twice, or that many seeds are no whole blocks.
    """
    experiment = catalogue.find(name, preset)
    overrides = settings.overrides([*texts, *_texts_of_world(experiment, preset, world)])
    if seeds is None:
        return Extent(overrides, 1)
    configs = [config for _, _, config in points(experiment, preset, overrides)]
    block = seeds_of_block(configs)
    if seeds >= block and seeds % block == 0:
        return Extent(overrides, seeds // block)
    first = {config.seeds for config in configs}
    if not 1 <= seeds < block or len(first) > 1:
        raise ValueError(
            f"--seeds {seeds}: {name} has blocks of {block}; allowed are {block}, {2 * block}, {3 * block}, .."
        )
    return Extent(overrides | {"seeds": first.pop()[:seeds]}, 1)


def _texts_of_world(experiment: Experiment, preset: str, world: int | None) -> list[str]:
    """The `--set` texts of a world; none where it is the experiment's own."""
    if world is None:
        return []
    varied = {*experiment.base, *(path for field in experiment.grid for path in field.split("|"))}
    varied = varied.union(*experiment.extra, *(variant.overrides for variant in experiment.variants.values()))
    if own := [path for path in WORLD_SEEDS if path in varied]:
        raise ValueError(f"--world {world}: {experiment.name} sets {', '.join(own)} itself; it is run without --world")
    if all(PRESETS[preset].get(path) == world for path in WORLD_SEEDS):
        return []
    return [f"{path}={world}" for path in WORLD_SEEDS]


def points(experiment: Experiment, preset: str, overrides: dict, block: int = 1) -> list:
    """(key of the variant, stages, Config) of every point of an experiment, with the seeds of a block, from 1."""
    return next(points_of_blocks(experiment, preset, overrides, [block]))


def points_of_blocks(experiment: Experiment, preset: str, overrides: dict, blocks: Iterable[int]) -> Iterator[list]:
    """`points` of each of these blocks; blocks differ in their seeds alone."""
    made = experiment.points(PRESETS[preset], overrides)
    apart = seeds_apart([config for _, _, config in made])
    for block in blocks:
        shift = (block - 1) * apart
        moved = lambda config: dataclasses.replace(config, seeds=tuple(seed + shift for seed in config.seeds))
        yield [(key, stages, moved(config)) for key, stages, config in made] if shift else made


def seeds_of_block(configs: Iterable[Config]) -> int:
    """Number of seeds in a block: of the Config that has the most."""
    return max((len(config.seeds) for config in configs), default=1)


def seeds_apart(configs: Iterable[Config]) -> int:
    """How far a seed is from its like in the next block, so that no two blocks share one."""
    seeds = [seed for config in configs for seed in config.seeds]
    return max(seeds) - min(seeds) + 1 if seeds else 1
