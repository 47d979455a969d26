"""Verdicts on the claims of catalogue.py: each from the records of its experiment, where there are some."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from analysis import others, records, runs
from analysis.claims import catalogue
from analysis.claims.claim import KINDS, Claim, combined, decided_by
from analysis.findings import Table
from analysis.judgement import check
from analysis.numbers import with_interval
from gold_sim.laws import decisions
from gold_sim.store import Store
from gold_sim.store.files import WORLD_SEEDS

DECIDED = ("holds", "fails", "equivalent")
OPEN, NO_PREMISE = "open", "no premise"
NOT_RUN = "not run"  # the experiment has no records here
NOT_TESTED = "not tested"  # it has, without what the claim asks for: a smaller preset, a --set, runs that diverged
ERROR = "error"  # it has, at preset cpu, and what the claim asks for is not there: a key is wrong
VERDICTS = (*DECIDED, OPEN, NO_PREMISE)
HOLDS = {"holds": True, "fails": False}  # verdict -> whether a check of summary.json holds; others are None


@dataclass(frozen=True)
class Judged:
    """One claim, judged on the records of one world."""

    verdict: str
    found: str
    seeds: int = 0  # fewest of its comparisons
    seeds_wanted: int | None = None  # to decide it, if estimates stay; None: unknown, or too many
    decision: decisions.Decision | None = None
    decided_by: dict[str, str] = field(default_factory=dict)  # verdict -> the one of its comparisons that gives it

    def with_verdict(self, verdict: str) -> "Judged":
        """The same with a verdict. Where one comparison of several gives it, that one is named first."""
        by = self.decided_by.get(verdict)
        return replace(self, verdict=verdict, found=self.found if by is None else f"by {by}: {self.found}")


def checks_of(read) -> dict:
    """Checks of one experiment's claims, for its summary and report."""
    claims = {claim.name: claim for claim in catalogue.CLAIMS}
    out = {}
    for name, one in judged(read).items():
        claim = claims[name]
        out[name] = check(HOLDS.get(one.verdict), f"{claim.says} ({claim.source}): {one.found}", one.verdict)
    return out


def judged(read: records.Data, level: float = decisions.LEVEL) -> dict[str, Judged]:
    """name -> verdict on each claim of an experiment.

    Premises come first, and a claim whose premise does not hold is not judged. The others share the level by Holm's
    steps; premises and checks are judged one by one.
    """
    claims = [claim for claim in catalogue.CLAIMS if claim.experiment == read.manifest["experiment"]]
    found = {claim.name: measured(claim, read, level) for claim in claims}
    alone = lambda one: decisions.verdicts([one.decision], "above", level)[0]
    for claim in claims:
        if claim.kind != "claim" and (one := found[claim.name]).decision:
            found[claim.name] = one.with_verdict(alone(one))
    family = []
    for claim in claims:
        one = found[claim.name]
        absent = [name for name in claim.premises if found[name].verdict != "holds"]
        if one.verdict == OPEN and absent:
            why = "; ".join(f"{name.replace('_', ' ')}: {_said(found[name])}" for name in absent)
            found[claim.name] = replace(one, verdict=NO_PREMISE, found=f"premise {why}. {one.found}")
        elif claim.kind == "claim" and one.decision:
            family.append(claim.name)
    of_family = decisions.verdicts([found[name].decision for name in family], "above", level)
    return found | {name: found[name].with_verdict(word) for name, word in zip(family, of_family, strict=True)}


def _said(one: Judged) -> str:
    """Verdict and what was found, which may begin with the verdict."""
    return one.found if one.found.startswith(f"{one.verdict}:") else f"{one.verdict}, {one.found}"


def measured(claim: Claim, read: records.Data, level: float = decisions.LEVEL) -> Judged:
    """A claim with its comparisons, open until its family is judged; or not tested, or an error, and why."""
    try:
        if absent := claim.lacks(read.variants):
            raise runs.Missing(f"no variant {', '.join(absent)}; there are {', '.join(read.variants) or 'none'}")
        parts = claim.measure(read)
        decision, each = combined(parts, claim.combine, level)
    except runs.Missing as missing:
        if reason := excuse(claim, read):
            return Judged(NOT_TESTED, f"not tested: {missing} ({reason})")
        return Judged(ERROR, f"claim {claim.name}: {missing} in the records of {claim.experiment}")
    except ValueError as error:  # records that cannot tell
        return Judged(NOT_TESTED, f"not tested: {error}")
    told = "; ".join(map(_told, parts, each))
    by = decided_by(parts, each, claim.combine)
    return Judged(OPEN, told, decision.seeds, decision.seeds_wanted, decision, by)


def _told(part, decision) -> str:
    """One comparison in words: its mean, as it was measured, with the interval of all looks together."""
    back = lambda x: part.threshold + part.sign * x
    interval = sorted(map(back, decision.interval))
    note = f" ({part.note})" if part.note else ""
    return f"{part.what} {with_interval(float(back(decision.estimate)), interval)}{note}"


def excuse(claim: Claim, read: records.Data) -> str:
    """Why runs that a claim asks for may rightly be missing; "" where claims are written for these very records."""
    if read.manifest["preset"] != "cpu":
        return f"preset {read.manifest['preset']}"
    if changed := [path for path in read.manifest["overrides"] if path not in WORLD_SEEDS]:
        return f"--set {', '.join(changed)}"
    if undeclared := claim.lacks(read.labels):
        return f"these records were declared without {', '.join(undeclared)}"
    return "; ".join(read.warnings)


