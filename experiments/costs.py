"""What a cell costs: operations and bytes counted from its settings, seconds and memory learnt from stored cells.

seconds = start + operations * a + tokens * b, three non-negative numbers a stage: reading and writing; arithmetic; what
a token costs whatever the width (small networks are bound by it). To these come seconds of compiling, c + d * blocks of
its networks, more where a cell is the first with its programs than where the compilation cache has some or all of them.
Peak bytes of its process = start + bytes it must hold * e. A handful of measured cells fix them.

    python -m experiments.costs [RUNS]      # how well: each cell of a store or archive from the others of its stage
"""

import dataclasses
import datetime
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.optimize

from gold_sim import archive
from gold_sim.config import Config, from_dict

FEWEST = 3  # measured cells of a stage from which it is predicted
PROMPT = 8  # tokens, about: prompts of the language are 6 to 9


@dataclass(frozen=True)
class Work:
    """What must be computed: operations (2 a multiply-add) and tokens that pass through some network."""

    flops: float
    tokens: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.tokens + other.tokens)

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.tokens * times)

    __rmul__ = __mul__


NOTHING = Work(0.0, 0.0)


def forward(network, length: int, outputs: int = 0) -> Work:
    """One response of `length` tokens through a network (width, depth), its share of the prompt included.

    outputs: of a policy's head. 0 is a reward model, whose last block needs keys and values, and the rest of one token.
    """
    tokens, width, depth = length + PROMPT / 4, network.width, network.depth
    attended = (PROMPT + length / 2) * 2 * width
    if outputs:
        return Work(2 * tokens * (depth * (12 * width**2 + attended) + width * outputs), tokens * depth)
    before = Work(2 * tokens * (depth - 1) * (12 * width**2 + attended), tokens * (depth - 1))
    return before + Work(2 * (tokens * 2 * width**2 + 10 * width**2 + (PROMPT + length) * 2 * width), tokens / 6)


def work(cell) -> Work:
    """Of one cell with all its seeds, coefficients and members."""
    c = cell.config
    length, seeds, words = c.world.response_len, len(c.seeds), 64
    policy, rm, o = c.policy or c.reference, c.reward_model_of_round, c.optimiser
    write, judge, score = forward(policy, length, words), forward(c.gold, length), forward(rm, length)
    score = {"proxy": score * (c.ensemble.take or rm.members), "gold": judge, "synthetic": judge}[c.reward]
    if cell.stage == "reference":
        return 3 * c.reference.steps * c.reference.batch * forward(c.reference, length, words)
    if cell.stage == "gold":
        return 3 * c.gold.steps * c.gold.batch * judge + 16_384 * write
    if cell.stage == "preferences":
        ranked = c.preferences.ranked if c.preferences.annotator in ("plackett_luce", "mallows") else 2
        return c.preferences.num_pairs * ranked * (write + judge)
    if cell.stage == "relabelled":
        return seeds * c.rounds.num_pairs * 2 * (write + judge)
    if cell.stage == "reward_model":
        pairs = c.training_pairs // (rm.members if rm.diversity == "disjoint" else 1)
        held_out = int(c.preferences.num_pairs * c.preferences.held_out)
        ranked = c.preferences.ranked if c.preferences.keep == "ranking" else 2
        return seeds * rm.members * (3 * rm.epochs * pairs * ranked + held_out * 2) * forward(rm, length)
    pool = c.best_of_n.num_prompts * c.best_of_n.num_samples
    if cell.stage == "pool":
        return pool * (write + judge)
    if cell.stage == "scores":
        return pool * (seeds * rm.members * forward(rm, length) if c.reward == "proxy" else judge)
    if cell.stage == "best_of_n":
        return Work(0.0, seeds * pool)
    if cell.stage == "direct_alignment":
        d = c.direct
        train = d.epochs * d.num_pairs * 2 * 4 * write
        return seeds * len(c.dpo_betas) * (train + (d.evaluations + 1) * d.eval_prompts * (2 * write + judge))
    passes = 3 * o.epochs if o.name in ("ppo", "grpo") else 3
    passes += 1 + any(k > 0 for k in c.kl_coefs)
    train = o.steps * o.prompts * o.group_size * (passes * write + score)
    measured = (o.evaluations + 1) * o.eval_prompts * (2 * write + judge + score)
    return seeds * len(c.kl_coefs) * (train + measured)


