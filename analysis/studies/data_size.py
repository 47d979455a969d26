"""Preference-data size: the paper's figures 4, 6, 17 and 18."""

import numpy as np

from analysis import curves
from analysis.findings import Figure, Findings
from analysis.judgement import check, excludes_zero
from analysis.numbers import with_interval
from analysis.studies import rm_size
from analysis.templates import scaling
from gold_sim import laws

LEGEND = "training pairs"


def study(data, folder) -> Findings:
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
    return Findings(
        summary, draw(data, folder, groups, fits, found), rm_size.make_tables(data, groups, rows) + verdict_tables
    )


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
    return out | {f"r2_{method}": scaling.fits_well(method, f) for method, f in fits.items()}


def draw(data, folder, groups, fits, found) -> list[Figure]:
    caption = "against KL for one reward-model size and several amounts of data."
    out = [scaling.score_figure(folder, "gold", groups, fits, LEGEND, caption)]
    out += scaling.coefficient_figure(folder, "coefficients", found, LEGEND)
    return out + rm_size.reward_model_figure(data, folder, data.axis, LEGEND)
