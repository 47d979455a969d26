"""How faithful gold is to the rubric that it was trained on: correlations pooled over seeds, and the audit of gold."""

import numpy as np

from analysis import curves
from analysis.drawing import figures
from analysis.judgement import check
from analysis.templates import variants

ON_SAMPLES = 0.99  # correlation that a faithful gold has on reference samples and on each kind of disturbed ones
ALONG_RL = 0.97  # and at every point of every RL curve, pooled over seeds
NOT_RECORDED = "not recorded"


def pooled_correlation(num, gold, gold_sd, rubric, rubric_sd, correlation):
    """Pearson correlation of gold and rubric over the responses of several runs together, from each run's moments.

    By the law of total covariance, cov = E[cov of a run] + cov[mean of a run], and exact for that reason.
    num: [S, ...] responses of each of S runs, their weights.  gold, rubric: [S, ...] means.
    gold_sd, rubric_sd: [S, ...] with divisor num.  correlation: [S, ...]; not read where a run's s.d. is 0.
    Returns [...]; NaN where gold or rubric does not vary at all, or a moment is not recorded.
    """
    num, gold, gold_sd, rubric, rubric_sd = (np.asarray(x, float) for x in (num, gold, gold_sd, rubric, rubric_sd))
    share = np.broadcast_to(num / num.sum(0), gold.shape)
    mean = lambda x: np.sum(share * x, 0)
    varying = (gold_sd > 0) & (rubric_sd > 0)
    within = np.where(varying, correlation, 0.0) * gold_sd * rubric_sd
    gold, rubric = gold - mean(gold), rubric - mean(rubric)
    scale = np.sqrt(mean(gold_sd**2 + gold**2) * mean(rubric_sd**2 + rubric**2))
    found = mean(within + gold * rubric)
    return np.divide(found, scale, out=np.full(scale.shape, np.nan), where=scale > 0)[()]


def along(g: curves.Group) -> np.ndarray:
    """`pooled_correlation` over all runs of a group, [T], at the points of the control that all of them have.

    g: of recorded values (rezero=False): runs that are shifted one by one do not pool to what was measured.
    """
    moments = ("num_prompts", "gold", "gold_sd", "rubric", "rubric_sd", "gold_rubric_correlation")
    return pooled_correlation(*(variants.along(g, name) for name in moments))


def mean_kl(g: curves.Group) -> np.ndarray:
    """Mean KL over runs at the points of `along`, [T]."""
    return variants.along(g, "kl").mean(0)


def is_recorded(g: curves.Group) -> bool:
    """Whether the runs of a group have the columns of the audit."""
    return all(np.isfinite(run["rubric_sd"]).all() for run in g.runs)


# --- checks -----------------------------------------------------------------------------------------


def checks(data) -> dict:
    """The audit of an experiment's gold, on samples and along its RL curves."""
    of_rl = curves.groups(data.curves[data.curves["stage"] == "policy_gradient"], data.axis, rezero=False)
    return {
        "gold_is_faithful": on_samples(data.golds()),
        "gold_is_faithful_along_rl": along_rl(of_rl.get("rl", [])),
    }


def on_samples(golds: list[dict]) -> dict:
    """Gold follows the rubric on reference samples and on every disturbed kind.  golds: records of gold cells."""
    every = [one for record in golds for one in record["fidelity"].items()]
    told = [(kind, np.nan if correlation is None else correlation) for kind, correlation in every]  # JSON has no NaN
    if not told:
        return not_recorded("fidelity of gold, as the records name no cell of gold")
    where, lowest = lowest_of(told)
    _, on_reference = lowest_of([one for one in told if one[0] == "reference"])
    says = f"correlation of gold with the rubric: {on_reference:.3f} on reference samples, lowest {lowest:.3f} "
    says += f"({where.replace('_', ' ')}), at least {ON_SAMPLES} wanted"
    return check(reaches(lowest, ON_SAMPLES), says, lowest=lowest, reference=on_reference)


def along_rl(gs: list[curves.Group]) -> dict:
    """Gold follows the rubric at every point of every RL curve, pooled over seeds.  gs: of recorded values."""
    told = [((g, at), value) for g in gs if is_recorded(g) for at, value in enumerate(along(g))]
    if not told:
        return not_recorded("correlation of gold with the rubric along RL")
    (g, at), lowest = lowest_of(told)
    says = f"lowest correlation of gold with the rubric along RL, pooled over seeds: {lowest:.3f} at "
    says += f"{mean_kl(g)[at]:.1f} nats ({figures.short(g.key)}), at least {ALONG_RL} wanted"
    return check(reaches(lowest, ALONG_RL), says, lowest=lowest, kl=float(mean_kl(g)[at]))


def lowest_of(told: list[tuple]) -> tuple:
    """The (name, correlation) that is lowest; one that is undefined counts as lower than all."""
    return min(told, key=lambda one: one[1] if np.isfinite(one[1]) else -np.inf)


def reaches(correlation: float, wanted: float) -> bool | None:
    """None where the correlation is undefined, because gold or the rubric does not vary."""
    return correlation >= wanted if np.isfinite(correlation) else None


def not_recorded(what: str) -> dict:
    """A check that older records cannot tell: neither held nor failed."""
    return check(None, f"{NOT_RECORDED}: {what}", NOT_RECORDED)