def holds(cell) -> float:
    """Bytes that a cell must have at once on a CPU, where runs follow one another: its largest step, and its arrays."""
    c = cell.config
    tokens, seeds = c.world.response_len + PROMPT, len(c.seeds)
    policy, rm, o = c.policy or c.reference, c.reward_model_of_round, c.optimiser
    pool = c.best_of_n.num_prompts * c.best_of_n.num_samples
    pairs = c.preferences.num_pairs * 2
    held_out = pairs * c.preferences.held_out
    if cell.stage == "reference":
        return _training(policy, c.reference.batch * tokens)
    if cell.stage == "gold":
        return _training(c.gold, c.gold.batch * tokens) + 4 * 16_384 * tokens * 64
    if cell.stage in ("preferences", "relabelled"):
        return 4 * pairs * tokens
    if cell.stage == "reward_model":  # held-out pairs are scored at once, a block at a time
        runs = seeds * rm.members
        step = max(_training(rm, 2 * rm.batch * tokens), 4 * held_out * tokens * 20 * rm.width)
        return step + 4 * (pairs * tokens + runs * _params(rm))
    if cell.stage == "pool":
        return pool * (2 * c.world.response_len + 4 * 12)
    if cell.stage in ("scores", "best_of_n"):
        return pool * (2 * c.world.response_len + 8 * (12 + seeds * rm.members))
    if cell.stage == "direct_alignment":
        runs, step = seeds * len(c.dpo_betas), 2 * c.direct.batch * tokens
        return _training(policy, step) + runs * 4 * 3 * _params(policy) + 4 * pairs * tokens
    runs, step = seeds * len(c.kl_coefs), max(o.prompts * o.group_size, o.eval_prompts / 2) * tokens
    return _training(policy, step) + runs * 4 * 3 * _params(policy)


WRITTEN_OUT = 8  # blocks of a network in its program (transformer.UNROLLED): deeper ones loop


def blocks(cell) -> int:
    """Of the networks that a cell's program runs: what it takes to compile follows them."""
    c = cell.config
    policy, rm = c.policy or c.reference, c.reward_model_of_round
    scored = rm if c.reward == "proxy" else c.gold
    networks = dict(
        reference=[c.reference],
        gold=[c.reference, c.gold],
        preferences=[c.reference, c.gold],
        relabelled=[policy, c.gold],
        reward_model=[rm],
        pool=[policy, c.gold],
        scores=[scored],
        policy_gradient=[policy, scored],
        direct_alignment=[policy],
    )
    return sum(min(network.depth, WRITTEN_OUT) for network in networks.get(cell.stage, ()))


def program(cell) -> tuple:
    """What of a cell's settings is written into its programs: cells that share it compile them once.

    Shapes and constants. Weights, labels, seeds and coefficients are arguments.
    """
    c = cell.config
    size = lambda network: (network.width, network.depth, network.precision)
    policy, rm, p, seeds = size(c.policy or c.reference), c.reward_model_of_round, c.preferences, len(c.seeds)
    rewarded = (c.reward, size(rm), rm.members, rm.heads, rm.blind, c.ensemble, c.shaping)
    if c.reward != "proxy":
        rewarded = (c.reward, rm.members, c.ensemble, c.shaping, c.error)
    pool = (c.best_of_n.num_prompts, c.best_of_n.num_samples)
    written = dict(
        reference=(c.reference,),
        gold=(size(c.reference), c.gold),
        preferences=(size(c.reference), size(c.gold), dataclasses.replace(p, seed=0)),
        relabelled=(policy, size(c.gold), c.rounds, seeds),
        reward_model=(rm, c.training_pairs, p.num_pairs * p.held_out, p.keep, p.ranked, seeds),
        pool=(policy, size(c.gold), c.best_of_n),
        scores=(rewarded, pool, seeds),
        best_of_n=(c.reward, c.ensemble, c.shaping, c.selection, rm.members, pool, seeds),
        policy_gradient=(policy, size(c.gold), rewarded, c.optimiser, seeds, len(c.kl_coefs), any(c.kl_coefs)),
        direct_alignment=(policy, size(c.gold), c.direct, p.num_pairs, seeds, len(c.dpo_betas)),
    )
    return (cell.stage, c.world, *written[cell.stage])


