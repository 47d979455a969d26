"""What the records say of claims on methods: ensembles, inference time, optimisers, penalties, constraints."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.evidence import SMALL, along, every, fall, fall_share, surely_above, told
from analysis.findings import number
from gold_sim import laws

PESSIMISTIC = ("worst case", "mean - 0.5 variance")  # rules of `ensembles`

# --- ensembles ------------------------------------------------------------------------------------


def ensembles_fall_less(read):
    single = fall(along(read, "single", "rl", label_noise=0.25))
    less = {name: single - fall(along(read, name, "rl", label_noise=0.25)) for name in ("mean", *PESSIMISTIC)}
    says = "; ".join(f"{name} {told(values)}" for name, values in less.items())
    return every(
        surely_above(v) for v in less.values()
    ), f"fall of the single model, {told(single)}, minus that of {says}"


def pessimism_falls_less_than_the_mean(read):
    mean = fall(along(read, "mean", "rl", label_noise=0.25))
    less = {name: mean - fall(along(read, name, "rl", label_noise=0.25)) for name in PESSIMISTIC}
    says = "; ".join(f"{name} {told(values)}" for name, values in less.items())
    return every(surely_above(v) for v in less.values()), f"fall of the mean's, {told(mean)}, minus that of {says}"


def ensembles_gain_in_best_of_n(read):
    single = along(read, "single", "bon", label_noise=0.25)[:, -1]
    more = {name: along(read, name, "bon", label_noise=0.25)[:, -1] - single for name in ("mean", *PESSIMISTIC)}
    says = "; ".join(f"{name} {told(values)}" for name, values in more.items())
    return every(
        surely_above(v) for v in more.values()
    ), f"gold at the largest n minus the single's ({told(single)}): {says}"


def spread_grows(read):
    """Ratio of the spread at the end to that at the start."""
    ratio = {}
    for name in ("mean", "mean - 0.5 variance"):
        spread = along(read, name, "rl", "proxy_spread", label_noise=0.25)
        ratio[name] = spread[:, -1] / spread[:, 0]
    says = "; ".join(f"{name} {told(values)}" for name, values in ratio.items())
    holds = ratio["mean"].mean() >= 2 and ratio["mean - 0.5 variance"].mean() <= 1.5
    return holds, f"spread over members at the end over that at the start: {says}"


def penalty_and_pessimism(read):
    shares = {name: fall_share(along(read, name, "rl")) for name in ("single", *PESSIMISTIC)}
    says = "; ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return all(shares[name] <= SMALL for name in PESSIMISTIC), f"share of the peak lost: {says}"


def worst_case_at_independent_errors(read):
    mean = fall_share(along(read, "mean", "bon", error_shared=0.0))
    rules = ("worst case", "uncertainty weighted")
    shares = {name: fall_share(along(read, name, "bon", error_shared=0.0)) for name in rules}
    says = "; ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return all(s <= SMALL for s in shares.values()) and mean > SMALL, f"share of the peak lost: mean {mean:.1%}; {says}"


def shared_errors_defeat_ensembles(read):
    rules = ("mean", "median", "worst case", "uncertainty weighted", "mean minus std")
    shares = {}
    for shared in sorted(s for s in read.curves["error_shared"].unique() if s >= 0.5):
        shares |= {
            f"{name} at {shared:g}": fall_share(along(read, name, "bon", error_shared=float(shared))) for name in rules
        }
    best = min(shares, key=shares.get)
    return all(
        s > SMALL for s in shares.values()
    ), f"least share of the peak lost, over rules: {best}, {shares[best]:.1%}"


def size_of_ensemble(read):
    last = {k: along(read, f"worst of {k}", "bon")[:, -1] for k in (1, 3, 4, 5)}
    gap, rest = last[4] - last[3], last[5] - last[4]
    holds = abs(rest.mean()) < max(0.02, abs(gap.mean())) and last[4].mean() > last[1].mean()
    return holds, f"gold at the largest n: 1 member {told(last[1])}, 4 minus 3 {told(gap)}, 5 minus 4 {told(rest)}"


def diversity(read):
    single = along(read, "single", "bon")[:, -1]
    more = {
        k: along(read, f"worst case, {k}", "bon")[:, -1] - single for k in ("order", "init", "bootstrap", "features")
    }
    says = "; ".join(f"{name} {told(values)}" for name, values in more.items())
    return more["order"].mean() < min(more["init"].mean(), more["bootstrap"].mean()), f"gold minus the single's: {says}"


def weight_average(read):
    gain = along(read, "weight average, order", "rl")[:, -1] - along(read, "single", "rl")[:, -1]
    return surely_above(gain), f"gold at the end of RL, weight average minus single: {told(gain)}"


# --- inference time -------------------------------------------------------------------------------


def light_tails(read):
    share = fall_share(along(read, "best-of-n", "bon", error_kind="regressional"))
    return share <= 0.02, f"share of the peak lost at the largest n: {share:.1%}"


def heavy_tails(read):
    gold = along(read, "best-of-n", "bon", error_kind="heavy_tailed")
    n = int(along(read, "best-of-n", "bon", "control", error_kind="heavy_tailed")[0][gold.mean(0).argmax()])
    share = fall_share(gold)
    return (
        n <= 64 and share > 0.5,
        f"peak {number(gold.mean(0).max())} at n = {n}; {share:.0%} of it lost at the largest n",
    )


def pessimism_keeps(read):
    gold = along(read, "pessimism 0.3", "bon", error_kind="heavy_tailed")
    plain = along(read, "best-of-n", "bon", error_kind="heavy_tailed")
    share = fall_share(gold)
    says = f"{share:.1%} of its peak lost; gold at the largest n {told(gold[:, -1])}, best-of-n's {told(plain[:, -1])}"
    return share <= SMALL, says


def poisson(read):
    worst = {}
    for size in sorted(read.curves["rm_params"].unique()):
        of = lambda name, column="gold", size=size: along(read, name, "bon", column, rm_params=size).mean(0)
        at = np.interp(np.sqrt(of("best-of-Poisson", "kl")), np.sqrt(of("best-of-n", "kl")), of("best-of-n"))
        worst[size] = float(np.max(np.abs(of("best-of-Poisson") - at)))
    says = "; ".join(f"{size} parameters {gap:.3f} s.d." for size, gap in worst.items())
    return max(worst.values()) < SMALL, f"largest difference in mean gold at equal KL: {says}"


def hedges(read) -> pd.DataFrame:
    """HedgeTune of every best-of-n run of the experiment: n, n_oracle, gold, .. (inference.hedge)."""
    rows = []
    table = read.curves[read.curves["optimiser"] == "best_of_n"]
    for cell, part in table.groupby("cell"):
        record = read.store.record(read.store.find("best_of_n", cell))
        settings = part[["error_kind", "rm_params"]].iloc[0].to_dict()
        rows.append(pd.DataFrame(record["hedge"]).assign(**settings))
    return pd.concat(rows, ignore_index=True)


def hedge(read):
    found = hedges(read)
    ratio = found["n"] / found["n_oracle"]
    within = ((ratio >= 0.5) & (ratio <= 2)).mean()
    kept = (found["gold"] - found["gold_at_1"]) / (found["gold_oracle"] - found["gold_at_1"])
    says = (
        f"n within a factor 2 of the best in {within:.0%} of {len(found)} runs; {kept.mean():.0%} of the best gain kept"
    )
    return bool(within >= 0.5), says


def pessimism_small_proxy(read):
    small = int(read.curves["rm_params"].min())
    at_end = lambda name: along(read, name, "bon", rm_params=small)[:, -1]
    gain = {
        name: at_end(name) - at_end("best-of-n") for name in ("pessimism 0.3", "pessimism 0.1", "soft, temperature 0.5")
    }
    says = "; ".join(f"{name} {told(values)}" for name, values in gain.items())
    return surely_above(gain["pessimism 0.3"]), f"gold at the largest n minus best-of-n's, {small} parameters: {says}"


# --- optimisers and direct alignment --------------------------------------------------------------


def best_of_n_is_thrifty(read):
    """KL at which mean gold first reaches 80 % of the lower peak."""
    bon, bon_kl = along(read, "best-of-n", "bon").mean(0), along(read, "best-of-n", "bon", "kl").mean(0)
    pays = {}
    for name in [v for v in read.curves["variant"].cat.categories if ((read.curves["variant"] == v) & rl(read)).any()]:
        gold, kl = along(read, name, "rl").mean(0), along(read, name, "rl", "kl").mean(0)
        target = 0.8 * min(gold.max(), bon.max())
        first = lambda g, k, target=target: float(k[np.argmax(g >= target)])
        pays[name] = (first(gold, kl), first(bon, bon_kl))
    says = "; ".join(f"{name} {number(a)} against {number(b)}" for name, (a, b) in pays.items())
    return all(a > b for a, b in pays.values()), f"nats to reach 80 % of the lower peak, against best-of-n: {says}"


def rl(read) -> pd.Series:
    return read.curves["stage"] != "best_of_n"


def one_law(read):
    """Peak gold of each optimiser minus RLOO's."""
    gold = along(read, "RLOO", "rl")
    base = gold[:, gold.mean(0).argmax()]
    gaps = {}
    for name in ("REINFORCE", "PPO", "GRPO", "expert iteration"):
        own = along(read, name, "rl")
        gaps[name] = own[:, own.mean(0).argmax()] - base
    same = [bool(curves.interval(v)[0] <= 0 <= curves.interval(v)[1]) for v in gaps.values()]
    says = "; ".join(f"{name} {told(values)}" for name, values in gaps.items())
    return all(same), f"peak gold minus RLOO's ({told(base)}): {says}"


