"""What one experiment left in the store: its manifest, its curves, its reward models, where they come from."""

import contextlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import curves, older
from gold_sim.store import NotStored, Store, StoreError, archive

RUN = "python -m experiments {name}"  # the command that makes an experiment's records


class NoPoints(StoreError):
    """An experiment whose runs all diverged: its records are whole, and there is nothing to draw."""


@dataclass(frozen=True)
class Data:
    manifest: dict
    curves: pd.DataFrame  # usable points, columns of columns.CURVE_COLUMNS
    reward_models: pd.DataFrame  # columns of columns.REWARD_MODEL_COLUMNS
    warnings: list[str]
    provenance: dict  # label -> text
    store: Store

    @property
    def axis(self) -> str:
        return self.manifest["axis"]

    @property
    def labels(self) -> dict[str, str]:
        """Key of a variant -> what tables and figures call it."""
        return self.manifest.get("variants", {})

    def label(self, key: str) -> str:
        return self.labels.get(key, key)

    @property
    def variants(self) -> list[str]:
        """Keys of the variants that have usable points, in the order of their declaration."""
        if "variant" not in self.curves:
            return []
        of_points = self.curves["variant"]
        return [key for key in of_points.cat.categories if (of_points == key).any()]

    def passes(self) -> dict[str, tuple[int, int]]:
        """Reward-model cell -> (epochs, training pairs); the curves' table has no column of epochs."""
        pairs = self.reward_models.groupby("cell")["num_pairs"].first()
        epochs = lambda cell: int(self.record("reward_model", cell)["config"]["reward_model"]["epochs"])
        return {cell: (epochs(cell), int(count)) for cell, count in pairs.items()}

    def samples(self) -> pd.DataFrame:
        """Responses that RL cells kept (columns.SAMPLE_COLUMNS); empty if they kept none."""
        with _mending(self.store, command_of(self.manifest)):
            return self.store.table("samples", {cell["fingerprint"] for cell in self.manifest["cells"]})

    def record(self, stage: str, fingerprint: str) -> dict:
        """record.json of one of the experiment's cells."""
        with _mending(self.store, command_of(self.manifest)):
            return self.store.record(self.store.find(stage, fingerprint))


def load(store: Store, experiment: str, preset: str | None = None) -> Data:
    """Everything an analysis reads of an experiment.

    NotStored, with the command to run, where it was never run; NoPoints where all its runs diverged; StoreError, with
    what mends it, where a file is damaged or lacking.
    """
    with _mending(store, command(experiment, preset)):
        manifest = older.current(store.manifest(experiment, preset))
    with _mending(store, command_of(manifest)):
        cells = list(dict.fromkeys((cell["stage"], cell["fingerprint"]) for cell in manifest["cells"]))
        points = store.table("curves", {fingerprint for _, fingerprint in cells})
        reward_models = store.table("reward_models", set(manifest["reward_models"]))
        records = [store.record(store.find(*cell)) for cell in cells]
    table, warnings = curves.usable(points)
    if table.empty:
        raise NoPoints(f"{store.root}: {experiment}-{manifest['preset']} has no usable point; {'; '.join(warnings)}")
    if manifest["variants"]:
        of_cell = {cell["fingerprint"]: cell["variant"] for cell in manifest["cells"]}
        table["variant"] = pd.Categorical(table["cell"].map(of_cell), list(manifest["variants"]), ordered=True)
    return Data(manifest, table, reward_models, warnings, provenance(manifest, table, records), store)


def command(experiment: str, preset: str | None, overrides: dict | None = None) -> str:
    """What makes the records of an experiment, as typed."""
    experiment, _, settings = experiment.partition("+")
    words = [f"--preset {preset}"] if preset not in (None, "cpu") else []
    words += ["--set ... as they were made with"] if settings and not overrides else []
    words += [f"--set {shlex.quote(f'{path}={json.dumps(value)}')}" for path, value in (overrides or {}).items()]
    return " ".join([RUN.format(name=experiment), *words])


@contextlib.contextmanager
def _mending(store: Store, run: str):
    """Add to the errors of a store what makes or mends the records: `run`, after what is damaged was removed."""
    try:
        yield
    except NotStored as error:
        raise NotStored(f"{error}; this makes them: {run}") from error
    except StoreError as error:
        raise StoreError(f"{error}; to mend it: {remedy(store, error, run)}") from error


def command_of(manifest: dict) -> str:
    """What made the records that a manifest lists."""
    return command(manifest["experiment"], manifest["preset"], manifest.get("overrides"))


def remedy(store: Store, error: StoreError, run: str) -> str:
    """What mends the file that an error names first, as commands to be given as they are; run: what makes it again."""
    root, path = store.root.absolute(), Path(str(error).partition(": ")[0]).absolute()
    if (root / archive.UNPACKED).exists():
        return f"rm -r {shlex.quote(str(root))}, and the archive is unpacked anew"
    within = path.relative_to(root).parts[:2] if path.is_relative_to(root) else ()
    if len(within) < 2:
        return run
    if within[0] == "experiments":  # a manifest: its name says of what it is
        run = command(*path.stem.rpartition("-")[::2])
    return f"rm -r {shlex.quote(str(root.joinpath(*within)))}, then {run}"


def provenance(manifest: dict, table: pd.DataFrame, records: list[dict]) -> dict:
    """Where the points of an experiment come from, label -> text, as the report shows it."""
    distinct = lambda key: ", ".join(sorted({str(r[key]) for r in records if r.get(key)}))
    versions = sorted({f"{k} {v}" for r in records for k, v in r.get("versions", {}).items()})
    dirty = sum(bool(r.get("diff")) for r in records)
    seeds = ", ".join(map(str, sorted(table["seed"].unique())))
    lines = {
        "experiment": f"{manifest['experiment']}, preset {manifest['preset']}",
        "overrides": ", ".join(f"{k}={v}" for k, v in manifest.get("overrides", {}).items()) or "none",
        "records": f"{len(records)} cells, {len(table)} points, seeds {seeds}",
        "created": manifest.get("created"),
        "commit": distinct("commit") + (f" (uncommitted changes in {dirty} of {len(records)} cells)" if dirty else ""),
        "device": distinct("device"),
        "precision": distinct("precision"),
        "python": distinct("python"),
        "versions": ", ".join(versions),
        "cell time": _minutes(records),
    }
    return {label: text for label, text in lines.items() if text}


def _minutes(records) -> str:
    seconds = [r["wall_seconds"] for r in records if r.get("wall_seconds") is not None]
    return f"{sum(seconds) / 60:.1f} minutes over {len(seconds)} curve cells" if seconds else ""
