"""Logs as trainers, people and crashes leave them, made from a law that is known, and the commands run on them."""

import json
import math

import numpy as np
import pandas as pd

from analysis.__main__ import main
from gold_sim import laws
from gold_sim.store.files import unflatten

ALPHA, BETA = 0.6, 0.25
NAMES = {  # naming -> (column of KL, column of gold, of length if KL is a mean over tokens, other columns)
    "plain": ("kl", "gold", None, {}),
    "trl_ppo": ("objective/kl", "eval_gold", None, {"objective/scores": 1.0, "val/ratio": 1.0}),
    "trl_grpo": ("kl", "gold", "completions/mean_length", {"reward": 1.0, "clip_ratio/region_mean": 0.1}),
    "openrlhf": ("kl", "gold", "response_length", {"policy_loss": 0.1, "return": 1.0}),
    "verl": ("actor/kl_loss", "val-core/gold/mean@1", "response_length/mean", {"actor/ppo_kl": 2e-4}),
    "nemo_rl": ("train/kl_penalty", "validation/gold", "train/mean_gen_tokens_per_sample", {"train/loss": 0.1}),
    "own": ("KL to init", "judge score", "mean tokens per answer len", {"loss": 0.3, "grad_norm": 2.0}),
}


def point(naming, step, d=None):
    """One row of a log, at distance d (by default 0.02 a step and a little more)."""
    kl, gold, length, others = NAMES[naming]
    d = 0.1 + 0.02 * step if d is None else d
    tokens = 200.0 - 0.3 * step
    row = {"step": step, kl: d**2 / (tokens if length else 1.0), **others}
    return row | {gold: float(laws.overoptimization_rl(d, ALPHA, BETA))} | ({length: tokens} if length else {})


def run_of(naming, resumed=False, sparse=False):
    """Rows of a run as they are written. resumed: collapsed at 100, went on from there. sparse: gold every 50 steps."""
    rows = [point(naming, step) for step in range(0, 201, 10)]
    if resumed:
        gold = NAMES[naming][1]
        dead = [point(naming, step) | {gold: -3.0} for step in range(110, 251, 10)]
        rows = [*rows[:11], *dead, *rows[10:]]
    if sparse:
        kl, gold, length, _ = NAMES[naming]
        rows = [
            part
            for row in rows
            for part in (
                {name: value for name, value in row.items() if name != gold},
                {"step": row["step"], gold: row[gold]},
            )
            if row["step"] % 50 == 0 or gold not in part
        ]
    return rows


def write_events(path, rows, suffix="", begun=1000.0):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(path), filename_suffix=suffix)
    for row in rows:
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items() if tag != "step"]
        writer.add_event(Event(step=row["step"], wall_time=begun, summary=Summary(value=scalars)))
    writer.close()


def written(folder, kind, rows):
    """The rows as a file of one kind."""
    table = pd.DataFrame(rows)
    path = folder / {"trainer_state": "trainer_state.json", "columns": "columns.json", "list": "rows.json"}.get(
        kind, f"log.{kind.removeprefix('nested_').removeprefix('verl_')}"
    )
    lines = lambda each: path.write_text("".join(json.dumps(row) + "\n" for row in each))
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "tsv":
        table.to_csv(path, index=False, sep="\t")
    elif kind == "semicolon":
        path = folder / "log.csv"
        table.to_csv(path, index=False, sep=";", decimal=",")
    elif kind == "parquet":
        table.to_parquet(path)
    elif kind == "jsonl":
        lines(rows)
    elif kind == "verl_jsonl":
        lines({"step": row["step"], "data": {k: v for k, v in row.items() if k != "step"}} for row in rows)
    elif kind == "nested_jsonl":
        lines(map(unflatten, rows))
    elif kind == "list":
        path.write_text(json.dumps(rows))
    elif kind == "columns":
        path.write_text(json.dumps(table.replace({np.nan: None}).to_dict("list")))
    elif kind == "trainer_state":
        path.write_text(json.dumps({"global_step": 200, "log_history": rows, "best_metric": None}))
    elif kind == "events":
        path = folder / "events"
        back = [i for i in range(1, len(rows)) if rows[i]["step"] < rows[i - 1]["step"]]
        for number, (start, end) in enumerate(zip([0, *back], [*back, len(rows)], strict=True)):
            write_events(path, rows[start:end], f".{number}", 1000.0 + start)
    return path


KINDS = ("csv", "tsv", "semicolon", "parquet", "jsonl", "verl_jsonl", "nested_jsonl", "list", "columns",
         "trainer_state", "events")  # fmt: skip


def fit(capsys, path, *words, status=0, command="fit", x="kl", y="gold", form="rl"):
    """(the result, what was said on standard error) of a command."""
    out = path.parent / "fit.json"
    out.unlink(missing_ok=True)
    arguments = [command, path, "--x", x, "--y", y, "--form", form, *words, "--json", out]
    assert main([str(word) for word in arguments]) == status
    said = capsys.readouterr()
    assert "np." not in said.err and "position" not in said.err
    return json.loads(out.read_text()) if out.exists() else None, said.err


def law(result, group=0):
    """(alpha, beta) of one group of a result."""
    return result["groups"][group]["alpha"], result["groups"][group]["beta"]


def table(folder, text, name="curve.csv"):
    """A file of this text."""
    path = folder / name
    path.write_text(text)
    return path


def lines(folder, rows, name="log.jsonl"):
    """Rows as JSON lines."""
    return table(folder, "".join(json.dumps(row) + "\n" for row in rows), name)


def gold_of(kl, alpha=ALPHA, beta=BETA):
    return round(float(laws.overoptimization_rl(math.sqrt(kl), alpha, beta)), 4)


RISING = (0.0, 0.121, 0.3, 0.6, 1.0, 1.6, 2.4, 3.4, 4.6, 6.0, 7.6, 9.4, 11.4, 13.6)
STEPS = [{"step": 20 * i, "kl": kl, "gold": gold_of(kl)} for i, kl in enumerate(RISING)]
