"""Two curves compared at equal KL, in pairs of seeds: the frontier with the path, and with best-of-n."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import tables
from analysis.findings import Table
from analysis.judgement import check, every, surely
from analysis.numbers import number, with_interval
from gold_sim import laws

STATED = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)  # nats at which differences are stated, as far as both curves reach
POINTS = 25  # distances of the mean difference, evenly spaced in d
# Share of KL by which an equilibrium may drift, mean over seeds: 5 % of d, a fifth of the way between coefficients.
# It counts as moving where its interval lies beyond.
STEADY = 0.1


def minus(one: curves.Group, other: curves.Group) -> dict | None:
    """One curve minus another at equal KL, mean and interval over the seeds of both; None if they share no range.

    mean: gold and proxy averaged over d from laws.FORMS["rl"].d_min to kl_to, where the shorter curve ends.
    at: the same at each KL of STATED that both curves reach.
    """
    pair = curves.on_common_seeds([one, other])
    low, high = laws.FORMS["rl"].d_min, min((g.d[-1] for g in pair), default=0.0)
    if high <= low:
        return None

    def apart(d) -> dict:
        """Mean and interval over seeds of the difference, averaged over the distances d."""
        out = {}
        for name in curves.SCORES:
            first, second = (curves.at_distance(g, name, d) for g in pair)
            values = (first - second).mean(1)
            out |= {name: float(values.mean()), f"{name}_ci": curves.interval(values)}
        return out

    at = [{"kl": kl} | apart([np.sqrt(kl)]) for kl in STATED if low**2 <= kl <= high**2]
    return {"kl_to": float(high**2), "mean": apart(np.linspace(low, high, POINTS)), "at": at}


def of_frontier(groups: dict) -> dict[object, dict]:
    """key -> {"frontier_minus_path", "frontier_minus_bon"} of the groups that have a frontier."""
    others = {"frontier_minus_path": "rl", "frontier_minus_bon": "bon"}
    found = {g.key: g for g in groups.get("frontier", [])}
    by_key = {method: {g.key: g for g in gs} for method, gs in groups.items()}
    return {
        key: {name: minus(g, by_key[method][key]) for name, method in others.items() if key in by_key.get(method, {})}
        for key, g in found.items()
    }


def differences_table(axis: str, apart: dict) -> Table:
    """One row a (key, KL): gold and proxy of the frontier minus those of the path and of best-of-n."""
    rows = []
    for key, by_name in apart.items():
        for name, found in by_name.items():
            for entry in found["at"] if found else []:
                row = {axis: key, "minus": OTHERS[name], "KL": entry["kl"]}
                rows.append(row | tables.spread(entry, "gold") | tables.spread(entry, "proxy"))
    return Table("frontier", "RL frontier minus other curves at equal KL (gold s.d.)", pd.DataFrame(rows))


OTHERS = {"frontier_minus_path": "RL path", "frontier_minus_bon": "best-of-n"}


def equilibria(g: curves.Group) -> pd.DataFrame:
    """One row a KL coefficient: means over runs of KL, gold and proxy, with intervals, and of KL's drift."""
    runs = pd.concat([run[run["d"] >= laws.AT_REFERENCE] for run in g.runs])
    rows = []
    for coef, part in sorted(runs.groupby("kl_coef"), reverse=True):
        row = {"kl_coef": coef, "KL drift": part["kl_drift"].mean(), "KL drift_ci": curves.interval(part["kl_drift"])}
        for name in ("kl", *curves.SCORES):
            row |= tables.spread({name: part[name].mean(), f"{name}_ci": curves.interval(part[name])}, name)
        rows.append(row)
    return pd.DataFrame(rows)


def equilibria_table(axis: str, gs: list[curves.Group]) -> Table:
    """The equilibria of every group of a frontier."""
    made = [(g, equilibria(g).drop(columns="KL drift_ci", errors="ignore")) for g in gs]
    frames = [found.assign(**{axis: g.label})[[axis, *found]] for g, found in made if len(found)]
    title = "Equilibria of the RL frontier (gold s.d.; drift: share of KL in the last part of a plateau)"
    return Table("equilibria", title, pd.concat(frames) if frames else pd.DataFrame())


# --- checks ----------------------------------------------------------------------------------------


def path_is_below(apart: dict, name=str) -> dict:
    """The path lies below the frontier at every key: gold at equal KL, averaged over d."""
    found = {key: one["frontier_minus_path"]["mean"] for key, one in apart.items() if one.get("frontier_minus_path")}
    says = "; ".join(f"{name(key)} {with_interval(one['gold'], one['gold_ci'])}" for key, one in found.items())
    holds = every(surely(one["gold_ci"]) for one in found.values()) if found else None
    return check(holds, f"gold of the frontier minus the path's at equal KL, mean over d: {says or 'no common range'}")


def is_steady(gs: list[curves.Group]) -> dict:
    """KL stands still at the equilibria: at no coefficient does its drift, mean over runs, surely exceed STEADY."""
    at = {(g.label, row["kl_coef"]): row for g in gs for row in equilibria(g).to_dict("records")}
    (key, coef), most = max(at.items(), key=lambda item: abs(item[1]["KL drift"]))
    within = sum(abs(row["KL drift"]) <= STEADY for row in at.values())
    moving = sum(abs(row["KL drift"]) > STEADY and not _reaches(row["KL drift_ci"], STEADY) for row in at.values())
    says = (
        f"{within} of {len(at)} equilibria drift by at most {STEADY:.0%} of KL in the last part of their plateau, "
        f"{moving} surely by more; the most {with_interval(most['KL drift'], most['KL drift_ci'])}, "
        f"at {key} and {number(coef)} a nat"
    )
    return check(moving == 0, says)


def _reaches(interval, bound: float) -> bool:
    """Whether an interval has a value whose size is at most `bound`; one run alone gives none."""
    low, high = interval
    return bool(low <= bound and high >= -bound)