# --- all claims, from several stores ---------------------------------------------------------------


def entries(stores: Sequence[Store], preset: str | None = None) -> list[dict]:
    """The contract of `python -m analysis claims --json`: one dict a claim.

    {name, kind, source, says, estimand, experiment, verdict, found, seeds, seeds_wanted, worlds, agree, cpu_hours}.
    worlds: [{world, verdict, found, seeds}].  agree: whether the worlds that decide agree; None of fewer than two.
    An experiment's worlds come from all stores; a world that several have, from the first. Cells of different draws are
    never compared. StoreError, with what mends it, if a store that has it is damaged.
    """
    out, known = [], {}
    for claim in catalogue.CLAIMS:
        if claim.experiment not in known:
            known[claim.experiment] = _of_experiment(stores, claim.experiment, preset)
        found, hours = known[claim.experiment]
        worlds = (
            [{"world": world} | _shown(each[claim.name]) for world, each in found.items()] if hours is not None else []
        )
        out.append(_about(claim) | _joined(worlds, found) | {"worlds": worlds, "cpu_hours": hours})
    return out


def _about(claim: Claim) -> dict:
    return {name: getattr(claim, name) for name in ("name", "kind", "source", "says", "estimand", "experiment")}


def _shown(one: Judged) -> dict:
    return {name: getattr(one, name) for name in ("verdict", "found", "seeds", "seeds_wanted")}


def _joined(worlds: list[dict], otherwise) -> dict:
    """Verdict over worlds: that of those that decide, if they agree; open if they do not."""
    if not worlds:
        verdict, found = otherwise
        return {"verdict": verdict, "found": found, "seeds": 0, "seeds_wanted": None, "agree": None}
    decided = {one["verdict"] for one in worlds if one["verdict"] in DECIDED}
    verdict = decided.pop() if len(decided) == 1 else OPEN if decided else worlds[0]["verdict"]
    several = len(worlds) > 1
    found = "; ".join(
        f"world {one['world']} {one['verdict']}: {one['found']}" if several else one["found"] for one in worlds
    )
    count = sum(one["verdict"] in DECIDED for one in worlds)
    wanted = [one["seeds_wanted"] for one in worlds]
    return {
        "verdict": verdict,
        "found": found,
        "seeds": min(one["seeds"] for one in worlds),
        "seeds_wanted": None if None in wanted else max(wanted),
        "agree": verdict in DECIDED if count > 1 else None,
    }


def _of_experiment(stores, experiment: str, preset: str | None) -> tuple:
    """({world: {claim: Judged}}, CPU-hours of all its cells); or ((verdict, why), None) where there is nothing."""
    found, hours, why = {}, 0.0, (NOT_RUN, records.RUN.format(name=experiment))
    stored = [(store, name) for store in stores for name in others.worlds(store, experiment, preset)]
    for store, name in stored:
        try:
            read = records.load(store, name, preset)
        except records.NoPoints as error:
            why = NOT_TESTED, f"not tested: {error}"
            continue
        new = {world: part for world, part in by_world(read).items() if world not in found}
        if new:
            hours += cpu_hours(read)
        found |= {world: judged(part) for world, part in new.items()}
    return (found, hours) if found else (why, None)


def by_world(read: records.Data) -> dict:
    """World -> its part of the records; those of `worlds`, whose draws are worlds, are kept together."""
    worlds = sorted(int(w) for w in read.curves["world_seed"].unique())
    if len(worlds) == 1 or read.manifest["experiment"] == "worlds":
        return {",".join(map(str, worlds)) if len(worlds) > 1 else worlds[0]: read}
    cut = lambda table, world: table[table["world_seed"] == world]
    return {w: replace(read, curves=cut(read.curves, w), reward_models=cut(read.reward_models, w)) for w in worlds}


def cpu_hours(read: records.Data) -> float:
    """CPU-hours of an experiment's curves and reward models, as their records say; what they share is not in it."""
    cells = {(c["stage"], c["fingerprint"]) for c in read.manifest["cells"]}
    cells |= {("reward_model", fingerprint) for fingerprint in read.manifest["reward_models"]}
    seconds = 0.0
    for stage, fingerprint in sorted(cells):  # a sum of one order has the same last digits
        record = read.record(stage, fingerprint)
        seconds += record.get("cpu_seconds", record.get("wall_seconds", 0.0))
    return seconds / 3600


def counted(found: list[dict]) -> str:
    """How many claims have each verdict, in words; checks and premises apart."""
    words = (*VERDICTS, NOT_TESTED, NOT_RUN, ERROR)
    told = []
    for kind in KINDS:
        each = [one["verdict"] for one in found if one["kind"] == kind]
        counts = ", ".join(f"{each.count(word)} {word}" for word in words if word in each)
        told.append(f"{len(each)} {kind}s: {counts}" if each else "")
    return "; ".join(filter(None, told))


def table(found: list[dict]) -> Table:
    """The entries as a table to be read."""
    rows = [
        {
            "claim": f"{one['says']} ({one['source']}; {one['experiment']})",
            "kind": one["kind"],
            "measured": one["estimand"],
            "": one["verdict"],
            "found": one["found"],
            "seeds": one["seeds"],
        }
        for one in found
    ]
    return Table("claims", "What the literature says, and what was found here", pd.DataFrame(rows), of_words=True)
