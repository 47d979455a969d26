"""KL penalties: is gold a function of the KL reached alone, so that a penalty only stops early?  Figures 9 and 14."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check
from analysis.numbers import number, plain, with_interval
from analysis.templates import scaling
from gold_sim import laws

LEGEND = "KL penalty\n(gold s.d. per nat)"
POINTS = 12  # distances at which a penalty's curve is compared with the one without
FORM = "rl"


def study(data, folder) -> Findings:
    table = curves.methods(data.curves).get(FORM)
    if table is None:
        raise ValueError("kl_penalty: no RL curves in the records")
    gs = [curves.group(part, FORM, key) for key, part in table.groupby(data.axis, sort=True)]
    free = next((g for g in gs if g.key == 0.0), None)
    frontiers = frontier(gs, free)
    entries = [final(g) | {"frontier": frontiers.get(g.key)} for g in gs]
    tested = [f for f in frontiers.values() if f]
    which, verdict_tables = scaling.verdicts("kl_coef", {FORM: gs})
    summary = {
        "verdict": which,
        "kl_coefs": entries,
        "on_one_frontier": all(f["on_frontier"] for f in tested) if tested else None,
        "off_frontier": [gap | {"kl_coef": key} for key, f in frontiers.items() if f for gap in f["off"]],
        "checks": checks(gs, entries, frontiers) | scaling.which_form(which),
    }
    rows = [{"kl_coef": e["kl_coef"]} | {"kl_final": e["kl_final"]} | tables.spread(e, "gold_final")
            | tables.spread(e, "proxy_final") | frontier_columns(e["frontier"]) for e in entries]  # fmt: skip
    caption = "Where each penalty ends, and its mean gold and proxy minus the unpenalised run's at the same KL"
    made = [tables.Table("penalties", caption, pd.DataFrame(rows)), *verdict_tables]
    return Findings(summary, draw(folder, gs, table, data.axis), made)


def final(g: curves.Group) -> dict:
    """The last point of every run (a penalised run stops gaining KL, so the end is by step, not by KL)."""
    last = pd.DataFrame([run.iloc[-1] for run in g.runs])
    out = {"kl_coef": float(g.key), "seeds": len(g.seeds)}
    for name in ("kl", "gold", "proxy"):
        out[f"{name}_final"] = float(last[name].mean())
        out[f"{name}_final_ci"] = curves.interval(last[name])
    return out


def frontier(gs, free) -> dict:
    """kl_coef -> the difference of its curve to the unpenalised one at the same KL, seed by seed.

    on_frontier: the interval of the mean difference over the compared range includes 0, at a level that makes the
    statement hold for all penalties together (Bonferroni). `off` lists the KL at which the pointwise interval of
    gold excludes 0 (at 90 %, one point in ten does so by chance). None where nothing can be compared.
    """
    out = {}
    penalised = [g for g in gs if free is not None and g.key != 0.0]
    for g in penalised:
        own, base = curves.on_common_seeds([g, free])[:2] or (None, None)
        end = min(own.d[-1], base.d[-1]) if own else 0.0
        if len(own.seeds if own else ()) < 2 or end <= laws.FORMS[FORM].d_min:
            out[g.key] = None
            continue
        d = np.linspace(laws.FORMS[FORM].d_min, end, POINTS)
        gold, proxy = (curves.at_distance(own, n, d) - curves.at_distance(base, n, d) for n in ("gold", "proxy"))
        low, high = laws.t_interval(gold)
        family = laws.t_interval(gold.mean(1), 1 - (1 - laws.LEVEL) / len(penalised))
        off = [{"kl": kl, "difference": m, "difference_ci": (a, b)}
               for kl, m, a, b in zip(d**2, gold.mean(0), low, high, strict=True) if a > 0 or b < 0]  # fmt: skip
        out[g.key] = plain(
            {
                "kl": d**2,
                "difference": gold.mean(0),
                "difference_ci": np.stack([low, high], -1),
                "mean_difference": gold.mean(),
                "mean_difference_ci": curves.interval(gold.mean(1)),
                "mean_proxy_difference": proxy.mean(),
                "mean_proxy_difference_ci": curves.interval(proxy.mean(1)),
                "on_frontier": bool(family[0] <= 0 <= family[1]),
                "off": off,
            }
        )
    return out


def frontier_columns(found) -> dict:
    nothing = {"mean_difference": np.nan, "mean_difference_ci": (np.nan, np.nan)}
    nothing |= {"mean_proxy_difference": np.nan, "mean_proxy_difference_ci": (np.nan, np.nan)}
    found = found or nothing
    gold, proxy = tables.spread(found, "mean_difference"), tables.spread(found, "mean_proxy_difference")
    return {k.replace("mean_", "gold_"): v for k, v in gold.items()} | {
        k.replace("mean_", ""): v for k, v in proxy.items()
    }


def checks(gs, entries, frontiers) -> dict:
    kls = [e["kl_final"] for e in entries]
    falling = bool(np.all(np.diff(kls) < 0))
    ends = ", ".join(f"{e['kl_coef']:g}: {number(e['kl_final'])}" for e in entries)
    out = {"kl_falls_with_penalty": check(falling, f"final KL in nats by penalty: {ends}")}
    out["proxy_rises"] = scaling.proxy_rises({FORM: [g for g in gs if g.key == 0.0] or gs[:1]})
    for key, f in frontiers.items():
        if f:
            says = f"penalty {key:g}: gold minus the unpenalised run's at the same KL "
            says += with_interval(f["mean_difference"], f["mean_difference_ci"])
            if f["off"]:
                says += f"; pointwise off the frontier at KL {', '.join(number(o['kl']) for o in f['off'])}"
            out[f"on_frontier_{key:g}"] = check(f["on_frontier"], says)
    return out


def draw(folder, gs, table, axis) -> list[Figure]:
    keys = [g.key for g in gs]
    figure, (ax,) = figures.panels(1, width=6.4, height=3.9)
    figures.scores(ax, gs, keys=keys)
    figures.key_outside(figure, keys, LEGEND, figures.styles_of_scores(gs, with_law=False))
    first = Figure(
        figures.save(figure, folder, "gold"),
        f"{figures.lines_of(gs)} against KL for several KL penalties.",
    )

    figure, (ax,) = figures.panels(1, width=5.8, height=3.6)
    for (_, part), tint, marker in zip(
        table.groupby(axis, sort=True), figures.colours(len(keys)), figures.MARKERS * 9, strict=False
    ):
        kl = part.pivot_table(index="control", columns="seed", values="kl").dropna()
        figures.against_steps(ax, kl, tint, marker)
    ax.set_xlabel("policy steps")
    ax.set_ylabel("KL (nats)")
    figures.key_outside(figure, keys, LEGEND, [])
    return [first, Figure(figures.save(figure, folder, "steps"), "KL against policy steps for several KL penalties.")]
