"""Claims on ensembles of reward models: table and measurements."""

from functools import partial

import numpy as np

from analysis.claims.claim import Claim, Part
from analysis.claims.measured import KLS, Term, contrast, course, fall_along, falls, minus, nats, small_fall

PESSIMISTIC = ("worst_case", "mean_minus_0_5_variance")  # variants of `ensembles`
COSTE, EISENSTEIN, GAO = "Coste et al. 2023", "Eisenstein et al. 2023", "Gao et al. 2023"
AT_BON, AT_RL = f"mean over {nats('bon')} of best-of-n", f"mean over {nats('rl')} of RL"
FALL = (
    f"gold at the peak (its KL chosen on the earlier seeds) minus gold at the farthest of {nats('rl')} that all reach"
)


def falls_at_all(read, variant, **where) -> list[Part]:
    """The premise of claims on falls: without the remedy gold does fall."""
    fall = falls(read, "rl", {variant: variant}, **where)[variant]
    return [Part(f"fall of {read.label(variant)}", fall.values, note=f"from {fall.peak.mean():.2f}, {fall.where}")]


def fall_less(read, plain, names, **where) -> list[Part]:
    """Fall of one variant minus that of each of the others, in pairs of seeds."""
    found = falls(read, "rl", {name: name for name in (plain, *names)}, **where)
    notes = [found[plain].where, *[""] * (len(names) - 1)]  # the same of all
    less = [found[plain].values - found[name].values for name in names]
    return [Part(read.label(n), of_seed, note=note) for n, of_seed, note in zip(names, less, notes, strict=True)]


def more_gold(read, method: str, plain, names, **where) -> list[Part]:
    """Gold of each variant minus that of one, at the stated KLs."""
    return [contrast(read, method, minus(name, plain, **where), read.label(name)) for name in names]


def spread_grows(read) -> list[Part]:
    """Log of the growth of variance: the recorded spread is a standard deviation, and the source speaks of variance."""
    out = []
    for name, threshold, sign in (("mean", 2.0, 1), ("mean_minus_0_5_variance", 1.5, -1)):
        start = course(read, name, "rl", "proxy_spread", label_noise=0.25).iloc[:, 0]
        ends = contrast(
            read, "rl", [Term(1.0, name, "proxy_spread", {"label_noise": 0.25})], read.label(name), kls=KLS["rl"][1:]
        )
        grown = 2 * np.log(ends.values / start)
        note = f"by a factor of {np.exp(grown.mean()):.2f}"
        out.append(Part(read.label(name), grown, float(np.log(threshold)), sign, margin=0.0, note=note))
    return out


def penalty_and_pessimism(read) -> list[Part]:
    return [
        small_fall(read.label(name), fall_along(read, name, "rl", last=0.25), 0.05, falls=False) for name in PESSIMISTIC
    ]


def independent_errors(read) -> list[Part]:
    arms = {name: name for name in ("mean", "worst_case", "uncertainty_weighted")}
    found = falls(read, "bon", arms, error_shared=0.0)
    return [small_fall(read.label(name), fall, 0.05, falls=name == "mean") for name, fall in found.items()]


def shared_errors(read) -> list[Part]:
    rules = ("mean", "median", "worst_case", "uncertainty_weighted", "mean_minus_std")
    shares = sorted(float(s) for s in read.curves["error_shared"].unique() if s >= 0.5)
    out = []
    for shared in shares:
        found = falls(read, "bon", {name: name for name in rules}, error_shared=shared)
        out += [small_fall(f"{read.label(n)} at {shared:g}", fall, 0.05, falls=True) for n, fall in found.items()]
    return out


def size_of_ensemble(read) -> list[Part]:
    of = lambda one, other: minus(f"worst_of_{one}", f"worst_of_{other}")
    return [
        contrast(read, "bon", of(4, 1), "4 minus 1", margin=0.05),
        contrast(read, "bon", of(5, 4), "5 minus 4", equal=True, margin=0.05),
    ]


