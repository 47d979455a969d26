"""From an experiment's name to the cells that answer it, those that are not stored yet, and its manifest."""

import time
from collections.abc import Collection, Iterable
from itertools import chain

from experiments import catalogue, extent
from gold_sim.config import Config
from gold_sim.stages import graph
from gold_sim.store import Store, provenance
from gold_sim.store.files import settings_key


def plan(name: str, preset: str, overrides: dict, blocks: Iterable[int] = (1,)):
    """(experiment, curve cells, all cells in an order that can be run), of these blocks of seeds."""
    experiment = catalogue.find(name, preset)
    points = list(chain.from_iterable(extent.points_of_blocks(experiment, preset, overrides, blocks)))
    _check_yours([config for _, _, config in points])
    # The largest reward model first: of Configs that differ in nothing that a cell reads, it stands in the cell's rows.
    points = sorted(points, key=lambda point: -point[2].reward_model.width * point[2].reward_model.depth)
    curves = {}
    for cell in graph.cells((stage, config) for _, stages, config in points for stage in stages):
        curves.setdefault(cell.fingerprint, cell)
    return experiment, list(curves.values()), graph.in_order(curves.values())


def _check_yours(configs: list[Config]):
    """Raise ValueError unless the user's own functions can be imported and called; built-in ones are known by name."""
    named = lambda c: (c.shaping.name, c.world.language, c.reward_model.network)
    yours = [c for c in configs if any(":" in name for name in named(c))]
    if not yours:
        return
    from gold_sim import language  # here, as these import jax
    from gold_sim.rewards import reward_network, shaping, sight

    for rule, world, rm in dict.fromkeys((c.shaping.name, c.world, c.reward_model) for c in yours):
        shaping.find(rule)
        spoken = language.make(world)
        sight.hidden_tokens(spoken, rm.blind)
        reward_network.make(spoken, rm)


def missing(store: Store, curves: list, every: list, damaged: Collection[str] = ()) -> list:
    """The cells of `every` to compute: what a manifest names and is not stored, and what that still needs.

    damaged: fingerprints of cells to count as not stored.
    """
    finished = store.finished((c.stage, c.fingerprint) for c in every if c.fingerprint not in damaged)
    absent = {c.fingerprint: c for c in every if (c.stage, c.fingerprint) not in finished}
    wanted = [*curves, *(c for c in every if _is_named(c))]
    needed = set()
    while wanted:
        cell = wanted.pop()
        if cell.fingerprint in absent and cell.fingerprint not in needed:
            needed.add(cell.fingerprint)
            wanted.extend(parent for _, parent in cell.upstream)
    return [c for c in every if c.fingerprint in needed]


def _is_named(cell) -> bool:
    """Whether manifests name a cell beside curves, because analysis reads its table or its record."""
    return "reward_models" in cell.declared.tables or cell.stage == "gold"


def whole_blocks(store: Store, name: str, preset: str, wanted: extent.Extent, fetch=lambda cells: None) -> int:
    """Blocks of a study: those wanted, and all next ones that the store has whole.

    fetch: brings cells into the store from where it has its originals.
    """
    blocks = wanted.blocks
    while True:
        _, curves, every = plan(name, preset, wanted.overrides, [blocks + 1])
        _, before, _ = plan(name, preset, wanted.overrides, [blocks])
        fetch(every)
        more = {c.fingerprint for c in curves} - {c.fingerprint for c in before}
        if not more or missing(store, curves, every):
            return blocks
        blocks += 1


def places_of(experiment, preset: str, overrides: dict, blocks: int) -> dict[str, dict]:
    """Fingerprint of a curve cell -> key of the first variant that has it, and its block."""
    first = {}
    of_blocks = extent.points_of_blocks(experiment, preset, overrides, range(1, blocks + 1))
    for block, points in enumerate(of_blocks, 1):
        keys = [key for key, stages, _ in points for _ in stages]
        for key, cell in zip(keys, graph.cells((s, c) for _, stages, c in points for s in stages), strict=True):
            first.setdefault(cell.fingerprint, dict(variant=key, block=block))
    return first


def manifest(
    experiment, preset: str, overrides: dict, curves: list, module: str | None = None, blocks: int = 1
) -> dict:
    """The manifest that `analysis` reads: the question, the cells that answer it, and the study that judges them.

    variants: key -> label; each cell has the key of its variant, "" where there are none.
    module: of an experiment of the user's own.  blocks: of seeds, whose cells are `curves`; each cell says its own.
    """
    places = places_of(experiment, preset, overrides, blocks)
    worlds = {c.config.world.seed for c in curves}
    named = {c.fingerprint: c.stage for cell in curves for c in cell.all_upstream() if _is_named(c)}
    return dict(
        experiment=experiment.name,
        preset=preset,
        settings=settings_key(overrides),
        module=module,
        title=experiment.title,
        question=experiment.question,
        figure=experiment.figure,
        expected=experiment.expected,
        axis=experiment.axis,
        panels=experiment.panels,
        study=experiment.study,
        variants={key: variant.label for key, variant in experiment.variants.items()},
        cells=[dict(stage=c.stage, fingerprint=c.fingerprint, name=c.name) | places[c.fingerprint] for c in curves],
        seeds_a_block=extent.seeds_of_block(c.config for c in curves),
        world=worlds.pop() if len(worlds) == 1 else None,
        reward_models=sorted(code for code, stage in named.items() if stage != "gold"),
        golds=sorted(code for code, stage in named.items() if stage == "gold"),
        overrides={k: list(v) if isinstance(v, tuple) else v for k, v in overrides.items()},
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        commit=provenance.provenance({})["commit"],
    )
