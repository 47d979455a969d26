"""Records of every experiment of analysis whose laws are known, as the stages would have left them."""

import numpy as np
import pandas as pd

from gold_sim import laws
from gold_sim.store import columns, store

SEEDS = (0, 1, 2, 3)
SIZES = (1300, 4100, 15_000, 58_000, 230_000)
NS = np.unique(np.round(2 ** np.arange(0, 12.01, 0.5)))
IDENTITY = {
    "reward": "proxy",
    "gold_kind": "rubric",
    "gold_params": 400_000,
    "rm_width": 16,
    "rm_depth": 1,
    "rm_params": 15_000,
    "num_pairs": 14_400,
    "label_noise": 0.0,
    "annotator": "deterministic",
    "policy_params": 60_000,
    "world_seed": 0,
    "gold_seed": 0,
    "kl_coef": 0.0,
    "num_prompts": 512,
    "status": "ok",
}


def bon_coefficients(size):
    """alpha rises and beta falls with log10 of the size, as in the paper: 0.45 + 0.08 x, 0.16 - 0.03 x."""
    x = np.log10(size / 1300)
    return 0.45 + 0.08 * x, 0.16 - 0.03 * x


def rl_coefficients(size):
    return 0.75, 0.52 - 0.1 * np.log10(size / 1300)


def one_run(form, seed, alpha, beta, d_end=5.0, spread=0.02, noise=0.015, start=0.0, slope=None, **identity):
    """Rows of one run that follows the law, with coefficients of its own and noise correlated along the run."""
    rng = np.random.default_rng([seed, int(1e6 * abs(alpha)), int(1e6 * abs(beta)), form == "rl"])
    alpha, beta = alpha + spread * rng.standard_normal(), beta + 0.3 * spread * rng.standard_normal()
    if form == "bon":
        control = NS.astype(int)
        d = np.sqrt(np.log(NS) - (NS - 1) / NS)
    else:
        control = np.arange(0, 310, 10)
        d = d_end * (1 + 0.05 * rng.standard_normal()) * (control / 300) ** 0.85
    ripple = noise * np.cumsum(rng.standard_normal(len(d))) / np.sqrt(len(d))
    gold = start + laws.evaluate(form, d, alpha, beta) + ripple - ripple[0]
    proxy = start + d * ((0.62 if slope is None else slope) - 0.015 * d) + 0.3 * (ripple - ripple[0])
    share = d / max(d_end, 1)
    table = {name: np.full(len(d), np.nan) for name, c in columns.CURVE_COLUMNS.items() if c.dtype == "float64"}
    absent = {name: c.absent for name, c in columns.CURVE_COLUMNS.items() if c.absent is not None}
    table |= {name: np.full(len(d), value) for name, value in (absent | IDENTITY | identity).items()}
    attributes = {
        "relevance": 0.6 - 0.2 * share,
        "fluency": 0.9 - 0.3 * share,
        "length": 6 + 8 * share,
        "repetition": 0.1 + 0.4 * share**2,
        "template": 0.2 + share,
        "hedging": 0.3 + 0.5 * share,
        "agreement": 0.1 - 0.2 * share,
        "refusal": -0.2 + 0.3 * share,
        "wording": 0.1 + share,
    }
    table |= {f"attr_{name}": values for name, values in attributes.items()}
    table |= {"control": control, "d": d, "kl": d**2, "proxy": proxy, "gold": gold, "seed": np.full(len(d), seed)}
    table["stage"] = np.full(len(d), "best_of_n" if form == "bon" else "policy_gradient")
    table["optimiser"] = np.full(len(d), "best_of_n" if form == "bon" else "rloo")
    return pd.DataFrame(table)


