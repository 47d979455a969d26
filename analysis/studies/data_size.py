"""Preference-data size: the paper's figures 4, 6, 17 and 18, after one pass over the pairs and until convergence."""

import dataclasses

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check, excludes_zero
from analysis.numbers import slug, with_interval
from analysis.runs import peak
from analysis.studies import rm_size
from analysis.templates import scaling, variants
from gold_sim import laws

LEGEND = "training pairs"


def study(data, folder) -> Findings:
    """The findings of the first way of training; those of the other ways lie beside them, and all are compared."""
    ways = data.by_variant()
    found = [of_way(way, folder, f"_{slug(key)}" if i else "") for i, (key, way) in enumerate(ways.items())]
    if len(found) == 1:
        return found[0]
    title = "Ways of training: reward models, and gold (s.d.); differences are from the first way, in pairs of seeds"
    compared = tables.Table("ways", title, pd.DataFrame(compare(ways)))
    first = found[0]
    summary = first.summary | {"ways": {key: one.summary for key, one in zip(ways, found, strict=True)}}
    drawn = [first.figures[0], draw_ways(ways, folder), *first.figures[1:]]
    made = [compared, *first.tables]
    for one in found[1:]:
        drawn, made = drawn + one.figures, made + one.tables
    return Findings(summary, drawn, made)


def of_way(data, folder, ending: str) -> Findings:
    """The findings of one way of training.  ending: of the names of its figures and tables."""
    groups = curves.groups(data.curves, data.axis)
    fits = {method: [curves.law(g) for g in gs] for method, gs in groups.items()}
    found = scaling.coefficients(groups)
    entries = {
        (g.key, method): scaling.law_and_peak(g, fits[method][i])
        for method, gs in groups.items()
        for i, g in enumerate(gs)
    }
    keys = sorted({key for key, _ in entries})
    sizes = [
        {data.axis: key}
        | rm_size.reward_model(data, key)
        | {method: entries[key, method] for method in groups if (key, method) in entries}
        for key in keys
    ]
    shared = curves.seed_fits_shared(groups.get("rl", []))
    which, verdict_tables = scaling.verdicts(data.axis, groups)
    summary = {
        "verdict": which,
        "sizes": sizes,
        "trends": {name: one.trend for name, one in found.items()},
        "shared_alpha_rl": laws.law_fit(shared[0]).alpha if shared else None,
        "checks": checks(data, groups, found, fits) | scaling.which_form(which),
    }
    rows = [{data.axis: key} | entry for (key, _), entry in entries.items()]
    made = rm_size.make_tables(data, groups, rows) + verdict_tables
    made = [
        dataclasses.replace(one, name=one.name + ending, title=one.title + ending.replace("_", ", ")) for one in made
    ]
    return Findings(summary, draw(data, folder, groups, fits, found, ending), made)


def compare(ways: dict) -> list[dict]:
    """A row for each number of pairs and way: what its reward models reach, and gold at its peak and at the end."""
    out, base = [], None
    for label, way in ways.items():
        groups = {(g.key, method): g for method, gs in curves.groups(way.curves, way.axis).items() for g in gs}
        base = base or groups
        for pairs, models in way.reward_models.groupby(way.axis, sort=True):
            row = {way.axis: pairs, "way": label}
            for name in ("val_accuracy", "val_loss"):
                row |= tables.spread({name: models[name].mean(), f"{name}_ci": curves.interval(models[name])}, name)
            row |= models[["steps", "epochs_run", "converged"]].mean().to_dict()
            for method in [m for m in ("bon", "rl") if (pairs, m) in groups and (pairs, m) in base]:
                row |= of_gold(curves.METHOD_NAMES[method], base[pairs, method], groups[pairs, method])
            out.append(row)
    return out


def of_gold(name: str, base: curves.Group, g: curves.Group) -> dict:
    """Gold at the peak of the mean curve and at its end, and the end minus another way's."""
    seen, out = curves.observed(g), {}
    for at in ("gold_peak", "gold_final"):
        out |= tables.spread(
            {f"{name} {at[5:]}": seen[at], f"{name} {at[5:]}_ci": seen[f"{at}_ci"]}, f"{name} {at[5:]}"
        )
    gain = variants.against(base, g)
    title = f"{name} final minus first"
    return out | tables.spread({title: gain["final_gain"], f"{title}_ci": gain["final_gain_ci"]}, title)


def draw_ways(ways: dict, folder) -> Figure:
    """Accuracy and peaks of gold against the number of pairs, a line a way."""
    figure, axes = figures.panels(3, width=3.9, height=3.1)
    titles = ("Validation accuracy", "Best-of-n: peak of gold", "RL: peak of gold")
    for way, tint, marker in zip(ways.values(), figures.colours(len(ways)), figures.MARKERS, strict=False):
        models = {key: part["val_accuracy"].to_numpy() for key, part in way.reward_models.groupby(way.axis, sort=True)}
        groups = curves.groups(way.curves, way.axis)
        peaks = {m: {g.key: peak(variants.along(g)) for g in groups.get(m, [])} for m in ("bon", "rl")}
        for ax, values in zip(axes, (models, peaks["bon"], peaks["rl"]), strict=True):
            for pairs, of_seed in values.items():
                ax.plot([pairs] * 2, curves.interval(of_seed), color=tint, lw=1.6)
            means = [np.mean(of_seed) for of_seed in values.values()]
            ax.plot(list(values), means, color=tint, marker=marker, lw=1.2, **figures.MARKED)
    for ax, title in zip(axes, titles, strict=True):
        figures.log_axis(ax, sorted(next(iter(ways.values())).reward_models["num_pairs"].unique()), LEGEND)
        ax.set_title(title)
    figures.key_outside(figure, list(ways), "trained for", [])
    caption = "Reward models and gold by the number of pairs: after one pass, and trained until convergence."
    return Figure(figures.save(figure, folder, "ways"), caption)


def checks(data, groups, found, fits) -> dict:
    out = {"proxy_rises": scaling.proxy_rises(groups)}
    for method, gs in groups.items():
        if len(gs) > 1:
            out[f"peak_rises_{method}"] = scaling.peak_rises(gs)
    if "bon_alpha" in found:
        out["bon_alpha_slope"] = scaling.slope_is_real("alpha_bon", found["bon_alpha"].trend)
    if len(data.reward_models):
        table = data.reward_models.pivot_table(index="seed", columns=data.axis, values="val_loss").dropna()
        if len(table) and len(table.columns) > 1:
            trend = laws.trend(np.log10(table.columns.to_numpy(float)), table.to_numpy())
            says = f"slope of validation loss: {with_interval(trend.slope, trend.slope_ci)} nats per tenfold data"
            falls = excludes_zero(trend.slope_ci)
            out["loss_falls"] = check(None if falls is None else falls and trend.slope < 0, says, slope=trend.slope)
    return out | scaling.law_checks(groups, fits)


def draw(data, folder, groups, fits, found, ending="") -> list[Figure]:
    caption = "against KL for one reward-model size and several amounts of data."
    out = [scaling.score_figure(folder, f"gold{ending}", groups, fits, LEGEND, caption)]
    out += scaling.coefficient_figure(folder, f"coefficients{ending}", found, LEGEND)
    return out + rm_size.reward_model_figure(data, folder, data.axis, LEGEND, f"reward_models{ending}")
