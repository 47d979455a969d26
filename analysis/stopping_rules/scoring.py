"""What a stopping rule loses in gold, how early it stops, and how often it stops what should go on.

All that a rule learns, a threshold or a KL, is learned on other draws (seeds, or worlds where they differ) than those
that it is scored on.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from analysis.fit import advise
from analysis.stopping_rules import rules, thresholds
from gold_sim import laws
from gold_sim.laws import intervals

LABEL_DRAWS = 20  # of simulated labels a run; scores are means over them
LEAST_CONTROLS = 2  # other controls from which a threshold is learned; of fewer, other runs' gold teaches it


@dataclass(frozen=True)
class Run:
    """One run of T checkpoints in their order, gold among them."""

    draw: tuple  # labels, outermost first, as (world, gold, seed)
    kl: np.ndarray  # [T] nats a response
    gold: np.ndarray  # [T] gold s.d.
    columns: dict = field(default_factory=dict)  # name -> [T]: what a rule may see beside kl
    gold_sd: np.ndarray | None = None  # [T] s.d. of gold over responses; None: not recorded

    @cached_property
    def outward(self) -> tuple[np.ndarray, np.ndarray]:
        """(d, gold) up to the largest d, as laws want them (see curves.outward)."""
        end = int(np.argmax(self.kl)) + 1
        return np.sqrt(np.maximum(self.kl[:end], 0.0)), self.gold[:end]

    def seen(self, labels=None) -> dict:
        """The columns that a rule may see.  labels: (k, number of the draw) of simulated labels."""
        if labels is None:
            return {**self.columns, "kl": self.kl}
        if self.gold_sd is None:
            raise rules.Lacking("gold_sd")
        error = self.gold_sd / math.sqrt(labels[0])
        rng = np.random.default_rng([*labels, *map(ord, "/".join(map(str, self.draw)))])
        measured = self.gold + error * rng.standard_normal(len(self.gold))
        return {**self.seen(), "labelled": measured, "labelled_se": error}


@dataclass(frozen=True)
class Study:
    """The runs of one group, controls that optimise gold itself, and what each may learn from the others."""

    runs: list[Run]
    controls: list[Run]
    form: str  # the law from which `advise` takes a KL
    rate: float  # of false alarms, to which thresholds are set
    budgets: dict = field(default_factory=dict)  # draw -> its budget, once it was asked for

    @cached_property
    def level(self) -> int:
        """Labels of a draw, from the outermost in, that make runs independent: the fewest that tell two runs apart."""
        longest = max(len(run.draw) for run in self.runs)
        differ = (n for n in range(1, longest) if len({run.draw[:n] for run in self.runs}) > 1)
        return next(differ, longest)

    def unit(self, run: Run) -> tuple:
        return run.draw[: self.level]

    def others(self, run: Run, of: list[Run]) -> list[int]:
        """Indices of the runs of other draws."""
        return [i for i, other in enumerate(of) if self.unit(other) != self.unit(run)]

    def budget(self, run: Run) -> float:
        """KL in nats at which `advise` expects gold to peak, by the runs of other draws (rules.Curve.kl_budget)."""
        unit = self.unit(run)
        if unit not in self.budgets:
            rest = [self.runs[i].outward for i in self.others(run, self.runs)]
            if not rest:
                raise rules.Lacking("kl_budget")
            peak = advise.advise(self.form, *map(list, zip(*rest, strict=True))).kl_peak
            self.budgets[unit] = math.inf if peak is None else peak
        return self.budgets[unit]


@dataclass(frozen=True)
class Score:
    """How a rule does on R runs and C controls; means over simulated labels where there are any."""

    regret: np.ndarray  # [R] gold of the run's best checkpoint minus that of the one kept, gold s.d.
    lead: np.ndarray  # [R] KL of gold's peak minus KL where the run is stopped, nats; above 0: before the peak
    kl: np.ndarray  # [R] KL of the checkpoint kept, nats
    stopped: np.ndarray  # [R] whether it stops before the run's end
    alarms: np.ndarray  # [C] whether it stops a control before its end
    lost: np.ndarray  # [C] regret on the controls
    threshold: float  # mean over runs; NaN of a rule that says itself when to stop
    source: str  # of the threshold: "controls", "other runs", both, or "none"


def score(study: Study, name: str, rule, labels: int | None = None) -> Score:
    """labels: k of a rule that sees gold's mean on k labels.  rules.Lacking if there is not what the rule asks for."""
    draws = [None] if labels is None else [(labels, i) for i in range(LABEL_DRAWS)]
    controls, tables = _seen(study, name, rule, draws[0]), []
    for draw in draws:
        walks = [_walk(study, name, rule, run, draw) for run in (*study.runs, *controls)]
        of_runs, of_controls = walks[: len(study.runs)], walks[len(study.runs) :]
        learn = lambda run, a=of_runs, c=of_controls: _threshold(study, run, a, controls, c)
        learned = [learn(run) for run in (*study.runs, *controls)]
        rows = [_outcome(run, walk, limit[0]) for run, walk, limit in
                zip((*study.runs, *controls), walks, learned, strict=True)]  # fmt: skip
        tables.append(np.array([[*row, limit[0]] for row, limit in zip(rows, learned, strict=True)], float))
    mean, count = np.mean(tables, axis=0), len(study.runs)
    regret, lead, kl, stopped, limits = mean[:count].T
    sources = {source for _, source in learned[:count]}
    return Score(
        *(regret, lead, kl, stopped),
        alarms=mean[count:, 3],
        lost=mean[count:, 0],
        threshold=math.nan if "none" in sources else float(np.mean(limits)),
        source=" and ".join(sorted(sources)),
    )