class Records:
    """Writes synthetic cells and manifests into a store."""

    def __init__(self, root):
        self.store, self.count, self.upstream = store.Store(root), 0, {}

    def cell(self, frames):
        self.count += 1
        fingerprint = f"{self.count:016x}"
        frame = pd.concat(frames)
        frame["cell"], frame["rm_cell"] = fingerprint, ""
        stage = frame["stage"].iloc[0]
        table = {name: frame[name].to_numpy() for name in columns.CURVE_COLUMNS}
        record = {"wall_seconds": 12.0, "device": "cpu", "upstream": self.upstream}
        self.store.write(stage, "synthetic", fingerprint, record, {"curves": table})
        return {"stage": stage, "fingerprint": fingerprint, "name": "synthetic"}

    def reward_models(self, axis, keys):
        self.count += 1
        fingerprint = f"{self.count:016x}"
        rows = []
        for i, key in enumerate(keys):
            for seed in SEEDS:
                rng = np.random.default_rng([seed, i])
                row = {name: IDENTITY.get(name, c.absent or 0) for name, c in columns.REWARD_MODEL_COLUMNS.items()}
                row |= {name: 0.1 for name, c in columns.REWARD_MODEL_COLUMNS.items() if c.dtype == "float64"}
                row |= {"cell": fingerprint, "seed": seed, axis: int(key), "val_accuracy": 0.8 + 0.02 * i}
                rows.append(row | {"val_loss": 0.5 - 0.03 * i + 0.005 * rng.standard_normal()})
        table = pd.DataFrame(rows)[list(columns.REWARD_MODEL_COLUMNS)]
        table = {"reward_models": {name: table[name].to_numpy() for name in table.columns}}
        self.store.write("reward_model", "synthetic", fingerprint, {}, table)
        return [fingerprint]

    def manifest(self, experiment, axis, cells, reward_models=(), **about):
        """about: what it says beside, or in place, of the made values."""
        content = {
            "experiment": experiment,
            "preset": "smoke",
            "title": f"Synthetic {experiment}",
            "question": "How far?",
            "figure": "paper figure 1",
            "expected": "Gold rises, then falls.",
            "axis": axis,
            "cells": cells,
            "reward_models": list(reward_models),
            "overrides": {},
            "created": "2024-01-01",
            "commit": "",
        } | about
        self.store.write_manifest(f"{experiment}-{content['preset']}", content)


def write_all(root):
    made = Records(root)
    by_size = []
    for size in SIZES:
        a, b = bon_coefficients(size)
        slope = 0.5 + 0.05 * np.log10(size / 1300)
        bon = [one_run("bon", s, a, b, rm_params=size, slope=slope) for s in SEEDS]
        a, b = rl_coefficients(size)
        rl = [one_run("rl", s, a, b, 6.0, spread=0.01, rm_params=size, slope=slope) for s in SEEDS]
        by_size += [made.cell(bon), made.cell(rl)]
    reward_models = made.reward_models("rm_params", SIZES)
    made.manifest("rm_size", "rm_params", by_size, reward_models)
    made.manifest("bon_vs_rl", "rm_params", by_size, reward_models)

    cells, pairs = [], (450, 1800, 7200, 14_400)
    for i, n in enumerate(pairs):
        cells.append(made.cell([one_run("bon", s, 0.3 + 0.1 * i, 0.12, num_pairs=n) for s in SEEDS]))
        cells.append(made.cell([one_run("rl", s, 0.5 + 0.1 * i, 0.4, num_pairs=n) for s in SEEDS]))
    made.manifest("data_size", "num_pairs", cells, made.reward_models("num_pairs", pairs))

    ends = {0.0: 6.0, 0.02: 4.5, 0.1: 3.0, 0.5: 1.6}
    runs = [one_run("rl", s, 0.75, 0.4, end, spread=0.01, kl_coef=k) for k, end in ends.items() for s in SEEDS]
    made.manifest("kl_penalty", "kl_coef", [made.cell(runs)])

    cells = []
    for i, size in enumerate((15_000, 60_000, 240_000)):
        extra = {"policy_params": size, "start": 0.2 * (i - 1)}
        cells.append(made.cell([one_run("bon", s, 0.5 - 0.05 * i, 0.1 - 0.01 * i, **extra) for s in SEEDS]))
        cells.append(made.cell([one_run("rl", s, 0.7 - 0.05 * i, 0.4 - 0.03 * i, **extra) for s in SEEDS]))
    made.manifest("policy_size", "policy_params", cells)

    cells = [
        made.cell([one_run("rl", s, 0.6, 0.05, reward="gold") for s in SEEDS]),
        made.cell([one_run("rl", s, -0.1, 0.02, label_noise=0.5) for s in SEEDS]),
        made.cell([one_run("bon", s, -0.05, 0.02, label_noise=0.5) for s in SEEDS]),
        made.cell([one_run("rl", s, 0.6, 0.2, gold_kind="random") for s in SEEDS]),
    ]
    made.manifest("negative_controls", "reward", cells)
    return made
