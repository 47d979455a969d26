"""Policy size: gold and proxy as recorded (not re-zeroed), and their gap, against KL.  Figures 5 and 24."""

import numpy as np

from analysis import curves, judgement
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import above, check
from analysis.numbers import number, with_interval
from analysis.templates import scaling
from gold_sim import laws

LEGEND = "policy parameters"


def study(data, folder) -> Findings:
    recorded, gained, gaps = read(data)
    rows, entries = [], {}
    for method, gs in gained.items():
        for g, raw in zip(gs, recorded[method], strict=True):
            start = raw.values["gold"][:, 0]
            row = scaling.law_and_peak(g, curves.law(g)) | {
                "gold_start": float(start.mean()),
                "gold_start_ci": curves.interval(start),
                "proxy_start": float(raw.values["proxy"][:, 0].mean()),
                "gold_peak_recorded": float(raw.mean("gold").max()),
            }
            rows.append({data.axis: g.key} | row)
            entries.setdefault(g.key, {})[method] = row
    which, verdict_tables = scaling.verdicts(data.axis, gained)
    summary = {
        "verdict": which,
        "sizes": [{data.axis: key} | entries[key] for key in sorted(entries)],
        "gap_difference": gaps,
        "checks": checks(recorded, gained, gaps) | scaling.which_form(which),
    }
    title = "Fitted laws and observed peaks, of gains over each policy's own start"
    return Findings(summary, draw(folder, recorded), [tables.laws_table(data.axis, rows, title), *verdict_tables])


def read(data):
    """Groups as recorded and from their own starts, by method; `gap` of each method with several policies."""
    gained = curves.groups(data.curves, data.axis)
    gaps = {method: gap(gs) for method, gs in gained.items() if len(gs) > 1}
    return curves.groups(data.curves, data.axis, rezero=False), gained, gaps


def gap(gs) -> dict | None:
    """Proxy minus gold of the largest policy less that of the smallest, at equal KL, from their own starts."""
    pair = curves.on_common_seeds([gs[0], gs[-1]])
    if not pair:
        return None
    small, large = pair
    d = np.linspace(0, min(small.d[-1], large.d[-1]), curves.DRAWN)
    per_seed = [curves.at_distance(g, "proxy", d) - curves.at_distance(g, "gold", d) for g in pair]
    difference = (per_seed[1] - per_seed[0]).mean(1)
    return {
        "smallest": float(per_seed[0].mean()),
        "largest": float(per_seed[1].mean()),
        "difference": float(difference.mean()),
        "difference_ci": curves.interval(difference),
        "kl_compared": float(d[-1] ** 2),
    }


def gain_trend(gs) -> tuple[float, tuple[float, float]]:
    """(slope, interval over seeds) of gold gained at each policy's peak against log10 of its parameters."""
    cut = curves.on_common_seeds(gs)
    if not cut:
        return float("nan"), (float("nan"),) * 2
    gains = np.stack([g.values["gold"][:, g.mean("gold").argmax()] for g in cut], -1)
    found = laws.trend(np.log10([g.key for g in cut]), gains)
    return found.slope, found.slope_ci


def checks(recorded, gained, gaps) -> dict:
    out = {"proxy_rises": scaling.proxy_rises(gained)}
    for method, gs in gained.items():
        if len(gs) < 2:
            continue
        pair = curves.on_common_seeds([recorded[method][0], recorded[method][-1]])
        if pair:
            lead = pair[1].values["gold"][:, 0] - pair[0].values["gold"][:, 0]
            says = "gold of the largest policy's start minus the smallest's: "
            says += with_interval(float(lead.mean()), curves.interval(lead))
            out[f"larger_starts_higher_{method}"] = check(above(curves.interval(lead)), says)
        small, large = curves.observed(gs[0]), curves.observed(gs[-1])
        name = curves.METHOD_NAMES[method]
        ends = [(number(s["gold_peak"]), number(s["d_peak"] ** 2)) for s in (small, large)]
        says = f"{name} gain of gold at the peak: {ends[0][0]} smallest, {ends[1][0]} largest"
        slope, ci = gain_trend(gs)
        says += f"; per tenfold policy {with_interval(slope, ci)}"
        less = judgement.surely((-ci[1], -ci[0])) if np.isfinite(ci).all() else None
        out[f"larger_gains_less_{method}"] = check(less, says, slope=slope, slope_ci=ci)
        says = f"{name} peak at KL {ends[0][1]} nats smallest, {ends[1][1]} largest"
        nearer = min(small["d_peak"], large["d_peak"]) / max(small["d_peak"], large["d_peak"], 1e-12)
        out[f"peak_at_same_kl_{method}"] = check(nearer > 0.75, says + " (same: d within 25%)", d_ratio=nearer)
        if g := gaps.get(method):
            says = f"{name} mean gap at equal KL: {number(g['smallest'])} smallest, {number(g['largest'])} largest; "
            says += f"difference {with_interval(g['difference'], g['difference_ci'])}"
            near = 0.25 * max(abs(g["smallest"]), abs(g["largest"]))
            low, high = g["difference_ci"]
            same = True if -near <= low and high <= near else False if high < -near or low > near else None
            out[f"same_gap_{method}"] = check(same, says + " (same: the interval within 25% of the larger)")
    return out


def draw(folder, recorded) -> list[Figure]:
    caption = "as recorded; zero: mean of the policy that wrote the preferences."
    out = [scaling.score_figure(folder, "gold", recorded, None, LEGEND, caption)]
    keys = sorted({g.key for gs in recorded.values() for g in gs})
    figure, axes = figures.panels(len(recorded))
    tints = dict(zip(keys, figures.colours(len(keys)), strict=True))
    for ax, (method, gs) in zip(axes, recorded.items(), strict=True):
        for g in gs:
            apart = curves.with_column(g, "gap", g.values["proxy"] - g.values["gold"])
            figures.line(
                ax, g.kl, apart, "gap", tints[g.key], figures.MARKERS[keys.index(g.key) % len(figures.MARKERS)]
            )
        figures.kl_axis(ax, max(g.kl[-1] for g in gs))
        ax.axhline(0, color=figures.FAINT, lw=0.8, zorder=1)
        ax.set_ylabel("proxy minus gold (gold s.d.)")
        ax.set_title(figures.METHOD_NAMES[method])
    figures.key_outside(figure, keys, LEGEND, [])
    return [
        *out,
        Figure(figures.save(figure, folder, "gap"), "Gap between proxy and gold against KL, per policy size."),
    ]
