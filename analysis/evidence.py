"""What the records say of a claim: one test each, from an experiment's records to (holds, found).

holds is True, False, or None where the records cannot tell. Intervals are over seeds, differences in pairs of seeds.
"""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.findings import number, with_interval
from gold_sim import laws

PESSIMISTIC = ("worst case", "mean - 0.5 variance")  # rules of `ensembles`
SCORES = (*curves.SCORES, "proxy_left_out")
TASTES = ("likes length", "likes agreement", "likes refusals")  # of `annotators`
PARTED = 0.25  # gold s.d. by which two reward models' gains differ when they count as parted
SMALL = 0.05  # share of a peak that counts as no fall


# --- what tests ask -------------------------------------------------------------------------------


def along(read, variant, form: str, name: str = "gold", **where) -> np.ndarray:
    """[S, T] of one column along the control, of the runs of one variant; ValueError if there are none.

    where: column = value, to choose a panel.  Scores are minus their start, where a run starts at the reference policy.
    """
    table = curves.methods(read.curves).get(form, read.curves[:0])
    for column, value in {read.axis: variant, **where}.items():
        same = np.isclose(table[column], value) if isinstance(value, float) else table[column] == value
        table = table[same]
    if table.empty:
        raise ValueError(f"no {form} runs of {variant} {where or ''}")
    if len(table[[*curves.WORLD, *curves.RUN, "optimiser"]].drop_duplicates()) > len(
        table[[*curves.WORLD, "seed"]].drop_duplicates()
    ):
        raise ValueError(f"several {form} runs a seed of {variant} {where or ''}: say which")
    runs = [run.sort_values("control") for _, run in table.groupby([*curves.WORLD, "seed"], sort=True)]
    start = lambda run: run[name].iloc[0] if name in SCORES and run["d"].iloc[0] < laws.AT_REFERENCE else 0.0
    return np.stack([run[name].to_numpy() - start(run) for run in runs])


def fall(gold) -> np.ndarray:
    """[S] gold at the peak of the mean curve minus gold at the end."""
    return gold[:, int(np.argmax(gold.mean(0)))] - gold[:, -1]


def fall_share(gold) -> float:
    """Fall of the mean curve as a share of its peak."""
    mean = gold.mean(0)
    return float((mean.max() - mean[-1]) / mean.max()) if mean.max() > 0 else float("nan")


def told(values) -> str:
    return with_interval(float(np.mean(values)), curves.interval(values))


def surely_above(values, threshold: float = 0.0):
    """True if the interval of the mean lies above, False if it lies at or below, None if it cannot be told."""
    return surely(curves.interval(values), threshold)


def surely(interval, threshold: float = 0.0):
    """As `surely_above`, of an interval."""
    low, high = interval
    return True if low > threshold else False if high <= threshold else None


def every(found) -> bool | None:
    """Holds if all do; fails if one does; else open."""
    found = list(found)
    return False if False in found else None if None in found else True


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


# --- annotators, losses, behaviours ---------------------------------------------------------------


def shared_tastes(read):
    at_end = {v: along(read, v, "bon")[:, -1] for v in ("gold itself", "flips 25 %", "flips 35 %", *TASTES)}
    blurred = np.minimum(at_end["flips 25 %"], at_end["flips 35 %"])
    worse = {name: blurred - at_end[name] for name in TASTES}
    says = "; ".join(f"{name} {told(values)}" for name, values in at_end.items())
    return every(surely_above(v) for v in worse.values()), f"gold at the largest n: {says}"


def random_errors(read):
    names = ("Bradley-Terry", "ties", "ten people", "Plackett-Luce of 4", "Mallows of 4", "flips 25 %")
    best = along(read, "gold itself", "bon")[:, -1]
    lost = {name: best - along(read, name, "bon")[:, -1] for name in names}
    says = "; ".join(f"{name} {told(values)}" for name, values in lost.items())
    return all(
        v.mean() < 0.5 * best.mean() for v in lost.values()
    ), f"gold lost at the largest n, of {told(best)}: {says}"