def diversity(read) -> list[Part]:
    order = "worst_case_order"
    return [contrast(read, "bon", minus(f"worst_case_{k}", order), f"{k} minus order") for k in ("init", "bootstrap")]


def by_kind(read, kinds, method: str = "rl", **of_part) -> list[Part]:
    """Gold of the worst case of three minus that of one proxy, for each kind of error."""
    return [
        contrast(read, method, minus("worst_case_of_3", "none", error_kind=kind), kind, **of_part) for kind in kinds
    ]


def kinds_fall(read) -> list[Part]:
    """Extremal errors turn gold round; normal ones leave it monotone, and causal ones look like these (section 4.2)."""
    fall = lambda kind: falls(read, "rl", {kind: "none"}, error_kind=kind)[kind]
    kinds = ("extremal", "regressional", "causal")
    return [small_fall(kind, fall(kind), 0.05, falls=kind == "extremal") for kind in kinds]


ALL_RULES = ("mean", *PESSIMISTIC)
CLAIMS = (
    Claim(
        name="single_falls",
        experiment="ensembles",
        source="none",
        says="under 25 % noise, gold falls under a single reward model",
        estimand=FALL,
        measure=partial(falls_at_all, variant="single", label_noise=0.25),
        variants=("single",),
        kind="premise",
    ),
    Claim(
        name="mean_falls",
        experiment="ensembles",
        source="none",
        says="under 25 % noise, gold falls under the mean of an ensemble",
        estimand=FALL,
        measure=partial(falls_at_all, variant="mean", label_noise=0.25),
        variants=("mean",),
        kind="premise",
    ),
    Claim(
        name="ensembles_fall_less",
        experiment="ensembles",
        source=COSTE,
        says="under 25 % noise, worst case and variance rules reduce RL's fall",
        estimand=f"{FALL}: the single model's minus each rule's; both",
        measure=partial(fall_less, plain="single", names=PESSIMISTIC, label_noise=0.25),
        variants=("single", *PESSIMISTIC),
        premises=("single_falls",),
    ),
    Claim(
        name="pessimism_beats_the_mean",
        experiment="ensembles",
        source=COSTE,
        says="worst case and variance rules fall less than the mean",
        estimand=f"{FALL}: the mean's minus each rule's; all",
        measure=partial(fall_less, plain="mean", names=PESSIMISTIC, label_noise=0.25),
        variants=ALL_RULES,
        premises=("mean_falls",),
    ),
    Claim(
        name="ensembles_gain_in_bon",
        experiment="ensembles",
        source=COSTE,
        says="under 25 % noise, ensembles raise best-of-n's gold",
        estimand=f"gold, each ensemble's minus the single's, {AT_BON}; all",
        measure=partial(more_gold, method="bon", plain="single", names=ALL_RULES, label_noise=0.25),
        variants=("single", *ALL_RULES),
    ),
    Claim(
        name="more_noise",
        experiment="ensembles_noise",
        source=COSTE,
        says="under 35 % noise, ensembles raise best-of-n's gold",
        estimand=f"gold, each ensemble's minus the single's, {AT_BON}; all",
        measure=partial(more_gold, method="bon", plain="single", names=ALL_RULES, label_noise=0.35),
        variants=("single", *ALL_RULES),
    ),
    Claim(
        name="single_falls_under_more_noise",
        experiment="ensembles_noise",
        source="none",
        says="under 35 % noise, gold falls under a single reward model",
        estimand=FALL,
        measure=partial(falls_at_all, variant="single", label_noise=0.35),
        variants=("single",),
        kind="premise",
    ),
    Claim(
        name="more_noise_in_rl",
        experiment="ensembles_noise",
        source=COSTE,
        says="under 35 % noise, worst case and variance rules reduce RL's fall",
        estimand=f"{FALL}: the single model's minus each rule's; both",
        measure=partial(fall_less, plain="single", names=PESSIMISTIC, label_noise=0.35),
        variants=("single", *PESSIMISTIC),
        premises=("single_falls_under_more_noise",),
    ),
    Claim(
        name="spread_grows",
        experiment="ensembles",
        source=COSTE,
        says="the members' variance grows 2x or more under the mean, 1.5x or less under the variance rule",
        estimand=f"log of (spread, mean over {nats('rl', 1)}, over the start's)^2, against log 2 and log 1.5; both",
        measure=spread_grows,
        variants=("mean", "mean_minus_0_5_variance"),
    ),
    Claim(
        name="penalty_and_pessimism",
        experiment="ensembles_kl",
        source=COSTE,
        says="with a small KL penalty pessimistic rules lose nothing (5 %)",
        estimand="gold at the peak over the first half of the steps (chosen on the earlier seeds) minus gold over the "
        "last quarter, minus 5 % of the peak; both",
        measure=penalty_and_pessimism,
        variants=PESSIMISTIC,
    ),
    Claim(
        name="ensemble_size",
        experiment="ensemble_size",
        source=COSTE,
        says="four members do as five (0.05 s.d.), and better than one",
        estimand=f"gold of the worst case, 4 minus 1 members above 0 and 5 minus 4 within 0.05, {AT_BON}; both",
        measure=size_of_ensemble,
        variants=("worst_of_1", "worst_of_4", "worst_of_5"),
    ),
    Claim(
        name="diversity",
        experiment="diversity",
        source=EISENSTEIN,
        says="members that differ in order alone help least",
        estimand=f"gold of the worst case, other initialisations and other pairs minus other orders, {AT_BON}; both",
        measure=diversity,
        variants=("worst_case_order", "worst_case_init", "worst_case_bootstrap"),
    ),
    Claim(
        name="weight_average",
        experiment="diversity",
        source="Rame et al. 2024",
        says="averaged weights keep more gold than one model",
        estimand=f"gold, weight average minus single, {AT_RL}",
        measure=partial(more_gold, method="rl", plain="single", names=("weight_average_order",)),
        variants=("single", "weight_average_order"),
    ),
    Claim(
        name="independent_errors",
        experiment="shared_errors",
        source=COSTE,
        says="independent heavy tails: pessimistic rules do not fall (5 %), the mean does",
        estimand="fall from the peak (up to 3 nats, chosen on the earlier seeds) to 6 nats, minus 5 % of the peak; all",
        measure=independent_errors,
        variants=("mean", "worst_case", "uncertainty_weighted"),
    ),
    Claim(
        name="shared_errors",
        experiment="shared_errors",
        source=EISENSTEIN,
        says="half shared or more: every rule falls (5 %)",
        estimand="fall from the peak (up to 3 nats, chosen on the earlier seeds) to 6 nats, minus 5 % of the peak; all",
        measure=shared_errors,
        variants=("mean", "median", "worst_case", "uncertainty_weighted", "mean_minus_std"),
    ),
    Claim(
        name="kinds_fall",
        experiment="goodhart",
        source=GAO,
        says="extremal errors make gold fall (5 % of its peak), regressional and causal ones do not",
        estimand=f"{FALL}, minus 5 % of the peak; all three",
        measure=kinds_fall,
        variants=("none",),
    ),
    Claim(
        name="own_errors",
        experiment="goodhart",
        source=EISENSTEIN,
        says="an ensemble helps where errors are the members' own",
        estimand=f"gold, worst case of 3 minus one proxy, {AT_RL}; regressional, heavy-tailed, adversarial: all",
        measure=partial(by_kind, kinds=("regressional", "heavy_tailed", "adversarial")),
        variants=("none", "worst_case_of_3"),
    ),
    Claim(
        name="common_errors",
        experiment="goodhart",
        source=EISENSTEIN,
        says="and does not where members share them",
        estimand=f"gold, worst case of 3 minus one proxy, {AT_RL}: exactly 0; extremal and causal errors: both",
        measure=partial(by_kind, kinds=("extremal", "causal"), equal=True, margin=0.0, exact=True),
        variants=("none", "worst_case_of_3"),
        kind="check",
    ),
)
