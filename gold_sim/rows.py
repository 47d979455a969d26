"""Rows of the stored tables: the settings that a row carries, and curves from runs."""

import numpy as np

from gold_sim import policy
from gold_sim.cells import Cell
from gold_sim.columns import CURVE_COLUMNS
from gold_sim.language import world
from gold_sim.networks import transformer
from gold_sim.rewards import gold, reward_model


def describe(cell: Cell) -> dict:
    """The settings that a row of a table carries, by column name."""
    config = cell.config
    language = world.make(config.world)
    rm, p = config.reward_model, config.preferences
    started = config.policy or config.reference
    net = reward_model.network(language, rm)
    parts = rm.members if rm.diversity == "disjoint" else 1
    combined = (config.ensemble.take or rm.members) if config.ensemble.only is None else 1
    return dict(
        reward=config.reward,
        gold_kind=config.gold.kind,
        gold_params=transformer.num_params(gold.network(language, config.gold)),
        rm_width=rm.width,
        rm_depth=rm.depth,
        rm_params=transformer.num_params(net),
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

    A column that a run does not name takes what tables stored before that column had.
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
        parts.append({name: whole[name] for name in CURVE_COLUMNS})
    return {name: np.concatenate([p[name] for p in parts]) for name in CURVE_COLUMNS}