def losses(read):
    out, holds = [], []
    plain = along(read, "Bradley-Terry", "bon", label_noise=0.25)[:, -1]
    for name in ("known channel", "unbiased", "Huberised", "smoothed", "margin", "squared", "hinge"):
        gain = along(read, name, "bon", label_noise=0.25)[:, -1] - plain
        out.append(f"{name} {told(gain)}")
        if name in ("known channel", "unbiased"):
            holds.append(surely_above(gain))
    return every(holds), f"gold at the largest n minus Bradley-Terry's ({told(plain)}): {'; '.join(out)}"


def whole_rankings(read):
    out, holds = [], []
    for annotator in sorted(read.curves["annotator"].unique()):
        plain = along(read, "one pair", "bon", annotator=annotator)[:, -1]
        gains = {}
        for name in ("all pairs", "Plackett-Luce likelihood"):
            gains[name] = along(read, name, "bon", annotator=annotator)[:, -1] - plain
        out.append(f"{annotator} " + ", ".join(f"{name} {told(values)}" for name, values in gains.items()))
        holds.append(surely_above(gains["all pairs"]))
    return every(holds), f"gold at the largest n minus that of one pair: {'; '.join(out)}"


def rises_while_gold_falls(name):
    def test(read):
        out, holds = [], []
        for variant in read.curves["variant"].cat.categories:
            gold, values = along(read, variant, "rl"), along(read, variant, "rl", name)
            at = int(gold.mean(0).argmax())
            if fall_share(gold) <= SMALL:
                continue
            change = values[:, -1] - values[:, at]
            out.append(f"{variant} {told(change)}")
            holds.append(surely_above(change))
        return every(holds), f"share at the end minus at gold's peak: {'; '.join(out)}"

    return test


def bias_raises_its_own(read):
    pairs = {"likes agreement": "sycophancy", "likes refusals": "over_refusal", "likes length": "attr_length"}
    out, holds = [], []
    for variant, name in pairs.items():
        more = along(read, variant, "rl", name)[:, -1] - along(read, "middle proxy", "rl", name)[:, -1]
        out.append(f"{variant}: {name.removeprefix('attr_')} {told(more)}")
        holds.append(surely_above(more))
    return every(holds), f"at the end, minus the same proxy from unbiased labels: {'; '.join(out)}"


def omission(read):
    seen = along(read, "sees all", "rl")[:, -1]
    names = [v for v in read.curves["variant"].cat.categories if v != "sees all"]
    lost = {v: seen - along(read, v, "rl")[:, -1] for v in names}
    says = "; ".join(f"{name} {told(values)}" for name, values in lost.items())
    return surely_above(lost["blind to all four"]), f"gold at the end, sees all ({told(seen)}) minus: {says}"


def unseen_given_up(read):
    """Utility-relevant attributes of the model that sees none of them, at the end, against the model that sees all."""
    out, holds = [], []
    for name in ("attr_agreement", "attr_refusal"):
        change = along(read, "blind to all four", "rl", name)[:, -1] - along(read, "sees all", "rl", name)[:, -1]
        out.append(f"{name.removeprefix('attr_')} {told(change)}")
        holds.append(surely_above(-change))
    return every(holds), f"blind to all four minus sees all, at the end: {'; '.join(out)}"


def held_out(read):
    counts = sorted(read.curves["train_prompts"].unique())
    gaps = {}
    for count in (counts[0], counts[-1]):
        training = along(read, float(count), "rl", "proxy_training")
        gaps[count] = (training - training[:, :1])[:, -1] - along(read, float(count), "rl", "proxy")[:, -1]
    says = "; ".join(f"{count:g} prompts {told(gap)}" for count, gap in gaps.items())
    shrinks = gaps[counts[0]] - gaps[counts[-1]]
    return surely_above(shrinks), f"proxy on training minus held-out prompts at the end: {says}"


# --- rounds, data ---------------------------------------------------------------------------------


def rounds_of(read) -> dict[str, dict[int, dict]]:
    """way -> round -> column -> [S, T] of rounds of RLHF; gold from the reference policy's, of the same seeds.

    Ways may share their first round, which the records keep once, under the first way.
    """
    names = [v for v in read.curves["variant"].cat.categories if (read.curves["variant"] == v).any()]

    def one(way, k, start):
        columns = {c: along(read, way, "rl", c, round=k) for c in ("control", "kl", "num_pairs", *curves.SCORES)}
        if k > 1 and columns["kl"][0, 0] >= laws.AT_REFERENCE**2:  # goes on: scores are as recorded
            columns["gold"] = columns["gold"] - start
        return columns

    table = read.curves[(read.curves["variant"] == names[0]) & (read.curves["round"] == 1)]
    start = table[table["control"] == 0].sort_values("seed")["gold"].to_numpy()[:, None]
    out = {}
    for way in names:
        has = sorted(int(k) for k in set(read.curves.loc[read.curves["variant"] == way, "round"]))
        out[way] = ({} if 1 in has else {1: out[names[0]][1]}) | {k: one(way, k, start) for k in has}
    return out


