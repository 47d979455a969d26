"""Reward-model size by preference data under best-of-n: one surface, and what of a reward model foretells its fate."""

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis import curves
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.judgement import check, excludes_zero
from analysis.numbers import number, with_interval
from analysis.studies import diagnostics
from analysis.templates import scaling
from gold_sim.laws import surface

FORM = "bon"
NAMES = ("log10_params", "log10_pairs")


def study(data, folder) -> Findings:
    groups = by_size_and_data(data.curves)
    one = joint_surface(groups)
    fits = {key: curves.law(g) for key, g in groups.items()}
    entries = [entry(key, g, fits[key], data.reward_models) for key, g in groups.items()]
    scores = diagnostics.score(data)
    named = [replace(g, label=f"{figures.short(params)} x {pairs:,}") for (params, pairs), g in groups.items()]
    which, verdict_tables = scaling.verdicts("size x pairs", {FORM: named})
    summary = {
        "verdict": which,
        "cells": entries,
        "surface": one,
        "diagnostics": scores.to_dict("records"),
        "checks": checks(entries, one, scores) | scaling.which_form(which),
    }
    made = [tables.Table("cells", "Best-of-n by reward-model size and training pairs", pd.DataFrame(flat(entries)))]
    if one:
        made.append(surface_table(one))
    if len(scores):
        made.append(tables.Table("diagnostics", diagnostics.TITLE, scores))
    return Findings(summary, draw(folder, entries), made + verdict_tables)


def by_size_and_data(table: pd.DataFrame) -> dict:
    """(rm_params, num_pairs) -> group of its best-of-n runs."""
    part = curves.methods(table)[FORM]
    return {key: curves.group(rows, FORM, key) for key, rows in part.groupby(["rm_params", "num_pairs"], sort=True)}


def joint_surface(groups: dict) -> surface.Surface | None:
    """alpha(N, D), beta(N, D) in one step over every run; None where the grid has no extent."""
    runs = []
    for (params, pairs), g in groups.items():
        at = (np.log10(params), np.log10(pairs))
        runs += [surface.Run(d, gold, at, seed) for d, gold, seed in zip(*curves.gains(g), g.seeds, strict=True)]
    try:
        return surface.surface(FORM, runs, NAMES)
    except ValueError:
        return None


def entry(key, g, fit, reward_models) -> dict:
    params, pairs = key
    rows = reward_models[(reward_models["rm_params"] == params) & (reward_models["num_pairs"] == pairs)]
    seen = curves.observed(g)
    out = {"rm_params": int(params), "num_pairs": int(pairs), "alpha": fit.alpha, "alpha_ci": fit.alpha_ci}
    out |= {"beta": fit.beta, "beta_ci": fit.beta_ci, "r2": fit.r2, "d_peak_fit": fit.d_peak}
    out |= {name: seen[name] for name in ("gold_peak", "gold_peak_ci", "gold_final", "gold_final_ci", "d_final")}
    return out | {name: float(rows[name].mean()) for name in ("val_loss", "val_accuracy")}


def flat(entries) -> list[dict]:
    rows = []
    for e in entries:
        row = {name: e[name] for name in ("rm_params", "num_pairs", "val_loss", "val_accuracy")}
        for name in ("alpha", "beta", "gold_peak", "gold_final"):
            row |= tables.spread(e, name)
        rows.append(row | {"r2": e["r2"]})
    return rows


def surface_table(one) -> tables.Table:
    rows = []
    for name in ("alpha", "beta"):
        for term, value, (low, high) in zip(one.terms, getattr(one, name), getattr(one, f"{name}_ci"), strict=True):
            rows.append({"coefficient": name, "of": term, "value": value, "value_low": low, "value_high": high})
    title = f"One surface for all cells: coefficients of the best-of-n law per tenfold size and data (R² {one.r2:.3f})"
    return tables.Table("surface", title, pd.DataFrame(rows))


def checks(entries, one, scores) -> dict:
    out = {}
    if one:
        for i, name in enumerate(one.terms[1:], 1):
            what, rises = name.removeprefix("log10_"), excludes_zero(one.alpha_ci[i])
            says = f"alpha_bon per tenfold {what}: {with_interval(one.alpha[i], one.alpha_ci[i])}"
            out[f"alpha_rises_with_{what}"] = check(None if rises is None else rises and one.alpha[i] > 0, says)
    loss, gold = (np.array([e[name] for e in entries]) for name in ("val_loss", "gold_final"))
    if len(loss) > 3:
        rank = float(pd.Series(loss).corr(pd.Series(gold), method="spearman"))
        says = f"Spearman of validation loss and gold at the largest n over {len(loss)} cells: {rank:.2f}"
        out["loss_foretells_gold"] = check(rank < -0.8, says, spearman=rank)
    least = min(e["num_pairs"] for e in entries)
    small = [e for e in entries if e["num_pairs"] == least]
    says = f"gold at the largest n with {least:,} pairs: "
    says += ", ".join(f"{figures.short(e['rm_params'])} {number(e['gold_final'])}" for e in small)
    out["few_pairs_gain_nothing"] = check(all(e["gold_final_ci"][0] <= 0 for e in small), says)
    if len(scores):
        fate = scores[scores["outcome"] == diagnostics.OUTCOMES["gold_far"]]
        best = fate.loc[fate["spearman"].abs().idxmax()]
        interval = (best["spearman_low"], best["spearman_high"])
        says = f"best predictor of gold at a fixed KL: {best['diagnostic']}, "
        says += f"Spearman {with_interval(best['spearman'], interval)}"
        out["a_diagnostic_foretells_gold"] = check(excludes_zero(interval), says)
    return out


