"""Weights & Biases, offline: a folder a run under DIR/wandb, for `wandb sync`. Nothing is sent anywhere."""

import logging
import os
import tempfile
from pathlib import Path

from gold_sim.store.files import StoreError, sha256, writing
from gold_sim.store.sinks.run import Run

PROJECT = "gold_sim"  # unless WANDB_PROJECT names another


def write(folder: Path, run: Run) -> None:
    """Write a run, whole or not at all, unless it is there.  StoreError: it cannot be written.

    Its id follows from its name and its records, so that `wandb sync` makes one run of it, however often it is sent.
    """
    code = sha256(f"{run.path} {run.digest}".encode())[:16]
    if any(folder.glob(f"wandb/offline-run-*-{code}")):
        return
    with writing(folder):
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder, ignore_cleanup_errors=True) as aside:
            loud, logging.raiseExceptions = logging.raiseExceptions, False  # else a full disk fills the screen, too
            try:
                _log(run, code, aside)
            finally:
                logging.raiseExceptions = loud
            made = list(Path(aside).glob(f"wandb/offline-run-*-{code}"))
            if len(made) != 1 or not (made[0] / f"run-{code}.wandb").is_file():
                raise StoreError(f"{folder}: wandb wrote no run; is there room?")
            os.rename(made[0], folder / "wandb" / made[0].name)


def _log(run: Run, code: str, folder: str) -> None:
    """Have wandb write a run into a folder of its own."""
    import wandb

    stage, cell, *_, seed = run.path.split("/")
    quiet = dict(silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True)
    begun = wandb.init(
        mode="offline",
        dir=folder,
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        id=code,
        name=run.path,
        group=cell,
        job_type=stage,
        tags=[stage, seed],
        config=run.settings | run.config,
        settings=wandb.Settings(**quiet),
    )
    try:
        for control, point in run.curve.iterrows():
            begun.log({name: float(value) for name, value in point.items()}, step=int(control))
        begun.summary.update(run.summary)
    finally:
        begun.finish()
