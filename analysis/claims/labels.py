"""Claims on labels: annotators, losses, rankings, and the biases that they teach."""

from functools import partial

import pandas as pd

from analysis.claims.claim import Claim, NotMeasured, Part
from analysis.claims.ensembles import AT_BON, AT_RL
from analysis.claims.measured import Term, at_kl, contrast, falls, minus, nats
from analysis.runs import by_seed

RANDOM = ("bradley_terry", "ties", "ten_people", "plackett_luce_of_4", "mallows_of_4", "flips_25")
LOSSES = ("known_channel", "unbiased")
TASTES = ("likes_length", "likes_agreement", "likes_refusals")  # of `annotators`
FLIPS = "flips_as_many"  # of labels as a taste changes
OWN = {"likes_agreement": "sycophancy", "likes_refusals": "over_refusal", "likes_length": "attr_length"}  # of a bias
UNBIASED = ("small_proxy", "few_pairs")  # variants of `behaviours` under which gold falls
SAME_SHARE = 0.02  # of labels, by which a taste and its flips may differ


def random_errors(read) -> list[Part]:
    """Half of gold's own gain is kept: v - gold_itself / 2."""
    of = lambda name: [Term(1.0, name), Term(-0.5, "gold_itself")]
    return [contrast(read, "bon", of(name), read.label(name)) for name in RANDOM]


def shares_are_matched(read) -> list[Part]:
    """Labels that disagree with gold, a taste's minus those of the flips."""
    wrong = {name: of_reward_models(read, name, "labels_changed") for name in (FLIPS, *TASTES)}
    note = lambda name: f"{wrong[name].mean():.1%} against {wrong[FLIPS].mean():.1%}"
    return [
        Part(read.label(n), wrong[n] - wrong[FLIPS], equal=True, margin=SAME_SHARE, exact=True, note=note(n))
        for n in TASTES
    ]


def of_reward_models(read, variant, name: str) -> pd.Series:
    """A column of the reward models that a variant optimises, by seed; NotMeasured where it was not recorded."""
    cells = set(read.curves.loc[read.curves[read.axis] == variant, "rm_cell"])
    rows = read.reward_models[read.reward_models["cell"].isin(cells)]
    if not len(rows) or name not in rows or rows[name].isna().any():
        raise NotMeasured(f"{name} of the reward models was not recorded")
    return rows.groupby(["world_seed", "gold_seed", "seed"])[name].mean()


def shared_tastes(read) -> list[Part]:
    return [contrast(read, "bon", minus(FLIPS, taste), read.label(taste)) for taste in TASTES]


def losses(read) -> list[Part]:
    return [contrast(read, "bon", minus(name, "bradley_terry", label_noise=0.25), read.label(name)) for name in LOSSES]


def whole_rankings(read) -> list[Part]:
    kinds = sorted(read.curves["annotator"].unique())
    return [contrast(read, "bon", minus("all_pairs", "one_pair", annotator=kind), kind) for kind in kinds]


# --- behaviours -----------------------------------------------------------------------------------


def unbiased_fall(read) -> list[Part]:
    found = falls(read, "rl", {name: name for name in UNBIASED})
    return [Part(read.label(name), fall.values, note=fall.where) for name, fall in found.items()]


def rises_while_gold_falls(read, name: str) -> list[Part]:
    """A behaviour where gold has fallen minus that at gold's peak, at the KLs of each seed's own fall."""
    out = []
    for variant, fall in falls(read, "rl", {variant: variant for variant in UNBIASED}).items():
        far, change = float(fall.where.split()[1]), {}
        for seed, run in by_seed(read, variant, "rl", (name,)).items():
            if seed in fall.place.index:
                then, later = at_kl(run["d"], run[name], [fall.place[seed], far])
                change[seed] = later - then
        out.append(Part(read.label(variant), fall.place.index.to_series().map(change), margin=0.0, note=fall.where))
    return out


def bias_raises_its_own(read) -> list[Part]:
    of = lambda variant, name: minus(variant, "middle_proxy", name)
    return [contrast(read, "rl", of(variant, name), read.label(variant), margin=0.0) for variant, name in OWN.items()]


# --- length ---------------------------------------------------------------------------------------


def odin(read) -> list[Part]:
    follows = of_reward_models(read, "odin", "length_correlation")
    blind = Part("correlation with length", follows, equal=True, margin=0.1)
    return [blind, *(contrast(read, method, minus("odin", "single"), name) for method, name in METHODS.items())]