def draw(folder, entries) -> list[Figure]:
    out = [loss_against_gold(folder, entries), heat_map(folder, entries), by_data(folder, entries)]
    return [one for one in out if one is not None]


def loss_against_gold(folder, entries) -> Figure:
    figure, (ax,) = figures.panels(1, width=5.6, height=3.8)
    loss_panel(ax, entries)
    sizes = sorted({e["rm_params"] for e in entries})
    figures.key_outside(figure, sizes, "RM parameters", [])
    caption = "Validation loss against gold of best-of-n at the largest n: a point a (size, data) cell, seed means."
    return Figure(figures.save(figure, folder, "loss_against_gold"), caption)


def loss_panel(ax, entries):
    sizes = sorted({e["rm_params"] for e in entries})
    for i, (size, tint) in enumerate(zip(sizes, figures.colours(len(sizes)), strict=True)):
        part = [e for e in entries if e["rm_params"] == size]
        ax.plot([e["val_loss"] for e in part], [e["gold_final"] for e in part], color=tint, lw=0.8, alpha=0.6)
        ax.plot([e["val_loss"] for e in part], [e["gold_final"] for e in part], ls="", color=tint, **figures.MARKED,
                marker=figures.MARKERS[i % len(figures.MARKERS)])  # fmt: skip
    ax.axvline(np.log(2), color=figures.FAINT, lw=0.9, ls=":")
    ax.axhline(0, color=figures.FAINT, lw=0.8, zorder=1)
    ax.set_xlabel("validation loss (nats a pair); dotted: chance")
    ax.set_ylabel("gold at the largest n (gold s.d.)")


def heat_map(folder, entries) -> Figure | None:
    figure, (ax,) = figures.panels(1, width=5.4, height=3.8)
    if not heat_panel(figure, ax, entries):
        figures.plt.close(figure)
        return None
    caption = "Gold of best-of-n at the largest n by reward-model size and data (the paper calls it a maximum)."
    return Figure(figures.save(figure, folder, "heat_map"), caption)


def heat_panel(figure, ax, entries) -> bool:
    frame = pd.DataFrame(entries).pivot_table(index="rm_params", columns="num_pairs", values="gold_final")
    if frame.isna().to_numpy().any() or min(frame.shape) < 2:
        return False
    x, y = np.arange(frame.shape[1]), np.arange(frame.shape[0])
    image = ax.imshow(frame.to_numpy(), origin="lower", aspect="auto", cmap="viridis")
    ax.grid(False)
    if min(frame.shape) > 2:
        ax.contour(x, y, frame.to_numpy(), colors="white", linewidths=0.7, levels=6)
    ax.set_xticks(x, [figures.short(v) for v in frame.columns])
    ax.set_yticks(y, [figures.short(v) for v in frame.index])
    ax.set_xlabel("training pairs")
    ax.set_ylabel("RM parameters")
    figure.colorbar(image, ax=ax, label="gold at the largest n (s.d.)")
    return True


def by_data(folder, entries) -> Figure:
    figure, axes = figures.panels(2, width=4.4, height=3.4)
    data_panel(axes[0], entries, "val_loss", "validation loss (nats a pair)", (np.log(2), "chance, ln 2"))
    data_panel(axes[1], entries, "gold_final", "gold at the largest n (gold s.d.)", (0.0, ""))
    figures.key_outside(figure, sorted({e["rm_params"] for e in entries}), "RM parameters", [])
    caption = "Validation loss (left) and best-of-n gold at the largest n (right) against training pairs, by RM size."
    return Figure(figures.save(figure, folder, "by_data"), caption)


def data_panel(ax, entries, name, ylabel, reference):
    sizes = sorted({e["rm_params"] for e in entries})
    for i, (size, tint) in enumerate(zip(sizes, figures.colours(len(sizes)), strict=True)):
        part = [e for e in entries if e["rm_params"] == size]
        marker = figures.MARKERS[i % len(figures.MARKERS)]
        ax.plot([e["num_pairs"] for e in part], [e[name] for e in part], color=tint, marker=marker, **figures.MARKED)
    ax.axhline(reference[0], color=figures.FAINT, lw=0.9, ls=":")
    ax.annotate(reference[1], (0.99, reference[0]), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                fontsize=8, color=figures.FAINT)  # fmt: skip
    figures.log_axis(ax, sorted({e["num_pairs"] for e in entries}), "training pairs")
    ax.set_ylabel(ylabel)


def averaged(entries, name) -> tuple[list, list]:
    """(numbers of pairs, [G] of [sizes] values): a coefficient by data, one value a size (figures 17 and 18)."""
    pairs = sorted({e["num_pairs"] for e in entries})
    return pairs, [np.array([e[name] for e in entries if e["num_pairs"] == p]) for p in pairs]
