"""The records of one experiment in the store: its manifest, curves and reward models, and where they come from."""

import contextlib
import dataclasses
from dataclasses import dataclass

import pandas as pd

from analysis import curves, older
from gold_sim.store import Damaged, NotStored, Store, StoreError
from gold_sim.store.columns import CURVE_COLUMNS
from gold_sim.store.files import cells_of, manifest_name, repair_command

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
    kept: dict = dataclasses.field(default_factory=dict)  # (stage, fingerprint) -> record.json of curves and their RMs

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

    def by_variant(self) -> dict[str, "Data"]:
        """Label of a variant -> its part of the records; one part, "", if variants are the axis or there are none."""
        out = {}
        for key in self.variants if self.axis != "variant" else ():
            part = self.curves[self.curves["variant"] == key]
            models = self.reward_models[self.reward_models["cell"].isin(part["rm_cell"])]
            out[self.label(key)] = dataclasses.replace(self, curves=part, reward_models=models)
        return out or {"": self}

    def alike(self) -> list[str]:
        """A line for each set of variants whose curves of a stage are the same to the last digit."""
        order = [*curves.RUN[1:], *curves.WORLD, "error_kind", "round", "control"]
        found: dict[tuple, list[str]] = {}
        for key in self.variants:
            of_variant = self.curves[self.curves["variant"] == key]
            for stage, points in of_variant.groupby("stage"):
                numbers = points.sort_values(order)[["proxy", "gold"]]
                found.setdefault((stage, numbers.to_numpy().tobytes()), []).append(self.label(key))
        several = ((stage, labels) for (stage, _), labels in found.items() if len(labels) > 1)
        return [f"the same curves of {stage}, to the last digit: {'; '.join(labels)}" for stage, labels in several]

    def passes(self) -> dict[str, tuple[int, int]]:
        """Reward-model cell -> (epochs, training pairs); the curves' table has no column of epochs."""
        pairs = self.reward_models.groupby("cell")["num_pairs"].first()
        epochs = lambda cell: int(self.record("reward_model", cell)["config"]["reward_model"]["epochs"])
        return {cell: (epochs(cell), int(count)) for cell, count in pairs.items()}

    def samples(self) -> pd.DataFrame:
        """Responses that RL cells kept (columns.SAMPLE_COLUMNS); empty if they kept none."""
        with _mending(self.store, self.manifest):
            return self.store.table("samples", {cell["fingerprint"] for cell in self.manifest["cells"]})

    def golds(self) -> list[dict]:
        """record.json of every gold that the experiment's cells read; none if its manifest is older than their list."""
        return [self.record("gold", cell) for cell in self.manifest["golds"]]

    def record(self, stage: str, fingerprint: str) -> dict:
        """record.json of one of the experiment's cells."""
        cell = (stage, fingerprint)
        if cell in self.kept:
            return self.kept[cell]
        with _mending(self.store, self.manifest):
            return _records(self.store, [cell])[cell]


def load(store: Store, experiment: str, preset: str | None = None, seeds: int | None = None) -> Data:
    """Everything an analysis reads of an experiment: all its blocks of seeds, or the first blocks, of `seeds` in all.

    NotStored where it was never run, with the command to run or the name that was meant; NoPoints where all its runs
    diverged; Damaged, with the command that mends it, where a file cannot be trusted or is not there.
    """
    try:
        manifest = store.manifest(experiment, preset)
    except NotStored as error:
        if error.meant is not None:
            raise  # a command with the misspelt name would make nothing
        run = RUN.format(name=experiment) + (f" --preset {preset}" if preset not in (None, "cpu") else "")
        raise NotStored(f"{error}; this makes them: {run}") from error
    with _mending(store, manifest):
        check_manifest(store, manifest)
        manifest = first_blocks(older.current(manifest), seeds)
        cells = list(dict.fromkeys((cell["stage"], cell["fingerprint"]) for cell in manifest["cells"]))
        points = store.table("curves", {fingerprint for _, fingerprint in cells})
        reward_models = store.table("reward_models", set(manifest["reward_models"]))
        if seeds is not None:
            reward_models = reward_models[reward_models["seed"].isin(points["seed"])]
        kept = _records(store, [*cells, *(("reward_model", model) for model in manifest["reward_models"])])
    records = [kept[cell] for cell in cells]
    table, warnings = curves.usable(points)
    if table.empty:
        raise NoPoints(f"{store.root}: {experiment}-{manifest['preset']} has no usable point; {'; '.join(warnings)}")
    if manifest["variants"]:
        of_cell = {cell["fingerprint"]: cell["variant"] for cell in manifest["cells"]}
        table["variant"] = pd.Categorical(table["cell"].map(of_cell), list(manifest["variants"]), ordered=True)
    return Data(manifest, table, reward_models, warnings, provenance(manifest, table, records), store, kept)


def first_blocks(manifest: dict, seeds: int | None) -> dict:
    """The manifest with the cells of its first blocks, of `seeds` in all.  ValueError: they are no whole blocks."""
    if seeds is None:
        return manifest
    of_each = manifest.get("seeds_a_block")
    blocks = max(cell.get("block", 1) for cell in manifest["cells"])
    if not of_each or seeds not in range(of_each, blocks * of_each + 1, of_each):
        have = (
            f"allowed are {', '.join(str(b * of_each) for b in range(1, blocks + 1))}" if of_each else "they are older"
        )
        raise ValueError(f"--seeds {seeds}: the records have blocks of seeds; {have}")
    kept = [cell for cell in manifest["cells"] if cell.get("block", 1) <= seeds // of_each]
    return manifest | {"cells": kept}


@contextlib.contextmanager
def _mending(store: Store, manifest: dict):
    """A context in which a Damaged error names the command that mends the records of an experiment."""
    try:
        yield
    except Damaged as error:
        raise Damaged(error.what, repair_command(manifest, store.root)) from error


def _records(store: Store, cells: list[tuple[str, str]]) -> dict[tuple[str, str], dict]:
    """record.json of each cell (stage, fingerprint), whose tables match their digests; with one listing a stage."""
    finished = store.finished(cells)
    if absent := [cell for cell in cells if cell not in finished]:
        raise Damaged(f"{store.root}: {' '.join(absent[0])} is not there, though its experiment names it")
    return {cell: store.verify(finished[cell], (".parquet",)) for cell in cells}  # samples too, which others read


def check_manifest(store: Store, manifest: dict) -> None:
    """Raise Damaged unless a manifest names its cells and has the entries that an analysis shows."""
    path = store.root / "experiments" / f"{manifest_name(manifest)}.json"
    cells_of(path, manifest)
    variants = manifest.get("variants") or []
    of_cells = [cell.get("variant") for cell in manifest["cells"]]
    columns = [*CURVE_COLUMNS, *(["variant"] if variants else [])]
    wanted = {f"text under {key!r}": isinstance(manifest.get(key), str) for key in SHOWN}
    named = isinstance(variants, list | dict)
    wanted["'variants', each cell's among them"] = named and (not variants or all(v in variants for v in of_cells))
    wanted["a column of curves as 'axis'"] = manifest.get("axis") in columns
    wanted["a column of curves as 'panels', or none"] = manifest.get("panels") in [*columns, None]
    wanted["'overrides' by name"] = isinstance(manifest.get("overrides", {}), dict)
    if lacking := [what for what, holds in wanted.items() if not holds]:
        raise Damaged(f"{path}: no manifest that can be analysed; expected {', '.join(lacking)}")


SHOWN = ("title", "question", "figure", "expected")  # of a manifest, in reports


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
