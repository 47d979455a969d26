"""Claims on what a proxy sees: attributes that it cannot see, prompts that it was optimised on, halves of the data."""

from functools import partial

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, NotMeasured, Part
from analysis.claims.ensembles import AT_RL
from analysis.claims.measured import KLS, REACHED, Term, contrast, minus
from analysis.studies.data_split import PARTED, censored_at, parted, restricted

ENOUGH = 0.5  # share of runs that must part for sizes to be told apart: else all means are the horizon
BLIND = ("blind_to_stance_and_refusals", "blind_to_templates_and_hedges", "blind_to_all_four")


def sees_less(read) -> list[Part]:
    return [contrast(read, "rl", minus("sees_all", name), read.label(name)) for name in BLIND]


def unseen_given_up(read) -> list[Part]:
    """What two blind variants give up of attributes that gold likes, against the one that sees all."""
    out = []
    for name in ("attr_agreement", "attr_refusal"):
        for variant in ("blind_to_stance_and_refusals", "blind_to_all_four"):
            what = f"{name.removeprefix('attr_')}, {read.label(variant)}"
            out.append(contrast(read, "rl", minus("sees_all", variant, name), what, margin=0.0))
    return out


def held_out(read) -> list[Part]:
    """Proxy on the training prompts minus proxy on held-out ones, of the fewest prompts minus that of the most."""
    few, many = (float(f(read.curves["train_prompts"].dropna())) for f in (min, max))
    terms = [
        *(Term(1.0, few, "proxy_training"), Term(-1.0, few, "proxy")),
        *(Term(-1.0, many, "proxy_training"), Term(1.0, many, "proxy")),
    ]
    return [contrast(read, "rl", terms, f"{few:g} minus {many:g} prompts")]


# --- halves of the data ---------------------------------------------------------------------------


def parting_trend(read, what: str, method: str, **of_part) -> list[Part]:
    """Change of the distance at parting over tenfold parameters, by seed.

    A run that has not parted where it ends is censored. The mean is restricted to the farthest stated KL up to which
    enough runs are followed; each seed enters with its pseudo-value (Andersen, Klein & Rosthoj 2003).
    """
    mine = {v: run for (v, m), run in parted(read).items() if v.startswith(f"{what}_") and m == method}
    if len(mine) < 2:
        raise NotMeasured(f"{len(mine)} sizes of {what}: a trend wants two")
    followed = lambda run, kl: np.mean(~censored_at(run, np.sqrt(kl)))
    kls = [kl for kl in KLS[method] if min(followed(run, kl) for run in mine.values()) >= REACHED]
    if not kls:
        raise NotMeasured(f"too few runs part or reach {KLS[method][0]:g} nats")
    horizon = float(np.sqrt(kls[-1]))
    ends = np.concatenate([np.where(run["never"], np.inf, run["d_last"]) for run in mine.values()])
    if np.mean(ends <= horizon) < ENOUGH:
        raise NotMeasured(
            f"{np.sum(ends <= horizon)} of {len(ends)} runs part within {kls[-1]:g} nats, too few to tell"
        )
    found = {v: restricted(run["d_last"], ~run["never"], horizon) for v, run in mine.items()}
    x = np.log10([run["params"] for run in mine.values()])
    table = pd.DataFrame({v: pd.Series(f, mine[v]["seeds"]) for v, f in found.items()}).dropna()
    slopes = pd.Series(np.polyfit(x, table.to_numpy().T, 1)[0], table.index)
    kept = ", ".join(
        f"{read.label(v)} {table[v].mean():.2f} ({(~run['never']).sum()} parted)" for v, run in mine.items()
    )
    return [Part("per tenfold", slopes, note=f"{kept}; up to {kls[-1]:g} nats", **of_part)]


def proxies_outrun_gold(read) -> list[Part]:
    return [_over_variants(read, "proxy minus gold", {"proxy": 1.0, "gold": -1.0})]


