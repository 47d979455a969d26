"""Starts of reward models: what they change in accuracy, between seeds, and in how gold falls.

Beside the tables of analysis/templates/variants.py: what each kind of reward model reaches, how far seeds differ, and
the differences that the experiment is about, in pairs of seeds, at stated KL.
"""

import numpy as np
import pandas as pd
from scipy import special

from analysis import curves
from analysis.drawing import tables
from analysis.findings import Findings
from analysis.runs import fall_from_peak, peak
from analysis.templates import variants
from gold_sim import laws

KLS = {"bon": (3.0, 7.0), "rl": (4.0, 10.0)}  # nats at which variants are compared
RULES = {"mean": "mean", "worst_case": "worst case"}
COMPARED = {  # (variant, minus variant) -> what the difference says
    ("single_own_trunk", "single_fresh"): "pretraining",
    ("single_shared_trunk", "single_own_trunk"): "one trunk for all seeds, not one a seed",
    ("reference_trunk", "reference_size_fresh"): "the trunk of the reference policy",
    **{
        pair: f"{name}: {what}"
        for rule, name in RULES.items()
        for pair, what in {
            (f"{rule}_fresh", "single_fresh"): "ensemble, not single, fresh",
            (f"{rule}_one_trunk", "single_own_trunk"): "ensemble of one trunk, not single",
            (f"{rule}_own_trunks", "single_own_trunk"): "ensemble of own trunks, not single",
            (f"{rule}_own_trunks", f"{rule}_one_trunk"): "own trunks, not one",
        }.items()
    },
}


def study(data, folder) -> Findings:
    found = variants.study(data, folder)
    groups = {
        (g.key, g.method): g for gs in curves.groups(data.curves, data.axis, labels=data.labels).values() for g in gs
    }
    models, spreads, gains = reward_models(data), between_seeds(groups), differences(groups)
    made = [
        tables.Table("reward_models", "Reward models on pairs that neither trained nor stopped them", shown(models)),
        tables.Table("between_seeds", "Standard deviations between seeds (gold s.d.)", shown(spreads)),
        tables.Table("differences", "Differences in pairs of seeds (gold s.d.)", shown(gains)),
    ]
    summary = found.summary | {"reward_models": models, "between_seeds": spreads, "differences": gains}
    return Findings(summary, found.figures, made + found.tables, found.warnings)


def shown(entries: list[dict]) -> pd.DataFrame:
    """Entries as a table: of x and x_ci the columns x, x_low and x_high; keys of variants are left out."""
    rows = []
    for entry in entries:
        row = {}
        for name, value in entry.items():
            if f"{name}_ci" in entry:
                row |= tables.spread(entry, name)
            elif name not in ("key", "minus") and not name.endswith("_ci"):
                row[name] = value
        rows.append(row)
    return pd.DataFrame(rows)


def reward_models(data) -> list[dict]:
    """What each variant's reward models reach: means over members, then over seeds, with intervals over seeds."""
    of_variant = data.curves.groupby("variant", observed=True)["rm_cell"].unique()
    out, seen = [], set()
    for key, cells in of_variant.items():
        if seen >= set(cells):  # rules of one ensemble share its members
            continue
        seen |= set(cells)
        rows = data.reward_models[data.reward_models["cell"].isin(cells)]
        by_seed = rows.groupby("seed")[["val_accuracy", "val_loss", "steps", "epochs_run", "converged"]].mean()
        entry = {"key": key, "variant": data.label(key), "members": int(rows["member"].max()) + 1}
        entry |= {
            "start": rows["start"].iloc[0],
            "trunk": rows["trunk"].iloc[0],
            "RM parameters": int(rows["rm_params"].iloc[0]),
        }
        for name in ("val_accuracy", "val_loss"):
            entry |= {name: by_seed[name].mean(), f"{name}_ci": curves.interval(by_seed[name])}
        single = rows[rows["member"] == 0]["val_accuracy"].to_numpy()
        entry |= deviation("accuracy_between_seeds", single)
        out.append(entry | by_seed[["steps", "epochs_run", "converged"]].mean().to_dict())
    return out


def deviation(name: str, values) -> dict:
    """Standard deviation of [S] values, with its 90 % interval where they are normal (chi squared of S - 1)."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return {name: float("nan"), f"{name}_ci": [float("nan")] * 2}
    s, df, tail = float(values.std(ddof=1)), len(values) - 1, (1 - laws.LEVEL) / 2
    return {name: s, f"{name}_ci": [s * float(np.sqrt(df / special.chdtri(df, p))) for p in (tail, 1 - tail)]}


def at_kl(g: curves.Group, kl: float) -> np.ndarray:
    """Gold [S] at a KL; NaN where a run does not reach it."""
    reach = np.array([curves.outward(run)["kl"].max() for run in g.runs])
    return np.where(reach >= kl, curves.at_distance(g, "gold", [np.sqrt(kl)])[:, 0], np.nan)


def between_seeds(groups) -> list[dict]:
    """How far the seeds of each variant differ in gold at each KL and at the end."""
    out = []
    for (key, method), g in groups.items():
        entry = {"key": key, "variant": g.label, "method": curves.METHOD_NAMES[method]}
        for kl in KLS[method]:
            entry |= deviation(f"gold at {kl:g} nats", at_kl(g, kl))
        out.append(entry | deviation("gold_final", variants.along(g)[:, -1]))
    return out


def differences(groups) -> list[dict]:
    """Gold at each KL, at its peak and at the end, and the fall between these: one variant minus another, by seed."""
    out = []
    for (key, minus), says in COMPARED.items():
        for method in KLS:
            if (key, method) not in groups or (minus, method) not in groups:
                continue
            pair = curves.on_common_seeds([groups[key, method], groups[minus, method]])
            if not pair:
                continue
            entry = {"key": key, "minus": minus, "difference": says, "method": curves.METHOD_NAMES[method]}
            of = {f"gold at {kl:g} nats": [at_kl(g, kl) for g in pair] for kl in KLS[method]}
            gold = [variants.along(g) for g in pair]
            of |= {
                "gold_peak": list(map(peak, gold)),
                "gold_final": [a[:, -1] for a in gold],
                "drop": list(map(fall_from_peak, gold)),
            }
            for name, (one, other) in of.items():
                entry |= {name: float(np.mean(one - other)), f"{name}_ci": curves.interval(one - other)}
            out.append(entry | {"seeds": len(gold[0])})
    return out