def gain_is_length(read) -> list[Part]:
    """What lengths alone would have earned the proxy minus 60 % of its gain; both gains are from the start."""
    runs = by_seed(read, "single", "rl", ("proxy", "proxy_of_length"))
    if any(run["proxy_of_length"].isna().any() for run in runs.values()):
        raise NotMeasured("proxy_of_length was not recorded")
    of_length = {seed: run["proxy_of_length"].iloc[0] for seed, run in runs.items()}
    terms = [Term(1.0, "single", "proxy_of_length"), Term(-0.6, "single", "proxy")]
    values = contrast(read, "rl", terms, "RL").values
    values = values - values.index.to_series().map(of_length)
    share = values.mean() / contrast(read, "rl", terms[1:], "RL").values.mean() * -0.6 + 0.6
    return [Part("RL", values, margin=0.0, note=f"a share of {share:.0%}")]


METHODS = {"bon": "best-of-n", "rl": "RL"}
SHARMA, COSTE = "Sharma et al. 2023", "Coste et al. 2023"
LATER = (
    f"share of responses at the farthest of {nats('rl')} minus that at gold's peak (chosen on the earlier seeds); "
    "small proxy and few pairs: both"
)
CLAIMS = (
    Claim(
        name="random_errors_blur",
        experiment="annotators",
        source=COSTE,
        says="random errors of annotators cost less than half the gain",
        estimand=f"gold minus half of that of gold's own labels, {AT_BON}; all annotators",
        measure=random_errors,
        variants=("gold_itself", *RANDOM),
    ),
    Claim(
        name="shares_are_matched",
        experiment="annotators",
        source="none",
        says="tastes and flips change as many labels (2 %)",
        estimand="share of training labels that disagree with gold, each taste's minus the flips'; all",
        measure=shares_are_matched,
        variants=(FLIPS, *TASTES),
        kind="premise",
    ),
    Claim(
        name="shared_tastes",
        experiment="annotators",
        source=SHARMA,
        says="a taste that all labels share costs more than flips of as many labels",
        estimand=f"gold, flips' minus the taste's, {AT_BON}; all tastes",
        measure=shared_tastes,
        variants=(FLIPS, *TASTES),
        premises=("shares_are_matched",),
    ),
    Claim(
        name="losses",
        experiment="preference_losses",
        source="Chowdhury et al. 2024",
        says="25 % flips: known channel and unbiased beat Bradley-Terry",
        estimand=f"gold, each loss's minus Bradley-Terry's, {AT_BON}; both",
        measure=losses,
        variants=("bradley_terry", *LOSSES),
    ),
    Claim(
        name="rankings",
        experiment="rankings",
        source="Ouyang et al. 2022",
        says="all pairs of a ranking keep more gold than one pair of it",
        estimand=f"gold, all pairs' minus one pair's, {AT_BON}; both annotators",
        measure=whole_rankings,
        variants=("one_pair", "all_pairs"),
    ),
    Claim(
        name="unbiased_falls",
        experiment="behaviours",
        source="none",
        says="gold falls under a small proxy and under few pairs",
        estimand=f"gold at the peak minus gold at the farthest of {nats('rl')} that all reach; both",
        measure=unbiased_fall,
        variants=UNBIASED,
        kind="premise",
    ),
    Claim(
        name="sycophancy",
        experiment="behaviours",
        source=SHARMA,
        says="sycophancy rises while gold falls",
        estimand=LATER,
        measure=partial(rises_while_gold_falls, name="sycophancy"),
        variants=UNBIASED,
        premises=("unbiased_falls",),
    ),
    Claim(
        name="over_refusal",
        experiment="behaviours",
        source="none",
        says="over-refusal rises while gold falls",
        estimand=LATER,
        measure=partial(rises_while_gold_falls, name="over_refusal"),
        variants=UNBIASED,
        premises=("unbiased_falls",),
    ),
    Claim(
        name="own_bias",
        experiment="behaviours",
        source=SHARMA,
        says="a bias of the labels raises its own behaviour",
        estimand=f"the behaviour, minus that of the same proxy from unbiased labels, {AT_RL}; all biases",
        measure=bias_raises_its_own,
        variants=("middle_proxy", *OWN),
    ),
    Claim(
        name="odin",
        experiment="length",
        source="Chen et al. 2024",
        says="labels that like length: ODIN's reward does not follow length (|corr| < 0.1) and keeps more gold",
        estimand=f"its correlation with length within 0.1; gold, ODIN's minus the single's, {AT_BON}, and {AT_RL}; all",
        measure=odin,
        variants=("single", "odin"),
    ),
    Claim(
        name="gain_is_length",
        experiment="length",
        source="Singhal et al. 2023",
        says="labels that like length: 60 % or more of the proxy's gain in RL is length",
        estimand=f"what the lengths alone would earn minus 60 % of the proxy's gain, {AT_RL}",
        measure=gain_is_length,
        variants=("single",),
    ),
)
