"""Claims on sizes: of policies, and of reward models in other worlds."""

from functools import partial

import numpy as np
import pandas as pd

from analysis import curves
from analysis.claims.claim import Claim, NotMeasured, Part
from analysis.claims.ensembles import AT_BON, AT_RL
from analysis.claims.measured import Term, contrast
from analysis.runs import by_seed
from analysis.templates import scaling
from gold_sim.laws import decisions

ALIKE = 0.05  # nats a token, by which supervised losses of policies may differ


def _sizes(read) -> list[int]:
    return sorted(int(n) for n in read.curves["policy_params"].unique())


def slope(values) -> np.ndarray:
    """Weights [G] whose sum of products with y [G] is the least-squares slope of y over these values."""
    off = np.asarray(values, float) - np.mean(values)
    return off / np.square(off).sum()


def policies_gain_less(read, method: str) -> list[Part]:
    """The slope of gold over log size is a contrast of the sizes, so it is taken seed by seed."""
    tenfolds = np.log10(_sizes(read))
    terms = [Term(float(w), n) for n, w in zip(_sizes(read), slope(tenfolds), strict=True)]
    margin = float(decisions.MARGIN / np.ptp(tenfolds))  # between the smallest and the largest it is MARGIN
    return [contrast(read, method, terms, "gold per tenfold policy", sign=-1, margin=margin)]


def policies_gap(read) -> list[Part]:
    """Proxy minus gold, of the largest policy minus the smallest, against a quarter of the larger of the two."""
    small, large = _sizes(read)[0], _sizes(read)[-1]
    of = lambda n, sign: [Term(sign, n, "proxy"), Term(-sign, n, "gold")]
    each = [contrast(read, "rl", of(n, 1.0), "gap").values.mean() for n in (small, large)]
    margin = 0.25 * float(np.max(np.abs(each)))
    part = contrast(read, "rl", of(large, 1.0) + of(small, -1.0), "largest minus smallest", equal=True, margin=margin)
    return [part]


def policies_are_alike(read) -> list[Part]:
    """The spread of the policies' supervised losses; it does not vary between seeds."""
    losses = {}
    for size in _sizes(read):
        method = "bon" if "bon" in curves.methods(read.curves) else "rl"
        try:
            run = next(iter(by_seed(read, size, method, ("policy_loss",)).values()))
        except KeyError:
            raise NotMeasured("the policies' losses were not recorded") from None
        losses[size] = float(run["policy_loss"].iloc[0])
    if not np.isfinite(list(losses.values())).all():
        raise NotMeasured("the policies' losses were not recorded")
    spread = max(losses.values()) - min(losses.values())
    seeds = sorted(read.curves["seed"].unique())
    note = ", ".join(f"{size:,}: {loss:.3f}" for size, loss in losses.items())
    return [Part("largest minus smallest loss", pd.Series(spread, seeds), ALIKE, -1, margin=0.0, exact=True, note=note)]


def worlds_slope(read, coefficient: str, sign: int) -> list[Part]:
    """The slope over log size of each world, as the worlds are the draws."""
    found = scaling.coefficients(curves.groups(read.curves, read.axis)).get(coefficient)
    if found is None or len(found.sizes) < 2:
        raise NotMeasured(f"no {coefficient} of two sizes")
    slopes = pd.Series(found.per_seed @ slope(np.log10(found.sizes)))
    return [Part("slope per tenfold size, each world", slopes, sign=sign, margin=0.0, fixed=True)]


GAO = "Gao et al. 2023"


def _of_policies(experiment: str, prefix: str) -> tuple[Claim, ...]:
    alike = Claim(
        name=f"{prefix}_alike",
        experiment=experiment,
        source="none",
        says=f"policies of all sizes fit demonstrations equally well ({ALIKE} nats a token)",
        estimand=f"the largest held-out loss minus the smallest, against {ALIKE}",
        measure=policies_are_alike,
        kind="premise",
    )
    rl = Claim(
        name=f"{prefix}_gain_less_in_rl",
        experiment=experiment,
        source=GAO,
        says="RL: larger policies gain less",
        estimand=f"gold per tenfold parameters, {AT_RL}",
        measure=partial(policies_gain_less, method="rl"),
        premises=(alike.name,),
    )
    return alike, rl


CLAIMS = (
    *_of_policies("policy_size", "policies"),
    Claim(
        name="policies_gain_less",
        experiment="policy_size",
        source=GAO,
        says="best-of-n: larger policies gain less",
        estimand=f"gold per tenfold parameters, {AT_BON}",
        measure=partial(policies_gain_less, method="bon"),
        premises=("policies_alike",),
    ),
    Claim(
        name="policies_gap",
        experiment="policy_size",
        source=GAO,
        says="RL: larger policies do not over-optimise more (the gap at equal KL is the same within 25 %)",
        estimand=f"proxy minus gold, the largest policy's minus the smallest's, within 25 % of the larger, {AT_RL}",
        measure=policies_gap,
        premises=("policies_alike",),
    ),
    *_of_policies("policy_size_large_rm", "policies_under_the_largest"),
    Claim(
        name="alpha_in_other_worlds",
        experiment="worlds",
        source=GAO,
        says="alpha_bon rises with size, between worlds",
        estimand="slope of alpha_bon over log10 of the size, one a world",
        measure=partial(worlds_slope, coefficient="bon_alpha", sign=1),
    ),
    Claim(
        name="beta_in_other_worlds",
        experiment="worlds",
        source=GAO,
        says="beta_rl falls with size, between worlds",
        estimand="slope of beta_rl over log10 of the size, one a world",
        measure=partial(worlds_slope, coefficient="rl_beta", sign=-1),
    ),
)
