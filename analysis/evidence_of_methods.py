"""What the records say of claims on methods: ensembles, inference time, optimisers, penalties, constraints."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.judgement import SMALL, every, surely_above, surely_at_most, surely_within, told, told_share
from analysis.numbers import number
from analysis.runs import along, fall, lost, peak
from gold_sim import laws

PESSIMISTIC = ("worst case", "mean - 0.5 variance")  # rules of `ensembles`

# --- ensembles ------------------------------------------------------------------------------------


def ensembles_fall_less(noise: float):
    def test(read):
        single = fall(along(read, "single", "rl", label_noise=noise))
        less = {name: single - fall(along(read, name, "rl", label_noise=noise)) for name in ("mean", *PESSIMISTIC)}
        says = "; ".join(f"{name} {told(values)}" for name, values in less.items())
        holds = every(surely_above(values) for values in less.values())
        return holds, f"fall of the single model, {told(single)}, minus that of {says}"

    return test


def pessimism_falls_less_than_the_mean(read):
    mean = fall(along(read, "mean", "rl", label_noise=0.25))
    less = {name: mean - fall(along(read, name, "rl", label_noise=0.25)) for name in PESSIMISTIC}
    says = "; ".join(f"{name} {told(values)}" for name, values in less.items())
    return every(surely_above(v) for v in less.values()), f"fall of the mean's, {told(mean)}, minus that of {says}"


def ensembles_gain_in_best_of_n(noise: float):
    def test(read):
        single = along(read, "single", "bon", label_noise=noise)[:, -1]
        more = {name: along(read, name, "bon", label_noise=noise)[:, -1] - single for name in ("mean", *PESSIMISTIC)}
        says = "; ".join(f"{name} {told(values)}" for name, values in more.items())
        holds = every(surely_above(values) for values in more.values())
        return holds, f"gold at the largest n minus the single's ({told(single)}): {says}"

    return test


def spread_grows(read):
    """Ratio of the spread at the end to that at the start."""
    ratio = {}
    for name in ("mean", "mean - 0.5 variance"):
        spread = along(read, name, "rl", "proxy_spread", label_noise=0.25)
        ratio[name] = spread[:, -1] / spread[:, 0]
    says = "; ".join(f"{name} {told(values)}" for name, values in ratio.items())
    holds = every([surely_above(ratio["mean"], 2), surely_at_most(ratio["mean - 0.5 variance"], 1.5)])
    return holds, f"spread over members at the end over that at the start: {says}"


def penalty_and_pessimism(read):
    shares = {name: lost(along(read, name, "rl")) for name in ("single", *PESSIMISTIC)}
    says = "; ".join(f"{name} {told_share(share)}" for name, share in shares.items())
    return every(surely_at_most(shares[name], SMALL) for name in PESSIMISTIC), f"share of the peak lost: {says}"


def worst_case_at_independent_errors(read):
    rules = ("mean", "worst case", "uncertainty weighted")
    shares = {name: lost(along(read, name, "bon", error_shared=0.0)) for name in rules}
    says = "; ".join(f"{name} {told_share(share)}" for name, share in shares.items())
    falls = surely_above(shares.pop("mean"), SMALL)
    return every([falls, *(surely_at_most(s, SMALL) for s in shares.values())]), f"share of the peak lost: {says}"


def shared_errors_defeat_ensembles(read):
    rules = ("mean", "median", "worst case", "uncertainty weighted", "mean minus std")
    shares = {}
    for shared in sorted(s for s in read.curves["error_shared"].unique() if s >= 0.5):
        shares |= {
            f"{name} at {shared:g}": lost(along(read, name, "bon", error_shared=float(shared))) for name in rules
        }
    best = min(shares, key=lambda name: shares[name].mean())
    says = f"least share of the peak lost, over rules: {best}, {told_share(shares[best])}"
    return every(surely_above(s, SMALL) for s in shares.values()), says


def size_of_ensemble(read):
    last = {k: along(read, f"worst of {k}", "bon")[:, -1] for k in (1, 3, 4, 5)}
    gap, rest = last[4] - last[3], last[5] - last[4]
    holds = every([surely_above(last[4] - last[1]), surely_within(rest, -SMALL, SMALL)])
    return holds, f"gold at the largest n: 1 member {told(last[1])}, 4 minus 3 {told(gap)}, 5 minus 4 {told(rest)}"


def diversity(read):
    single = along(read, "single", "bon")[:, -1]
    more = {
        k: along(read, f"worst case, {k}", "bon")[:, -1] - single for k in ("order", "init", "bootstrap", "features")
    }
    says = "; ".join(f"{name} {told(values)}" for name, values in more.items())
    least = every(surely_above(more[name] - more["order"]) for name in ("init", "bootstrap"))
    return least, f"gold minus the single's: {says}"


def weight_average(read):
    gain = along(read, "weight average, order", "rl")[:, -1] - along(read, "single", "rl")[:, -1]
    return surely_above(gain), f"gold at the end of RL, weight average minus single: {told(gain)}"


# --- inference time -------------------------------------------------------------------------------


def light_tails(read):
    share = lost(along(read, "best-of-n", "bon", error_kind="regressional"))
    return surely_at_most(share, 0.02), f"share of the peak lost at the largest n: {told_share(share)}"


def heavy_tails(read):
    gold = along(read, "best-of-n", "bon", error_kind="heavy_tailed")
    n = int(along(read, "best-of-n", "bon", "control", error_kind="heavy_tailed")[0][gold.mean(0).argmax()])
    share = lost(gold)
    says = f"peak {number(gold.mean(0).max())} at n = {n}; {told_share(share)} of it lost at the largest n"
    return every([n <= 64, surely_above(share, 0.5)]), says


def pessimism_keeps(read):
    gold = along(read, "pessimism 0.3", "bon", error_kind="heavy_tailed")
    plain = along(read, "best-of-n", "bon", error_kind="heavy_tailed")
    share = lost(gold)
    ends = f"gold at the largest n {told(gold[:, -1])}, best-of-n's {told(plain[:, -1])}"
    return surely_at_most(share, SMALL), f"{told_share(share)} of its peak lost; {ends}"


def poisson(read):
    worst = {}
    for size in sorted(read.curves["rm_params"].unique()):
        of = lambda name, column="gold", size=size: along(read, name, "bon", column, rm_params=size).mean(0)
        at = np.interp(np.sqrt(of("best-of-Poisson", "kl")), np.sqrt(of("best-of-n", "kl")), of("best-of-n"))
        worst[size] = float(np.max(np.abs(of("best-of-Poisson") - at)))  # of the same pools: no interval is wanted
    says = "; ".join(f"{size} parameters {gap:.3f} s.d." for size, gap in worst.items())
    return max(worst.values()) < SMALL, f"largest difference in mean gold at equal KL, the same pools: {says}"


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
    """KL at which a run's gold first reaches 80 % of the lower mean peak; where it never does, the KL of its end."""
    bon, bon_kl = along(read, "best-of-n", "bon"), along(read, "best-of-n", "bon", "kl")
    more = {}
    for name in [v for v in read.curves["variant"].cat.categories if ((read.curves["variant"] == v) & rl(read)).any()]:
        gold, kl = along(read, name, "rl"), along(read, name, "rl", "kl")
        target = 0.8 * min(gold.mean(0).max(), bon.mean(0).max())
        first = lambda g, k, target=target: k[np.argmax(g >= target)] if (g >= target).any() else k[-1]
        pays = lambda golds, kls, first=first: np.array([first(g, k) for g, k in zip(golds, kls, strict=True)])
        more[name] = pays(gold, kl) - pays(bon, bon_kl)
    says = "; ".join(f"{name} {told(values)}" for name, values in more.items())
    holds = every(surely_above(values) for values in more.values())
    return holds, f"nats to reach 80 % of the lower peak, minus best-of-n's: {says}"