def peak(gold) -> np.ndarray:
    """[S] gold at the peak of the mean curve."""
    return gold[:, int(np.argmax(gold.mean(0)))]


def rounds_raise_the_peak(read):
    rounds = rounds_of(read)["concatenate, restart"]
    first, last = rounds[1]["gold"], rounds[max(rounds)]["gold"]
    gain = peak(last) - peak(first)
    moves = [float(r["kl"].mean(0)[r["gold"].mean(0).argmax()]) for r in rounds.values()]
    says = f"peak of round {max(rounds)} minus that of round 1 ({told(peak(first))}): {told(gain)}; peaks at "
    return surely_above(gain), says + ", ".join(f"{number(kl)} nats" for kl in moves)


def peaks_grow_with_rounds(read):
    """Gao et al. 2023: k rounds peak k times as high as one."""
    rounds = rounds_of(read)["concatenate, restart"]
    ratios = {k: peak(r["gold"]).mean() / peak(rounds[1]["gold"]).mean() for k, r in rounds.items() if k > 1}
    says = "; ".join(f"round {k} {ratio:.2f} times" for k, ratio in ratios.items())
    return all(abs(ratio / k - 1) <= 0.2 for k, ratio in ratios.items()), f"peak gold against the first round's: {says}"


def old_pairs_help(read):
    found = rounds_of(read)
    keep, replace = (found[f"{way}, restart"] for way in ("concatenate", "replace"))
    gain = {k: keep[k]["gold"][:, -1] - replace[k]["gold"][:, -1] for k in keep if k > 1}
    says = "; ".join(f"round {k} {told(values)}" for k, values in gain.items())
    return surely_above(gain[max(gain)]), f"gold at the end, all pairs minus the newest alone: {says}"


def over_optimised_policies_do_not_recover(read):
    found = rounds_of(read)
    last = max(found["concatenate, restart"])
    again, on = (found[f"concatenate, {way}"][last]["gold"] for way in ("restart", "continue"))
    lost = peak(again) - on[:, -1]
    says = f"peak of round {last} from the reference, {told(peak(again))}, minus the end of going on: {told(lost)}"
    return surely_above(lost), says


def labels_where_the_policy_is(read):
    found = rounds_of(read)
    rounds, once = found["concatenate, restart"], found["as many labels, one round"][1]["gold"]
    gain = rounds[max(rounds)]["gold"][:, -1] - once[:, -1]
    says = f"gold at the end of the last round minus that of one round of as many labels, {told(once[:, -1])}"
    return surely_above(gain), f"{says}: {told(gain)}"


def parted(read) -> dict[tuple[str, str], dict]:
    """(variant, form) of `data_split` -> kl, proxy, other, gap, gold [S, T]; d_parted [S], never [S]; params, samples.

    d_parted is the last distance for a run that never parts.
    """
    out = {}
    for form, table in curves.methods(read.curves).items():
        for variant in [v for v in table["variant"].cat.categories if (table["variant"] == v).any()]:
            run = {name: along(read, variant, form, name) for name in ("kl", "proxy", "gold", "control", "d")}
            run["other"] = along(read, variant, form, "proxy_left_out")
            run["gap"] = run["proxy"] - run["other"]
            reached = run["gap"] >= PARTED
            run["never"] = ~reached.any(1)
            first = np.where(run["never"], reached.shape[1] - 1, reached.argmax(1))
            run["d_parted"] = np.take_along_axis(run["d"], first[:, None], 1)[:, 0]
            run["samples"] = float(np.take_along_axis(run["control"], first[:, None], 1).mean())
            mine = table[table["variant"] == variant].iloc[0]
            run["params"] = int(mine["policy_params" if variant.startswith("policy") else "rm_params"])
            out[variant, form] = run
    return out