def other_half_sees(read) -> list[Part]:
    """Gap of the two reward models minus half of the proxy's excess over gold."""
    return [_over_variants(read, "gap minus half", {"proxy": 0.5, "gold": 0.5, "proxy_left_out": -1.0})]


def _over_variants(read, what: str, weights: dict) -> Part:
    """The mean over variants of a contrast of one variant's columns: single variants are too noisy to be told apart.

    A seed counts with those of its variants that reach the KLs which count for them.
    """
    parts = []
    for variant in read.variants:
        terms = [Term(weight, variant, column) for column, weight in weights.items()]
        parts.append(contrast(read, "rl", terms, read.label(variant)))
    note = ", ".join(f"{part.what} {part.values.mean():.2f}" for part in parts)
    return Part(what, pd.DataFrame({p.what: p.values for p in parts}).mean(axis=1), note=note)


ZHUANG, BAI = "Zhuang & Hadfield-Menell 2020", "Bai et al. 2022"
PART = (
    f"sqrt(KL) at which two reward models part by {PARTED} s.d., mean up to the farthest stated KL (runs that end "
    "before are censored), per tenfold parameters"
)
CLAIMS = (
    Claim(
        name="omission",
        experiment="omission",
        source=ZHUANG,
        says="a proxy that sees less ends lower",
        estimand=f"gold, sees all minus each blind variant, {AT_RL}; all",
        measure=sees_less,
        variants=("sees_all", *BLIND),
    ),
    Claim(
        name="unseen",
        experiment="omission",
        source=ZHUANG,
        says="what is not seen is given up",
        estimand=f"agreement and refusal, sees all minus variants blind to them, {AT_RL}; all",
        measure=unseen_given_up,
        variants=("sees_all", "blind_to_stance_and_refusals", "blind_to_all_four"),
    ),
    Claim(
        name="held_out",
        experiment="held_out_prompts",
        source="Zhang et al. 2018",
        says="the proxy's gap shrinks with training prompts",
        estimand=f"proxy on training minus held-out prompts, the fewest prompts minus the most, {AT_RL}",
        measure=held_out,
    ),
    Claim(
        name="larger_proxies_part_later",
        experiment="data_split",
        source=BAI,
        says="RL: larger reward models of disjoint halves part later",
        estimand=PART,
        measure=partial(parting_trend, what="proxy", method="rl", margin=0.0),
        variants=("proxy_*",),
    ),
    Claim(
        name="in_bon_too",
        experiment="data_split",
        source=BAI,
        says="the same in best-of-n",
        estimand=PART,
        measure=partial(parting_trend, what="proxy", method="bon", margin=0.0),
        variants=("proxy_*",),
    ),
    Claim(
        name="policy_size_and_parting",
        experiment="data_split",
        source=BAI,
        says="the policy's size hardly changes where they part (sqrt(KL) by 0.5 a tenfold)",
        estimand=f"{PART}: within 0.5",
        measure=partial(parting_trend, what="policy", method="rl", equal=True, margin=0.5),
        variants=("policy_*",),
    ),
    Claim(
        name="proxies_outrun_gold",
        experiment="data_split",
        source="none",
        says="the proxy gains without gold",
        estimand=f"proxy minus gold, mean over all variants and {AT_RL.removeprefix('mean over ')}",
        measure=proxies_outrun_gold,
        variants=("proxy_*", "policy_*"),
        kind="premise",
    ),
    Claim(
        name="other_half_sees",
        experiment="data_split",
        source=BAI,
        says="a reward model of other data sees half or more of what the proxy gains without gold",
        estimand="gap of the two reward models minus half of proxy minus gold, mean over all variants and "
        f"{AT_RL.removeprefix('mean over ')}",
        measure=other_half_sees,
        variants=("proxy_*", "policy_*"),
        premises=("proxies_outrun_gold",),
    ),
)
