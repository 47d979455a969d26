"""Rows of the stored tables: the settings that a row carries, and curves from runs."""

import numpy as np

from gold_sim import language as languages
from gold_sim import policy
from gold_sim.attributes import ATTRIBUTES
from gold_sim.networks import transformer
from gold_sim.optimisation import measure
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

    A column that a run does not name takes what tables stored before that column had; an attribute that its language
    lacks is NaN, and one that no other has is a column behind the others.
    """
    proxy = dict(cell.upstream).get("proxy")
    common = {name: column.absent for name, column in CURVE_COLUMNS.items() if column.absent is not None}
    common |= {f"attr_{name}": np.nan for name in ATTRIBUTES}
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
    """Some fifty of all."""
    losses = to_numpy(losses)
    return losses[:: max(1, len(losses) // 50)].tolist()


def curves_and_samples(
    cell, language, held_out, optimiser: str, curve: dict, settings: list[dict], **described
) -> dict:
    """curves and samples of all runs; settings: what tells each run apart, and its own columns."""
    kept = {name.removeprefix("sample_"): curve.pop(name) for name in list(curve) if name.startswith("sample_")}
    runs, samples = [], []
    for i, own in enumerate(settings):
        run = {name: values[i] for name, values in curve.items()}
        told = measure.transcripts(language, held_out, run["control"], {k: v[i] for k, v in kept.items()})
        told |= dict(cell=cell.fingerprint, seed=own["seed"], kl_coef=own["kl_coef"])
        told |= dict(dpo_beta=own.get("dpo_beta", np.nan))
        samples.append(broadcast(told, len(told["proxy"])))
        runs.append(dict(run, **own))
    tables = {"curves": curves(cell, describe(cell) | described, optimiser, runs)}
    tables["samples"] = {name: np.concatenate([part[name] for part in samples]) for name in SAMPLE_COLUMNS}
    return tables
