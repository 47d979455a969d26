"""Claims on data: annotators, losses, behaviours, omission, halves of the data, length."""

import numpy as np

from analysis.curves import METHOD_NAMES
from analysis.judgement import SMALL, every, surely, surely_above, surely_at_most, told, told_each, told_share
from analysis.numbers import with_interval
from analysis.runs import along, fall_share
from analysis.studies.data_split import parted
from analysis.studies.length import length_shares, of_reward_models
from gold_sim import laws

RANDOM = ("bradley_terry", "ties", "ten_people", "plackett_luce_of_4", "mallows_of_4", "flips_25")
LOSSES = ("known_channel", "unbiased", "huberised", "smoothed", "margin", "squared", "hinge")
TASTES = ("likes_length", "likes_agreement", "likes_refusals")  # of `annotators`

# --- annotators, losses, behaviours ---------------------------------------------------------------


def shared_tastes(read):
    at_end = {v: along(read, v, "bon")[:, -1] for v in ("gold_itself", "flips_25", "flips_35", *TASTES)}
    blurred = np.minimum(at_end["flips_25"], at_end["flips_35"])
    worse = {name: blurred - at_end[name] for name in TASTES}
    return every(surely_above(v) for v in worse.values()), f"gold at the largest n: {told_each(read, at_end)}"


def random_errors(read):
    best = along(read, "gold_itself", "bon")[:, -1]
    lost = {name: best - along(read, name, "bon")[:, -1] for name in RANDOM}
    holds = every(surely_at_most(v, 0.5 * best.mean()) for v in lost.values())
    return holds, f"gold lost at the largest n, of {told(best)}: {told_each(read, lost)}"


def losses(read):
    gains = {}
    plain = along(read, "bradley_terry", "bon", label_noise=0.25)[:, -1]
    for name in LOSSES:
        gains[name] = along(read, name, "bon", label_noise=0.25)[:, -1] - plain
    holds = every(surely_above(gains[name]) for name in ("known_channel", "unbiased"))
    return holds, f"gold at the largest n minus Bradley-Terry's ({told(plain)}): {told_each(read, gains)}"


def whole_rankings(read):
    out, holds = [], []
    for annotator in sorted(read.curves["annotator"].unique()):
        plain = along(read, "one_pair", "bon", annotator=annotator)[:, -1]
        gains = {}
        for name in ("all_pairs", "plackett_luce_likelihood"):
            gains[name] = along(read, name, "bon", annotator=annotator)[:, -1] - plain
        out.append(f"{annotator} " + told_each(read, gains, between=", "))
        holds.append(surely_above(gains["all_pairs"]))
    return every(holds), f"gold at the largest n minus that of one pair: {'; '.join(out)}"


OWN = {"likes_agreement": "sycophancy", "likes_refusals": "over_refusal", "likes_length": "attr_length"}  # of a bias


def rises_while_gold_falls(name):
    """The test that a behaviour rises while gold falls.

    It looks at unbiased labels and at labels biased towards this behaviour, since another bias may crowd it out.
    """

    def test(read):
        out, holds = [], []
        for variant in read.variants:
            if OWN.get(variant, name) != name:
                continue
            gold, values = along(read, variant, "rl"), along(read, variant, "rl", name)
            at = int(gold.mean(0).argmax())
            if fall_share(gold) <= SMALL:
                continue
            change = values[:, -1] - values[:, at]
            out.append(f"{read.label(variant)} {told(change)}")
            holds.append(surely_above(change))
        return every(holds), f"share at the end minus at gold's peak: {'; '.join(out)}"

    return test


def bias_raises_its_own(read):
    out, holds = [], []
    for variant, name in OWN.items():
        more = along(read, variant, "rl", name)[:, -1] - along(read, "middle_proxy", "rl", name)[:, -1]
        out.append(f"{read.label(variant)}: {name.removeprefix('attr_')} {told(more)}")
        holds.append(surely_above(more))
    return every(holds), f"at the end, minus the same proxy from unbiased labels: {'; '.join(out)}"


def omission(read):
    seen = along(read, "sees_all", "rl")[:, -1]
    lost = {v: seen - along(read, v, "rl")[:, -1] for v in read.variants if v != "sees_all"}
    says = f"gold at the end, sees all ({told(seen)}) minus: {told_each(read, lost)}"
    return surely_above(lost["blind_to_all_four"]), says


def unseen_given_up(read):
    """Utility-relevant attributes of the model that sees none of them, at the end, against the model that sees all."""
    out, holds = [], []
    for name in ("attr_agreement", "attr_refusal"):
        change = along(read, "blind_to_all_four", "rl", name)[:, -1] - along(read, "sees_all", "rl", name)[:, -1]
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


def larger_part_later(what: str, method: str, later: bool):
    """Change of the distance at parting over tenfold parameters: rising (later), or by 0.5 at most."""

    def test(read):
        mine = {v: run for (v, m), run in parted(read).items() if v.startswith(f"{what}_") and m == method}
        sizes = np.log10([run["params"] for run in mine.values()])
        found = laws.trend(sizes, np.stack([run["d_parted"] for run in mine.values()], 1))
        says = told_each(read, {v: run["d_parted"] for v, run in mine.items()})
        low, high = found.slope_ci
        hardly = True if -0.5 <= low <= high <= 0.5 else False if low > 0.5 or high < -0.5 else None
        holds = surely(found.slope_ci) if later else hardly
        return holds, f"sqrt(KL) at parting: {says}; per tenfold {with_interval(found.slope, found.slope_ci)}"

    return test


def other_half_sees(read):
    """Of the proxy's excess over gold at the end of RL, the part that the other half's reward model sees."""
    shares = {}
    for (variant, method), run in parted(read).items():
        if method == "rl":
            excess = (run["proxy"] - run["gold"])[:, -1]
            shares[variant] = run["gap"][:, -1] / excess.mean()
    holds = every(surely_above(share, 0.5) for share in shares.values())
    return holds, f"share of the proxy's excess over gold, end of RL: {told_each(read, shares, told_share)}"


# --- length ---------------------------------------------------------------------------------------


def odin(read):
    follows = {v: of_reward_models(read, v, "length_correlation") for v in ("single", "odin")}
    more = {}
    for method in ("bon", "rl"):
        more[METHOD_NAMES[method]] = along(read, "odin", method)[:, -1] - along(read, "single", method)[:, -1]
    blind = bool(np.abs(follows["odin"]).max() < 0.1)
    says = f"correlation with length: single {told(follows['single'])}, ODIN {told(follows['odin'])}; gold at the end, "
    says += "ODIN minus single: " + "; ".join(f"{name} {told(values)}" for name, values in more.items())
    return every([blind, *map(surely_above, more.values())]), says


def gain_is_length(read):
    out, holds = [], []
    for method in ("bon", "rl"):
        shares = length_shares(read, method)
        if "single" not in shares:
            raise ValueError("no proxy_of_length of the single proxy, or no gain")
        out.append(f"{METHOD_NAMES[method]} " + told_each(read, shares, between=", "))
        holds.append(surely_above(shares["single"], 0.6))
    return every(holds), f"share of the proxy's gain at the end: {'; '.join(out)}"
