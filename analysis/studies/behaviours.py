"""Behaviours of policies as gold falls, and an early-warning score for signals of the fall.

A warning should say that a run is past the peak of its own gold, smoothed. A signal is the change of a quantity since
the start of the run, and none of these needs gold. KL alone tells much, as late points are past the peak. So a signal
is scored by what it adds: the area under the ROC curve of a logistic model of KL and the signal, minus KL's own area.
Models, and the signal that is called the best, come from the other seeds. At 0.5 an area tells nothing; at 1 it always
ranks points past the peak above the others.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check, surely
from analysis.numbers import with_interval
from analysis.templates import variants
from gold_sim.attributes import ATTRIBUTES

SHOWN = {  # column -> title
    "sycophancy": "agrees with wrong claims",
    "over_refusal": "refuses harmless prompts",
    "attr_length": "length (tokens)",
    "attr_repetition": "repeated words (share)",
    "attr_template": "template phrases",
    "attr_hedging": "hedges",
    "distinct_2": "distinct word pairs (share)",
    "entropy": "entropy (nats)",
}
WINDOW = 5  # points of a run that are averaged before its peak is sought
RIDGE = 1.0  # of the logistic model, on standardised features
SIGNALS = tuple(dict.fromkeys([*SHOWN, *(f"attr_{name}" for name in ATTRIBUTES), "kl", "proxy"]))


def study(data, folder) -> Findings:
    found = variants.study(data, folder)
    gs = curves.groups(data.curves, data.axis, labels=data.labels)["rl"]
    found_areas = scores(gs)
    warned = warnings_table(found_areas)
    rows = moments(gs)
    title = (
        "Area under the ROC curve for 'past the peak of gold', on seeds that no model saw, and what signals add to KL"
    )
    made = [
        *found.tables[:1],
        tables.Table("behaviours", "Behaviours at the start, at gold's peak and at the end", rows),
        tables.Table("early_warning", title, warned),
        *found.tables[1:],
    ]
    summary = found.summary | {"early_warning": warned.to_dict("records")}
    summary["checks"] = checks(found_areas)
    return Findings(summary, [*found.figures, *draw(folder, gs, warned)], made, found.warnings)


def moments(gs) -> pd.DataFrame:
    out = []
    for g in gs:
        gold = variants.along(g)
        for where, i in {"start": 0, "peak": int(gold.mean(0).argmax()), "end": -1}.items():
            line = {"variant": g.label, "at": where, "gold": float(gold[:, i].mean())}
            out.append(line | {SHOWN[name]: float(variants.along(g, name)[:, i].mean()) for name in SHOWN})
    return pd.DataFrame(out)


def past_peak(gold) -> np.ndarray:
    """[S, T] whether a point comes after the highest one of its run's gold, a mean over WINDOW points."""
    window = np.ones(WINDOW)
    smooth = lambda run: np.convolve(run, window, "same") / np.convolve(np.ones(len(run)), window, "same")
    tops = np.array([int(np.argmax(smooth(run))) for run in np.asarray(gold, float)])
    return np.arange(np.shape(gold)[1]) > tops[:, None]


def area(signal, event) -> float:
    """Area under the ROC curve: P(signal where the event holds > signal where not), ties by half; NaN without both."""
    signal, event = np.ravel(signal), np.ravel(event)
    ones = event.sum()
    if ones in (0, len(event)):
        return float("nan")
    ranks = rankdata(signal)
    return float((ranks[event].sum() - ones * (ones + 1) / 2) / (ones * (len(event) - ones)))


def logistic(x, event) -> np.ndarray:
    """Coefficients [1 + F] of a logistic model of events [N] on features [N, F], by Newton's method with a ridge."""
    x = np.column_stack([np.ones(len(x)), x])
    penalty = np.diag([0.0, *np.full(x.shape[1] - 1, RIDGE)]) + 1e-9 * np.eye(x.shape[1])
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (event - p) - penalty @ beta
        beta = beta + np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + penalty, gradient)
    return beta


def areas(features: list, events: list) -> tuple[np.ndarray, np.ndarray]:
    """([S] area on each seed of the model that the other seeds give, [S] area of that model on its own seeds).

    features, events: of each seed, [N, F] and [N].
    """
    out = []
    for s, (x, event) in enumerate(zip(features, events, strict=True)):
        rest = [i for i in range(len(events)) if i != s]
        own, theirs = np.concatenate([features[i] for i in rest]), np.concatenate([events[i] for i in rest])
        middle, unit = own.mean(0), np.maximum(own.std(0), 1e-12)
        beta = logistic((own - middle) / unit, theirs)
        score = lambda z, beta=beta, middle=middle, unit=unit: ((z - middle) / unit) @ beta[1:]
        out.append((area(score(x), event), area(score(own), theirs)))
    return tuple(np.array(out).T)


