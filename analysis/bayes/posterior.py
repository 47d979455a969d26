"""A hierarchical fit and what is read off it: coefficients, peaks and slopes with intervals, left-out runs, bands."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.bayes import chains, psis
from analysis.bayes.design import Arrays, Design, Run, made
from gold_sim import laws

PRIOR_DRAWS = 500
MISSING = "numpyro is wanted for this: pip install 'gold_sim[bayes]'"


@dataclass(frozen=True)
class Effort:
    """How long chains are."""

    chains: int = 4
    warmup: int = 400
    samples: int = 1000  # of each chain
    seed: int = 0


@dataclass(frozen=True)
class Posterior:
    """Draws of one design, standardised, N = chains x samples."""

    design: Design
    draws: dict  # name -> [N, ..]
    diagnostics: dict

    @property
    def coefficients(self) -> np.ndarray:
        """alpha and beta of the groups, [N, G, 2]."""
        return self.draws["groups"] * self.design.per_unit

    @property
    def slopes(self) -> np.ndarray:
        """Change of alpha and beta a tenfold size, [N, K, 2]."""
        return self.draws["slope"] * self.design.per_unit


def the_model():
    """The module of the model.  ValueError, with the command to type, where numpyro is not installed."""
    try:
        from analysis.bayes import model
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("numpyro", "jax", "jaxlib"):
            raise
        raise ValueError(MISSING) from error
    return model


def fitted(design: Design, effort: Effort = Effort()) -> Posterior:
    """The posterior of a design."""
    return fitted_many([design.arrays], design, effort)[0]


def fitted_many(data: list[Arrays], design: Design, effort: Effort) -> list[Posterior]:
    """Posteriors of several data sets that have the axes of one design, by one program."""
    stacked = Arrays(*(np.stack(column) for column in zip(*data, strict=True)))
    amount = (effort.chains, effort.warmup, effort.samples, effort.seed)
    draws, diverging = the_model().sample(stacked, len(design.units), design.shared, *amount)
    out = []
    for i in range(len(data)):
        own = {name: x[i] for name, x in draws.items()}
        found = chains.diagnosed(own, diverging[i])
        flat = {name: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]) for name, x in own.items()}
        out.append(Posterior(design, flat, found))
    return out


def interval(values, level: float = laws.LEVEL) -> tuple[float, float]:
    """Central interval of draws [N]; values that are NaN count as above all others."""
    ordered = np.sort(np.where(np.isnan(values), np.inf, values))
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.5 - level / 2, 0.5 + level / 2))
    return float(low), float(high)


def groups(found: Posterior) -> list[dict]:
    """Of each group alpha, beta (means), d_peak, gold_peak (medians), each with its interval, and runs."""
    out = []
    for g in range(len(found.design.keys)):
        alpha, beta = found.coefficients[:, g].T
        row = {"alpha": alpha.mean(), "alpha_ci": interval(alpha), "beta": beta.mean(), "beta_ci": interval(beta)}
        for name, values in zip(("d_peak", "gold_peak"), laws.peak(found.design.form, alpha, beta), strict=True):
            row |= {name: interval(values, 0.0)[0], f"{name}_ci": interval(values)}
        own = found.design.arrays.group == g
        row |= {"runs": int(own.sum()), "n_points": int(found.design.arrays.count[own].sum())}
        out.append(row)
    return out


def trends(found: Posterior) -> dict:
    """Size -> coefficient -> slope a tenfold size.

    slope: of the line that sizes scatter about, for sizes in general.  of_these: of least squares through the
    coefficients of these sizes, as `laws.trend` has it.
    """
    out, sizes = {}, found.design.arrays.sizes
    if not len(found.design.names):
        return out
    design = np.column_stack([np.ones(len(sizes)), sizes])
    of_these = np.einsum("kg,ngc->nkc", np.linalg.pinv(design), found.coefficients)[:, 1:]
    for k, name in enumerate(found.design.names):
        out[name] = {}
        for c, coefficient in enumerate(("alpha", "beta")):
            line, own = found.slopes[:, k, c], of_these[:, k, c]
            out[name][coefficient] = {"slope": line.mean(), "slope_ci": interval(line)}
            out[name][coefficient] |= {"of_these": own.mean(), "of_these_ci": interval(own)}
    return out


def scales(found: Posterior) -> dict:
    """Standard deviations of the runs' coefficients about their group's, of groups about the line, and of the noise."""
    out, draws, unit = {}, found.draws, found.design.per_unit
    for name in ("spread", "apart"):
        if name in draws:
            for c, coefficient in enumerate(("alpha", "beta")):
                values = draws[name][:, c] * unit[c]
                out[f"{name}_{coefficient}"] = {"mean": values.mean(), "ci": interval(values)}
    more = {"noise": draws["noise"] * found.design.gold_scale, "correlation": 2 * draws["half"] - 1}
    more |= {"share_of_seeds": draws["share"]} if "share" in draws else {}
    return out | {name: {"mean": x.mean(), "ci": interval(x)} for name, x in more.items()}


def bands(found: Posterior, g: int, points: int = 60, count: int = 1000) -> tuple[np.ndarray, tuple, tuple]:
    """d [T] over group g's fitted range; (low, high) [T] of its law there; the same of gold of a new run of it."""
    design, own = found.design, np.flatnonzero(found.design.arrays.group == g)
    reach = max(design.rows[r][0][-1] for r in own)
    d = np.linspace(max(design.least, 0.01 * reach), reach, points)
    basis = np.stack(laws.form_named(design.form).basis(d))  # [2, T]
    step = max(len(found.coefficients) // count, 1)
    pick = lambda name: found.draws[name][::step]
    law = found.coefficients[::step, g] @ basis
    rng, spread, r = np.random.default_rng(0), pick("spread") * design.per_unit, 2 * pick("half") - 1
    first, second = rng.standard_normal((2, len(r)))
    about = spread * np.stack([first, r * first + np.sqrt(1 - r**2) * second], -1)
    noise = pick("noise")[:, None] * design.gold_scale * rng.standard_normal(law.shape)
    ends = lambda values: tuple(np.quantile(values, [0.5 - laws.LEVEL / 2, 0.5 + laws.LEVEL / 2], axis=0))
    return d, ends(law), ends(law + about @ basis + noise)


def prior_check(design: Design) -> dict:
    """Where the seen gold lies among what the priors predict before any data.

    inside: share of points in the 90 % prior predictive interval at their d.  wider: width of that interval over the
    range of gold, the median over points. A prior that is weak and not absurd has inside near 1, and wider of 2 to 50.
    """
    model = the_model()
    basis, gold, mask = padded(design)
    drawn = model.from_priors(design.arrays, design.shared, PRIOR_DRAWS, seed=1)
    curves = model.predicted(drawn, design.arrays, basis, len(design.units), seed=2)
    low, high = np.quantile(curves, [0.5 - laws.LEVEL / 2, 0.5 + laws.LEVEL / 2], axis=0)
    inside = ((low <= gold) & (gold <= high))[mask].mean()
    return {"inside": float(inside), "wider": float(np.median((high - low)[mask]) / max(np.ptp(gold[mask]), 1e-12))}


def padded(design: Design):
    """(basis [R, T, 2], gold [R, T], both standardised; mask [R, T]) of the fitted points."""
    longest = max(len(rows[0]) for rows in design.rows)
    unit = design.gold_scale / design.per_unit
    pad = lambda x: np.pad(x, (0, longest - len(x)))
    basis = np.stack([np.stack([pad(u / unit[0]), pad(v / unit[1])], -1) for _, u, v, *_ in design.rows])
    gold = np.stack([pad(rows[3] / design.gold_scale) for rows in design.rows])
    return basis, gold, np.stack([pad(np.ones(len(rows[0]))) for rows in design.rows]) > 0


# --- forms compared by left-out units -----------------------------------------------------------------


def left_out(found: Posterior, effort: Effort) -> tuple[np.ndarray, np.ndarray, list]:
    """(log predictive density [S] of each unit's gold from the other units, k-hat [S], units that were fitted again).

    A unit whose k-hat is above `psis.RELIABLE` is left out in earnest: its density is that of a fit without it.
    """
    design, model = found.design, the_model()
    num_units = len(design.units)
    each, k = psis.leave_one_out(model.densities(found.draws, design.arrays, num_units))
    again = np.flatnonzero(~(k <= psis.RELIABLE))
    if len(again):
        without = design.arrays.without(again)
        parts = [Arrays(*(x[i] for x in without)) for i in range(len(again))]
        for unit, one in zip(again, fitted_many(parts, design, effort), strict=True):
            of_unit = model.densities(one.draws, design.arrays, num_units)[:, unit]
            each[unit] = special.logsumexp(of_unit) - np.log(len(of_unit))
    counts = np.bincount(design.arrays.unit, design.arrays.count, num_units)
    return each - counts * np.log(design.gold_scale), k, [design.units[i] for i in again]


def compared(forms, runs: list[Run], keys: tuple, sizes: dict, d_min: float | None, effort: Effort) -> dict:
    """Forms by the log density that they predict for left-out units, all on the points that every form is fitted to.

    {forms: {form: {elpd, k_hat (largest), refitted}}, best, against: {form: {difference, difference_ci}}, verdict,
    text}. The intervals are Student's t over units, for the sum over units.
    """
    least = max(laws.FORMS[form].d_min for form in forms) if d_min is None else d_min
    each, out, bad = {}, {}, []
    for form in forms:
        found = fitted(made(form, runs, keys, sizes, least), effort)
        if line := chains.complaint(found.diagnostics):
            bad.append(f"{form}: {line}")
        each[form], k, again = left_out(found, effort)
        out[form] = {"elpd": each[form].sum(), "k_hat": k.max(), "refitted": [str(unit) for unit in again]}
    best = max(out, key=lambda form: out[form]["elpd"])
    count, against = len(each[best]), {}
    for form in forms:
        if form != best:
            ends = laws.t_interval(each[best] - each[form])
            total = (each[best] - each[form]).sum()
            against[form] = {"difference": total, "difference_ci": tuple(count * float(x) for x in ends)}
    beaten = [form for form, one in against.items() if one["difference_ci"][0] > 0]
    verdict = best if len(beaten) == len(against) else None
    others = ", ".join(f"{form} {-one['difference']:.1f} [{-one['difference_ci'][1]:.1f}, "
                       f"{-one['difference_ci'][0]:.1f}]" for form, one in against.items())  # fmt: skip
    said = f"{best} predicts left-out runs best" if verdict else "cannot tell forms apart by left-out runs"
    text = f"{said}: log density against {best}'s: {others}, {count} units"
    refits = {form: one["refitted"] for form, one in out.items() if one["refitted"]}
    for form, units in refits.items():
        text += f"; {form}: k-hat above {psis.RELIABLE} for {', '.join(units)}, fitted again without"
    return {"forms": out, "best": best, "against": against, "verdict": verdict, "text": text, "warnings": bad}
