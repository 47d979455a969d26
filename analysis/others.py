"""Records of one experiment in other worlds, of other seeds or settings: named by the words that made them."""

import shlex
from collections.abc import Sequence

from gold_sim.settings import overrides
from gold_sim.store import NotStored, Store
from gold_sim.store.files import WORLD_SEEDS, settings_key, words_of, world_of


def named(experiment: str, changes: Sequence[str] = (), world: int | None = None) -> str:
    """Name of the records of an experiment that was run with these `--set` and `--world`, as the store has it.

    changes: texts of the form path=value.  ValueError: one of them is not, or sets a field twice.
    """
    key = settings_key(_changed(changes, world))
    return f"{experiment}+{key}" if key else experiment


def found(
    store: Store, experiment: str, preset: str | None, changes: Sequence[str], world: int | None, seeds: int | None
) -> str:
    """As `named`, but the experiment's own records where they are of this world, or those made of so few seeds.

    `--world` names the world of the preset as well; `--seeds` below a block has records of its own.
    """
    wanted, own = _changed(changes, world), _changed(changes, None)
    name = f"{experiment}+{settings_key(wanted)}" if wanted else experiment
    if world is not None and not _stored(store, name, preset):
        plain = f"{experiment}+{settings_key(own)}" if own else experiment
        if (manifest := _stored(store, plain, preset)) and manifest.get("world") == world:
            name, wanted = plain, own
    stored = _stored(store, name, preset)
    if seeds is not None and (stored is None or seeds < stored.get("seeds_a_block", 0)):
        for manifest in store.others(experiment, preset):
            of = manifest["overrides"]
            if len(of.get("seeds", ())) == seeds and {k: v for k, v in of.items() if k != "seeds"} == wanted:
                return f"{experiment}+{manifest['settings']}"
    return name


def _changed(changes: Sequence[str], world: int | None) -> dict:
    return overrides([*changes, *(f"{path}={world}" for path in WORLD_SEEDS if world is not None)])


def _stored(store: Store, name: str, preset: str | None) -> dict | None:
    try:
        return store.manifest(name, preset)
    except NotStored:
        return None


def commands(store: Store, experiment: str, preset: str | None = None) -> list[str]:
    """Words after `python -m analysis` for each set of records of an experiment whose settings are not its own."""
    return [shlex.join(words_of(manifest)) for manifest in store.others(experiment, preset)]


def worlds(store: Store, experiment: str, preset: str | None = None) -> list[str]:
    """Names of an experiment's own records and of those that differ from them in the world alone, where stored."""
    own = [experiment] if _stored(store, experiment, preset) else []
    same = lambda manifest: (
        world_of(manifest["overrides"]) is not None and len(manifest["overrides"]) == len(WORLD_SEEDS)
    )
    others = {f"{experiment}+{m['settings']}": None for m in store.others(experiment, preset) if same(m)}
    return [*own, *others]