def peaks_before_the_end(read):
    out, holds = [], []
    for loss in sorted(read.curves["optimiser"].unique()):
        betas = sorted(read.curves.loc[read.curves["optimiser"] == loss, "dpo_beta"].unique())
        gold = along(read, float(betas[0]), "rl", optimiser=loss)
        lost = fall(gold)
        share = gold.mean(0).argmax() / (gold.shape[1] - 1)
        out.append(f"{loss} at beta {betas[0]:g}: peak {share:.0%} of the way, then {told(lost)} lost")
        holds.append(surely_above(lost) if share < 1 else False)
    return every(holds), "; ".join(out)


def smaller_beta_goes_further(read):
    out, holds = [], []
    for loss in sorted(read.curves["optimiser"].unique()):
        betas = sorted(read.curves.loc[read.curves["optimiser"] == loss, "dpo_beta"].unique())
        ends = [float(along(read, float(b), "rl", "kl", optimiser=loss)[:, -1].mean()) for b in betas]
        out.append(f"{loss} {', '.join(number(e) for e in ends)}")
        holds.append(bool(np.corrcoef(np.log(betas), np.log(np.maximum(ends, 1e-9)))[0, 1] < -0.7))
    return all(holds), f"nats at the end, by rising beta: {'; '.join(out)}"