def rl(read) -> pd.Series:
    return read.curves["stage"] != "best_of_n"


def one_law(read):
    """Peak gold of each optimiser against RLOO's: the same if surely within a fifth of it."""
    base = peak(along(read, "RLOO", "rl"))
    names = ("REINFORCE", "PPO", "GRPO", "expert iteration")
    gaps = {name: peak(along(read, name, "rl")) - base for name in names}
    fifth = 0.2 * base.mean()
    says = "; ".join(f"{name} {told(values)}" for name, values in gaps.items())
    holds = every(surely_within(v, -fifth, fifth) for v in gaps.values())
    return holds, f"peak gold minus RLOO's ({told(base)}): {says}"


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
        ends = np.stack([along(read, float(b), "rl", "kl", optimiser=loss)[:, -1] for b in betas], 1)  # [S, betas]
        steep = np.array([np.corrcoef(np.log(betas), np.log(np.maximum(e, 1e-9)))[0, 1] for e in ends])
        out.append(f"{loss} {', '.join(number(e) for e in ends.mean(0))}, correlation of logarithms {told(steep)}")
        holds.append(surely_at_most(steep, -0.7))
    return every(holds), f"nats at the end, by rising beta: {'; '.join(out)}"


def rl_form_beats_quadratic(read):
    """Error of both forms, fitted to the points of all betas of a loss together, seed by seed."""
    out, holds = [], []
    for loss, part in read.curves.groupby("optimiser", sort=True):
        gs = [g for g in curves.groups(part, read.axis)["rl"]]
        d = np.concatenate([g.d for g in gs])
        keep = d >= laws.FORMS["rl"].d_min
        if keep.sum() < 4:
            raise ValueError(f"{loss} hardly leaves the reference policy")
        rmse = {"rl": [], "quadratic": []}
        for gold in np.concatenate([g.values["gold"] for g in gs], 1):  # of one seed
            for form, errors in rmse.items():
                fit = laws.fit(form, [d[keep]], [gold[keep]])
                off = laws.evaluate(form, d[keep], fit.alpha, fit.beta) - gold[keep]
                errors.append(np.sqrt(np.mean(np.square(off))))
        less = np.subtract(rmse["quadratic"], rmse["rl"])
        out.append(f"{loss} {np.mean(rmse['rl']):.3f}, less by {told(less)}")
        holds.append(surely_above(less))
    return every(holds), f"RMSE of the RL form, and how much less than the quadratic's, all betas: {'; '.join(out)}"


