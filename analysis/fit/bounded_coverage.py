"""Do the intervals of laws that saturate, of shares and of surfaces hold, and does a first half predict a second?

    python -m analysis calibration --part bounded [--replications 500]

Runs scatter about their law. Scores carry noise that is correlated along each run, shares that of their trials alone,
or more than that: beta-binomial shares, whose probability itself scatters.
"""

import numpy as np
import pandas as pd
from scipy import special

from analysis.findings import Table
from analysis.fit import coverage
from analysis.fit.coverage import correlated_noise, covered
from gold_sim import laws
from gold_sim.laws import prediction, response, saturation, saturation_fits, shares

X = np.linspace(0.0, 1000.0, 41)  # steps
HALVES = 61  # points of the curves whose first half predicts the second
TRUTH = {"R0": 0.1, "A": 0.7, "C_mid": 150.0, "B": 1.3}  # at the end 92 % of the way to A
SPREAD = (0.01, 0.03, 0.1, 0.05)  # of R0, A, log C_mid, log B between runs
NOISE = 0.02  # of scores; 0.03 of them is the range of A's
TRIALS = 200
WITHIN = 0.01  # correlation of two trials of an overdispersed share
SHARES = {"p0": 0.5, "alpha": 1.0, "beta": 0.2, "d_peak": 2.5}  # of logit p = logit p0 + d (alpha - beta d)
D = np.linspace(0.0, 4.0, 41)
CHINCHILLA = (1.69, 406.4, 410.7, 0.34, 0.28)  # E, A, B, alpha, beta (Hoffmann et al. 2022, eq. 10)


def made_law(form: str, rng, runs: int, x=X, scatter: bool = True):
    """The laws of the runs at x: [S, T].  A single run has the true coefficients."""
    theta = np.array([TRUTH["R0"], TRUTH["A"], np.log(TRUTH["C_mid"]), np.log(TRUTH["B"])])
    theta = theta + scatter * (runs > 1) * np.array(SPREAD) * rng.standard_normal((runs, 4))
    if form == "hill":
        theta[:, 0] = 0.0
    return np.clip(saturation.at(x, theta), 0, 1)


def drawn_shares(rng, p, within: float):
    """Shares of TRIALS successes with probabilities p, which themselves scatter if trials are correlated."""
    p = rng.beta(p * (1 / within - 1) + 1e-12, (1 - p) * (1 / within - 1)) if within else p
    return rng.binomial(TRIALS, p) / TRIALS


def saturating(form: str, runs: int, within: float | None, rng, replications: int) -> dict:
    """Coverage of the coefficients and of the second half.  within: None for scores, else of shares."""
    fits, inside = [], []
    for _ in range(replications):
        law = made_law(form, rng, runs)
        if within is None:
            y, trials = law + NOISE * correlated_noise(rng, law.shape), None
            inside.append(prediction.second_half(form, X, y).covered)
        else:
            y, trials = drawn_shares(rng, law, within), [np.full(len(X), TRIALS)] * runs
            pooled = [np.tile(X, runs), y.ravel(), np.full(y.size, TRIALS)]
            inside.append(prediction.second_half_of_shares(form, *pooled).covered)
        fits.append(saturation_fits.fit(form, [X] * runs, list(y), trials=trials))
    return _coverages(fits, {n: v for n, v in TRUTH.items() if form != "hill" or n != "R0"}, runs, within, inside)


def of_shares(runs: int, within: float, rng, replications: int) -> dict:
    """The same for a law of distance on the scale of the logit."""
    fits, inside = [], []
    for _ in range(replications):
        scatter = (runs > 1) * rng.standard_normal((2, runs))
        alpha, beta = SHARES["alpha"] + 0.05 * scatter[0], SHARES["beta"] + 0.01 * scatter[1]
        y = drawn_shares(rng, special.expit(laws.evaluate("bon", D, alpha, beta)), within)
        fits.append(shares.fit("bon", [D] * runs, list(y), [np.full(len(D), TRIALS)] * runs))
        pooled = [np.tile(D, runs), y.ravel(), np.full(y.size, TRIALS)]
        inside.append(prediction.second_half_of_shares("bon", *pooled).covered)
    return _coverages(fits, SHARES, runs, within, inside)