def rl_form_beats_quadratic(read):
    """Summed squared error of both forms, fitted to the points of all betas of a loss together."""
    out, holds = [], []
    for loss, part in read.curves.groupby("optimiser", sort=True):
        gs = [g for g in curves.groups(part, read.axis)["rl"]]
        d = np.concatenate([g.d for g in gs])
        gold = np.concatenate([g.mean("gold") for g in gs])
        keep = d >= laws.FORMS["rl"].d_min
        if keep.sum() < 4:
            raise ValueError(f"{loss} hardly leaves the reference policy")
        rmse = {}
        for form in ("rl", "quadratic"):
            fit = laws.fit(form, [d[keep]], [gold[keep]])
            rmse[form] = float(np.sqrt(np.mean((laws.evaluate(form, d[keep], fit.alpha, fit.beta) - gold[keep]) ** 2)))
        out.append(f"{loss} {rmse['rl']:.3f} against {rmse['quadratic']:.3f}")
        holds.append(rmse["rl"] < rmse["quadratic"])
    return all(holds), f"RMSE of the RL form against the quadratic, all betas: {'; '.join(out)} s.d."


def pessimistic_alignment(read):
    out, holds = [], []
    for beta in sorted(read.curves["dpo_beta"].unique()):
        shares = {v: fall_share(along(read, v, "rl", dpo_beta=float(beta))) for v in ("DPO", "RPO", "chi-PO")}
        out.append(f"beta {beta:g}: " + ", ".join(f"{v} {s:.1%}" for v, s in shares.items()))
        holds.append(all(shares[v] <= SMALL for v in ("RPO", "chi-PO")))
    return all(holds), f"share of the peak lost at the end, {'; '.join(out)}"


# --- penalties, shaping, Goodhart -----------------------------------------------------------------