def pessimistic_alignment(read):
    out, holds = [], []
    for beta in sorted(read.curves["dpo_beta"].unique()):
        shares = {v: lost(along(read, v, "rl", dpo_beta=float(beta))) for v in ("DPO", "RPO", "chi-PO")}
        out.append(f"beta {beta:g}: " + ", ".join(f"{v} {told_share(s)}" for v, s in shares.items()))
        holds.extend(surely_at_most(shares[v], SMALL) for v in ("RPO", "chi-PO"))
    return every(holds), f"share of the peak lost at the end, {'; '.join(out)}"


# --- penalties, shaping, Goodhart -----------------------------------------------------------------


def chi2_beats_kl(read):
    names = [v for v in read.curves["variant"].cat.categories if (read.curves["variant"] == v).any()]
    ends = {name: along(read, name, "rl")[:, -1] for name in names}
    best = {
        kind: max((n for n in names if n.startswith(kind)), key=lambda n: ends[n].mean()) for kind in ("KL", "chi2")
    }
    gain = ends[best["chi2"]] - ends[best["KL"]]
    says = f"gold at the end, {best['chi2']} minus {best['KL']}: {told(gain)}; no penalty {told(ends['no penalty'])}"
    return surely_above(gain, -SMALL), says


def par(read):
    plain, par = along(read, "none", "rl"), along(read, "PAR", "rl")
    moved, less = peak(par) - peak(plain), fall(plain) - fall(par)
    most = 0.15 * peak(plain).mean()
    says = f"peak {told(peak(plain))} without, {told(moved)} more with; fall without minus with: {told(less)}"
    return every([surely_within(moved, -most, most), surely_above(less)]), says


def ensemble_by_kind(kinds, helps: bool):
    def test(read):
        out, holds = [], []
        for kind in kinds:
            one, many = (along(read, v, "rl", error_kind=kind)[:, -1] for v in ("none", "worst case of 3"))
            out.append(f"{kind} {told(many - one)}")
            holds.append(surely_above(many - one) if helps else surely_at_most(many - one, SMALL))
        return every(holds), f"gold at the end, worst case of 3 minus one proxy: {'; '.join(out)}"

    return test


def kinds_fall(read):
    shares = {k: lost(along(read, "none", "rl", error_kind=k)) for k in sorted(read.curves["error_kind"].unique())}
    says = "; ".join(f"{kind} {told_share(share)}" for kind, share in shares.items())
    holds = every(surely_above(share, SMALL) for share in shares.values())
    return holds, f"share of the peak lost without mitigation: {says}"


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
