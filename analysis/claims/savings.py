"""Less work for the same decision: what each way saves of an experiment's variance and of its CPU-seconds.

    python -m analysis power NAME --savings

Estimands are those of claims on RL: gold at the stated KLs, mean over them, of every variant, and its difference from
the first variant's. A way that takes v of the variance and c of the CPU-seconds decides with v x c of the CPU-hours.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import records, runs
from analysis.claims import power, verdicts
from analysis.claims.measured import KLS, at_kl, reached
from analysis.findings import Table
from analysis.numbers import number
from gold_sim.config import Config
from gold_sim.laws import variates
from gold_sim.settings import from_dict
from gold_sim.stages.declared import STAGES

MORE = 3  # further reward models a seed, where a number is needed
EVERY = {2: "every second point", 3: "every third point"}  # that is kept, where the others are left out
LATER = 32  # seeds, at which a degree of freedom costs little
FEWEST = 5  # seeds that both curves of a comparison must have
ALIKE = "best_of_n"  # variant whose best-of-n stands for that of variants that share its reward model and have RL alone
LAST = max(KLS["rl"])  # nats: beyond it no claim reads
UNTIL = 26.0  # nats: a trial value of optimiser.until_kl, which leaves a run a point between LAST and itself


class NoRuns(ValueError):
    """An experiment without RL whose seeds can be compared."""


@dataclass(frozen=True)
class Cell:
    """A cell of RL: its runs are driven side by side until all have ended."""

    seconds: float  # of CPU
    measuring: float  # share of them, by operations
    kls: list[np.ndarray]  # of each run's points, as recorded: up to its end
    whole: int  # measurements after the first, if no run ended before

    @property
    def lasts(self) -> np.ndarray:
        """Measurements that each run was driven for; the one that ended it is not recorded."""
        return np.array([min(len(kl), self.whole) for kl in self.kls])

    @property
    def driven(self) -> int:
        return int(self.lasts.max())


@dataclass(frozen=True)
class Spent:
    """CPU-seconds of an experiment's seeds together."""

    rl: float
    selection: float  # best-of-n
    models: float  # reward models, and by their operations what they start from and their scoring of the pool

    @property
    def total(self) -> float:
        return self.rl + self.selection + self.models

    def with_rl(self, ratio: float) -> float:
        """All, over what it is today, where RL takes this share of its CPU-seconds."""
        return 1 - (1 - ratio) * self.rl / self.total


# --- what the records hold ------------------------------------------------------------------------


def _cells(read: records.Data, stage: str) -> dict[str, dict]:
    wanted = dict.fromkeys(c["fingerprint"] for c in read.manifest["cells"] if c["stage"] == stage)
    return {cell: read.record(stage, cell) for cell in wanted}


def cells_of_rl(read: records.Data) -> list[Cell]:
    """The cells of RL of an experiment.  NoRuns if it has none."""
    out = []
    for fingerprint, record in _cells(read, "policy_gradient").items():
        config = _config(record)
        points = read.curves[read.curves["cell"] == fingerprint].sort_values("control")
        kls = [of_run["kl"].to_numpy() for _, of_run in points.groupby(["seed", "kl_coef"])]
        if kls:
            whole = config.optimiser.evaluations
            driven = min(max(map(len, kls)), whole)
            out.append(Cell(record["cpu_seconds"], _measuring(config, driven), kls, whole))
    if not out:
        raise NoRuns(f"{read.manifest['experiment']} has no RL: what saves work there is not worked out")
    return out


def _config(record: dict) -> Config:
    try:
        return from_dict(Config, record["config"])
    except ValueError as error:
        raise NoRuns(
            f"{record['name']}: settings that today's code does not take, so no cost of parts: {error}"
        ) from error


def _measuring(config: Config, driven: int) -> float:
    """Share of a cell's operations that are measurements, where it ended after so many."""
    o, work = config.optimiser, STAGES["policy_gradient"].work
    more = dataclasses.replace(config, optimiser=dataclasses.replace(o, eval_prompts=2 * o.eval_prompts))
    flops, measured = work(config).flops, work(more).flops - work(config).flops
    per_interval = (flops - measured) / o.evaluations, measured / (o.evaluations + 1)
    training, measuring = per_interval[0] * driven, per_interval[1] * (driven + 1)
    return measuring / (training + measuring)


