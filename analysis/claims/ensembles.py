"""Claims on ensembles of reward models."""

from analysis.judgement import SMALL, every, surely_above, surely_at_most, surely_within, told, told_each, told_share
from analysis.runs import along, fall, lost

PESSIMISTIC = ("worst_case", "mean_minus_0_5_variance")  # variants of `ensembles`


def ensembles_fall_less(noise: float):
    def test(read):
        single = fall(along(read, "single", "rl", label_noise=noise))
        less = {name: single - fall(along(read, name, "rl", label_noise=noise)) for name in ("mean", *PESSIMISTIC)}
        holds = every(surely_above(values) for values in less.values())
        return holds, f"fall of the single model, {told(single)}, minus that of {told_each(read, less)}"

    return test


def pessimism_falls_less_than_the_mean(read):
    mean = fall(along(read, "mean", "rl", label_noise=0.25))
    less = {name: mean - fall(along(read, name, "rl", label_noise=0.25)) for name in PESSIMISTIC}
    holds = every(surely_above(values) for values in less.values())
    return holds, f"fall of the mean's, {told(mean)}, minus that of {told_each(read, less)}"


def ensembles_gain_in_best_of_n(noise: float):
    def test(read):
        single = along(read, "single", "bon", label_noise=noise)[:, -1]
        more = {name: along(read, name, "bon", label_noise=noise)[:, -1] - single for name in ("mean", *PESSIMISTIC)}
        holds = every(surely_above(values) for values in more.values())
        return holds, f"gold at the largest n minus the single's ({told(single)}): {told_each(read, more)}"

    return test


def spread_grows(read):
    """Ratio of the spread at the end to that at the start."""
    ratio = {}
    for name in ("mean", "mean_minus_0_5_variance"):
        spread = along(read, name, "rl", "proxy_spread", label_noise=0.25)
        ratio[name] = spread[:, -1] / spread[:, 0]
    holds = every([surely_above(ratio["mean"], 2), surely_at_most(ratio["mean_minus_0_5_variance"], 1.5)])
    return holds, f"spread over members at the end over that at the start: {told_each(read, ratio)}"


def penalty_and_pessimism(read):
    shares = {name: lost(along(read, name, "rl")) for name in ("single", *PESSIMISTIC)}
    holds = every(surely_at_most(shares[name], SMALL) for name in PESSIMISTIC)
    return holds, f"share of the peak lost: {told_each(read, shares, told_share)}"


def worst_case_at_independent_errors(read):
    rules = ("mean", "worst_case", "uncertainty_weighted")
    shares = {name: lost(along(read, name, "bon", error_shared=0.0)) for name in rules}
    says = told_each(read, shares, told_share)
    falls = surely_above(shares.pop("mean"), SMALL)
    return every([falls, *(surely_at_most(s, SMALL) for s in shares.values())]), f"share of the peak lost: {says}"


def shared_errors_defeat_ensembles(read):
    rules = ("mean", "median", "worst_case", "uncertainty_weighted", "mean_minus_std")
    shares = {}
    for shared in sorted(s for s in read.curves["error_shared"].unique() if s >= 0.5):
        shares |= {
            f"{read.label(name)} at {shared:g}": lost(along(read, name, "bon", error_shared=float(shared)))
            for name in rules
        }
    best = min(shares, key=lambda name: shares[name].mean())
    says = f"least share of the peak lost, over rules: {best}, {told_share(shares[best])}"
    return every(surely_above(s, SMALL) for s in shares.values()), says


def size_of_ensemble(read):
    last = {k: along(read, f"worst_of_{k}", "bon")[:, -1] for k in (1, 3, 4, 5)}
    gap, rest = last[4] - last[3], last[5] - last[4]
    holds = every([surely_above(last[4] - last[1]), surely_within(rest, -SMALL, SMALL)])
    return holds, f"gold at the largest n: 1 member {told(last[1])}, 4 minus 3 {told(gap)}, 5 minus 4 {told(rest)}"


def diversity(read):
    single = along(read, "single", "bon")[:, -1]
    kinds = ("order", "init", "bootstrap", "features")
    more = {kind: along(read, f"worst_case_{kind}", "bon")[:, -1] - single for kind in kinds}
    says = "; ".join(f"{name} {told(values)}" for name, values in more.items())
    least = every(surely_above(more[name] - more["order"]) for name in ("init", "bootstrap"))
    return least, f"gold minus the single's: {says}"


def weight_average(read):
    gain = along(read, "weight_average_order", "rl")[:, -1] - along(read, "single", "rl")[:, -1]
    return surely_above(gain), f"gold at the end of RL, weight average minus single: {told(gain)}"


def ensemble_by_kind(kinds, helps: bool):
    def test(read):
        out, holds = [], []
        for kind in kinds:
            one, many = (along(read, v, "rl", error_kind=kind)[:, -1] for v in ("none", "worst_case_of_3"))
            out.append(f"{kind} {told(many - one)}")
            holds.append(surely_above(many - one) if helps else surely_at_most(many - one, SMALL))
        return every(holds), f"gold at the end, worst case of 3 minus one proxy: {'; '.join(out)}"

    return test


def kinds_fall(read):
    shares = {k: lost(along(read, "none", "rl", error_kind=k)) for k in sorted(read.curves["error_kind"].unique())}
    says = "; ".join(f"{kind} {told_share(share)}" for kind, share in shares.items())
    holds = every(surely_above(share, SMALL) for share in shares.values())
    return holds, f"share of the peak lost without mitigation: {says}"