def shared(cell) -> tuple | None:
    """What is written into those of its programs that other cells have too; None: it has none of these.

    Policies: what does not depend on the reward (runs.py). Reward models: all but the plan of their steps (models.py).
    """
    c = cell.config
    if cell.stage == "reward_model":
        p, rm = c.preferences, c.reward_model_of_round
        network = (rm.width, rm.depth, rm.precision, rm.heads, rm.loss, rm.loss_coef, rm.weight_decay)
        data = (p.num_pairs, p.held_out, p.keep, p.ranked, c.rounds.count > 1)
        return (cell.stage, c.world, network, data, min(rm.batch, c.training_pairs), rm.members * len(c.seeds))
    if cell.stage != "policy_gradient":
        return None
    sizes = [(n.width, n.depth, n.precision) for n in (c.policy or c.reference, c.gold)]
    return (cell.stage, c.world, *sizes, c.optimiser, len(c.seeds), len(c.kl_coefs), any(c.kl_coefs))


NEW, PARTLY, COMPILED = range(3)  # of a cell's programs, the compilation cache has: none, those it shares, all


def _params(network) -> float:
    """About: blocks, embeddings, head."""
    return network.width * (12 * network.width * network.depth + 160)


def _training(network, tokens: float) -> float:
    """Bytes of one gradient step, as gold_sim/memory.py counts them for networks that keep all their activations."""
    return 4 * (5 * _params(network) + tokens * (network.depth * 20 * network.width + 4 * 64))


@dataclass(frozen=True)
class Model:
    """stages: stage -> (start, seconds a gigaflop, seconds a million tokens).  peaks: stage -> (bytes, factor).

    compiling: stage -> (seconds, seconds a block) of a cell whose programs are new; partly, compiled: of one whose
    programs an earlier cell had in part, or all.
    """

    stages: dict[str, tuple[float, float, float]]
    peaks: dict[str, tuple[float, float]]
    compiling: dict[str, tuple[float, float]]
    partly: dict[str, tuple[float, float]]
    compiled: dict[str, tuple[float, float]]

    def seconds(self, cell, known: int = NEW) -> float:
        """Predicted, of one worker.  known: NEW, PARTLY or COMPILED.

        KeyError: a stage of which too few cells were measured.
        """
        rates = (self.compiling, self.partly, self.compiled)[known][cell.stage]
        return float(np.dot(self.stages[cell.stage], _features(work(cell))) + np.dot(rates, (1.0, blocks(cell))))

    def bytes(self, cell) -> float:
        """Predicted peak memory of the worker's process.  KeyError as above."""
        return float(np.dot(self.peaks[cell.stage], (1.0, holds(cell))))


def _features(w: Work) -> np.ndarray:
    return np.array([1.0, w.flops / 1e9, w.tokens / 1e6])


@dataclass(frozen=True)
class Measured:
    """What a stored cell took, seconds of one worker.

    spared: seconds of compiling that the cache spared it.  known: NEW, PARTLY or COMPILED, by cells before it.
    """

    cell: object  # its stage and config
    seconds: float
    compiling: float
    spared: float
    known: int
    peak_bytes: float | None

    @property
    def met(self) -> int:
        """As known; COMPILED if no cell before it had its programs and yet the cache did: they were compiled ahead."""
        return COMPILED if self.known == NEW and self.spared > self.compiling else self.known


