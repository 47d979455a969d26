"""Curves compared along a size (reward-model parameters, training pairs): laws, trends of coefficients, checks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import curves, runs
from analysis.drawing import figures, tables
from analysis.findings import Figure
from analysis.judgement import check, disjoint_and_above, excludes_zero, mean_in_words, surely
from analysis.numbers import number, with_interval
from gold_sim import laws
from gold_sim.laws import comparison

RISING = 2.0  # standard errors by which a mean proxy curve may fall below its own maximum and still count as rising
FAR = 4.0  # nats^0.5 that RL is wanted to reach, so that there is over-optimisation to see
FLAT = 0.25  # last-quarter slope over first-quarter slope below which a gold curve counts as flattened
R2_WANTED = {"bon": 0.98, "frontier": 0.95}  # median over sizes
RMSE_WANTED = 0.05  # gold s.d., of a law on the mean of all seeds, at every size
NAMED = ("rl", "bon", "log1p", "power")  # forms of which left-out runs name the one that RL's path follows


def law_and_peak(g: curves.Group, fit: laws.LawFit) -> dict:
    """One group's entry of summary.json: d_peak, gold_peak.. are observed (`curves.observed`), .._fit the law's."""
    return {
        "method": g.method,
        "form": g.form,
        "runs": len(g.runs),
        "seeds": len(g.values["gold"]),
        "alpha": fit.alpha,
        "alpha_ci": fit.alpha_ci,
        "beta": fit.beta,
        "beta_ci": fit.beta_ci,
        "r2": fit.r2,
        "converged": fit.converged,
        **curves.observed(g),
        "d_peak_fit": fit.d_peak,
        "d_peak_fit_ci": fit.d_peak_ci,
        "gold_peak_fit": fit.gold_peak,
        "gold_peak_fit_ci": fit.gold_peak_ci,
    }


def laws_of(data) -> tuple[dict, dict, list[dict]]:
    """(method -> groups by the compared column, method -> their fits, one row a group for tables.laws_table)."""
    groups = curves.groups(data.curves, data.axis)
    fits = {method: [curves.law(g) for g in gs] for method, gs in groups.items()}
    pairs = [pair for method, gs in groups.items() for pair in zip(gs, fits[method], strict=True)]
    return groups, fits, [{data.axis: g.key} | law_and_peak(g, fit) for g, fit in pairs]


def by_size(axis: str, rows: list[dict]) -> list[dict]:
    """The rows of `laws_of` for summary.json: of each size, its row by method."""
    keys = sorted({row[axis] for row in rows})
    return [{axis: key} | {row["method"]: row for row in rows if row[axis] == key} for key in keys]


@dataclass(frozen=True)
class Coefficients:
    """One coefficient along the sizes, seed by seed, and its trend per tenfold size."""

    sizes: np.ndarray  # [G]
    per_seed: np.ndarray  # [S, G]
    trend: laws.Trend


def coefficients(groups: dict) -> dict[str, Coefficients]:
    """bon_alpha, bon_beta and, at one alpha shared by all sizes (Gao et al. 2023, figure 3c), rl_beta."""
    out = {}
    if bon := curves.seed_fits(groups.get("bon", [])):
        out["bon_alpha"] = _coefficients(groups["bon"], [f.per_unit[:, 0] for f in bon])
        out["bon_beta"] = _coefficients(groups["bon"], [f.per_unit[:, 1] for f in bon])
    if rl := curves.seed_fits_shared(groups.get("rl", [])):
        out["rl_beta"] = _coefficients(groups["rl"], [f.per_unit[:, 1] for f in rl])
    return out


def _coefficients(gs, per_group):
    sizes, per_seed = np.array([g.key for g in gs], float), np.stack(per_group, axis=-1)
    keep = np.isfinite(per_seed).all(0)
    sizes, per_seed = sizes[keep], per_seed[:, keep]
    return Coefficients(sizes, per_seed, laws.trend(np.log10(sizes), per_seed))


def coefficient_figure(folder, name, found: dict[str, Coefficients], xlabel) -> list[Figure]:
    titles = {
        "bon_alpha": r"$\alpha_\mathrm{bon}$ (gold s.d. / nat$^{1/2}$)",
        "bon_beta": r"$\beta_\mathrm{bon}$ (gold s.d. / nat)",
        "rl_beta": r"$\beta_\mathrm{RL}$ at one shared $\alpha_\mathrm{RL}$",
    }
    drawable = [n for n in titles if n in found and len(found[n].sizes)]
    if not drawable:
        return []
    figure, axes = figures.panels(len(drawable), width=3.7, height=3.1)
    for ax, n in zip(axes, drawable, strict=True):
        figures.coefficient(ax, found[n].sizes, found[n].per_seed, found[n].trend, titles[n], xlabel)
    caption = "Coefficients of the laws. Bars and band: 90% intervals over seeds; line: least squares in log size."
    return [Figure(figures.save(figure, folder, name), caption)]


def score_figure(folder, name, groups, fits, legend, caption, over="seeds", titles=figures.METHOD_NAMES) -> Figure:
    """A panel a method, best-of-n on the left, with one legend for all.

    caption: what follows the names of the lines.  titles: method -> title of its panel.
    """
    every = [g for gs in groups.values() for g in gs]
    keys = sorted({g.key for g in every})
    figure, axes = figures.panels(len(groups))
    for ax, (method, gs) in zip(axes, groups.items(), strict=True):
        figures.scores(ax, gs, fits and fits[method], titles[method], keys)
    figures.key_outside(figure, keys, legend, figures.styles_of_scores(every, with_law=bool(fits), over=over))
    return Figure(figures.save(figure, folder, name), f"{figures.lines_of(every)} {caption}")


# --- which form the curves follow -----------------------------------------------------------------

SIZES = ("rm_params", "num_pairs", "policy_params")  # compared columns along whose logarithm coefficients are lines
CUT = 0.6  # share of the reach in d below which laws are fitted when extrapolation is tested


def verdicts(axis: str, groups: dict) -> tuple[dict, list[tables.Table]]:
    """(entries of summary.json, tables): for each group the form that its runs follow, and how its law extrapolates.

    left_out_sizes: error of each form on a size whose coefficients are predicted from the other sizes, RMS over sizes.
    """
    rows, sizes = [], {}
    for method, gs in groups.items():
        for g in gs:
            keep = g.d >= laws.FORMS["rl"].d_min
            d, gold = g.d[keep], g.values["gold"][:, keep]
            if len(d) < 8 or len(gold) < 3 or np.sum(d <= CUT * d[-1]) < 4:  # too short a way to tell forms apart
                continue
            found = comparison.verdict(d, gold)
            ahead = comparison.extrapolate(g.form, d, gold, CUT * d[-1])
            rows.append(
                {axis: g.label, "method": curves.METHOD_NAMES[method], "verdict": found.form or "cannot tell"}
                | {f"error {name}": found.scores[name] for name in SHOWN}
                | {"not beaten": ", ".join(found.rivals), "extrapolation error": ahead.error}
                | {"extrapolation coverage": ahead.coverage, "text": found.text}
            )
        if axis in SIZES and len(gs) > 2:
            parts = [(np.log10(g.key), g.d[g.d > 0.3], g.mean("gold")[g.d > 0.3]) for g in gs]
            errors = comparison.leave_out_sizes(parts)
            sizes[method] = {name: float(np.sqrt(np.mean(e**2))) for name, e in errors.items()}
    summary = {"groups": rows, "left_out_sizes": sizes, "text": sentence(rows, sizes)}
    frame = pd.DataFrame(rows).drop(columns="text") if rows else pd.DataFrame()
    title = f"Which form the runs follow: errors on left-out runs (gold s.d.); extrapolation from {CUT:.0%} of d"
    return summary, [tables.Table("verdicts", title, frame)] if rows else []


SHOWN = ("bon", "rl", "log1p", "quadratic")


def which_form(summary) -> dict:
    """The verdict on forms, as a check with no expected outcome."""
    return {"which_form": check(None, summary["text"])}


def sentence(rows, sizes) -> str:
    """The verdict of an experiment in words."""
    parts = []
    for method in dict.fromkeys(row["method"] for row in rows):
        named = pd.Series([row["verdict"] for row in rows if row["method"] == method]).value_counts()
        parts.append(f"{method}: " + ", ".join(f"{name} in {count} of {named.sum()}" for name, count in named.items()))
    for method, errors in sizes.items():
        best = min(errors, key=errors.get)
        parts.append(
            f"a left-out {curves.METHOD_NAMES[method]} size is predicted best by {best} ({number(errors[best])} s.d.)"
        )
    return "; ".join(parts) + "." if parts else "cannot tell: fewer than three runs a group."


# --- checks of the expected phenomenon ------------------------------------------------------------


def proxy_rises(groups: dict) -> dict:
    """Every seed-averaged proxy curve keeps rising: falls below its own maximum stay within RISING standard errors."""
    worst = {
        f"{curves.METHOD_NAMES[method]} {figures.short(g.key)}": proxy_fall(g)
        for method, gs in groups.items()
        for g in gs
    }
    where = max(worst, key=lambda name: worst[name][0] / worst[name][1])
    fall, se = worst[where]
    says = f"largest fall of a mean proxy curve below its own maximum: {fall:.3f}, {fall / se:.1f} s.e. ({where})"
    return check(all(f <= RISING * s for f, s in worst.values()), says, largest_fall=fall, largest_fall_se=se)


def proxy_fall(g: curves.Group) -> tuple[float, float]:
    """(fall, s.e.) of the mean proxy below its running maximum, where it is largest in standard errors.

    The s.e. is of the paired difference between seeds, and not below that of evaluation over prompts.
    """
    proxy = g.values["proxy"]
    mean = proxy.mean(0)
    top = np.array([int(np.argmax(mean[: t + 1])) for t in range(len(mean))])
    falls = proxy[:, top] - proxy  # [S, T]
    noise = curves.at_distance(g, "proxy_se", g.d)
    se = np.sqrt((noise**2 + noise[:, top] ** 2).mean(0) / len(proxy))
    if len(proxy) > 1:
        se = np.fmax(se, falls.std(0, ddof=1) / np.sqrt(len(proxy)))  # fmax: proxy_se may be NaN
    se = np.where(se > 1e-9, se, 1e-9)  # also NaN: one seed of unknown noise may not fall at all
    at = int(np.argmax(falls.mean(0) / se))
    return float(falls[:, at].mean()), float(se[at])


def reaches_far(gs: list) -> dict:
    """RL of every size and seed gets as far as FAR from the reference policy."""
    reach = {(g.key, seed): run["d"].max() for g in gs for seed, run in zip(g.seeds, g.runs, strict=True)}
    (key, seed), d = min(reach.items(), key=lambda item: item[1])
    where = f"size {figures.short(key)}, seed {seed}"
    says = f"least sqrt(KL) that an RL run reaches: {d:.2f} ({where}), at least {FAR:g} wanted"
    return check(d >= FAR, says, least_d=float(d))


def falls(gs: list) -> dict:
    """Gold falls from the earlier seeds' peak to the end of the curve, in the mean of all sizes.

    A seed's fall is the mean of its falls under all sizes, because sizes share a seed's draws.
    """
    shared = curves.on_common_seeds(gs)
    lost = np.stack([runs.fall_from_peak(g.values["gold"]) for g in shared]) if shared else np.full((1, 1), np.nan)
    interval = curves.interval(lost.mean(0))
    each = "; ".join(f"{figures.short(g.key)} {mean_in_words(of)}" for g, of in zip(shared, lost, strict=False))
    says = f"gold lost from the peak to the end: {with_interval(float(lost.mean()), interval)} over all sizes; {each}"
    return check(surely(interval), says, drop=float(lost.mean()), drop_ci=interval)


def peak_rises(gs: list) -> dict:
    """The largest group's observed peak is above the smallest's, with disjoint intervals."""
    small, large = curves.observed(gs[0]), curves.observed(gs[-1])
    says = (
        f"{curves.METHOD_NAMES[gs[0].method]} peak gold {with_interval(small['gold_peak'], small['gold_peak_ci'])} at "
        f"{figures.short(gs[0].key)}, {with_interval(large['gold_peak'], large['gold_peak_ci'])} at "
        f"{figures.short(gs[-1].key)}"
    )
    holds = disjoint_and_above(large["gold_peak_ci"], small["gold_peak_ci"])
    return check(holds, says, smallest=small["gold_peak"], largest=large["gold_peak"])


def quarter_slopes(g: curves.Group) -> tuple[np.ndarray, np.ndarray]:
    """Mean slope of gold over the first and the last quarter of d, [S] each, gold s.d. per nat^0.5."""
    end = g.d[-1]
    at = curves.at_distance(g, "gold", np.array([0.0, 0.25, 0.75, 1.0]) * end)
    return (at[:, 1] - at[:, 0]) / (end / 4), (at[:, 3] - at[:, 2]) / (end / 4)


def flattens(gs: list) -> dict:
    """Best-of-n: the smallest flattens or turns (see FLAT) while the largest still rises at the end."""
    first, last = quarter_slopes(gs[0])
    ratio = float(last.mean() / first.mean()) if first.mean() > 0 else float("nan")
    _, rising = quarter_slopes(gs[-1])
    interval = curves.interval(rising)
    low = interval[0] if np.isfinite(interval[0]) else rising.mean()
    says = (
        f"slope of gold over the last quarter of d: at {figures.short(gs[0].key)} {ratio:.0%} of the first quarter's; "
        f"at {figures.short(gs[-1].key)} {with_interval(float(rising.mean()), interval)} gold s.d. per nat^0.5"
    )
    return check(ratio < FLAT and low > 0, says, smallest_slope_ratio=ratio, largest_last_slope=float(rising.mean()))


def slope_is_real(name: str, trend: laws.Trend) -> dict:
    says = f"{with_interval(trend.slope, trend.slope_ci)} per tenfold size"
    return check(excludes_zero(trend.slope_ci), f"slope of {name}: {says}", slope=trend.slope, slope_ci=trend.slope_ci)


def law_checks(groups: dict, fits: dict) -> dict:
    """How well the laws fit: R² of those that the field has settled on, and the form that RL's path follows."""
    out = {f"r2_{method}": fits_well(method, fits[method]) for method in R2_WANTED if method in fits}
    return out | ({"rl_form": named_form(groups["rl"])} if "rl" in groups else {})