def _walk(study, name, rule, run, draw):
    return rules.read(name, rule, run.seen(draw), len(run.kl), partial(study.budget, run))


def _seen(study, name, rule, draw) -> list[Run]:
    """The controls that have what a rule asks for."""
    out = []
    for control in study.controls:
        try:
            _walk(study, name, rule, control, draw)
        except rules.Lacking:
            continue
        out.append(control)
    return out


def _threshold(study, run, walks, controls, of_controls) -> tuple[float, str]:
    """(threshold, where it comes from) for one run, by the controls or, where they are too few, runs of other draws."""
    if not any(np.isfinite(alarms).any() for alarms, _ in (*walks, *of_controls)):
        return 0.0, "none"
    rest = study.others(run, controls)
    if len(rest) >= LEAST_CONTROLS:
        largest = [of_controls[i][0][:-1].max(initial=-math.inf) for i in rest]  # to stop at the end is not to stop
        return thresholds.at_rate(largest, study.rate), "controls"
    rest = study.others(run, study.runs)
    if not rest:
        raise rules.Lacking("threshold")
    return thresholds.of_least_regret([walks[i] for i in rest], [study.runs[i].gold for i in rest]), "other runs"


def _outcome(run: Run, walk, threshold: float) -> tuple[float, float, float, bool]:
    """(regret, lead, KL of the checkpoint kept, whether stopped before the end) of one run."""
    alarms, keeps = walk
    at = int(thresholds.stops(alarms, threshold))
    best, kept = int(np.argmax(run.gold)), keeps[at]
    return run.gold[best] - run.gold[kept], run.kl[best] - run.kl[at], run.kl[kept], at < len(alarms) - 1


def row(study: Study, found: Score) -> dict:
    """Means over draws with their intervals, as the result has them."""
    units = lambda runs: intervals.top_level(*zip(*(run.draw for run in runs), strict=True))
    mean = lambda values: (float(np.mean(values)), laws.t_interval(intervals.by_unit(values, units(study.runs))))
    out = {"runs": len(study.runs)}
    for name in ("regret", "lead"):
        out[name], out[f"{name}_ci"] = mean(getattr(found, name))
    out |= {"kl": float(found.kl.mean()), "stopped": float(found.stopped.mean()), "controls": len(found.alarms)}
    seen = len(found.alarms) > 0
    out["false_alarms"] = float(found.alarms.mean()) if seen else None
    out["false_alarms_ci"] = thresholds.rate_interval(found.alarms.sum(), len(found.alarms)) if seen else None
    out["lost_on_controls"] = float(found.lost.mean()) if seen else None
    return out | {"threshold": found.threshold, "threshold_from": found.source}