def _coverages(fits, truth: dict, runs: int, within: float | None, inside) -> dict:
    has_intervals = runs > 1 or within is not None
    out = {name: covered([getattr(f, f"{name}_ci") for f in fits], value) for name, value in truth.items()}
    out = out if has_intervals else {}
    out["second half"] = float(np.mean(inside))
    if within is not None and runs == 1:
        out["called overdispersed"] = float(np.mean([f.dispersion_p < 0.01 for f in fits]))
    return out


def surfaces(rng, replications: int) -> list[dict]:
    """Coverage of Chinchilla's surface from 64 runs, one a row, and of one with a logarithm, seed by seed."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e8, 1e11, 8)))
    e, a, b, p, q = CHINCHILLA
    columns, rows, seeds = np.stack([n, d], 1), [], []
    for _ in range(replications):
        y = e + a / n**p + b / d**q + 0.02 * rng.standard_normal(len(n))
        rows.append(response.response(columns, y, (("N", "power"), ("D", "power"))).fitted)
        each = [
            e + 0.1 * z[0] + 0.2 * (1 + 0.1 * z[1]) * np.log10(n) + b / d**q + 0.02 * rng.standard_normal(len(n))
            for z in rng.standard_normal((4, 2))
        ]
        terms, units = (("N", "log"), ("D", "power")), np.repeat(np.arange(4), len(n))
        seeds.append(response.response(np.tile(columns, (4, 1)), np.concatenate(each), terms, units).fitted)
    return [
        {"surface": "N:power,D:power", "runs": "64, one a row"} | _of_terms(rows, (e, a, b), (p, q)),
        {"surface": "N:log,D:power", "runs": "4 seeds of 64 cells"} | _of_terms(seeds, (e, 0.2, b), (q,)),
    ]


def _of_terms(fits, linear, exponents) -> dict:
    names = ("1", "first term", "second term")
    out = {name: covered([f.linear_ci[i] for f in fits], linear[i]) for i, name in enumerate(names)}
    return out | {f"exponent {i + 1}": covered([f.exponents_ci[i] for f in fits], p) for i, p in enumerate(exponents)}


def second_halves(form: str, runs: int, correlation: float, rng, replications: int) -> float:
    """Share of the second half's points within the 90 % band of the first half's law."""
    inside = []
    for _ in range(replications):
        if form in saturation.FORMULAS:
            x = np.linspace(0.0, 1000.0, HALVES)
            y = made_law(form, rng, runs, x) + NOISE * correlated_noise(rng, (runs, HALVES), correlation)
        else:
            x, law = np.linspace(0.3, 4.0, HALVES), coverage.replicated_runs
            _, y = law(form, rng, 1, runs, noise=0.0, d=x)
            y = y[0] + 0.03 * correlated_noise(rng, (runs, HALVES), correlation)
        inside.append(prediction.second_half(form, x, y).covered)
    return float(np.mean(inside))


def tables(replications: int) -> list[Table]:
    rng = lambda: np.random.default_rng(2)  # the widening of a band was chosen on seed 1
    kinds = {"scores": None, "shares": 0.0, "overdispersed shares": WITHIN}
    rows = [
        {"form": form, "of": kind, "runs": runs} | saturating(form, runs, within, rng(), replications)
        for form in saturation.FORMULAS
        for kind, within in kinds.items()
        for runs in (1, 4)
    ]
    of_distance = [
        {"form": "bon, on the logit", "of": kind, "runs": runs} | of_shares(runs, within, rng(), replications)
        for kind, within in kinds.items()
        if within is not None
        for runs in (1, 4)
    ]
    forms = (*laws.FORMS, *saturation.FORMULAS)
    halves = [
        {"form": form}
        | {
            f"{name}, {runs} run{'s' * (runs > 1)}": second_halves(form, runs, correlation, rng(), replications)
            for name, correlation in (("independent", 0.0), ("correlation 0.9", 0.9))
            for runs in (1, 4)
        }
        for form in forms
    ]
    said = f"Coverage of 90% intervals, {replications} replications"
    return [
        Table("bounded", f"{said}: laws that saturate", pd.DataFrame(rows)),
        Table("shares", f"{said}: laws of distance for shares", pd.DataFrame(of_distance)),
        Table("surfaces", f"{said}: surfaces", pd.DataFrame(surfaces(rng(), replications))),
        Table(
            "halves", "Share of the second half in the 90% band of the first, by noise and runs", pd.DataFrame(halves)
        ),
    ]