def named_form(gs: list) -> dict:
    """The form of NAMED whose error on left-out runs is least, over all sizes, fits the mean of every size."""
    squared = {form: [] for form in NAMED}
    rmse = {form: [] for form in NAMED}
    for g in gs:
        keep = g.d >= laws.FORMS["rl"].d_min
        d, gold = g.d[keep], g.values["gold"][:, keep]
        if len(d) < 8:
            continue
        for form, of_runs in comparison.leave_out_runs(d, gold, NAMED).items():
            squared[form].extend(of_runs)
            fitted = laws.evaluate(form, d, *laws.estimate(form, d, gold.mean(0)))
            rmse[form].append(float(np.sqrt(np.mean((fitted - gold.mean(0)) ** 2))))
    errors = {form: float(np.sqrt(np.mean(of))) if of else float("nan") for form, of in squared.items()}
    known = {form: error for form, error in errors.items() if np.isfinite(error)}
    if not known:
        return check(None, "fewer than two runs a size, or too few points, to tell forms apart")
    best = min(known, key=known.get)
    margin = np.sqrt(squared["rl"]) - np.sqrt(squared[best])
    says = (
        f"{curves.METHOD_NAMES[gs[0].method]}: {best} predicts left-out runs best, error {number(errors[best])} s.d.; "
        f"rl {number(errors['rl'])}, more by {mean_in_words(margin)} a run; largest RMSE on the mean of a size: {best} "
        f"{number(max(rmse[best]))}, rl {number(max(rmse['rl']))} (wanted {RMSE_WANTED})"
    )
    return check(max(rmse[best]) <= RMSE_WANTED, says, form=best, rmse=max(rmse[best]), rmse_rl=max(rmse["rl"]))


def fits_well(method: str, fits: list) -> dict:
    r2 = float(np.median([f.r2 for f in fits]))
    holds = r2 >= R2_WANTED[method] if np.isfinite(r2) else None
    return check(
        holds,
        f"median R² of the {curves.METHOD_NAMES[method]} law: {r2:.3f} (wanted {R2_WANTED[method]})",
        median_r2=r2,
    )