def fit(found: Iterable[Measured]) -> Model:
    """Stages of which fewer than FEWEST cells were measured are left out."""
    running, peaks, compiling, new, partly, compiled = ({} for _ in range(6))
    add = lambda to, m, features, value: to.setdefault(m.cell.stage, []).append((np.array(features), max(value, 0.1)))
    for m in found:
        add(running, m, _features(work(m.cell)), m.seconds - m.compiling)
        # What a worker still holds from the cell before is nobody's seconds: first cells count, where they are enough.
        add(compiling, m, (1.0, blocks(m.cell)), m.compiling + m.spared)
        if m.known == NEW:
            add(new, m, (1.0, blocks(m.cell)), m.compiling + m.spared)
        if m.met != NEW:
            add(partly if m.met == PARTLY else compiled, m, (1.0, blocks(m.cell)), m.compiling)
        if m.peak_bytes is not None:
            add(peaks, m, (1.0, holds(m.cell)), m.peak_bytes)
    learnt = lambda rows: {stage: _coefficients(rows[stage]) for stage in rows if len(rows[stage]) >= FEWEST}
    fitted = Model(*map(learnt, (running, peaks, compiling, partly, compiled)))
    fitted = dataclasses.replace(fitted, compiling=fitted.compiling | learnt(new))
    return dataclasses.replace(
        fitted, partly=fitted.compiling | fitted.partly, compiled=fitted.compiling | fitted.compiled
    )


def _coefficients(rows: list) -> tuple[float, ...]:
    """Non-negative, by least squares of log(predicted / measured), bent to a median by soft_l1.

    Records of resumed cells tell of their last part only, and machines have moods, so there are outliers.
    """
    x, y = (np.array(part) for part in zip(*rows, strict=True))
    typical = np.median(x, 0)  # each term's unit: as if it alone explained the median
    unit = np.divide(np.median(y), typical, out=np.zeros(len(typical)), where=typical > 0)
    off = lambda share: np.log(x @ (share * unit)) - np.log(y)
    limits = dict(bounds=(1e-9, np.inf), loss="soft_l1", f_scale=0.1)
    found = scipy.optimize.least_squares(off, np.full(len(unit), 1 / len(unit)), **limits)
    return tuple(found.x * unit)


# Of two workers on two AVX2 cores of an AMD EPYC (Zen 3), with nothing beside them, fitted to 79 cells. Set by hand, to
# the cells there are: gold, preferences. As measured before, on a slower such core: direct_alignment, relabelled. Peaks
# are of an earlier study.
HERE = Model(
    stages=dict(
        reference=(0.5, 0.0190, 0.45),
        gold=(0.5, 0.0120, 1.2),
        preferences=(0.5, 0.0065, 1.35),
        reward_model=(0.4, 0.0213, 0.31),
        pool=(0.5, 0.0155, 0.35),
        scores=(0.4, 0.0127, 0.24),
        best_of_n=(0.1, 0.0, 1.05),
        policy_gradient=(1.5, 0.0164, 0.38),
        direct_alignment=(0.5, 0.0242, 0.68),
        relabelled=(1.5, 0.0144, 1.2),
    ),
    peaks=dict(
        reference=(0.83e9, 2.2),
        gold=(0.90e9, 4.4),
        preferences=(0.43e9, 15.0),
        reward_model=(0.83e9, 0.8),
        pool=(0.83e9, 0.1),
        scores=(0.47e9, 3.5),
        best_of_n=(0.59e9, 2.1),
        policy_gradient=(1.2e9, 0.3),
        direct_alignment=(1.06e9, 0.0),
        relabelled=(0.43e9, 47.0),
    ),
    compiling=dict(
        reference=(7.2, 2.2),
        gold=(10.5, 0.0),
        preferences=(1.0, 0.0),
        reward_model=(5.9, 1.2),
        pool=(1.5, 0.5),
        scores=(1.2, 0.1),
        best_of_n=(0.3, 0.0),
        policy_gradient=(20.0, 0.0),
        direct_alignment=(30.0, 0.0),
        relabelled=(4.3, 0.9),
    ),
    partly=dict(policy_gradient=(2.0, 0.0), reward_model=(4.3, 0.0)),
    compiled=dict(
        reference=(5.0, 0.0),
        gold=(7.0, 0.0),
        preferences=(1.0, 0.0),
        reward_model=(1.8, 0.7),
        pool=(1.0, 0.0),
        scores=(0.3, 0.0),
        best_of_n=(0.1, 0.0),
        policy_gradient=(1.0, 0.0),
        direct_alignment=(7.0, 0.0),
        relabelled=(1.5, 0.3),
    ),
)


