"""What more seeds would decide: of each claim of an experiment, how many it wants, and what they would cost.

    python -m analysis power NAME [--savings]

Means and variances are those of the records. `python -m experiments NAME --until-decided` adds the seeds.
"""

import math
from dataclasses import dataclass

import pandas as pd

from analysis import records
from analysis.claims import catalogue, verdicts
from analysis.findings import Table
from gold_sim.laws import decisions


@dataclass(frozen=True)
class Standing:
    """Where one entry of the table of claims stands."""

    name: str
    kind: str
    verdict: str
    found: str
    seeds: int  # of the study that tell of it
    wanted: int | None  # seeds of the study to decide it, if mean and variance stay; None: no number up to 4096 does

    @property
    def open(self) -> bool:
        """Whether more seeds may decide it."""
        return self.verdict == verdicts.OPEN and self.seeds > 0

    @property
    def decided(self) -> bool:
        """Whether it has a verdict; a claim whose premise is surely absent has one, too."""
        return self.verdict in (*verdicts.DECIDED, verdicts.NO_PREMISE)


def standings(read: records.Data) -> list[Standing]:
    """Every claim and premise of an experiment; checks, which are true by construction, want no seeds.

    Seeds are those that decide a claim at the level that it would have if all open ones shared what is left.
    """
    claims = {claim.name: claim for claim in catalogue.CLAIMS if claim.kind != "check"}
    found = {name: one for name, one in verdicts.judged(read).items() if name in claims}
    still = sum(one.verdict == verdicts.OPEN and one.seeds > 0 for one in found.values())
    shared = verdicts.judged(read, decisions.LEVEL / max(still, 1))
    studied = len(read.curves["seed"].unique())
    of = lambda name, one: Standing(
        name, claims[name].kind, one.verdict, one.found, one.seeds, _of_study(shared[name], studied)
    )
    return [of(name, one) for name, one in found.items()]


def _of_study(one: verdicts.Judged, studied: int) -> int | None:
    """Seeds of the study that a claim wants, of which some may not tell of it."""
    if one.seeds_wanted is None or not one.seeds:
        return None
    wanted = math.ceil(one.seeds_wanted * studied / one.seeds)
    return None if wanted > decisions.MOST else wanted


def blocks(seeds: float, block: int) -> int:
    """So many seeds or more, in whole blocks."""
    return math.ceil(seeds / block) * block


def table(read: records.Data) -> Table:
    """One row a claim: verdict, seeds, seeds that it wants, CPU-hours of those that it lacks."""
    studied = len(read.curves["seed"].unique())
    block = read.manifest.get("seeds_a_block") or studied
    hours = verdicts.cpu_hours(read) / studied
    rows = []
    for one in standings(read):
        wanted = one.wanted if one.open else None
        lacks = None if wanted is None else blocks(max(wanted - studied, 1), block)
        rows.append(
            {
                "claim": one.name,
                "": one.verdict,
                "seeds": studied,
                "seeds wanted": "" if not one.open else f"over {decisions.MOST}" if wanted is None else wanted,
                "CPU-hours more": "" if lacks is None else lacks * hours,
            }
        )
    title = f"What seeds would decide; a seed takes {hours:.3f} CPU-hours, a block has {block}"
    return Table("power", title, pd.DataFrame(rows), of_words=True)
