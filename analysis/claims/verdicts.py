"""Verdicts on the claims of catalogue.py: each from the records of its experiment, where there are some."""

from collections.abc import Sequence

import pandas as pd

from analysis import records, runs
from analysis.claims import catalogue
from analysis.findings import Table
from analysis.judgement import VERDICTS, check
from gold_sim.store import NotStored, Store

NOT_RUN = "not run"  # the experiment has no records here
NOT_TESTED = "not tested"  # it has, without what the claim asks for: a smaller preset, a --set, runs that diverged
ERROR = "error"  # it has, at preset cpu, and what the claim asks for is not there: a key is wrong


def checks_of(read) -> dict:
    """Checks of one experiment's claims, for its summary and report."""
    out = {}
    for claim in catalogue.CLAIMS:
        if claim.experiment == read.manifest["experiment"]:
            verdict, found = judged(claim, read)
            holds = {word: holds for holds, word in VERDICTS.items()}.get(verdict)
            out[claim.name] = check(holds, f"{claim.says} ({claim.source}): {found}", verdict)
    return out


def judged(claim: catalogue.Claim, read: records.Data) -> tuple[str, str]:
    """(verdict, what was found): one of VERDICTS; NOT_TESTED, or ERROR, with what is missing."""
    try:
        if absent := claim.lacks(read.variants):
            raise runs.Missing(f"no variant {', '.join(absent)}; there are {', '.join(read.variants) or 'none'}")
        holds, found = claim.test(read)
        return VERDICTS[holds], found
    except runs.Missing as missing:
        if reason := excuse(read):
            return NOT_TESTED, f"not tested: {missing} ({reason})"
        return ERROR, f"claim {claim.name}: {missing} in the records of {claim.experiment}"
    except ValueError as error:  # records that cannot tell
        return NOT_TESTED, f"not tested: {error}"


def excuse(read: records.Data) -> str:
    """Why runs that a claim asks for may rightly be missing; "" where claims are written for these very records."""
    if read.manifest["preset"] != "cpu":
        return f"preset {read.manifest['preset']}"
    if changed := read.manifest["overrides"]:
        return f"--set {', '.join(changed)}"
    return "; ".join(read.warnings)


def table(stores: Sequence[Store], preset: str | None = None) -> Table:
    """Every claim, its verdict, and what was found.

    An experiment is read from the first store that has it, whole: cells of different draws are never compared.
    StoreError, with what mends it, if a store that has it is damaged.
    """
    rows, reads = [], {}
    for claim in catalogue.CLAIMS:
        if claim.experiment not in reads:
            reads[claim.experiment] = _first(stores, claim.experiment, preset)
        read = reads[claim.experiment]
        verdict, found = read if isinstance(read, tuple) else judged(claim, read)
        rows.append(
            {
                "experiment": claim.experiment,
                "source": claim.source,
                "claim": claim.says,
                "": verdict,
                "found": found,
            }
        )
    return Table("claims", "What the literature says, and what was found here", pd.DataFrame(rows), of_words=True)


def _first(stores, experiment: str, preset: str | None) -> records.Data | tuple[str, str]:
    """The experiment's records from the first store that has it, or the verdict where there is nothing to test."""
    for store in stores:
        try:
            return records.load(store, experiment, preset)
        except NotStored:
            continue
        except records.NoPoints as error:
            return NOT_TESTED, f"not tested: {error}"
    return NOT_RUN, records.RUN.format(name=experiment)
