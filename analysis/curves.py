"""Curves from the records' long table: one a seed, their mean with an interval, peaks and fitted laws.

Gold, proxy and rubric are re-zeroed run by run at the reference policy (Gao et al. 2023 shift every reward model so the
initial policy's mean is 0), unless a caller asks for the recorded values.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from gold_sim import laws
from gold_sim.laws import comparison, intervals

DRAWN = 61  # points of the grid on which the curves of seeds with different d are averaged and drawn
SCORES = ("gold", "proxy")
ZEROED = (*SCORES, "rubric")  # minus their value at the reference policy; older records lack the rubric, which is NaN
METHODS = {  # stage -> method; rl is a path, step by step, and frontier the equilibria of a falling penalty
    **{"best_of_n": "bon", "policy_gradient": "rl"},
    **{"frontier": "frontier", "direct_alignment": "direct"},
}
METHOD_NAMES = {"bon": "best-of-n", "rl": "RL", "frontier": "RL frontier", "direct": "direct alignment"}
FORMS = {"bon": "bon", "rl": "rl", "frontier": "bon", "direct": "rl"}  # method -> the law of its curves
OF_FRONTIER = ("bon", "rl")  # the laws that a frontier may follow; left-out runs choose between them


@dataclass(frozen=True)
class Group:
    """The runs of one method at one value of the compared column: S seeds on one grid of T distances."""

    key: object  # value of the compared column
    method: str  # of METHODS: "bon", "rl", "frontier" or "direct"
    seeds: tuple  # labels of the R runs: seed, or (world, seed) where worlds differ
    d: np.ndarray  # [T] nats^0.5, from the reference policy to the largest d that all seeds reach
    values: dict  # name -> [S, T]: ZEROED, attr_...; S independent draws: runs, or worlds where they differ
    runs: tuple  # R tables of recorded points in order of control, those of ZEROED as in values
    start: dict = field(default_factory=dict)  # name of ZEROED -> [S] recorded value at d = 0 (NaN if not recorded)
    units: np.ndarray | None = None  # [R] the draw that a run belongs to; None: a run is one
    label: object = None  # what tables and figures show of the key
    chosen: str | None = None  # the law that its runs chose; None: that of the method

    @property
    def form(self) -> str:
        """The law that the group's curves are fitted with."""
        return self.chosen or FORMS[self.method]

    @property
    def kl(self):
        return self.d**2

    def mean(self, name):
        return self.values[name].mean(0)

    def band(self, name):
        """(low, high), each [T]: Student-t interval of the mean over draws; NaN with one."""
        return laws.t_interval(self.values[name])


RUN = ["cell", "seed", "kl_coef", "dpo_beta"]  # columns that identify a run
WORLD = ("world_seed", "gold_seed")  # columns that identify a world: where worlds differ, a draw is a world


