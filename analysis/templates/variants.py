"""Variants compared with a baseline: peak, end and fall of gold along the run, laws, differences in pairs of seeds.

This template is for experiments whose curves differ by method and not by size. Peak, end and fall are taken along the
control (step or n), which runs of one kind share. A penalised run may stop gaining KL and still go on changing.
"""

import numpy as np
import pandas as pd

from analysis import curves, runs
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.numbers import slug
from analysis.templates import scaling

COLUMNS = 4  # panels in a row of a figure
FEW = 4  # curves in a panel up to which their intervals can be told apart
BACK = 0.05  # of the largest mean sqrt(KL), or gold s.d., by which a run must move behind it to be drawn on


def study(data, folder) -> Findings:
    panels = split(data)
    entries = [entry for name, gs in panels.items() for entry in compared(name, gs)]
    frame = pd.DataFrame(row(e, data.axis) for e in entries)
    which, verdict_tables = {}, []
    for (panel, method), gs in panels.items():
        found, made = scaling.verdicts(data.axis, {method: gs})
        which[f"{panel} {method}".strip()] = found
        verdict_tables += [
            tables.Table(slug(f"verdicts {panel} {method}"), f"{panel} {t.title}".strip(), t.frame) for t in made
        ]
    title = "Gold along the run: peak, end, fall; minus the baseline's, in pairs of seeds (gold s.d.)"
    laws = pd.DataFrame(law_row(e, data.axis) for e in entries)
    made = [tables.Table("variants", title, frame), tables.Table("laws", "Fitted laws", laws)]
    made += [attributes(data, panels), *verdict_tables]
    summary = {"variants": entries, "verdict": which}
    return Findings(summary, draw(data, folder, panels, entries), made)


def split(data) -> dict[tuple[str, str], list[curves.Group]]:
    """(panel, method) -> groups by the compared column; the panel is "" where there are none."""
    column = data.manifest.get("panels")
    out = {}
    parts = data.curves.groupby(column, sort=True) if column else [("", data.curves)]
    for value, part in parts:
        panel = f"{column} {figures.short(value)}".replace("_", " ") if column else ""
        for method, gs in curves.groups(part, data.axis, labels=data.labels).items():
            out[panel, method] = gs
    return out


def along(g: curves.Group, name: str = "gold") -> np.ndarray:
    """[R, T] of one column at the controls that all runs of a group have."""
    return runs.together(g.runs, name)


def way_back(g: curves.Group):
    """(KL, gold) [T] of the mean over runs, step by step, from the largest d on; None where little happens there.

    Curves end at each run's largest d (curves.outward). Later, as when a learning rate decays, gold may still rise.
    """
    d, gold = along(g, "d").mean(0), along(g, "gold").mean(0)
    top = int(np.argmax(d))
    moved = d[-1] < (1 - BACK) * d[top] or abs(gold[-1] - gold[top]) > BACK
    return (d[top:] ** 2, gold[top:]) if moved else None


def course(g: curves.Group) -> dict:
    """Peak of the mean curve, end and fall, with intervals over seeds."""
    gold, kl, proxy = along(g), along(g, "kl"), along(g, "proxy")
    at = int(np.argmax(gold.mean(0)))
    out = {"runs": len(gold), "control_peak": int(along(g, "control")[0, at])}
    out |= {"kl_peak": float(kl[:, at].mean()), "kl_final": float(kl[:, -1].mean())}
    out |= {"proxy_final": float(proxy[:, -1].mean())}
    for name, values in (("gold_peak", gold[:, at]), ("gold_final", gold[:, -1]), ("drop", gold[:, at] - gold[:, -1])):
        out |= {name: float(values.mean()), f"{name}_ci": curves.interval(values)}
    return out


def compared(panel, gs) -> list[dict]:
    """One entry a group: its course, its law, its differences from the first group in pairs of seeds."""
    out = []
    for g in gs:
        fit = curves.law(g)
        entry = {"panel": panel[0], "method": g.method, "form": g.form, "key": g.key, "label": g.label} | course(g)
        entry |= {"alpha": fit.alpha, "alpha_ci": fit.alpha_ci, "beta": fit.beta, "beta_ci": fit.beta_ci, "r2": fit.r2}
        out.append(entry | against(gs[0], g))
    return out


def against(base: curves.Group, g: curves.Group) -> dict:
    """gold at the end, and gold at the KL that both reach, minus the baseline's; NaN for the baseline itself."""
    pair = curves.on_common_seeds([base, g]) if g is not base else []
    if not pair:
        nothing = [float("nan")] * 2
        return {
            "final_gain": float("nan"),
            "final_gain_ci": nothing,
            "gain_at_kl": float("nan"),
            "gain_at_kl_ci": nothing,
        }
    one, other = pair
    final = along(other)[:, -1] - along(one)[:, -1]
    d = min(one.d[-1], other.d[-1])
    level = (curves.at_distance(other, "gold", [d]) - curves.at_distance(one, "gold", [d]))[:, 0]
    return {
        "final_gain": float(final.mean()),
        "final_gain_ci": curves.interval(final),
        "common_kl": float(d**2),
        "gain_at_kl": float(level.mean()),
        "gain_at_kl_ci": curves.interval(level),
    }