def spent(read: records.Data, of: list[Cell]) -> Spent:
    """CPU-seconds by kind. Archives lack the records of trunks and scores: these count by their reward model's rate."""
    models, trunks = 0.0, {}
    for cell in read.manifest["reward_models"]:
        record = read.record("reward_model", cell)
        config, seconds = _config(record), record["cpu_seconds"]
        priced = lambda stage, c=config, s=seconds: (
            s * STAGES[stage].work(c).flops / STAGES["reward_model"].work(c).flops
        )
        models += seconds + priced("scores")
        if config.reward_model.start == "pretrained":
            trunks[record["upstream"]["trunk"]] = priced("pretrained")
    models += sum(trunks.values())
    selection = sum(record["cpu_seconds"] for record in _cells(read, "best_of_n").values())
    return Spent(sum(cell.seconds for cell in of), selection, models)


def _table(read, variant, method: str, every: int = 1, **where) -> pd.DataFrame:
    """Gold at the stated KLs, one row a seed, from each `every`-th point; empty without such runs."""
    try:
        found = runs.by_seed(read, variant, method, ("gold",), **where)
    except runs.Missing:
        return pd.DataFrame(columns=[*KLS[method]], dtype=float)
    thin = {label: run.iloc[::every] for label, run in found.items()}
    rows = {label: at_kl(run["d"], run["gold"], KLS[method]) for label, run in thin.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*KLS[method]])


def panels(read: records.Data):
    """(label noise, variants that have RL, the first of them first) of each panel."""
    of_rl = read.curves[read.curves["stage"] == "policy_gradient"]
    for noise, part in of_rl.groupby("label_noise", sort=True):
        present = set(part[read.axis])
        known = read.variants if read.axis == "variant" else sorted(present)
        yield float(noise), [key for key in known if key in present]


def _mean(table: pd.DataFrame) -> pd.Series:
    return table[reached(table)].mean(axis=1, skipna=False).dropna() if len(table) else pd.Series(dtype=float)


def comparisons(read: records.Data) -> pd.DataFrame:
    """One row a variant, and one a difference from the first variant.

    Columns: panel, difference, what, seeds, variance between seeds, apart (what it would be if variants had seeds of
    their own; None of one curve alone), share (that best-of-n of the same explains; None without).
    """
    rows = []
    for noise, keys in panels(read):
        rl = {key: _mean(_table(read, key, "rl", label_noise=noise)) for key in keys}
        own = {key: _mean(_table(read, key, "bon", label_noise=noise)) for key in keys}
        common = _mean(_table(read, ALIKE, "bon", label_noise=noise)) if ALIKE in read.variants else own[keys[0]][:0]
        first, about = keys[0], dict(panel=noise, difference=False)
        for key in keys:
            control = own[key] if len(own[key]) else common
            rows.append(about | dict(what=_named(read, key)) | _row(rl[key], control))
            if key == first:
                continue
            row = _row((rl[key] - rl[first]).dropna(), (own[key] - own[first]).dropna() if len(own[key]) else common)
            what = f"{_named(read, key)} minus {_named(read, first)}"
            apart = float(rl[key].var() + rl[first].var())
            rows.append(about | dict(what=what, difference=True) | row | dict(apart=apart))
    table = pd.DataFrame(rows)
    table = table[table["seeds"] >= FEWEST] if len(table) else table
    if table.empty:
        raise NoRuns(f"{read.manifest['experiment']}: no {FEWEST} seeds reach {KLS['rl'][0]:g} nats")
    return table.reset_index(drop=True)


def _named(read, key) -> str:
    return read.label(key) if isinstance(key, str) else number(key)


def _row(values: pd.Series, control: pd.Series) -> dict:
    pair = pd.concat([values, control], axis=1).dropna() if len(control) else pd.DataFrame()
    varies = len(pair) >= FEWEST and pair.iloc[:, 1].std() > 0
    share = variates.r_squared(pair.iloc[:, 0], pair.iloc[:, 1]) if varies else None
    return dict(seeds=len(values), variance=float(values.var()), apart=None, share=share)


# --- the ways ------------------------------------------------------------------------------------


def _way(name: str, of: str, variance: float, seconds: float, note: str = "", used: str = "no") -> dict:
    """variance, seconds: with it over without."""
    return {"way": name, "of": of, "variance": variance, "CPU-seconds": seconds, "both": variance * seconds,
            "in use": used, "note": note}  # fmt: skip


def control_variates(found: pd.DataFrame, cost: Spent) -> list[dict]:
    """Best-of-n of the same reward models, with MORE further reward models a seed that have no RL."""
    out = []
    for difference, what in ((False, "gold of a variant"), (True, "difference from the first")):
        part = found[(found["difference"] == difference) & found["share"].notna()]
        if part.empty:
            continue
        share, seeds = float(part["share"].mean()), int(part["seeds"].min())
        control = cost.models + cost.selection
        best = "; ".join(_best(share, cost.rl, control, count) for count in (seeds, LATER))
        note = (
            f"explains {share:.0%} (single comparisons {part['share'].min():.0%} to {part['share'].max():.0%}); {best}"
        )
        width = variates.width_ratio(share, seeds, MORE * seeds)
        out.append(_way("best-of-n as a control", what, width, 1 + MORE * control / cost.total, note))
    return out