def chi2_beats_kl(read):
    names = [v for v in read.curves["variant"].cat.categories if (read.curves["variant"] == v).any()]
    ends = {name: along(read, name, "rl")[:, -1] for name in names}
    best = {
        kind: max((n for n in names if n.startswith(kind)), key=lambda n: ends[n].mean()) for kind in ("KL", "chi2")
    }
    gain = ends[best["chi2"]] - ends[best["KL"]]
    low, high = curves.interval(gain)
    says = f"gold at the end, {best['chi2']} minus {best['KL']}: {told(gain)}; no penalty {told(ends['no penalty'])}"
    return (False if high < 0 else True if gain.mean() >= 0 else None), says


def par(read):
    plain, par = along(read, "none", "rl"), along(read, "PAR", "rl")
    peaks = [float(g.mean(0).max()) for g in (plain, par)]
    less = fall(plain) - fall(par)
    says = f"peak {number(peaks[0])} without, {number(peaks[1])} with; fall without minus with: {told(less)}"
    return every([abs(peaks[1] / peaks[0] - 1) <= 0.15, surely_above(less)]), says


def ensemble_by_kind(kinds, helps: bool):
    def test(read):
        out, holds = [], []
        for kind in kinds:
            one, many = (along(read, v, "rl", error_kind=kind)[:, -1] for v in ("none", "worst case of 3"))
            out.append(f"{kind} {told(many - one)}")
            sure = surely_above(many - one)
            holds.append(sure if helps else sure is not True)
        return every(holds), f"gold at the end, worst case of 3 minus one proxy: {'; '.join(out)}"

    return test


def kinds_fall(read):
    shares = {
        k: fall_share(along(read, "none", "rl", error_kind=k)) for k in sorted(read.curves["error_kind"].unique())
    }
    return None, "share of the peak lost without mitigation: " + "; ".join(f"{k} {s:.0%}" for k, s in shares.items())


# --- constraints ----------------------------------------------------------------------------------


def thresholds(read, variant) -> tuple[float, ...]:
    """Of one variant's cell, () where it has none; ValueError if the variant was not run."""
    cell = next((c for c in read.manifest["cells"] if c["variant"] == variant), None)
    if cell is None:
        raise ValueError(f"no runs of {variant}")
    record = read.store.record(read.store.find(cell["stage"], cell["fingerprint"]))
    return tuple(record["config"]["optimiser"].get("thresholds", ()))


def at_the_end(values) -> np.ndarray:
    """[S] mean over the last tenth of [S, T]: single points of a held component waver."""
    return values[:, -max(1, values.shape[1] // 10) :].mean(1)


def constraints_met(read):
    """xi within 5 % of its thresholds, mu at least 5 % below, all at most 5 % above."""
    allowed = {"mu": lambda e: e >= -SMALL, "xi": lambda e: abs(e) <= SMALL, "all": lambda e: e <= SMALL}
    out, holds = [], []
    for name, met in allowed.items():
        variant = f"{name}, joint"
        for i, threshold in enumerate(thresholds(read, variant)):
            error = at_the_end(along(read, variant, "rl", f"component_{i}")) / threshold - 1
            out.append(f"{name} {number(threshold)}: {error.mean():+.1%}")
            holds.append(bool(met(error.mean())))
    return every(holds), f"components at the end against their thresholds: {'; '.join(out)}"


def joint_points(read):
    ends = {name: at_the_end(along(read, f"xi, {name}", "rl")) for name in ("joint", "independent")}
    gain = ends["joint"] - ends["independent"]
    return surely_above(gain), f"gold at the end of xi, joint ({told(ends['joint'])}) minus independent: {told(gain)}"


def constrained_fall_less(read):
    plain = fall(along(read, "composite", "rl"))
    less = {name: plain - fall(along(read, f"{name}, joint", "rl")) for name in ("mu", "xi", "all")}
    says = "; ".join(f"{name} {told(values)}" for name, values in less.items())
    return every(surely_above(v) for v in less.values()), f"fall of the composite, {told(plain)}, minus that of {says}"


def constrained_against_penalties(read):
    ours, others = ("xi, joint", "mu, joint"), ("KL penalty", "adaptive KL")
    ends = {name: at_the_end(along(read, name, "rl")) for name in (*ours, *others)}
    best = max(ours, key=lambda name: ends[name].mean())
    gain = {name: ends[best] - ends[name] for name in others}
    says = "; ".join(f"{name} {told(values)}" for name, values in gain.items())
    return every(surely_above(v) for v in gain.values()), f"gold at the end of {best}, {told(ends[best])}, minus {says}"
