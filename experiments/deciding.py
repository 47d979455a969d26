"""Seeds until decided: blocks are added to a study until its claims have a verdict, or the seeds are used up.

Verdicts are those of gold_sim/laws/decisions.py. They hold however a study is stopped at its looks, at 8, 16, 32 and 64
seeds. Between looks it is said what is open, and nothing is stopped.
"""

import dataclasses
from collections.abc import Callable

from experiments import catalogue, extent
from experiments.extent import Extent
from gold_sim.laws.decisions import LOOKS
from gold_sim.store import Store
from gold_sim.store.files import settings_key

MOST = max(LOOKS)
HOPELESS = 2  # times the budget: a study stops where each open claim wants more seeds than that, from the second look


def check(most: int | None, until: bool, dry: bool):
    """Raise ValueError for options that do not go together."""
    if most is not None and not until:
        raise ValueError(f"--most-seeds {most}: with --until-decided alone")
    if most is not None and not 1 <= most <= MOST:
        raise ValueError(f"--most-seeds {most}: allowed from 1 to {MOST}, the last look of the rule")
    if until and dry:
        raise ValueError(
            "--dry-run: not with --until-decided; python -m analysis power NAME says what seeds would take"
        )


def until_decided(extents: dict[str, Extent], preset: str, most: int, store: Store, run: Callable) -> None:
    """Run experiments block by block until their claims are decided, printing after each block where they stand.

    run: computes what is missing of these extents.  most: seeds that a study may have.
    """
    while extents:
        run(extents)
        extents = {
            name: dataclasses.replace(wanted, blocks=wanted.blocks + 1)
            for name, wanted in extents.items()
            if _goes_on(name, preset, wanted, most, store)
        }


def _goes_on(name: str, preset: str, wanted: Extent, most: int, store: Store) -> bool:
    """Whether a study wants another block; prints why."""
    experiment = catalogue.find(name, preset)
    block = extent.seeds_of_block(c for _, _, c in extent.points(experiment, preset, wanted.overrides))
    seeds = wanted.blocks * block
    claims = standings(store, experiment.name, preset, wanted.overrides)
    if not any(one.open or one.decided for one in claims):
        print(f"{name}: no claim that seeds decide; {seeds} seeds", flush=True)
        return False
    still = [one for one in claims if one.open]
    about = lambda one: f"{one.name} (about {one.wanted} seeds)" if one.wanted else f"{one.name} (too many seeds)"
    told = f"{seeds} seeds: {sum(one.decided for one in claims)} decided, {len(still)} open"
    print(f"{name}, {told}{': ' if still else ''}{', '.join(map(about, still))}", flush=True)
    ends = _ends(still, seeds, block, most)
    if ends:
        print(f"{name}: {ends}", flush=True)
    return ends is None


def _ends(still: list, seeds: int, block: int, most: int) -> str | None:
    """Why a study of so many seeds ends, or None if it goes on.  still: its open claims."""
    looks = [look for look in LOOKS if seeds - block < look <= seeds]
    if seeds + block > most:
        return f"{most} seeds at most, so {len(still)} stay open" if still else "decided"
    if looks and not still:
        return "decided"
    if looks and seeds > LOOKS[0] and all(one.wanted is None or one.wanted > HOPELESS * most for one in still):
        return f"each open claim wants more than {HOPELESS * most} seeds, and {most} are allowed"
    return None


def standings(store: Store, experiment: str, preset: str, overrides: dict) -> list:
    """Where the claims of a study stand; none if all its runs diverged."""
    from analysis import records  # here, as analysis takes seconds to import
    from analysis.claims import power

    key = settings_key(overrides)
    try:
        return power.standings(records.load(store, f"{experiment}+{key}" if key else experiment, preset))
    except records.NoPoints:
        return []