def scores(gs) -> dict[str, tuple]:
    """Signal -> `areas` of KL and the signal, over all runs; "kl": of KL alone."""
    seeds = min(len(g.runs) for g in gs)
    if seeds < 2:
        return {}
    by_seed = lambda values: [np.concatenate([of[s] for of in values]) for s in range(seeds)]
    change = lambda name: [variants.along(g, name) - variants.along(g, name)[:, :1] for g in gs]
    events, kl = by_seed([past_peak(variants.along(g)) for g in gs]), by_seed(change("kl"))
    out = {"kl": areas([x[:, None] for x in kl], events)}
    for name in SIGNALS:
        signal = by_seed(change(name))
        if name != "kl" and np.isfinite(np.concatenate(signal)).all():
            out[name] = areas([np.column_stack(pair) for pair in zip(kl, signal, strict=True)], events)
    return out


def warnings_table(found: dict) -> pd.DataFrame:
    """One row a signal: the area with KL, and what it adds to KL's, with intervals over seeds."""
    out = []
    for name, (on_new, _) in found.items():
        added = on_new - found["kl"][0]
        row = {"signal": "KL alone" if name == "kl" else f"KL and {name}"}
        for column, values in (("area", on_new), ("added", added)):
            values = values[np.isfinite(values)]  # a seed whose runs are all before, or all past, the peak says nothing
            mean = float(values.mean()) if len(values) else float("nan")
            row |= tables.spread({column: mean, f"{column}_ci": curves.interval(values)}, column)
        out.append(row)
    frame = pd.DataFrame(out)
    return frame.sort_values("area", ascending=False, ignore_index=True) if len(frame) else frame


def checks(found: dict) -> dict:
    """Whether the signal that is best on the other seeds adds to KL on a new one."""
    if len(found) < 2:
        return {}
    names = [name for name in found if name != "kl"]
    best = np.argmax([found[name][1] for name in names], 0)  # of each seed, by the areas on the others
    added = np.array([found[names[k]][0][s] - found["kl"][0][s] for s, k in enumerate(best)])
    added = added[np.isfinite(added)]
    alone = found["kl"][0][np.isfinite(found["kl"][0])]
    if not len(added):
        return {"best_warning": check(None, "no seed has runs before its peak and runs past it")}
    told = lambda values: with_interval(float(np.mean(values)), curves.interval(values))
    chosen = ", ".join(dict.fromkeys(names[k] for k in best))
    says = f"area of KL alone {told(alone)}; the signal that is best on the other seeds ({chosen}) adds {told(added)}"
    return {"best_warning": check(surely(curves.interval(added)) if len(added) > 1 else None, says)}


def draw(folder, gs, warned) -> list[Figure]:
    figure, axes = figures.tiles(len(SHOWN), 4, width=3.2, height=2.6)
    for ax, (name, title) in zip(axes, SHOWN.items(), strict=True):
        for g, tint, marker in zip(gs, figures.colours(len(gs)), figures.MARKERS * 2, strict=False):
            figures.plain_line(ax, variants.along(g, "kl").mean(0), variants.along(g, name), tint, marker, band=False)
            at = int(variants.along(g).mean(0).argmax())
            ax.axvline(variants.along(g, "kl").mean(0)[at], color=tint, lw=0.8, ls=":", zorder=1)
        figures.kl_axis(ax, max(variants.along(g, "kl").mean(0).max() for g in gs))
        ax.set_title(title)
        ax.set_xlabel("KL (nats)")
    figures.key_outside(figure, [g.label for g in gs], "variant", [])
    caption = "Behaviours along the run, means over seeds; dotted: where that policy's gold peaks."
    drawn = [Figure(figures.save(figure, folder, "behaviours"), caption)]
    figure, (ax,) = figures.panels(1, width=6.0, height=0.5 + 0.28 * len(warned))
    figures.bars(ax, warned["signal"], warned["added"], warned["added_low"], warned["added_high"], reference=0.0)
    ax.set_xlabel("area under the ROC curve for 'past the peak of gold', minus that of KL alone")
    caption = "Early warning: what the change of each quantity since the start adds to KL, on seeds that no model saw."
    return [*drawn, Figure(figures.save(figure, folder, "early_warning"), caption)]