def row(entry, axis) -> dict:
    """One line of the table of variants."""
    out = named(entry, axis) | {"peak at KL": entry["kl_peak"]}
    for name in ("gold_peak", "gold_final", "drop"):
        out |= tables.spread(entry, name)
    out |= {"kl_final": entry["kl_final"]}
    for name in ("final_gain", "gain_at_kl"):
        out |= tables.spread(entry, name)
    return out


def law_row(entry, axis) -> dict:
    """One line of the table of laws."""
    out = named(entry, axis)
    for name in ("alpha", "beta"):
        out |= tables.spread(entry, name)
    return out | {"r2": entry["r2"], "proxy_final": entry["proxy_final"]}


def named(entry, axis) -> dict:
    start = {"panel": entry["panel"]} if entry["panel"] else {}
    return start | {"method": curves.METHOD_NAMES[entry["method"]], axis: entry["label"]}


def attributes(data, panels) -> tables.Table:
    """The rubric's attributes at the start, the peak and the end of every variant."""
    frames = []
    for (panel, method), gs in panels.items():
        frame = tables.ledger_table(data.axis, gs, "").frame
        frame.insert(0, "method", curves.METHOD_NAMES[method])
        if panel:
            frame.insert(0, "panel", panel)
        frames.append(frame)
    return tables.Table("attributes", "Attributes at the start, at gold's peak and at the end", pd.concat(frames))


def titles(panels):
    """(panel, method) -> title of a panel, with the method's name where there are several."""
    several = len({method for _, method in panels}) > 1
    return lambda panel, method: ", ".join(
        part for part in (panel, figures.METHOD_NAMES[method] if several or not panel else "") if part
    )


# --- figures --------------------------------------------------------------------------------------


def draw(data, folder, panels, entries) -> list[Figure]:
    keys = list(dict.fromkeys(g.key for gs in panels.values() for g in gs))
    keys = keys if data.axis == "variant" else sorted(keys)
    labels = list(map(data.label, keys))
    named, crowd, returning = titles(panels), max(len(gs) for gs in panels.values()), False
    figure, axes = figures.tiles(len(panels), COLUMNS)
    for ax, ((panel, method), gs) in zip(axes, panels.items(), strict=False):
        figures.scores(ax, gs, None, named(panel, method), keys, band=crowd <= FEW)
        figures.limit_to_gold(ax, gs)
        for g in gs:
            if (back := way_back(g)) is not None:
                figures.behind(ax, *back, g.key, keys)
                returning = True
    every = [g for gs in panels.values() for g in gs]
    styles = figures.styles_of_scores(every, with_law=False, with_band=crowd <= FEW, back=returning)
    figures.key_outside(figure, labels, data.axis.replace("_", " "), styles)
    band = "; band: interval over seeds" if crowd <= FEW else ""
    caption = f"{figures.lines_of(every, band)} against KL; the proxy is cut off where it leaves the panel."
    if returning:
        caption += " Solid up to each run's largest KL; dash-dotted, the mean of the steps behind it."
    drawn = [Figure(figures.save(figure, folder, "gold"), caption)]
    figure, axes = figures.tiles(len(panels), COLUMNS, width=3.6, height=0.55 + 0.32 * len(keys))
    for ax, (panel, method) in zip(axes, panels, strict=False):
        mine = [e for e in entries if (e["panel"], e["method"]) == (panel, method)]
        figures.falls(ax, mine, labels, named(panel, method))
    caption = (
        "From the peak of gold (open) to its end (filled), with intervals over seeds: the length of a line is the fall."
    )
    drawn.append(Figure(figures.save(figure, folder, "falls"), caption))
    several = lambda g: np.nanmax(along(g, "proxy_spread"), initial=0) > 0
    disagreeing = {at: [g for g in gs if several(g)] for at, gs in panels.items() if any(map(several, gs))}
    if disagreeing and data.axis == "variant":
        figure, axes = figures.tiles(len(disagreeing), COLUMNS)
        for ax, ((panel, method), gs) in zip(axes, disagreeing.items(), strict=False):
            figures.columns_of(ax, gs, "proxy_spread", keys)
            ax.set_title(named(panel, method))
            ax.set_ylabel("s.d. over members (gold s.d.)")
        figures.key_of(figure, labels, {g.label for gs in disagreeing.values() for g in gs}, data.axis)
        caption = "How far the members of the ensemble disagree on what the policy writes."
        drawn.append(Figure(figures.save(figure, folder, "spread"), caption))
    return drawn
