"""Claims on optimisers, direct alignment, penalties, shaping and constraints."""

import numpy as np

from analysis import curves
from analysis.judgement import SMALL, every, surely_above, surely_at_most, surely_within, told, told_each, told_share
from analysis.numbers import number
from analysis.runs import along, fall, lost, peak
from analysis.studies.constrained import at_the_end, thresholds
from gold_sim import laws

# --- optimisers and direct alignment --------------------------------------------------------------


def best_of_n_is_thrifty(read):
    """KL at which a run's gold first reaches 80 % of the lower mean peak; where it never does, the KL of its end."""
    bon, bon_kl = along(read, "best_of_n", "bon"), along(read, "best_of_n", "bon", "kl")
    more = {}
    trained = set(curves.methods(read.curves).get("rl", read.curves[:0])["variant"])
    for name in [key for key in read.variants if key in trained]:
        gold, kl = along(read, name, "rl"), along(read, name, "rl", "kl")
        target = 0.8 * min(gold.mean(0).max(), bon.mean(0).max())
        first = lambda g, k, target=target: k[np.argmax(g >= target)] if (g >= target).any() else k[-1]
        pays = lambda golds, kls, first=first: np.array([first(g, k) for g, k in zip(golds, kls, strict=True)])
        more[name] = pays(gold, kl) - pays(bon, bon_kl)
    holds = every(surely_above(values) for values in more.values())
    return holds, f"nats to reach 80 % of the lower peak, minus best-of-n's: {told_each(read, more)}"


def one_law(read):
    """Peak gold of each optimiser against RLOO's: the same if surely within a fifth of it."""
    base = peak(along(read, "rloo", "rl"))
    names = ("reinforce", "ppo", "grpo", "expert_iteration")
    gaps = {name: peak(along(read, name, "rl")) - base for name in names}
    fifth = 0.2 * base.mean()
    holds = every(surely_within(v, -fifth, fifth) for v in gaps.values())
    return holds, f"peak gold minus RLOO's ({told(base)}): {told_each(read, gaps)}"


def peaks_before_the_end(read):
    out, holds = [], []
    for loss in sorted(read.curves["optimiser"].unique()):
        betas = sorted(read.curves.loc[read.curves["optimiser"] == loss, "dpo_beta"].unique())
        gold = along(read, float(betas[0]), "direct", optimiser=loss)
        lost = fall(gold)
        share = gold.mean(0).argmax() / (gold.shape[1] - 1)
        out.append(f"{loss} at beta {betas[0]:g}: peak {share:.0%} of the way, then {told(lost)} lost")
        holds.append(surely_above(lost) if share < 1 else False)
    return every(holds), "; ".join(out)


def smaller_beta_goes_further(read):
    out, holds = [], []
    for loss in sorted(read.curves["optimiser"].unique()):
        betas = sorted(read.curves.loc[read.curves["optimiser"] == loss, "dpo_beta"].unique())
        ends = np.stack([along(read, float(b), "direct", "kl", optimiser=loss)[:, -1] for b in betas], 1)  # [S, betas]
        steep = np.array([np.corrcoef(np.log(betas), np.log(np.maximum(e, 1e-9)))[0, 1] for e in ends])
        out.append(f"{loss} {', '.join(number(e) for e in ends.mean(0))}, correlation of logarithms {told(steep)}")
        holds.append(surely_at_most(steep, -0.7))
    return every(holds), f"nats at the end, by rising beta: {'; '.join(out)}"


def rl_form_beats_quadratic(read):
    """Error of both forms, fitted to the points of all betas of a loss together, seed by seed."""
    out, holds = [], []
    for loss, part in read.curves.groupby("optimiser", sort=True):
        gs = [g for g in curves.groups(part, read.axis)["direct"]]
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
        shares = {v: lost(along(read, v, "direct", dpo_beta=float(beta))) for v in ("dpo", "rpo", "chi_po")}
        out.append(f"beta {beta:g}: " + told_each(read, shares, told_share, between=", "))
        holds.extend(surely_at_most(shares[v], SMALL) for v in ("rpo", "chi_po"))
    return every(holds), f"share of the peak lost at the end, {'; '.join(out)}"


# --- penalties, shaping, Goodhart -----------------------------------------------------------------


def chi2_beats_kl(read):
    ends = {name: along(read, name, "rl")[:, -1] for name in read.variants}
    best_of = lambda kind: max((n for n in ends if n.startswith(f"{kind}_")), key=lambda n: ends[n].mean())
    chi2, kl = best_of("chi2"), best_of("kl")
    gain = ends[chi2] - ends[kl]
    says = f"gold at the end, {read.label(chi2)} minus {read.label(kl)}: {told(gain)}"
    return surely_above(gain, -SMALL), f"{says}; no penalty {told(ends['no_penalty'])}"


def par(read):
    plain, par = along(read, "none", "rl"), along(read, "par", "rl")
    moved, less = peak(par) - peak(plain), fall(plain) - fall(par)
    most = 0.15 * peak(plain).mean()
    says = f"peak {told(peak(plain))} without, {told(moved)} more with; fall without minus with: {told(less)}"
    return every([surely_within(moved, -most, most), surely_above(less)]), says


# --- constraints ----------------------------------------------------------------------------------


def constraints_met(read):
    """xi within 5 % of its thresholds, mu at least 5 % below, all at most 5 % above."""
    allowed = {"mu": lambda e: e >= -SMALL, "xi": lambda e: abs(e) <= SMALL, "all": lambda e: e <= SMALL}
    out, holds = [], []
    for name, met in allowed.items():
        variant = f"{name}_joint"
        for i, threshold in enumerate(thresholds(read, variant)):
            error = at_the_end(along(read, variant, "rl", f"component_{i}")) / threshold - 1
            out.append(f"{name} {number(threshold)}: {error.mean():+.1%}")
            holds.append(bool(met(error.mean())))
    return every(holds), f"components at the end against their thresholds: {'; '.join(out)}"


def joint_points(read):
    ends = {name: at_the_end(along(read, f"xi_{name}", "rl")) for name in ("joint", "independent")}
    gain = ends["joint"] - ends["independent"]
    return surely_above(gain), f"gold at the end of xi, joint ({told(ends['joint'])}) minus independent: {told(gain)}"


def constrained_fall_less(read):
    plain = fall(along(read, "composite", "rl"))
    less = {name: plain - fall(along(read, f"{name}_joint", "rl")) for name in ("mu", "xi", "all")}
    says = "; ".join(f"{name} {told(values)}" for name, values in less.items())
    return every(surely_above(v) for v in less.values()), f"fall of the composite, {told(plain)}, minus that of {says}"


def constrained_against_penalties(read):
    ours, others = ("xi_joint", "mu_joint"), ("kl_penalty", "adaptive_kl")
    ends = {name: at_the_end(along(read, name, "rl")) for name in (*ours, *others)}
    best = max(ours, key=lambda name: ends[name].mean())
    gain = {name: ends[best] - ends[name] for name in others}
    says = f"gold at the end of {read.label(best)}, {told(ends[best])}, minus {told_each(read, gain)}"
    return every(surely_above(values) for values in gain.values()), says
