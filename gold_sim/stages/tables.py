"""Rows of the stored tables, made from a stage's runs and the settings of each."""

import jax
import numpy as np

from gold_sim import language as languages
from gold_sim import policy
from gold_sim.networks import transformer
from gold_sim.optimisation.measure import Point
from gold_sim.rewards import gold, reward_network
from gold_sim.stages.graph import Cell
from gold_sim.stages.parallel import to_numpy
from gold_sim.store.columns import CURVE_COLUMNS, SAMPLE_COLUMNS


def describe(cell: Cell) -> dict:
    """The settings that a row of a table carries, by column name."""
    config = cell.config
    language = languages.make(config.world)
    rm, p = config.reward_model, config.preferences
    started = config.policy or config.reference
    net = reward_network.make(language, rm)
    parts = rm.members if rm.diversity == "disjoint" else 1
    combined = (config.ensemble.take or rm.members) if config.ensemble.only is None else 1
    return dict(
        reward=config.reward,
        gold_kind=config.gold.kind,
        gold_params=reward_network.num_params(gold.network(language, config.gold)),
        rm_width=rm.width,
        rm_depth=rm.depth,
        rm_params=reward_network.num_params(net),
        num_pairs=config.training_pairs // parts,
        label_noise=p.label_noise,
        annotator=p.annotator,
        policy_params=transformer.num_params(policy.network(language, started)),
        world_seed=config.world.seed,
        gold_seed=config.gold.seed,
        ensemble_size=combined,
        ensemble_rule=config.ensemble.rule if combined > 1 else "single",
        shaping=config.shaping.name,
        round=config.rounds.count,
        error_kind=config.error.kind if config.reward == "synthetic" else "none",
        error_shared=config.error.shared if config.reward == "synthetic" else float("nan"),
    )


def broadcast(columns: dict, length: int) -> dict:
    return {name: np.broadcast_to(np.asarray(value), (length,)) for name, value in columns.items()}


def curves(cell: Cell, described: dict, optimiser: str, runs: list[dict]) -> dict:
    """Columns of curves.parquet from one dict a run, whose values are scalars or [T] arrays.

    A column that a run does not name takes its Column.absent, the value of tables older than the column. An attribute
    that the language lacks is NaN. An attribute of this language alone becomes a column behind the others.
    """
    proxy = dict(cell.upstream).get("proxy")
    common = {name: column.absent for name, column in CURVE_COLUMNS.items() if column.absent is not None}
    common |= dict(
        described,
        stage=cell.stage,
        cell=cell.fingerprint,
        rm_cell=proxy.fingerprint if proxy else "",
        optimiser=optimiser,
    )
    parts = []
    for run in runs:
        length = len(run["control"])
        whole = broadcast(dict(common, **run), length)
        finite = np.isfinite(np.stack([whole["kl"], whole["proxy"], whole["gold"]])).all()
        whole["d"] = np.sqrt(np.maximum(whole["kl"], 0.0))
        whole["status"] = np.full(length, "ok" if finite else "diverged")
        parts.append(whole)
    names = [*CURVE_COLUMNS, *(name for name in parts[0] if name.startswith("attr_") and name not in CURVE_COLUMNS)]
    return {name: np.concatenate([p[name] for p in parts]) for name in names}


def thinned(losses) -> list[float]:
    """Training losses at about fifty evenly spaced steps, for a record."""
    losses = to_numpy(losses)
    return losses[:: max(1, len(losses) // 50)].tolist()


def measured(curve: Point) -> dict:
    """The measured columns of curves.parquet for the curve of one run, by name, [T] each; absent ones are left out."""
    fields = curve._asdict() | curve.policy._asdict() | curve.proxy._asdict() | curve.policy.failings
    if curve.proxy.components is not None:
        fields |= {f"component_{i}": values for i, values in enumerate(curve.proxy.components.T)}
    columns = {name: fields[name] for name in CURVE_COLUMNS if fields.get(name) is not None}
    return columns | {f"attr_{name}": values for name, values in curve.policy.attributes.items()}


def transcripts(language, prompts, curve: Point) -> dict:
    """Columns of samples.parquet for the curve of one run, without those that name the run; T points of K prompts."""
    responses, proxy = curve.policy.kept.responses, curve.proxy.kept
    points, count = proxy.shape
    prompts = prompts[:count]
    once = dict(
        prompt_id=np.arange(count),
        kind=np.array(language.kinds(prompts)),
        prompt=np.array([language.decode(p) for p in prompts]),
    )
    each = {name: np.tile(values, points) for name, values in once.items()}
    each |= dict(control=np.repeat(curve.control, count), proxy=proxy.ravel(), gold=curve.policy.kept.gold.ravel())
    each["response"] = np.array([language.decode(r) for r in responses.reshape(points * count, -1)])
    return each


def curves_and_samples(
    cell, language, held_out, optimiser: str, curve: Point, settings: list[dict], own=None, **described
) -> dict:
    """The tables `curves` and `samples` of all runs.

    held_out: prompts [R, P, Lp].  curve: fields [T, R, ...].  settings: one dict a run, with the columns that identify
    it and columns of its own, scalars or [T].  own: which of the T points are a run's own, [T, R]; None: all.
    """
    runs, samples, held_out = [], [], to_numpy(held_out)
    for i, columns in enumerate(settings):
        at = slice(None) if own is None else own[:, i]
        of_run = jax.tree.map(lambda a, i=i, at=at: a[at, i], curve)
        columns = {name: value[at] if np.ndim(value) else value for name, value in columns.items()}
        run = dict(measured(of_run), **columns)
        written = transcripts(language, held_out[i], of_run)
        in_force = np.broadcast_to(columns["kl_coef"], of_run.control.shape)  # at every point
        each = len(written["proxy"]) // len(in_force)
        written |= dict(cell=cell.fingerprint, seed=columns["seed"], kl_coef=np.repeat(in_force, each))
        written |= dict(dpo_beta=columns.get("dpo_beta", np.nan))
        samples.append(broadcast(written, len(written["proxy"])))
        runs.append(run)
    tables = {"curves": curves(cell, describe(cell) | described, optimiser, runs)}
    tables["samples"] = {name: np.concatenate([part[name] for part in samples]) for name in SAMPLE_COLUMNS}
    return tables
