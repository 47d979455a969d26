"""Reward models of disjoint halves: how far a policy goes before the one that it was not optimised against lets go.

The two part where the score of the optimised one has gained PARTED more than that of the other (Bai et al. 2022,
section 4.2, who read it off their figure).
"""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.curves import interval
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.runs import along
from analysis.templates.variants import titles


def study(data, folder) -> Findings:
    found = parted(data)
    rows = [row(data.label(variant), method, run) for (variant, method), run in found.items()]
    title = f"Where the gain of the optimised reward model is {PARTED} s.d. above that of the other half's"
    summary = {"parted": rows}
    return Findings(summary, draw(data, folder, found), [tables.Table("parted", title, pd.DataFrame(rows))])


def row(label, method, run) -> dict:
    out = {"variant": label, "method": figures.METHOD_NAMES[method], "params": run["params"]}
    values = {"d_parted": run["d_parted"], "gap_final": run["gap"][:, -1], "gold_final": run["gold"][:, -1]}
    for name, of_seed in values.items():
        out |= tables.spread({name: float(np.mean(of_seed)), f"{name}_ci": interval(of_seed)}, name)
    return out | {"samples at parting": run["samples"], "not parted": int(np.sum(run["never"]))}


def draw(data, folder, found) -> list[Figure]:
    methods = list(dict.fromkeys(method for _, method in found))
    keys = list(dict.fromkeys(variant for variant, _ in found))
    figure, axes = figures.panels(2 * len(methods), width=3.6)
    named = titles({("", method): None for method in methods})
    for i, method in enumerate(methods):
        scores, gaps = axes[2 * i : 2 * i + 2]
        for tint, marker, key in zip(figures.colours(len(keys)), figures.MARKERS, keys, strict=False):
            if (key, method) not in found:
                continue
            run = found[key, method]
            kl = run["kl"].mean(0)
            scores.plot(kl, run["proxy"].mean(0), color=tint, lw=1.8)
            scores.plot(kl, run["other"].mean(0), color=tint, lw=1.4, ls="--")
            figures.plain_line(gaps, kl, run["gap"], tint, marker, band=False)
        for ax in (scores, gaps):
            figures.kl_axis(ax, max(run["kl"].mean(0).max() for (_, f), run in found.items() if f == method))
        scores.set_title(named("", method))
        scores.set_ylabel("score (gold s.d.)")
        gaps.axhline(PARTED, color=figures.FAINT, lw=0.8)
        gaps.set_ylabel("gap (gold s.d.)")
    figures.key_outside(figure, list(map(data.label, keys)), "reward model\nor policy", [])
    caption = (
        "Left of each pair: score by the reward model that is optimised (solid) and by the one of the other half "
        "(dashed). Right: their gap, and the height at which they count as parted."
    )
    return [Figure(figures.save(figure, folder, "parting"), caption)]


PARTED = 0.25  # gold s.d. by which two reward models' gains differ when they count as parted


def parted(read) -> dict[tuple[str, str], dict]:
    """Where two reward models part: (variant, method) -> columns of its runs.

    kl, proxy, other, gap, gold [S, T]; d_parted [S], the last distance for a run that never parts; never [S]; params,
    samples.
    """
    out = {}
    for method, table in curves.methods(read.curves).items():
        for variant in [key for key in read.variants if (table["variant"] == key).any()]:
            run = {name: along(read, variant, method, name) for name in ("kl", "proxy", "gold", "control", "d")}
            run["other"] = along(read, variant, method, "proxy_left_out")
            run["gap"] = run["proxy"] - run["other"]
            reached = run["gap"] >= PARTED
            run["never"] = ~reached.any(1)
            first = np.where(run["never"], reached.shape[1] - 1, reached.argmax(1))
            run["d_parted"] = np.take_along_axis(run["d"], first[:, None], 1)[:, 0]
            run["samples"] = float(np.take_along_axis(run["control"], first[:, None], 1).mean())
            mine = table[table["variant"] == variant].iloc[0]
            run["params"] = int(mine["policy_params" if variant.startswith("policy") else "rm_params"])
            out[variant, method] = run
    return out
