"""The path of RL without penalty against the frontier of penalised equilibria, by rate, batch and optimiser."""

import pandas as pd

from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check, excludes_zero, surely
from analysis.numbers import with_interval
from analysis.templates import equal_kl, scaling

PANELS = {  # title -> keys of the curves drawn together; the first is what the others are compared with
    "RLOO: the path": ("frontier", "best_of_n", "path", "path_fast", "path_slow", "path_batch"),
    "RLOO: the frontier": ("frontier", "best_of_n", "frontier_longer", "frontier_batch"),
    "PPO": ("ppo_frontier", "best_of_n", "ppo_path", "ppo_path_slow", "frontier"),
}
SLOWER = {"path": "path_fast", "path_slow": "path", "path_batch": "path", "ppo_path_slow": "ppo_path"}  # key -> faster


def study(data, folder) -> Findings:
    groups, fits, rows = scaling.laws_of(data)
    found = {g.key: g for gs in groups.values() for g in gs}
    panels = {title: kept for title, keys in PANELS.items() if (kept := [found[k] for k in keys if k in found])}
    pairs = compared(found)
    which, verdict_tables = scaling.verdicts(data.axis, groups)
    summary = {
        "verdict": which,
        "variants": [row | {"label": data.label(row[data.axis])} for row in rows],
        "frontier_minus": pairs,
        "nearer": nearer(data, found),
        "checks": checks(data, groups, found, pairs) | scaling.which_form(which),
    }
    made = [tables.laws_table(data.axis, rows), differences(data, pairs), *verdict_tables]
    if "frontier" in groups:
        made.append(equal_kl.equilibria_table(data.axis, groups["frontier"]))
    return Findings(summary, draw(data, folder, panels), made)


def compared(found: dict) -> list[dict]:
    """The frontier of each panel minus its other curves at equal KL."""
    out = []
    for base, *others in PANELS.values():
        pairs = {key: equal_kl.minus(found[base], found[key]) for key in others if {base, key} <= set(found)}
        out += [{"frontier": base, "other": key} | apart for key, apart in pairs.items() if apart]
    return out


def nearer(data, found: dict) -> list[dict]:
    """Gold at equal KL of each slower path minus that of the faster one: what the rate or the batch wins back."""
    pairs = {(key, of): equal_kl.minus(found[key], found[of]) for key, of in SLOWER.items() if {key, of} <= set(found)}
    return [{"slower": key, "faster": of} | apart for (key, of), apart in pairs.items() if apart]


def differences(data, pairs: list[dict]) -> tables.Table:
    rows = []
    for pair in pairs:
        named = {"frontier": data.label(pair["frontier"]), "minus": data.label(pair["other"])}
        for entry in pair["at"]:
            rows.append(named | {"KL": entry["kl"]} | tables.spread(entry, "gold") | tables.spread(entry, "proxy"))
    return tables.Table("frontier", "Frontier minus other curves at equal KL (gold s.d.)", pd.DataFrame(rows))


def checks(data, groups, found: dict, pairs: list[dict]) -> dict:
    out = {}
    for pair in pairs:
        mean, key = pair["mean"], pair["other"]
        says = f"gold of {data.label(pair['frontier'])} minus {data.label(key)} at equal KL, mean over d: "
        says += with_interval(mean["gold"], mean["gold_ci"])
        if "path" in key:
            out[f"{key}_below_frontier"] = check(surely(mean["gold_ci"]), says)
        elif "frontier" in key:
            off = excludes_zero(mean["gold_ci"])
            out[f"one_frontier_{pair['frontier']}_{key}"] = check(None if off is None else not off, says)
    for one in nearer(data, found):
        mean = one["mean"]
        says = f"gold of {data.label(one['slower'])} minus {data.label(one['faster'])} at equal KL, mean over d: "
        says += with_interval(mean["gold"], mean["gold_ci"])
        out[f"{one['slower']}_is_nearer"] = check(surely(mean["gold_ci"]), says)
    if "frontier" in groups:
        out["frontier_is_steady"] = equal_kl.is_steady(groups["frontier"])
    return out


def draw(data, folder, panels: dict) -> list[Figure]:
    keys = [key for key in data.variants if any(g.key == key for gs in panels.values() for g in gs)]
    figure, axes = figures.panels(len(panels), width=4.4)
    for ax, (title, gs) in zip(axes, panels.items(), strict=True):
        figures.scores(ax, gs, None, title, keys, band=False)
        figures.limit_to_gold(ax, gs)
    labels = list(map(data.label, keys))
    every = [g for gs in panels.values() for g in gs]
    figures.key_outside(figure, labels, "", figures.styles_of_scores(every, with_law=False, with_band=False))
    caption = f"{figures.lines_of(every, band='')} against KL; the proxy is cut off where it leaves the panel."
    return [Figure(figures.save(figure, folder, "gold"), caption)]
