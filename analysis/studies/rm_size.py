"""Reward-model size: the paper's figures 1 to 3, with the attributes behind the fall and the reward models' losses.

RL has two curves a size: the path without penalty, and the frontier of penalised runs at their equilibria.
"""

import numpy as np

from analysis import curves, faithfulness
from analysis.drawing import figures, tables
from analysis.findings import Figure, Findings
from analysis.templates import equal_kl, scaling
from gold_sim import laws
from gold_sim.store.columns import CURVE_COLUMNS

OF_RL = {"rl": "RL without penalty", "frontier": "RL at equilibrium"}  # titles where there are both


def study(data, folder) -> Findings:
    groups = curves.groups(data.curves, data.axis)
    fits = {method: [curves.law(g) for g in gs] for method, gs in groups.items()}
    found = scaling.coefficients(groups)
    shared = curves.seed_fits_shared(groups.get("rl", []))
    shared_fits = [laws.law_fit(one) for one in shared]

    rows = []
    entries = {}
    for method, gs in groups.items():
        for i, g in enumerate(gs):
            entry = scaling.law_and_peak(g, fits[method][i])
            if method == "rl" and shared_fits:
                entry |= {"beta_shared": shared_fits[i].beta, "beta_shared_ci": shared_fits[i].beta_ci}
                entry |= {"r2_shared": shared_fits[i].r2}
            entries.setdefault(g.key, {})[method] = entry
            rows.append({data.axis: g.key} | entry)
    which, verdict_tables = scaling.verdicts(data.axis, groups)
    apart = equal_kl.of_frontier(groups)
    summary = {
        "verdict": which,
        "sizes": [
            {data.axis: key} | reward_model(data, key) | entries[key] | apart.get(key, {}) for key in sorted(entries)
        ],
        "trends": {name: one.trend for name, one in found.items()},
        "shared_alpha_rl": shared_fits[0].alpha if shared else None,
        "shared_alpha_rl_ci": shared_fits[0].alpha_ci if shared else None,
        "checks": checks(groups, fits, found) | checks_of_frontier(groups, apart) | faithfulness.checks(data),
    }
    made = make_tables(data, groups, rows) + verdict_tables
    if apart:
        made += [equal_kl.differences_table(data.axis, apart), equal_kl.equilibria_table(data.axis, groups["frontier"])]
    return Findings(summary, draw(data, folder, groups, fits, found), made)


def reward_model(data, key) -> dict:
    """Seed means of what the reward models of one size reach on held-out pairs."""
    part = data.reward_models[data.reward_models[data.axis] == key]
    return {name: float(part[name].mean()) if len(part) else None for name in ("val_accuracy", "val_loss", "ece")}


def checks(groups, fits, found) -> dict:
    out = {"proxy_rises": scaling.proxy_rises(groups)}
    if "rl" in groups:
        out["rl_reaches_far"] = scaling.reaches_far(groups["rl"])
        out["rl_falls"] = scaling.falls(groups["rl"])
    for method, gs in groups.items():
        if len(gs) > 1:
            out[f"peak_rises_{method}"] = scaling.peak_rises(gs)
    if len(groups.get("bon", [])) > 1:
        out["smallest_bon_flattens"] = scaling.flattens(groups["bon"])
    for name, title in (("bon_alpha", "alpha_bon"), ("rl_beta", "beta_rl")):
        if name in found:
            out[f"{name}_slope"] = scaling.slope_is_real(title, found[name].trend)
    return out | scaling.law_checks(groups, fits)


def checks_of_frontier(groups, apart) -> dict:
    if "frontier" not in groups:
        return {}
    below = equal_kl.path_is_below(apart, figures.short)
    return {"path_below_frontier": below, "frontier_is_steady": equal_kl.is_steady(groups["frontier"])}


def draw(data, folder, groups, fits, found) -> list[Figure]:
    legend = "RM parameters"
    caption = "against KL by reward-model size; thin lines: the fitted laws."
    titles = figures.METHOD_NAMES | (OF_RL if "frontier" in groups else {})
    out = [scaling.score_figure(folder, "gold", groups, fits, legend, caption, titles=titles)]
    out += scaling.coefficient_figure(folder, "coefficients", found, legend)
    if "rl" in groups:
        out.append(ledger(folder, groups["rl"], legend))
    return out + reward_model_figure(data, folder, data.axis, legend)


def ledger(folder, gs, legend) -> Figure:
    """What the responses turn into: the attributes of the language against KL, four in a row."""
    names = curves.attributes(gs)
    rows = -(-len(names) // 4)
    size = dict(figsize=(12.4, 2.6 * rows), squeeze=False)
    figure, axes = figures.plt.subplots(rows, 4, layout="constrained", sharex=True, **size)
    for i, (ax, name) in enumerate(zip(axes.flat, names, strict=False)):
        unit = CURVE_COLUMNS[name].unit if name in CURVE_COLUMNS else ""
        figures.curves_of(ax, gs, name, name.removeprefix("attr_"), unit)
        ax.set_xlabel("KL (nats)" if i >= len(names) - 4 else "")
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    figures.key_outside(figure, [g.key for g in gs], legend, [])
    caption = "Ledger of the rubric's attributes of RL policies: where the proxy's optimum parts from gold's."
    return Figure(figures.save(figure, folder, "attributes"), caption)


def reward_model_figure(data, folder, axis, legend, name="reward_models") -> list[Figure]:
    if data.reward_models.empty:
        return []
    parts = list(data.reward_models.groupby(axis, sort=True))
    sizes = [key for key, _ in parts]
    figure, axes = figures.panels(2, width=3.9, height=3.1)
    loss, accuracy = ([part[name].to_numpy() for _, part in parts] for name in ("val_loss", "val_accuracy"))
    figures.dots(axes[0], sizes, loss, "Validation loss (nats a pair)", legend, (np.log(2), "chance, ln 2"))
    figures.dots(axes[1], sizes, accuracy, "Validation accuracy", legend)
    caption = "Reward models on held-out pairs: loss against the given labels, accuracy against gold's order."
    return [Figure(figures.save(figure, folder, name), caption)]


def make_tables(data, groups, rows) -> list[tables.Table]:
    out = [tables.laws_table(data.axis, rows)]
    if "rl" in groups:
        out.append(tables.ledger_table(data.axis, groups["rl"], "Attributes of RL policies (seed means)"))
    if len(data.reward_models):
        out.append(tables.reward_models_table(data.axis, data.reward_models))
    return out
