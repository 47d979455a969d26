"""Are the intervals and the verdicts as good as they say?  Checked on curves made by known laws.

    python -m analysis calibration [--replications 500]

Runs scatter about their law and carry noise correlated along each run, as measured curves do.
"""

import time

import numpy as np
import pandas as pd

from analysis.findings import Table
from analysis.fit import odd
from gold_sim import laws
from gold_sim.laws import comparison, crosschecks

D = np.linspace(0.0, 4.0, 17)  # nats^0.5
POINTS = np.linspace(0.3, 4.0, 61)  # of a run that has none at the reference
TRUTHS = {  # form -> (alpha, beta, shape); peaks of 0.9 to 1.3 gold s.d. within D, but for linear
    "bon": (0.6, 0.1, None),
    "rl": (0.7, 0.5, None),
    "log1p": (0.8, 0.5, None),
    "offset": (0.7, 0.45, 0.3),
    "power": (0.7, 0.2, 0.6),
    "quadratic": (0.25, 0.012, None),
    "linear": (0.3, 0.0, None),
}
SPREADS = {"quadratic": (0.015, 0.001), "linear": (0.05, 0.0)}  # of alpha, beta between runs; else 0.05, 0.02
NOISES = (0.003, 0.03, 0.1)  # gold s.d. along a run
RUNS_TO_TELL = 8
MANY = 10_000


def correlated_noise(rng, shape, correlation=0.9):
    """AR(1) along the last axis with unit variance: points of one run are not independent."""
    white = rng.standard_normal(shape)
    out = white.copy()
    for t in range(1, shape[-1]):
        out[..., t] = correlation * out[..., t - 1] + np.sqrt(1 - correlation**2) * white[..., t]
    return out


def replicated_runs(form, rng, replications, seeds, noise=0.03, d=D[2:], spread=1.0, correlation=0.9):
    """d, and [R, S, T] curves whose coefficients vary between seeds around TRUTHS, with noise along each run."""
    *linear, shape = TRUTHS[form]
    scatters = SPREADS.get(form, (0.05, 0.02))
    alpha, beta = (
        t + spread * s * rng.standard_normal((replications, seeds)) for t, s in zip(linear, scatters, strict=True)
    )
    inner = None if shape is None else np.full((replications, seeds), shape)
    gold = laws.evaluate(form, d, alpha, beta, inner)
    return d, gold + noise * correlated_noise(rng, (replications, seeds, len(d)), correlation)


def truths(form) -> dict:
    """True values of what a fit reports with an interval."""
    alpha, beta, shape = TRUTHS[form]
    if form == "linear":
        return {"alpha": alpha}
    d_peak, gold_peak = laws.peak(form, alpha, beta, shape)
    known = {"alpha": alpha, "beta": beta, "d_peak": d_peak, "gold_peak": gold_peak}
    return known if shape is None else known | {"shape": shape}


def covered(pairs, truth) -> float:
    """Share of intervals (low, high) that hold the truth."""
    low, high = np.asarray(pairs).T
    return float(np.mean((low <= truth) & (truth <= high)))


def coverage(form, rng, replications: int, seeds: int = 4) -> dict:
    """Share of 90 % intervals that hold the truth, per reported value; naive: of alpha, points as independent."""
    d, gold = replicated_runs(form, rng, replications, seeds, d=POINTS)
    fits = [laws.fit(form, [d] * seeds, list(curves), d_min=0.0) for curves in gold]
    out = {name: covered([getattr(f, f"{name}_ci") for f in fits], truth) for name, truth in truths(form).items()}
    if not laws.FORMS[form].shape:
        out["naive alpha"] = covered([crosschecks.naive(form, d, one)["alpha"] for one in gold], TRUTHS[form][0])
    return out


def joint_coverage(rng, replications: int, betas=(0.5, 0.4, 0.3), seeds: int = 4) -> dict:
    """Share of intervals that hold the truth, as by `coverage`, for groups that share alpha."""
    d, found = D[2:], []
    for _ in range(replications):
        groups = []
        for beta in betas:
            alpha, b = 0.7 + 0.05 * rng.standard_normal(seeds), beta + 0.02 * rng.standard_normal(seeds)
            gold = laws.evaluate("rl", d, alpha, b) + 0.03 * correlated_noise(rng, (seeds, len(d)))
            groups.append(([d] * seeds, list(gold)))
        found.append(laws.fit_shared("rl", groups))
    out = {"alpha": covered([fits[0].alpha_ci for fits in found], 0.7)}
    by_group = [covered([fits[g].beta_ci for fits in found], beta) for g, beta in enumerate(betas)]
    return out | {"beta": float(np.mean(by_group))}


def attribution(form, noise, rng, replications: int, runs: int = RUNS_TO_TELL) -> dict:
    """Shares of replications in which the verdict is the form that made the curves, no form, or another form."""
    d, gold = replicated_runs(form, rng, replications, runs, noise=noise)
    named = [comparison.verdict(d, one).form for one in gold]
    right, none = named.count(form), named.count(None)
    counts = {"right": right, "cannot tell": none, "wrong": len(named) - right - none}
    return {what: count / len(named) for what, count in counts.items()}


def called_odd(form, noise, correlation, rng, replications: int) -> dict:
    """Shares of single runs of this law in which a warning of `fit` names an intercept, or a point."""
    d, gold = replicated_runs(form, rng, replications, 1, noise, POINTS, correlation=correlation)
    least = laws.FORMS[form].d_min
    intercept = [odd.off_zero("", form, [d], [one], least) is not None for one in gold[:, 0]]
    point = [odd.outlying(form, d, one, least).any() for one in gold[:, 0]]
    return {"intercept": float(np.mean(intercept)), "point": float(np.mean(point))}


def speed(rng, curves: int = MANY) -> dict:
    """Seconds to fit `curves` runs in groups of four, with t intervals and with a bootstrap of 500."""
    d, gold = replicated_runs("bon", rng, curves // 4, 4)
    began = time.process_time()
    for group in gold:
        laws.fit("bon", [d] * 4, list(group))
    fitted = time.process_time() - began
    began = time.process_time()
    crosschecks.bootstrap("bon", d, gold, resamples=500)
    return {"curves": curves, "fits (CPU s)": fitted, "bootstrap of 500 (CPU s)": time.process_time() - began}


def tables(replications: int) -> list[Table]:
    rows = [{"form": f} | coverage(f, np.random.default_rng(1), replications) for f in laws.FORMS]
    rows.append({"form": "rl, one alpha for 3 groups"} | joint_coverage(np.random.default_rng(1), replications))
    verdicts = [
        {"form": f, "noise": noise} | attribution(f, noise, np.random.default_rng(2), min(replications, 200))
        for f in laws.FORMS
        for noise in NOISES
    ]
    odd_rows = []
    for form in laws.FORMS:
        for noise in NOISES:
            row = {"form": form, "noise": noise}
            for correlation in (0.0, 0.9):
                of = called_odd(form, noise, correlation, np.random.default_rng(4), replications)
                row |= {f"{what}, correlation {correlation:g}": share for what, share in of.items()}
            odd_rows.append(row)
    title = f"Coverage of 90% intervals, four runs of 61 points, {replications} replications"
    return [
        Table("coverage", title, pd.DataFrame(rows)),
        Table("attribution", f"Verdict on the form, {RUNS_TO_TELL} runs, by noise (gold s.d.)", pd.DataFrame(verdicts)),
        Table("odd", "Share of single runs that a warning calls odd, though none is", pd.DataFrame(odd_rows)),
        Table("speed", "Time on one core", pd.DataFrame([speed(np.random.default_rng(3))])),
    ]