def usable(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Finite points of runs that ended well, and a warning that counts the points left out.

    A diverged run is left out whole: its first points alone would cut every seed's average at their reach.
    """
    ended_well = (table["status"] == "ok").groupby([table[c] for c in RUN], dropna=False).transform("all")
    finite = np.isfinite(table[["kl", "d", *SCORES]]).all(axis=1)
    warnings = []
    for bad, what in (
        (~ended_well, "diverged (status not ok)"),
        (ended_well & ~finite, "have scores that are not finite"),
    ):
        if bad.any():
            runs = len(table.loc[bad, RUN].drop_duplicates())
            warnings.append(f"left out {bad.sum()} of {len(table)} points, of {runs} runs that {what}")
    return table[ended_well & finite], warnings


def methods(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each method present: "bon" selects among samples, "rl" and "direct" (alignment) train a policy.

    "frontier" has the equilibria of its stage alone, and the reference policy, where the penalty is infinite.
    """
    of_row = table["stage"].map(METHODS).mask((table["stage"] == "frontier") & table["kl_drift"].isna())
    return {method: table[of_row == method] for method in METHODS.values() if (of_row == method).any()}


def of_a_run(method: str) -> list[str]:
    """The columns that agree along a run; one of the frontier passes through many coefficients."""
    return [column for column in RUN if column != "kl_coef" or method != "frontier"]


def groups(table: pd.DataFrame, by: str, rezero: bool = True, labels: dict | None = None) -> dict[str, list[Group]]:
    """method -> groups in ascending order of the column `by`, of the methods present.

    labels: key -> what tables and figures show of it, where that is not the key itself.
    """
    made = {
        method: [
            replace(_group(rows, key, by, method, rezero), label=(labels or {}).get(key, key))
            for key, rows in part.groupby(by, sort=True, observed=True)
        ]
        for method, part in methods(table).items()
    }
    return made | {method: with_its_law(made[method]) for method in ("frontier",) if method in made}


def with_its_law(gs: list[Group]) -> list[Group]:
    """Groups of the frontier with the one of OF_FRONTIER whose error on left-out runs is least, over all groups."""
    errors = dict.fromkeys(OF_FRONTIER, 0.0)
    for g in gs:
        keep = g.d >= laws.FORMS["rl"].d_min
        if np.sum(keep) < 3:  # two coefficients go through two points
            continue
        for form, of_run in comparison.leave_out_runs(g.d[keep], g.values["gold"][:, keep], OF_FRONTIER).items():
            errors[form] += np.nansum(of_run)
    return [replace(g, chosen=min(OF_FRONTIER, key=errors.get)) for g in gs]


def group(table: pd.DataFrame, method: str, key="", rezero: bool = True) -> Group:
    """All rows of `table` as one group; ValueError if a seed has more than one run."""
    return _group(table, key, "", method, rezero)


def _group(rows, key, by, method, rezero):
    draw = [*WORLD, "seed"]
    rows = rows.sort_values([*draw, "control"], kind="stable", ignore_index=True)
    _check_one_run_each(rows, key, by, method)
    rows = rows[rows.groupby(draw)["d"].transform("size") > 1].reset_index(drop=True)
    if rows.empty:
        raise ValueError(f"{by}={key!r}: no {method} run has two usable points")
    number = rows.groupby(draw, sort=False).ngroup().to_numpy()
    first = np.flatnonzero(np.diff(number, prepend=-1))
    starts = {name: np.full(len(first), np.nan) for name in ZEROED}
    at_reference = rows[rows["d"] < laws.AT_REFERENCE].drop_duplicates(draw)
    for name in ZEROED:
        starts[name][number[at_reference.index]] = at_reference[name]
    if rezero:
        shifts = {name: np.where(np.isfinite(start), start, 0.0)[number] for name, start in starts.items()}
        rows = rows.assign(**{name: rows[name] - shift for name, shift in shifts.items()})
    runs = [rows.iloc[one].reset_index(drop=True) for one in map(slice, first, [*first[1:], len(rows)])]
    places = rows.loc[first, draw].itertuples(index=False, name=None)
    *levels, seeds = zip(*places, strict=True)
    if len(set(zip(*levels, strict=True))) > 1:
        seeds = zip(levels[0], seeds, strict=True)
    return _averaged(key, method, seeds, runs, starts, intervals.top_level(*levels), by)


def _check_one_run_each(rows, key, by, method):
    """ValueError if a seed has more than one run."""
    draw = [*WORLD, "seed"]
    kinds = rows[list(dict.fromkeys([*draw, *of_a_run(method), "optimiser"]))].drop_duplicates()
    if not (double := kinds.duplicated(draw)).any():
        return
    place = kinds.loc[double, draw].iloc[0]
    cells = ", ".join(sorted(rows.loc[(rows[draw] == place).all(axis=1), "cell"].unique())[:3])
    raise ValueError(
        f"{by}={key!r}, seed {place['seed']}: more than one {method} run (cells {cells}); "
        "compare by a column that tells them apart"
    )


def _averaged(key, method, seeds, runs, start, units, by=""):
    """The group of these runs: on one grid, those of a world averaged where worlds differ."""
    names = [*ZEROED, *(c for c in runs[0].columns if c.startswith("attr_") or c == "proxy_spread")]
    ds, *recorded = zip(*(arrays_outward(run, "d", *names) for run in runs), strict=True)
    if method == "frontier":
        d, columns = _at_equilibria(ds, recorded)
    else:
        d, columns = laws.seed_averaged(ds, recorded, points=DRAWN)
    if not len(d):
        stay = "all stay at the reference policy?"
        raise ValueError(f"{by}={key!r}: the {method} runs have no distance in common; {stay}")
    drawn = lambda values: intervals.by_unit(values, units)
    values = {name: drawn(column) for name, column in zip(names, columns, strict=True)}
    starts = {name: drawn(at) for name, at in start.items()}
    return Group(key, method, tuple(seeds), d, values, tuple(runs), starts, units, label=key)


def _at_equilibria(ds, recorded):
    """As laws.seed_averaged, at the runs' mean d of each coefficient, as far as all runs reach."""
    count = min(map(len, ds))
    d = np.unique(np.minimum(np.mean([one[:count] for one in ds], 0), min(one.max() for one in ds)))
    return d, [np.stack([laws.on_grid(one, x, d) for one, x in zip(ds, of_runs, strict=True)]) for of_runs in recorded]


def outward(run: pd.DataFrame) -> pd.DataFrame:
    """A run's points in order of control up to its largest d.

    Late in training KL may shrink again while gold goes on falling. Gold is then no function of d, and points of the
    way back would bend the law. With one such point in five, alpha 0.60 and beta 0.43 came out as 0.57 and 0.46.
    """
    return run.iloc[: _outward(run)]


def arrays_outward(run: pd.DataFrame, *names: str) -> list[np.ndarray]:
    """Columns of `outward` as arrays, without the cost of a table (10,000 runs are common)."""
    return [run[name].to_numpy()[: _outward(run)] for name in names]


def _outward(run: pd.DataFrame) -> int:
    """Number of points up to the largest d."""
    return int(np.argmax(run["d"].to_numpy())) + 1


def attributes(gs: list[Group]) -> list[str]:
    """Columns attr_NAME of the attributes that the groups' language has; a column that is all NaN is left out."""
    of = lambda name: np.concatenate([g.values[name].ravel() for g in gs])
    return [name for name in gs[0].values if name.startswith("attr_") and np.isfinite(of(name)).any()]


# --- quantities that are read off a curve --------------------------------------------------------


def interval(per_seed) -> list[float]:
    """[low, high] of the mean of [S] values."""
    return [float(x) for x in laws.t_interval(np.asarray(per_seed, float))]


def observed(g: Group) -> dict:
    """Peak, end and drop of the seed-averaged curve, without a law; intervals over seeds.

    peak: the largest mean gold and its place; the interval is that of gold at this place. (An interval of the seeds'
    own maxima would lie too high, above even the mean's maximum: a maximum of a noisy curve is biased upwards.)
    final: at the largest d that all seeds reach.
    drop: gold at the peak minus gold at the end.
    """
    gold, proxy = g.values["gold"], g.values["proxy"]
    at = int(np.argmax(gold.mean(0)))
    return {
        "d_peak": float(g.d[at]),
        "gold_peak": float(gold[:, at].mean()),
        "gold_peak_ci": interval(gold[:, at]),
        "d_final": float(g.d[-1]),
        "gold_final": float(gold[:, -1].mean()),
        "gold_final_ci": interval(gold[:, -1]),
        "proxy_final": float(proxy[:, -1].mean()),
        "drop": float((gold[:, at] - gold[:, -1]).mean()),
        "drop_ci": interval(gold[:, at] - gold[:, -1]),
    }


def gains(g: Group) -> tuple[np.ndarray, np.ndarray]:
    """Distances and gold of the S runs as the laws want them: minus the value at the reference policy."""
    ds, golds = [], []
    for run in g.runs:
        d, gold = arrays_outward(run, "d", "gold")
        at = run["d"].argmin()
        ds.append(d)
        golds.append(gold - run["gold"].iloc[at] if run["d"].iloc[at] < laws.AT_REFERENCE else gold)
    return ds, golds


def law(g: Group, form: str | None = None) -> laws.LawFit:
    """The group's own law, or another form."""
    return laws.fit(form or g.form, *gains(g), units=g.units)


def on_common_seeds(gs: list[Group]) -> list[Group]:
    """The groups cut to the seeds that all of them have; empty if there are none."""
    common = set(gs[0].seeds).intersection(*(g.seeds for g in gs[1:])) if gs else set()
    if not common:
        return []
    out = []
    for g in gs:
        keep = [i for i, seed in enumerate(g.seeds) if seed in common]
        if len(keep) == len(g.seeds):
            out.append(g)
            continue
        if g.units is not None:
            raise ValueError(f"{g.key!r}: runs of several worlds do not have the same seeds in every group")
        seeds, runs = [g.seeds[i] for i in keep], [g.runs[i] for i in keep]
        cut = _averaged(g.key, g.method, seeds, runs, {k: v[keep] for k, v in g.start.items()}, None)
        out.append(replace(cut, label=g.label, chosen=g.chosen))
    return out


def seed_fits(gs: list[Group]) -> list[laws.SeedFits]:
    """Each group's fits seed by seed, on the seeds that all groups have, so that they can be compared in pairs."""
    return [laws.fit_seeds(g.form, *gains(g), units=g.units) for g in on_common_seeds(gs)]


def seed_fits_shared(gs: list[Group]) -> list[laws.SeedFits]:
    """As `seed_fits`, with one alpha a seed for all groups."""
    cut = on_common_seeds(gs)
    fits = laws.fit_seeds_shared(cut[0].form, [gains(g) for g in cut]) if cut else []
    return [replace(fit, units=g.units) for fit, g in zip(fits, cut, strict=True)]


def at_distance(g: Group, name: str, d) -> np.ndarray:
    """Values [S, len(d)] of one column at distances d, interpolated along each seed's own run (ends held)."""
    runs = [arrays_outward(run, "d", name) for run in g.runs]
    along = np.stack([laws.on_grid(*run, np.asarray(d, float)) for run in runs])
    return intervals.by_unit(along, g.units)


def with_column(g: Group, name: str, values) -> Group:
    """The group with one more column [S, T] on its grid."""
    return replace(g, values={**g.values, name: values})
