"""Is the hierarchical fit right?  Simulation-based calibration, and coverage on curves of correlated noise.

    python -m analysis calibration --part bayes [--replications 500]

Simulation-based calibration (Talts et al. 2018): parameters are drawn from the priors, gold is made by them, and the
posterior is sampled. If all is right the rank of the drawn value among the posterior's draws is uniform, for every
parameter. All data sets are fitted by one program.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from analysis.bayes import posterior
from analysis.bayes.design import Arrays, Design, Run, made
from analysis.findings import Table
from analysis.fit.coverage import TRUTHS, D, covered, replicated_runs
from gold_sim import laws

SIZES = (1e6, 1e7, 1e8)
SEEDS = 4  # each trains a model of every size
POINTS = np.linspace(0.3, 3.6, 12)  # nats^0.5
RANKED = 99  # draws of the posterior among which a value is ranked: every ESS-th
BINS = 20  # of the 100 ranks
EFFORT = posterior.Effort(chains=1, warmup=300, samples=4 * RANKED)
BAND = 0.99  # of the band that the whole empirical distribution of uniform ranks keeps to


def example(form: str = "bon") -> Design:
    """The small design that data sets are made for; its gold only sets the scale."""
    gold = laws.evaluate(form, POINTS, *TRUTHS[form][:2])
    runs = [Run(g, seed, POINTS, gold) for g in range(len(SIZES)) for seed in range(SEEDS)]
    return made(form, runs, SIZES, {"size": SIZES})


def simulated(design: Design, replications: int, seed: int):
    """(draws of the priors {name: [M, ..]}, the data sets that they make)."""
    model = posterior.the_model()
    basis = posterior.padded(design)[0]
    drawn = model.from_priors(design.arrays, design.shared, replications, seed)
    gold = model.predicted(drawn, design.arrays, basis, len(design.units), seed + 1)  # [M, R, T]
    pull = np.einsum("rti,mrt->mri", basis, gold)
    many = [np.broadcast_to(x, (replications, *x.shape)) for x in design.arrays]
    return drawn, Arrays(*many)._replace(pull=pull, squares=np.sum(gold**2, -1))


def columns(draws: dict) -> dict:
    """Each scalar parameter by name: the last axes of draws {name: [.., shape]} taken apart, two of groups."""
    out = {}
    for name, x in draws.items():
        x = np.asarray(x)
        of_pair = name in ("level", "spread", "apart")
        if name == "groups":
            out |= {f"{c} of {which} size": x[..., g, i] for g, which in ((0, "smallest"), (-1, "largest"))
                    for i, c in enumerate(("alpha", "beta"))}  # fmt: skip
        elif name == "slope":
            out |= {f"slope of {c}": x[..., 0, i] for i, c in enumerate(("alpha", "beta"))}
        elif of_pair:
            out |= {f"{name} of {c}": x[..., i] for i, c in enumerate(("alpha", "beta"))}
        else:
            out[name] = x
    return out


def ranks(replications: int, seed: int = 200, form: str = "bon", effort=EFFORT, broken=None):
    """({parameter: ranks [M] from 0 to RANKED}, {parameter: contraction}, divergences).

    contraction: 1 - posterior variance over prior variance, the mean over data sets; 0: data tell nothing.
    broken: a function of the data sets, with which a test sees that a wrong posterior is caught.
    """
    design = example(form)
    drawn, data = simulated(design, replications, seed)
    data = broken(data) if broken else data
    amount = (effort.chains, effort.warmup, effort.samples, seed)
    draws, diverging = posterior.the_model().sample(data, len(design.units), design.shared, *amount)
    truth, found = columns(drawn), columns({name: x[:, 0] for name, x in draws.items()})
    every = max(effort.samples // RANKED, 1)
    thinned = {name: x[:, ::every][:, :RANKED] for name, x in found.items()}
    of = {name: np.sum(x < truth[name][:, None], axis=1) for name, x in thinned.items()}
    shrunk = {name: float(np.mean(1 - x.var(1) / truth[name].var())) for name, x in found.items()}
    return of, shrunk, int(diverging.sum())


def uniform(of: np.ndarray, rng, draws: int = 2000) -> dict:
    """Chi-square of BINS bins and its p-value; the largest difference of the ECDF from uniform, and its band's edge.

    The edge holds the whole ECDF of as many uniform ranks with probability BAND, by simulation (Saeilynoja et al. 2022
    have it pointwise-adjusted; this band is of constant width).
    """
    counts = np.bincount(of * BINS // (RANKED + 1), minlength=BINS)
    chi = stats.chisquare(counts)
    largest = lambda r: np.max(np.abs(np.cumsum(np.bincount(r, minlength=RANKED + 1)) / len(r)
                                      - np.arange(1, RANKED + 2) / (RANKED + 1)))  # fmt: skip
    edge = np.quantile([largest(rng.integers(0, RANKED + 1, len(of))) for _ in range(draws)], BAND)
    return {"chi2": float(chi.statistic), "p": float(chi.pvalue), "ecdf": float(largest(of)), "edge": float(edge)}


def coverage(replications: int, form: str, seed: int = 204, seeds: int = 4) -> dict:
    """Share of 90 % intervals that hold alpha and beta, on one group's made curves with noise correlated along runs.

    least squares: the same of `analysis fit`, on the same curves.
    """
    d, gold = replicated_runs(form, np.random.default_rng(seed), replications, seeds)
    data = [made(form, [Run(0, s, d, y) for s, y in enumerate(curves)], ("all",), d_min=0.0) for curves in gold]
    found = posterior.fitted_many([one.arrays for one in data], data[0], posterior.Effort(1, 300, 400, seed))
    own = [one.draws["groups"][:, 0] * design.per_unit for one, design in zip(found, data, strict=True)]
    theirs = [laws.fit(form, [d] * seeds, list(curves), d_min=0.0) for curves in gold]
    out = {"form": form}
    for c, name in enumerate(("alpha", "beta")):
        truth = TRUTHS[form][c]
        out[name] = covered([posterior.interval(x[:, c]) for x in own], truth)
        out[f"{name}, least squares"] = covered([getattr(fit, f"{name}_ci") for fit in theirs], truth)
    return out


def tables(replications: int) -> Iterator[Table]:
    """What `python -m analysis calibration --part bayes` prints, each as soon as it is there."""
    of, shrunk, divergences = ranks(replications)
    rng = np.random.default_rng(0)
    rows = [{"parameter": name, **uniform(r, rng), "contraction": shrunk[name]} for name, r in of.items()]
    title = f"Ranks of drawn values in their posteriors, {replications} data sets of {len(SIZES)} sizes x {SEEDS} "
    title += (
        f"seeds x {len(POINTS)} points; {divergences} divergent transitions; uniform: p not near 0, ecdf below edge"
    )
    yield Table("sbc", title, pd.DataFrame(rows))
    held = [coverage(replications, form) for form in ("bon", "rl")]
    about = f"Share of 90 % intervals that hold the truth, {replications} data sets of 4 runs, {len(D[2:])} points, "
    yield Table("bayes_coverage", about + "noise correlated along runs", pd.DataFrame(held))
