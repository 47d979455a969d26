"""Claims on rounds of RLHF: what further rounds, old pairs and updates do."""

from functools import partial

import pandas as pd

from analysis.claims.claim import Claim, Part
from analysis.claims.measured import KLS, Term, chosen_on_earlier, contrast, course, peaks
from analysis.curves import WORLD

KEPT = "concatenate_restart"


def _last(read) -> int:
    return int(read.curves["round"].max())


def _peaks(read, *rounds: int) -> list[pd.Series]:
    return list(peaks(read, "rl", {k: (KEPT, {"round": k}) for k in rounds}).values())


def rounds_raise_the_peak(read) -> list[Part]:
    first, last = _peaks(read, 1, _last(read))
    return [Part(f"round {_last(read)} minus round 1", last - first, note=f"of {first.mean():.2f}")]


def last_round(read, one: str, other: str, what: str, k_other: int | None = None) -> list[Part]:
    """Gold of one way's last round minus another's, at the stated KLs."""
    last = _last(read)
    terms = [Term(1.0, one, "gold", {"round": last}), Term(-1.0, other, "gold", {"round": k_other or last})]
    return [contrast(read, "rl", terms, what)]


def _best(read, variant) -> pd.Series:
    """The best gold of the last round as recorded, its step chosen on the earlier seeds."""
    return chosen_on_earlier(course(read, variant, "rl", round=_last(read)))[0]


def do_not_recover(read) -> list[Part]:
    """Policies that go on do not begin a round at the reference: their gold is from the first round's start."""
    first = read.curves[(read.curves["variant"] == KEPT) & (read.curves["round"] == 1) & (read.curves["control"] == 0)]
    (again,), start = _peaks(read, _last(read)), first.set_index([*WORLD, "seed"])["gold"]
    on = _best(read, "concatenate_continue") - start.set_axis(start.index.to_flat_index())
    note = f"{again.mean():.2f} minus {on.mean():.2f}"
    return [Part("peak of a restart minus the best of going on", again - on, note=note)]


def updates_restore(read) -> list[Part]:
    """Every round goes on where the last one ended, so no KL from the reference is common."""
    best = {way: _best(read, way) for way in ("sight_in_turns", "same_sight")}
    note = f"{best['sight_in_turns'].mean():.2f} minus {best['same_sight'].mean():.2f}"
    return [Part("in turns minus same", best["sight_in_turns"] - best["same_sight"], note=note)]


WOLF, BAI = "Wolf et al. 2025", "Bai et al. 2022"
LAST = f"of the last round, mean over {', '.join(f'{kl:g}' for kl in KLS['rl'])} nats"
PEAK = "gold at the peak, its KL chosen on the earlier seeds"
CLAIMS = (
    Claim(
        name="rounds",
        experiment="iterated",
        source=WOLF,
        says="later rounds peak higher",
        estimand=f"{PEAK}: the last round's minus the first's",
        measure=rounds_raise_the_peak,
        variants=(KEPT,),
    ),
    Claim(
        name="old_pairs",
        experiment="iterated",
        source=WOLF,
        says="all pairs so far beat the newest alone, in as many steps",
        estimand=f"gold {LAST}: all pairs' minus that of the newest pairs, passed over as often as gives as many steps",
        measure=partial(last_round, one=KEPT, other="newest_as_long", what="all minus newest"),
        variants=(KEPT, "newest_as_long"),
    ),
    Claim(
        name="no_recovery",
        experiment="iterated",
        source=WOLF,
        says="over-optimised policies that go on do not recover",
        estimand="gold at the peak of the last round from the reference, minus the best gold of policies that go on, "
        "both places chosen on the earlier seeds",
        measure=do_not_recover,
        variants=(KEPT, "concatenate_continue"),
    ),
    Claim(
        name="where_labels_are",
        experiment="iterated",
        source=BAI,
        says="labels on the policy's own writing beat as many on the reference's",
        estimand=f"gold {LAST}, minus that of one round of as many labels",
        measure=partial(
            last_round, one=KEPT, other="as_many_labels_one_round", what="rounds minus one round", k_other=1
        ),
        variants=(KEPT, "as_many_labels_one_round"),
    ),
    Claim(
        name="updates",
        experiment="omission_updates",
        source="Zhuang & Hadfield-Menell 2020",
        says="updates of what the proxy sees restore improvement",
        estimand="the best gold of the last round, its step chosen on the earlier seeds: in turns minus the same sight",
        measure=updates_restore,
        variants=("sight_in_turns", "same_sight"),
    ),
)
