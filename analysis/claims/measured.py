"""What claims measure: gold at stated KLs, falls from peaks that are chosen out of sample, ends of held runs.

All of it is seed by seed, so that differences are paired. A run that does not reach a KL has no value there: nothing is
extrapolated. KLs were stated before any verdict was seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis import runs
from analysis.claims.claim import NotMeasured, Part
from analysis.numbers import number
from gold_sim import laws

KLS = {"bon": (2.0, 4.0, 6.0), "rl": (5.0, 12.0, 22.0)}  # nats; best-of-n of about 19, 148 and 1,096
REACHED = 0.8  # share of the seeds that must reach a KL, all in each compared curve, for it to count
HALF = 0.5  # a peak is sought up to this share of the way, so that a curve that rises to the end shows a rise
GRID = 25  # distances at which a peak is sought
HELD = 0.25  # share of a run's points, its last, over which a held or penalised run is averaged


@dataclass(frozen=True)
class Term:
    """One curve of a contrast, with its weight."""

    weight: float
    variant: object
    name: str = "gold"
    where: dict = field(default_factory=dict)  # column = value, as for runs.by_seed


def minus(one, other, name: str = "gold", **where) -> list[Term]:
    """The contrast of two variants: the first minus the second."""
    return [Term(1.0, one, name, where), Term(-1.0, other, name, where)]


def at_kl(d, values, kls) -> np.ndarray:
    """Values where a run first reaches each KL, interpolated in sqrt(KL) between its points; NaN where it does not."""
    d, values = np.asarray(d, float), np.asarray(values, float)
    wanted = np.sqrt(np.asarray(kls, float))
    after = np.searchsorted(np.maximum.accumulate(d), wanted)  # the first point that is as far
    out = np.full(len(wanted), np.nan)
    out[after == 0] = values[0] if d[0] < laws.AT_REFERENCE else np.nan  # a run that begins farther out tells nothing
    inside = (after > 0) & (after < len(d))
    at, before = after[inside], after[inside] - 1
    share = (wanted[inside] - d[before]) / (d[at] - d[before])
    out[inside] = values[before] + share * (values[at] - values[before])
    return out


def nats(method: str, first: int = 0) -> str:
    """The stated KLs of a method in words, from one of them on, as '5, 12 and 22 nats'."""
    *most, last = (f"{kl:g}" for kl in KLS[method][first:])
    return f"{', '.join(most)} and {last} nats"


# --- gold at stated KLs ---------------------------------------------------------------------------


def at_kls(read, method: str, terms: Sequence[Term], kls) -> pd.DataFrame:
    """A contrast at these KLs, one row a seed that all its curves have; NaN where one of them does not reach a KL."""
    tables = []
    for term in terms:
        found = runs.by_seed(read, term.variant, method, (term.name,), **term.where)
        rows = {label: at_kl(run["d"], run[term.name], kls) for label, run in found.items()}
        tables.append(term.weight * pd.DataFrame.from_dict(rows, orient="index", columns=[*kls]))
    in_all = [label for label in tables[0].index if all(label in table.index for table in tables)]
    return sum(table.loc[in_all] for table in tables)


def contrast(read, method: str, terms: Sequence[Term], what: str, kls=None, **of_part) -> Part:
    """The mean of a contrast over the stated KLs that its runs reach, with what it is at each of them.

    of_part: fields of Part.  NotMeasured if the runs reach none of the KLs.
    """
    kls = KLS[method] if kls is None else kls
    found = at_kls(read, method, terms, kls)
    counted = reached(found)
    short = [kl for kl in kls if kl not in counted]
    notes = [not_reached(short[0], farthest(read, method, terms))] if short else []
    if not counted:
        raise NotMeasured(f"{what}: {notes[0]}")
    at = ", ".join(f"{found[kl].mean():.2f} at {kl:g}" for kl in counted)
    values = found[counted].mean(axis=1, skipna=False)
    prompts = of_prompts(read, terms, counted) if method == "bon" else 0.0
    return Part(what, values, prompts=prompts, note="; ".join([at, *notes]), **of_part)


def reached(found: pd.DataFrame) -> list[float]:
    """The KLs that enough seeds reach."""
    return [kl for kl in found.columns if found[kl].notna().mean() >= REACHED]


def farthest(read, method: str, terms: Sequence[Term]) -> dict:
    """Label of a seed -> the largest KL that all curves of the contrast reach."""
    far = {}
    for term in terms:
        for label, run in runs.by_seed(read, term.variant, method, (term.name,), **term.where).items():
            far[label] = min(far.get(label, np.inf), float(run["d"].max() ** 2))
    return far


def not_reached(kl: float, far: dict) -> str:
    """Which runs fall short of a KL, in words."""
    short = [end for end in far.values() if end < kl]
    if not short:
        return f"begins beyond {kl:g} nats"
    ends = " to ".join(dict.fromkeys(map(number, (min(short), max(short)))))
    return f"reaches {ends} of {kl:g} nats in {len(short)} of {len(far)} seeds"


# --- prompts that all seeds share -----------------------------------------------------------------


def of_prompts(read, terms: Sequence[Term], kls) -> float:
    """Variance over prompts of the mean of a contrast of best-of-n, beside that between seeds.

    All seeds select from the same prompts. Where records hold gold of each prompt, a table of seeds and prompts gives
    the part that prompts have in common. Older records hold standard errors alone. Then prompts are taken to move all
    curves alike, so that they cancel in a difference: in world 2, the difference of
    what two proxies select had no such part (0.000 where each one's error is 0.05 to 0.08; four seeds, n = 16 to 512).
    Columns other than gold count as without it.
    """
    terms = [term for term in terms if term.name == "gold"]
    if not terms:
        return 0.0
    tables = [_by_prompt(read, term) for term in terms]
    if all(tables):
        labels = set.intersection(*map(set, tables))
        total = [sum(t.weight * table[label] for t, table in zip(terms, tables, strict=True)) for label in labels]
        return two_way(np.stack(total))
    errors = [term.weight * _standard_error(read, term, kls) for term in terms]
    return float(np.sum(errors) ** 2)


def two_way(values) -> float:
    """Variance of the mean of values [S, P] that is due to columns: the component of prompts, over their number."""
    values = np.asarray(values, float)
    seeds, prompts = values.shape
    between = values.mean(0).var(ddof=1)
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    inside = np.square(rest).sum() / ((seeds - 1) * (prompts - 1)) / seeds if seeds > 1 else 0.0
    return float(max(0.0, between - inside) / prompts)


def _by_prompt(read, term: Term) -> dict:
    """Label of a seed -> gold gained on each prompt [P], mean over the recorded n; {} where records lack it."""
    found = runs.by_seed(read, term.variant, "bon", (term.name,), **term.where)
    kept = {label: _kept(read, label, run) for label, run in found.items()}
    return {} if None in kept.values() else {label: gains[1:].mean(0) for label, (_, gains) in kept.items()}


def _kept(read, label, run) -> tuple | None:
    """(n [N], gold gained on each prompt [N, P]) of a seed's best-of-n, as recorded; None where records lack it."""
    record = read.record("best_of_n", run["cell"].iloc[0]) if read.store is not None else {}
    if "prompts" not in record:
        return None
    kept = record["prompts"]
    gold = np.asarray(kept["gold"][list(kept["seeds"]).index(label[-1])], float)  # first n = 1
    return np.asarray(kept["n"], float), gold - gold[0]


def _ends_by_prompt(read, found: dict, peaks: pd.Series, end: float) -> dict:
    """Label of a seed -> gold of each prompt at its peak and at the end [2, P], at the recorded n nearest to these n.

    {} where records lack it: prompts are then taken to move all of a curve alike, so that they cancel in its fall.
    """
    out = {}
    for label, n in peaks.items():
        if (kept := _kept(read, label, found[label])) is None:
            return {}
        ns, gains = kept
        out[label] = gains[[np.abs(np.log(ns / at)).argmin() for at in (n, end)]]
    return out


def _standard_error(read, term: Term, kls) -> float:
    found = runs.by_seed(read, term.variant, "bon", ("gold_se",), **term.where)
    values = np.array([at_kl(run["d"], run["gold_se"], kls) for run in found.values()])
    return float(np.nan_to_num(np.nanmean(values))) if np.isfinite(values).any() else 0.0


# --- peaks and falls ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fall:
    """Gold of each seed at a peak whose place was chosen on the earlier seeds, and at a later place."""

    peak: pd.Series
    end: pd.Series
    place: pd.Series  # of the peak: a KL, or a control
    where: str  # the later place, in words
    by_prompt: dict = field(default_factory=dict)  # of best-of-n: label -> gold of each prompt there [2, P]

    @property
    def values(self) -> pd.Series:
        return self.peak - self.end

    def prompts(self, share: float = 0.0) -> float:
        """Variance of the mean of fall - share x peak over prompts that all seeds share."""
        each = [(1 - share) * peak - end for peak, end in self.by_prompt.values()]
        return two_way(np.stack(each)) if each else 0.0


def chosen_on_earlier(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """(value, column) of each row at its `runs.peak_of_earlier`; NaN of one row."""
    values = table.to_numpy(float)
    if len(values) < 2:
        nothing = pd.Series(np.nan, table.index)
        return nothing, nothing
    at = runs.peak_of_earlier(values)
    return pd.Series(values[np.arange(len(values)), at], table.index), pd.Series(table.columns[at], table.index)


def falls(read, method: str, arms: dict, kls=None, **where) -> dict:
    """name -> Fall of each arm, from its peak to the farthest stated KL that all arms reach.

    arms: name -> key of a variant, or (key, {column: value}).
    NotMeasured if no stated KL is reached.
    """
    kls = KLS[method] if kls is None else kls
    of = {name: arm if isinstance(arm, tuple) else (arm, {}) for name, arm in arms.items()}
    found = {name: runs.by_seed(read, key, method, **(where | own)) for name, (key, own) in of.items()}
    short = []
    for kl in sorted(kls, reverse=True):
        grid = np.append(np.linspace(0, np.sqrt(HALF * kl), GRID) ** 2, kl)
        tables = {name: _table(each, grid) for name, each in found.items()}
        worst = min(tables, key=lambda name: tables[name][kl].notna().mean())
        if tables[worst][kl].notna().mean() >= REACHED:
            note = "; ".join([f"at {kl:g} nats", *short])
            out = {name: _fall(table.dropna(), note) for name, table in tables.items()}
            return out if method != "bon" else {name: _of_bon(read, out[name], found[name], kl) for name in out}
        far = {label: float(run["d"].max() ** 2) for label, run in found[worst].items()}
        short = [f"{worst} {not_reached(kl, far)}"]
    raise NotMeasured("; ".join(short))


def _table(found: dict, grid) -> pd.DataFrame:
    rows = {label: at_kl(run["d"], run["gold"], grid) for label, run in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*grid])


def _fall(table: pd.DataFrame, where: str) -> Fall:
    peak, place = chosen_on_earlier(table.iloc[:, :-1])
    return Fall(peak, table.iloc[:, -1], place, where)


def _of_bon(read, fall: Fall, found: dict, end: float) -> Fall:
    """The fall with what it is on each prompt, at the n of its places, which are KLs."""
    n_at = lambda label, kl: float(found[label]["control"].iloc[(found[label]["kl"] - kl).abs().argmin()])
    peaks = pd.Series({label: n_at(label, kl) for label, kl in fall.place.items()})
    return replace(fall, by_prompt=_ends_by_prompt(read, found, peaks, n_at(peaks.index[0], end)))


def fall_along(read, variant, method: str, until: int | None = None, last: float = 0.0, **where) -> Fall:
    """The fall along the control (n, or steps) to its end: for claims whose source speaks of an end.

    until: the control up to which a peak is sought; None: HALF of all.  last: share of the points, the last, that are
    the end (0: one point).
    """
    table = course(read, variant, method, **where)
    until = HALF * table.columns[-1] if until is None else until
    tail = max(1, round(last * table.shape[1]))
    peak, place = chosen_on_earlier(table.loc[:, table.columns <= until])
    fall = Fall(peak, table.iloc[:, -tail:].mean(axis=1), place, f"at {table.columns[-1]:,}")
    if method != "bon":
        return fall
    found = runs.by_seed(read, variant, method, **where)
    return replace(fall, by_prompt=_ends_by_prompt(read, found, place, float(table.columns[-1])))


def course(read, variant, method: str, name: str = "gold", **where) -> pd.DataFrame:
    """A column along the control: one row a seed, one column a control that all seeds have."""
    found = runs.by_seed(read, variant, method, (name,), **where)
    rows = {label: run.set_index("control")[name] for label, run in found.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index(axis=1).dropna(axis=1)
    if table.empty:
        raise NotMeasured(f"{name} of {variant} was not recorded, or at no control that all seeds have")
    return table.set_axis(table.index.to_flat_index())  # as other tables have it: else rows pair in one order alone


def peaks(read, method: str, arms: dict) -> dict:
    """name -> gold of each seed at the earlier ones' peak, sought up to the farthest stated KL that all arms reach.

    arms: name -> (key of a variant, {column: value}).  NotMeasured if no stated KL is reached.
    """
    found = {name: runs.by_seed(read, key, method, **where) for name, (key, where) in arms.items()}
    at = {name: _table(each, KLS[method]) for name, each in found.items()}
    far = [kl for kl in KLS[method] if all(kl in reached(table) for table in at.values())]
    if not far:
        raise NotMeasured(f"not all of {', '.join(map(str, arms))} reach {KLS[method][0]:g} nats")
    grid = np.linspace(0, np.sqrt(far[-1]), 2 * GRID) ** 2
    return {name: chosen_on_earlier(_table(each, grid).dropna())[0] for name, each in found.items()}


def small_fall(what: str, fall: Fall, share: float, falls: bool) -> Part:
    """The claim that a curve loses more than (falls), or at most, a share of its peak: fall - share x peak, in s.d."""
    lost = fall.values.mean() / fall.peak.mean()
    note = f"{fall.values.mean():.2f} of {fall.peak.mean():.2f}, {lost:.0%}, {fall.where}"
    values, prompts = fall.values - share * fall.peak, fall.prompts(share)
    return Part(what, values, sign=1 if falls else -1, margin=0.0, prompts=prompts, note=note)


# --- ends of runs that are held -------------------------------------------------------------------


def at_equilibrium(read, variant, method: str = "rl", name: str = "gold", **where) -> pd.Series:
    """The mean of the last HELD of a run's points, seed by seed: of runs that a penalty or a constraint holds."""
    table = course(read, variant, method, name, **where)
    return table.iloc[:, -max(1, round(HELD * table.shape[1])) :].mean(axis=1)


def steady(read, variant, **where) -> pd.Series:
    """How much KL changes between the halves of that last part, as a share of its mean there, seed by seed."""
    table = course(read, variant, "rl", "kl", **where)
    last = table.iloc[:, -max(2, round(HELD * table.shape[1])) :]
    half = last.shape[1] // 2
    return (last.iloc[:, half:].mean(axis=1) - last.iloc[:, :half].mean(axis=1)).abs() / last.mean(axis=1)


def best_of(options: dict[str, pd.Series]) -> pd.Series:
    """Each seed's value of the option that is best on the earlier seeds; options [S] each, paired by seed."""
    return chosen_on_earlier(pd.DataFrame(options).dropna())[0]