def _best(share: float, of_value: float, of_control: float, seeds: int) -> str:
    more, takes = variates.cheapest(share, of_value, of_control, seeds)
    best = f"best {more:.1f} more a seed, {takes:.2f} of the CPU-seconds" if more else "no number of them pays"
    return f"at {seeds} seeds {best}"


def common_numbers(found: pd.DataFrame) -> list[dict]:
    """Seeds that variants have in common: pairs, data, initialisations, prompts and draws of the policies."""
    part = found[found["difference"]]
    if part.empty:
        return []
    ratios = part["variance"] / part["apart"]
    note = f"single comparisons {ratios.min():.2f} to {ratios.max():.2f}"
    return [_way("the same seeds in all variants", "difference from the first",
                   float(part["variance"].sum() / part["apart"].sum()), 1.0, note, "yes")]  # fmt: skip


def fewer_points(read: records.Data, of: list[Cell], cost: Spent) -> list[dict]:
    """Each second or third measurement left: gold at the stated KLs against that from all points."""
    out = []
    every = [(noise, key) for noise, keys in panels(read) for key in keys]
    full = {at: _table(read, at[1], "rl", label_noise=at[0]) for at in every}
    for step, name in EVERY.items():
        thin = {at: _table(read, at[1], "rl", step, label_noise=at[0]) for at in every}
        off = pd.concat([thin[at] - full[at] for at in every])
        both = [
            [table[at][reached(full[at])].mean(axis=1, skipna=False).dropna() for table in (thin, full)] for at in every
        ]
        both = [pair for pair in both if min(map(len, pair)) >= FEWEST]
        added = sum((one - other).var() for one, other in both) / sum(other.var() for _, other in both)
        kept = sum(len(one) for one, _ in both) / sum(len(other) for _, other in both)
        apart = ", ".join(f"{np.sqrt((off[kl] ** 2).mean()):.3f} ({off[kl].mean():+.3f})" for kl in off)
        at = ", ".join(f"{kl:g}" for kl in off)
        note = f"rms change (mean) at {at} nats {apart} s.d.; {1 - kept:.0%} of the seeds lost"
        left = sum(cell.seconds * (1 - cell.measuring * (1 - 1 / step)) for cell in of) / cost.rl
        out.append(_way(name, "gold of a variant", (1 + added) / kept, cost.with_rl(left), note))
    return out


def fewer_prompts(read: records.Data, found: pd.DataFrame, of: list[Cell], cost: Spent) -> list[dict]:
    """Half of the held-out prompts. Their part of the variance doubles. It is the squared error of a point.

    That is too much for older records, of commits before 99a04c1: what prompts have in common moved all seeds alike.
    """
    errors = read.curves.loc[read.curves["stage"] == "policy_gradient", "gold_se"]
    added = float((errors**2).mean() / found.loc[~found["difference"], "variance"].mean())
    left = sum(cell.seconds * (1 - cell.measuring / 2) for cell in of) / cost.rl
    note = "at most, where all seeds have the same prompts, as in older records"
    return [_way("half of the held-out prompts", "gold of a variant", 1 + added, cost.with_rl(left), note)]


def only_where_read(of: list[Cell], cost: Spent) -> list[dict]:
    """Measurements on both sides of each stated KL alone, if it were known before where they lie."""
    left, counts = 0.0, []
    for cell in of:
        read_at = {0}
        for kl in cell.kls:
            after = np.searchsorted(np.maximum.accumulate(kl), KLS["rl"])
            read_at |= {int(i) for at in after[after < len(kl)] for i in (at - 1, at)}
        kept = len(read_at) / (cell.driven + 1)
        counts.append(kept)
        left += cell.seconds * (1 - cell.measuring * (1 - min(1.0, kept)))
    note = f"{np.mean(counts):.0%} of the points; falls, whose peaks are sought in between, want the others too"
    return [_way("points beside the stated KLs alone", "gold of a variant", 1.0, cost.with_rl(left / cost.rl), note)]