def model(found: Iterable[Measured]) -> Model:
    """Of the stages that were measured, and of HERE for the others."""
    own = fit(found)
    both = (getattr(HERE, field.name) | getattr(own, field.name) for field in dataclasses.fields(Model))
    return Model(*both)


def seconds(predicted: Model, cells: Iterable, found: Iterable[Measured]) -> list[float]:
    """Of cells computed in this order, in a store with these: who compiles a program spares it the later ones."""
    compiled, told = {part(m.cell) for m in found for part in (program, shared)}, []
    for cell in cells:
        own, of_others = program(cell), shared(cell)
        known = COMPILED if own in compiled else PARTLY if of_others and of_others in compiled else NEW
        told.append(predicted.seconds(cell, known))
        compiled |= {own, of_others}
    return told


@dataclass(frozen=True)
class Stored:
    """A stored cell, as far as its cost is concerned."""

    stage: str
    config: Config


def measured(root: Path) -> list[Measured]:
    """Every readable record: CPU seconds of one thread on a CPU, else wall seconds."""
    read = []
    for path in Path(root).glob("*/*/record.json"):
        try:
            r = json.loads(path.read_text())
            spent = r["cpu_seconds"] if r["device"] == "cpu" else r["wall_seconds"]
            pace = spent / r["wall_seconds"]  # compiling is told in wall seconds
            began = datetime.datetime.fromisoformat(r["created"]).timestamp() - r["wall_seconds"]
            cell = Stored(r["stage"], from_dict(Config, r["config"]))
            compiling, spared = pace * r["compile_seconds"], pace * r["compile_saved_seconds"]
            told = Measured(cell, spent, compiling, spared, NEW, r.get("peak_bytes"))
            read.append((began, began + r["compile_seconds"], (program(cell), shared(cell)), told))
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):  # older versions, other people's files
            continue
    since: dict[tuple | None, float] = {None: np.inf}  # what is written into programs -> when they were compiled
    for _, compiled, codes, _ in read:
        for code in filter(None, codes):
            since[code] = min(compiled, since.get(code, compiled))
    read.sort(key=lambda row: row[0])
    known = lambda began, own, of_others: (
        COMPILED if since[own] <= began else PARTLY if since[of_others] <= began else NEW
    )
    return [dataclasses.replace(told, known=known(began, *codes)) for began, _, codes, told in read]


def left_out(found: list[Measured]) -> dict[str, np.ndarray]:
    """Stage -> predicted / measured seconds of each of its cells, by a model of its other cells."""
    ratios = {}
    for stage in sorted({m.cell.stage for m in found}):
        own = [m for m in found if m.cell.stage == stage]
        if len(own) > FEWEST:
            of_others = [fit([*own[:i], *own[i + 1 :]]) for i in range(len(own))]
            told = [model.seconds(m.cell, m.met) for model, m in zip(of_others, own, strict=True)]
            ratios[stage] = np.array(told) / [max(m.seconds, 0.1) for m in own]
    return ratios


def main(argv=None) -> int:
    where = sys.argv[1:] if argv is None else argv
    where = where[0] if where else "runs"
    root = archive.unpack(where) if archive.is_archive(where) else Path(where)
    for stage, ratios in left_out(measured(root)).items():
        within = np.mean(np.abs(ratios - 1) <= 0.3)
        print(f"{stage:18s} {len(ratios):4d} cells, {within:4.0%} within 30 %, median ratio {np.median(ratios):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
