"""Do intervals of score tables hold the truth as often as they say?  Checked on made tables whose truth is known.

    python -m analysis calibration --part scores

The proxy x of a made sample is exponential, and gold is level + a x - b x^2 + noise. The best of n then has mean
H_n = 1 + 1/2 + .. + 1/n and variance 1 + 1/4 + .. + 1/n^2, so gold of the best of n is known:
level + a H_n - b (H_n^2 + variance). The table shows (exp(xi x) - 1) / xi in place of x: the same order, and a
generalised Pareto tail of index xi. Level, a and b vary between prompts and between reward models.
"""

import numpy as np
import pandas as pd
from scipy import optimize, special

from analysis.findings import Table
from analysis.fit import scores
from analysis.fit.coverage import covered
from analysis.fit.pools import Pool
from gold_sim import laws
from gold_sim.optimisation import best_of_n

GAIN, LOSS = 0.5, 0.08  # a, b: gold peaks at n = 12
LEVELS = 1.0  # s.d. of a prompt's gold
OF_MODELS, OF_PROMPTS, OF_BOTH = 0.03, 0.2, 0.1  # s.d. of a between reward models, prompts, pairs; a sixth of it for b
NOISE = 1.0  # gold s.d. of samples of one proxy
CASES = ((1, 100, 64, 0.0), (1, 100, 64, 0.25), (4, 100, 64, 0.0), (8, 50, 64, 0.0))  # models, prompts, samples, xi
SEED = 204  # the rules of the tails' intervals were chosen on others, below 200
SHOWN = (4, 16, 64)  # n at which gold is checked


def best_of(n, gain=GAIN, loss=LOSS):
    """Gold of the best of n, above the level of its prompt; n may lie between whole numbers."""
    mean = special.digamma(np.asarray(n, float) + 1) + np.euler_gamma
    variance = np.pi**2 / 6 - special.polygamma(1, np.asarray(n, float) + 1)
    return gain * mean - loss * (mean**2 + variance)


def made(rng, models: int, prompts: int, samples: int, xi: float) -> tuple[Pool, tuple[float, float]]:
    """A pool of made samples, and (a, b) that intervals between its prompts are about.

    With one reward model these are its own: nothing in its table tells how others differ.
    """
    vary = lambda s, shape: s * rng.standard_normal(shape)
    pairs, of_models = (models, prompts), vary(OF_MODELS, (2, models, 1))
    a, b = of_models + vary(OF_PROMPTS, (2, 1, prompts)) + vary(OF_BOTH, (2, *pairs))
    gain, loss = (GAIN + a).reshape(-1, 1), (LOSS + b / 6).reshape(-1, 1)
    level = np.broadcast_to(vary(LEVELS, (1, prompts)), pairs).reshape(-1, 1)
    x = np.sort(rng.exponential(size=(models * prompts, samples)), axis=1)
    gold = level + gain * x - loss * x**2 + vary(NOISE, x.shape)
    proxy = np.expm1(xi * x) / xi if xi else x
    pool = Pool("all", models, prompts, samples, ((np.arange(len(x)), proxy, gold),))
    own = of_models[:, 0, 0] if models == 1 else np.zeros(2)
    return pool, (GAIN + own[0], LOSS + own[1] / 6)


def coverage(rng, replications: int, models: int, prompts: int, samples: int, xi: float) -> dict:
    """Share of 90 % intervals that hold the truth, by what is reported."""
    found = {}
    for _ in range(replications):
        pool, (gain, loss) = made(rng, models, prompts, samples, xi)
        for name, (interval, truth) in {**_curve(pool, gain, loss), **_rest(pool, gain, loss, xi)}.items():
            found.setdefault(name, []).append(np.subtract(interval, truth))
    return {name: covered(pairs, 0.0) for name, pairs in found.items()}


def _curve(pool: Pool, gain: float, loss: float) -> dict:
    curve = scores.curve(pool, np.array([1, *SHOWN])).set_index("n")
    out = {f"gold at {n}": (curve["gold_ci"][n], float(best_of(n, gain, loss))) for n in SHOWN}
    rise = float(best_of(SHOWN[1], gain, loss) - best_of(1, gain, loss))
    out[f"gain at {SHOWN[1]}"] = (curve["gain_ci"][SHOWN[1]], rise)
    ns = scores.fit_ns(pool)
    d, gold = np.sqrt(best_of_n.kl_bound(ns)), best_of(ns, gain, loss)
    alpha, beta = laws.least_squares(scores.FORM, d, gold - gold[0])
    found, peak = scores.law(pool, scores.per_pair(pool, ns)), laws.peak(scores.FORM, alpha, beta)
    truths = {"alpha": alpha, "beta": beta, "d_peak": peak[0], "gold_peak": peak[1]}
    return out | {name: (getattr(found, f"{name}_ci"), float(truth)) for name, truth in truths.items()}


def _rest(pool: Pool, gain: float, loss: float, xi: float) -> dict:
    falls = lambda log_n: -float(best_of(np.exp(log_n), gain, loss))
    peak = optimize.minimize_scalar(falls, bounds=(0.0, np.log(pool.num_samples)), method="bounded")
    hedged, tailed = scores.hedge(pool)["n_ci"], scores.tail(pool)["proxy"]["xi_ci"]
    return {"hedge n": (hedged, float(np.exp(peak.x))), "xi of proxy": (tailed, xi)}


def tables(replications: int) -> list[Table]:
    rows = []
    for models, prompts, samples, xi in CASES:
        named = {"reward models": models, "prompts": prompts, "samples": samples, "xi": xi}
        rows.append(named | coverage(np.random.default_rng(SEED), replications, models, prompts, samples, xi))
    title = f"Coverage of 90% intervals of score tables, {replications} made tables"
    return [Table("scores", title, pd.DataFrame(rows))]
