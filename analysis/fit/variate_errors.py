"""Does the rule of decision keep its error when a control variate is taken off first, and what is the variance then?

    python -m analysis calibration --part decisions

The control explains a share of the variance between seeds. Its mean comes from the seeds and from three further draws
a seed. "curved" values follow the square of the control, too, so that the line which is taken off is the wrong one.
"""

import numpy as np
import pandas as pd

from analysis.findings import Table
from analysis.fit.decision_errors import KINDS, MOST, SPREAD, p_at_looks, pooled
from gold_sim.laws import variates
from gold_sim.laws.decisions import LEVEL, LOOKS, MARGIN

MORE = 3  # further draws of the control, a seed
SHARES = (0.0, 0.3, 0.8)  # of the variance; best-of-n explains 0.3 of RL's
CURVED = "curved"


def made(kind: str, share: float, rng, studies: int) -> tuple:
    """(values, control, further controls) of studies, standard deviation SPREAD and 1, means 0."""
    draw = KINDS["normal" if kind == CURVED else kind]
    x, others, own = (draw(rng, (studies, count)) for count in (MOST, MORE * MOST, MOST))
    follows = (x + (x**2 - 1) / np.sqrt(2)) / np.sqrt(2) if kind == CURVED else x
    return SPREAD * (np.sqrt(share) * follows + np.sqrt(1 - share) * own), x, others


def adjusted_at_looks(values, control, others) -> np.ndarray:
    """p-values [K, 4, R] at every look, from the seeds so far and MORE further draws of each."""
    of = lambda look: (values[:, :look], control[:, :look], others[:, : MORE * look])
    return np.stack([variates.p_values(*of(look)) for look in LOOKS])


def false_claims(kind: str, share: float, rng, studies: int) -> dict:
    """Shares of studies with a false verdict at some look, and the adjusted mean's variance over the plain one's."""
    values, control, others = made(kind, share, rng, studies)
    sure = lambda p, *of: (2 * p[:, list(of)] <= LEVEL).any((0, 1)).mean()
    at_zero, at_margin = (adjusted_at_looks(v, control, others) for v in (values, values + MARGIN))
    first = LOOKS[0]
    mean, _, _ = variates.adjusted(values[:, :first], control[:, :first], others[:, : MORE * first])
    return {
        "values": kind,
        "explained": share,
        "without": sure(p_at_looks(values), 0, 1),
        "mean 0: above or below": sure(at_zero, 0, 1),
        "at the margin: equivalent or below": sure(at_margin, 1, 2),
        "equivalent or outside": sure(at_margin, 2, 3),
        "variance at 8 seeds": mean.var() / values[:, :first].mean(1).var(),
        "expected": variates.variance_ratio(share, first, MORE * first),
    }


def tables(replications: int) -> list[Table]:
    """False verdicts with a control variate."""
    rng = np.random.default_rng(11)
    one = lambda kind, share: pooled(lambda n: [false_claims(kind, share, rng, n)], replications)[0]
    rows = [one(kind, share) | {"explained": f"{share:.0%}"} for kind in (*KINDS, CURVED) for share in SHARES]
    title = f"False verdicts at any look with a control variate, allowed {LEVEL:g}, {replications} studies"
    return [Table("variates", title, pd.DataFrame(rows))]
