"""Mitigations by kinds of Goodhart's law: one matrix of gold at a fixed KL, one of its fall from the peak."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.templates import variants

FIXED = {"bon": 4.0, "rl": 10.0}  # nats at which gold is told; a run that ends before is told at its end
MEASURES = {"level": "gold at {kl:g} nats, or at the end before", "fall": "fall from the peak"}


def study(data, folder) -> Findings:
    """The findings of the template for variants, with the matrix placed first."""
    general = variants.study(data, folder)
    frame = pd.DataFrame(entry(*key, g) for key, g in by_kind(data).items())
    title = f"Gold at {FIXED['rl']:g} nats (best-of-n: {FIXED['bon']:g}) or where a run ends before, and its fall"
    drawn = [draw(data, folder, frame), *general.figures]
    made = [tables.Table("matrix", title, frame), *general.tables]
    summary = general.summary | {"matrix": frame.to_dict("records")}
    return Findings(summary, drawn, made, general.warnings)


def by_kind(data) -> dict[tuple[str, str, str], curves.Group]:
    """(method, label of the mitigation, kind) -> group."""
    found = {}
    for kind, part in data.curves.groupby("error_kind", sort=False):
        for method, gs in curves.groups(part, data.axis, labels=data.labels).items():
            found |= {(method, g.label, kind): g for g in gs}
    return found


def entry(method, mitigation, kind, g) -> dict:
    reached = np.array([run["d"].max() for run in g.runs])
    d = min(np.sqrt(FIXED[method]), reached.min())
    level = curves.at_distance(g, "gold", [d])[:, 0]
    gold = variants.along(g)
    fall = gold[:, gold.mean(0).argmax()] - gold[:, -1]
    out = {"method": figures.METHOD_NAMES[method], "mitigation": mitigation, "kind": kind, "KL": float(d**2)}
    for name, values in (("level", level), ("fall", fall)):
        out |= tables.spread({name: float(values.mean()), f"{name}_ci": curves.interval(values)}, name)
    return out


def draw(data, folder, frame) -> Figure:
    kinds = sorted(frame["kind"].unique(), key=list(data.curves["error_kind"].unique()).index)
    methods = [method for method in ("rl", "bon") if (frame["method"] == figures.METHOD_NAMES[method]).any()]
    figure, axes = figures.tiles(2 * len(methods), 2, width=1.6 + 1.05 * len(kinds), height=3.6)
    for i, method in enumerate(methods):
        mine = frame[frame["method"] == figures.METHOD_NAMES[method]]
        names = list(dict.fromkeys(mine["mitigation"]))
        for ax, (name, title) in zip(axes[2 * i : 2 * i + 2], MEASURES.items(), strict=True):
            wide = lambda column, mine=mine, names=names: mine.pivot(
                index="mitigation", columns="kind", values=column
            ).loc[names, kinds]
            good = 1 if name == "level" else -1
            figures.matrix(ax, wide(name), wide(f"{name}_low"), wide(f"{name}_high"), good)
            ax.set_title(f"{figures.METHOD_NAMES[method]}: {title.format(kl=FIXED[method])}")
    caption = (
        "Gold at a fixed KL and its fall from the peak to the end of the run, gold s.d., with half the width of the "
        "interval over seeds: mitigations (rows) against kinds of error (columns). Darker is better within a column."
    )
    return Figure(figures.save(figure, folder, "matrix"), caption)
