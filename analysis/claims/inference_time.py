"""Claims on selection at inference time: best-of-n, its rivals and hedges."""

from functools import partial

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Part
from analysis.claims.ensembles import AT_BON
from analysis.claims.measured import KLS, contrast, course, fall_along, minus, of_prompts, small_fall

KEPT = 0.95  # of the best gain
AT_END = "gold at the best n up to {until:,} (chosen on the earlier seeds) minus gold at the largest n"


def lost_of(read, variant, share: float, falls: bool, until=None, **where) -> list[Part]:
    """The share of its peak that a rule loses by the largest n, where the sources look."""
    fall = fall_along(read, variant, "bon", until, **where)
    return [small_fall(read.label(variant), fall, share, falls)]


def poisson(read) -> list[Part]:
    """Both rules select from the same pools. The largest gap of a seed would be of its noise."""
    sizes = sorted(int(size) for size in read.curves["rm_params"].unique())
    terms = lambda size: minus("best_of_poisson", "best_of_n", rm_params=size)
    return [contrast(read, "bon", terms(n), f"{n} parameters", equal=True, margin=0.05) for n in sizes]


def hedges(read) -> pd.DataFrame:
    """HedgeTune of every best-of-n run of the experiment: n, n_oracle, gold, ... (selection_rules.hedge)."""
    rows = []
    table = read.curves[read.curves["optimiser"] == "best_of_n"]
    for cell, part in table.groupby("cell"):
        record = read.record("best_of_n", cell)
        settings = part[["error_kind", "rm_params", "world_seed", "gold_seed"]].iloc[0].to_dict()
        rows.append(pd.DataFrame(record["hedge"]).assign(seed=record["config"]["seeds"], **settings))
    return pd.concat(rows, ignore_index=True)


def hedge(read) -> list[Part]:
    """Octaves between HedgeTune's n and the best one, of each seed; a factor of 2 is one."""
    out = []
    for kind, found in hedges(read).groupby("error_kind", sort=True):
        labels = pd.MultiIndex.from_frame(found[["world_seed", "gold_seed", "seed"]]).to_flat_index()
        octaves = pd.Series(np.abs(np.log2(found["n"] / found["n_oracle"])).to_numpy(), labels)
        gain, best = found["gold"] - found["gold_at_1"], found["gold_oracle"] - found["gold_at_1"]
        out.append(Part(kind, octaves, 1.0, -1, margin=0.0, note=f"{gain.mean() / best.mean():.0%} of the best gain"))
    return out


def hedge_gain(read) -> list[Part]:
    """Gold gained at HedgeTune's n minus 95 % of the most that any n gains, of each seed.

    The n itself says little of a curve that is flat about its peak. The most is of the same samples, which favours it.
    """
    out = []
    for size, found in hedges(read).groupby("rm_params", sort=True):
        labels = pd.MultiIndex.from_frame(found[["world_seed", "gold_seed", "seed"]]).to_flat_index()
        gain, best = found["gold"] - found["gold_at_1"], found["gold_oracle"] - found["gold_at_1"]
        values = pd.Series((gain - KEPT * best).to_numpy(), labels)
        note = f"{gain.mean() / best.mean():.0%} of {best.mean():.2f}"
        out.append(Part(f"{size} parameters", values, margin=0.0, note=note))
    return out


def pessimism_small_proxy(read) -> list[Part]:
    small = int(read.curves["rm_params"].min())
    ends = {name: course(read, name, "bon", rm_params=small).iloc[:, -1] for name in ("pessimism_0_3", "best_of_n")}
    note = f"{ends['pessimism_0_3'].mean():.2f} minus {ends['best_of_n'].mean():.2f}, {small} parameters"
    terms = minus("pessimism_0_3", "best_of_n", rm_params=small)
    prompts = of_prompts(read, terms, KLS["bon"])
    values = ends["pessimism_0_3"] - ends["best_of_n"]
    return [Part("pessimism 0.3 minus best-of-n", values, prompts=prompts, note=note)]


def weak_proxy_falls(read) -> list[Part]:
    fall = fall_along(read, "best_of_n", "bon", rm_params=int(read.curves["rm_params"].min()))
    return [Part("fall", fall.values, prompts=fall.prompts(), note=f"from {fall.peak.mean():.2f}, {fall.where}")]


KWA, KHALAF, HUANG = "Kwa et al. 2024", "Khalaf et al. 2025", "Huang et al. 2025"
CLAIMS = (
    Claim(
        name="light_tails",
        experiment="heavy_tails",
        source=KWA,
        says="normal errors: best-of-n never falls (2 %)",
        estimand=f"{AT_END.format(until=2048)}, minus 2 % of the peak",
        measure=partial(lost_of, variant="best_of_n", share=0.02, falls=False, error_kind="regressional"),
        variants=("best_of_n",),
        kind="check",
    ),
    Claim(
        name="heavy_tails",
        experiment="heavy_tails",
        source=KWA,
        says="t3 errors: a peak by n = 64, then over half lost",
        estimand=f"{AT_END.format(until=64)}, minus half of the peak",
        measure=partial(lost_of, variant="best_of_n", share=0.5, falls=True, until=64, error_kind="heavy_tailed"),
        variants=("best_of_n",),
    ),
    Claim(
        name="pessimism_at_inference",
        experiment="heavy_tails",
        source=HUANG,
        says="t3 errors: pessimism ends within 5 % of its peak",
        estimand=f"{AT_END.format(until=2048)}, minus 5 % of the peak",
        measure=partial(lost_of, variant="pessimism_0_3", share=0.05, falls=False, error_kind="heavy_tailed"),
        variants=("pessimism_0_3",),
    ),
    Claim(
        name="hedge_heavy",
        experiment="heavy_tails",
        source=KHALAF,
        says="HedgeTune's n is within a factor 2 of the best",
        estimand="octaves between the n and the best n of each seed, against 1; all kinds of errors",
        measure=hedge,
        variants=("best_of_n",),
    ),
    Claim(
        name="poisson",
        experiment="inference_time",
        source=KHALAF,
        says="best-of-Poisson gives best-of-n's gold at equal KL (0.05 s.d.)",
        estimand=f"gold, best-of-Poisson's minus best-of-n's, {AT_BON}: within 0.05 s.d.; both sizes",
        measure=poisson,
        variants=("best_of_n", "best_of_poisson"),
        kind="check",
    ),
    Claim(
        name="hedge_learned",
        experiment="inference_time",
        source=KHALAF,
        says="with learned proxies, HedgeTune's n gains as much as the best n (95 %)",
        estimand="gold gained at the n minus 95 % of that at the best n of each seed; both sizes",
        measure=hedge_gain,
        variants=("best_of_n",),
    ),
    Claim(
        name="weak_proxy_falls",
        experiment="inference_time",
        source="none",
        says="best-of-n falls for a weak proxy",
        estimand=AT_END.format(until=2048),
        measure=weak_proxy_falls,
        variants=("best_of_n",),
        kind="premise",
    ),
    Claim(
        name="pessimism_small_proxy",
        experiment="inference_time",
        source=HUANG,
        says="pessimism ends above best-of-n for a weak proxy",
        estimand="gold at the largest n, pessimism 0.3 minus best-of-n, the smallest proxy",
        measure=pessimism_small_proxy,
        variants=("best_of_n", "pessimism_0_3"),
        premises=("weak_proxy_falls",),
    ),
)