def larger_part_later(what: str, form: str, later: bool):
    """Change of the distance at parting over tenfold parameters: rising (later), or not sure to change."""

    def test(read):
        mine = {v: run for (v, f), run in parted(read).items() if v.startswith(what) and f == form}
        sizes = np.log10([run["params"] for run in mine.values()])
        found = laws.trend(sizes, np.stack([run["d_parted"] for run in mine.values()], 1))
        says = "; ".join(f"{v} {told(run['d_parted'])}" for v, run in mine.items())
        holds = surely(found.slope_ci) if later else surely(found.slope_ci) is None
        return holds, f"sqrt(KL) at parting: {says}; per tenfold {with_interval(found.slope, found.slope_ci)}"

    return test


def other_half_sees(read):
    """Of the proxy's excess over gold at the end of RL, the part that the other half's reward model sees."""
    shares = {}
    for (variant, form), run in parted(read).items():
        if form == "rl":
            excess = (run["proxy"] - run["gold"])[:, -1]
            shares[variant] = float(run["gap"][:, -1].mean() / excess.mean())
    says = "; ".join(f"{variant} {share:.0%}" for variant, share in shares.items())
    return all(share >= 0.5 for share in shares.values()), f"share of the proxy's excess over gold, end of RL: {says}"


def updates_restore(read):
    found = rounds_of(read)
    last = {way: rounds[max(rounds)]["gold"][:, -1] for way, rounds in found.items()}
    gain = last["sight in turns"] - last["same sight"]
    says = "; ".join(f"{way} {told(values)}" for way, values in last.items())
    return surely_above(gain), f"gold at the end of the last round: {says}; in turns minus same {told(gain)}"


# --- length ---------------------------------------------------------------------------------------


def of_reward_models(read, variant, name: str) -> np.ndarray:
    """[S] of one column of the reward models that a variant optimises; ValueError where none was recorded."""
    cells = set(read.curves.loc[read.curves[read.axis] == variant, "rm_cell"])
    values = read.reward_models.loc[read.reward_models["cell"].isin(cells)].sort_values("seed")[name].to_numpy()
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"no {name} of the reward models of {variant}")
    return values


def odin(read):
    follows = {v: of_reward_models(read, v, "length_correlation") for v in ("single", "ODIN")}
    more = {}
    for form, name in (("bon", "best-of-n"), ("rl", "RL")):
        more[name] = along(read, "ODIN", form)[:, -1] - along(read, "single", form)[:, -1]
    blind = bool(np.abs(follows["ODIN"]).max() < 0.1)
    says = f"correlation with length: single {told(follows['single'])}, ODIN {told(follows['ODIN'])}; gold at the end, "
    says += "ODIN minus single: " + "; ".join(f"{name} {told(values)}" for name, values in more.items())
    return every([blind, *map(surely_above, more.values())]), says


def share_of_length(proxy, of_length) -> np.ndarray:
    """Share of the proxy's gain since the start that lengths alone would have earned; [..., T], NaN where none is."""
    gain, of_length = (values - values[..., :1] for values in (proxy, of_length))
    return np.divide(of_length, gain, out=np.full(gain.shape, np.nan), where=gain > 0)


def length_shares(read, form: str) -> dict:
    """Variant -> [S] share at the end, of the variants where it was recorded."""
    out = {}
    for name in [v for v in read.curves["variant"].cat.categories if (read.curves["variant"] == v).any()]:
        share = share_of_length(*(along(read, name, form, column) for column in ("proxy", "proxy_of_length")))[:, -1]
        if np.isfinite(share).all():
            out[name] = share
    return out


def gain_is_length(read):
    out, holds = [], []
    for form, method in (("bon", "best-of-n"), ("rl", "RL")):
        shares = length_shares(read, form)
        if "single" not in shares:
            raise ValueError("no proxy_of_length of the single proxy, or no gain")
        out.append(f"{method} " + ", ".join(f"{name} {told(values)}" for name, values in shares.items()))
        holds.append(surely_above(shares["single"], 0.6))
    return every(holds), f"share of the proxy's gain at the end: {'; '.join(out)}"


# --- constraints ----------------------------------------------------------------------------------


def thresholds(read, variant) -> tuple[float, ...]:
    """Of one variant's cell, () where it has none."""
    cell = next(c for c in read.manifest["cells"] if c["variant"] == variant)
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