def earlier_ends(of: list[Cell], cost: Spent) -> list[dict]:
    """A cell ends when all its runs have been measured at the last stated KL, or at UNTIL; or idle runs leave it."""

    def until(cell: Cell, least: float) -> int:
        reach = [np.flatnonzero(kl >= least) for kl in cell.kls]
        return max(int(at[0]) if len(at) else last for at, last in zip(reach, cell.lasts, strict=True))

    stop, sooner = (sum(cell.seconds * until(cell, kl) / cell.driven for cell in of) / cost.rl for kl in (LAST, UNTIL))
    far = [kl for cell in of for kl in cell.kls if kl.max() >= LAST]
    lost = sum(not ((kl >= LAST) & (np.maximum.accumulate(kl) < UNTIL)).any() for kl in far)
    fewer = len(far) / max(len(far) - lost, 1)  # seeds that tell
    idle = sum(cell.seconds * cell.lasts.mean() / cell.driven for cell in of) / cost.rl
    ended = [i for i, cell in enumerate(of) if cell.driven < cell.whole]
    note = f"{len(ended)} of {len(of)} cells end before their last step, and gain"
    return [
        _way(f"runs end at {LAST:g} nats, once all are there", "gold of a variant", 1.0, cost.with_rl(stop), note),
        _way(f"optimiser.until_kl={UNTIL:g}", "gold of a variant", fewer, cost.with_rl(sooner),
             f"{lost} of the {len(far)} runs that reach {LAST:g} nats no longer would: they jump over what is left"),
        _way("runs that have ended leave their cell", "gold of a variant", 1.0, cost.with_rl(idle),
               "until 2026-11-30 they were driven on until the slowest of their cell ended", "yes"),
    ]  # fmt: skip


def shared_models(read: records.Data, cost: Spent) -> list[dict]:
    """Reward models, their scores and trunks that several variants use, against one set for each variant."""
    used = read.curves[[read.axis, "label_noise", "rm_cell"]].drop_duplicates()
    users = used["rm_cell"].value_counts()
    seconds = {cell: read.record("reward_model", cell)["cpu_seconds"] for cell in read.manifest["reward_models"]}
    users = users[[cell for cell in users.index if cell in seconds]]
    if users.empty:
        return []
    apart = sum(seconds[cell] * count for cell, count in users.items()) / sum(seconds[cell] for cell in users.index)
    ratio = cost.total / (cost.total + (apart - 1) * cost.models)
    note = f"{users.sum()} uses of {len(users)} cells; one pool, reference and gold serve all variants besides"
    return [_way("reward models that variants share", "all", 1.0, ratio, note, "yes")]


def ways(read: records.Data, found: pd.DataFrame, of: list[Cell], cost: Spent) -> list[dict]:
    """What each way takes of variance and CPU-seconds, one row a way and estimand."""
    return [
        *control_variates(found, cost),
        *common_numbers(found),
        *fewer_points(read, of, cost),
        *fewer_prompts(read, found, of, cost),
        *only_where_read(of, cost),
        *earlier_ends(of, cost),
        *shared_models(read, cost),
    ]


def wanted(read: records.Data, rows: list[dict]) -> pd.DataFrame:
    """Seeds and CPU-hours that each open claim wants as it is, and with each way that pays and is not in use."""
    studied = len(read.curves["seed"].unique())
    block = read.manifest.get("seeds_a_block") or studied
    hours = verdicts.cpu_hours(read) / studied
    pays = {"as it is": (1.0, 1.0)}
    for name, of_way in pd.DataFrame(rows).groupby("way", sort=False):
        if (of_way["in use"] == "no").all() and (of_way["both"] < 1).all():  # of one curve and of differences
            pays[name] = of_way["variance"].max(), of_way["CPU-seconds"].max()
    out = []
    for one in power.standings(read):
        if not (one.open and one.wanted):
            continue
        for way, (variance, seconds) in pays.items():
            seeds = max(power.blocks(one.wanted * variance, block), studied + block)
            takes = (seeds - studied) * hours * seconds
            out.append({"claim": one.name, "way": way, "seeds wanted": seeds, "CPU-hours more": takes})
    return pd.DataFrame(out)


def tables(read: records.Data) -> list[Table]:
    """What each way saves, the comparisons that this rests on, and what open claims would want.  NoRuns without RL."""
    of, found = cells_of_rl(read), comparisons(read)
    cost = spent(read, of)
    rows = ways(read, found, of, cost)
    measuring = sum(cell.seconds * cell.measuring for cell in of) / cost.rl
    title = (
        f"Variance and CPU-seconds, with each way over without; of {cost.total:.0f} CPU-seconds RL takes "
        f"{cost.rl / cost.total:.0%}, and measuring {measuring:.0%} of that"
    )
    names = {"apart": "with seeds of their own", "share": "explained by best-of-n"}
    shown = found.drop(columns="difference").rename(columns=names)
    notes = pd.DataFrame([{"way": f"{row['way']} ({row['of']})", "note": row["note"]} for row in rows])
    return [
        Table("savings", title, pd.DataFrame(rows).drop(columns="note")),
        Table("notes", "What that rests on", notes, of_words=True),
        Table("comparisons", "Variance between seeds, and what best-of-n explains of it", shown),
        Table("wanted", "What open claims want with each way that pays", wanted(read, rows)),
    ]
