"""What one experiment left in the store: its manifest, its curves, its reward models, where they come from."""

from dataclasses import dataclass

import pandas as pd

from analysis import curves, others
from gold_sim.store import Store, StoreError

RUN = "python -m experiments {name}"  # the command that makes an experiment's records


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

    def passes(self) -> dict[str, tuple[int, int]]:
        """Reward-model cell -> (epochs, training pairs); the curves' table has no column of epochs."""
        pairs = self.reward_models.groupby("cell")["num_pairs"].first()
        record = lambda cell: self.store.record(self.store.find("reward_model", cell))
        return {cell: (int(record(cell)["config"]["reward_model"]["epochs"]), int(n)) for cell, n in pairs.items()}

    def samples(self) -> pd.DataFrame:
        """Responses that RL cells kept (columns.SAMPLE_COLUMNS); empty if they kept none."""
        return self.store.table("samples", {cell["fingerprint"] for cell in self.manifest["cells"]})


def load(store: Store, experiment: str, preset: str | None = None) -> Data:
    """Everything an analysis reads; StoreError with the command to run where there are no records yet."""
    try:
        manifest = store.manifest(experiment, preset)
    except StoreError as error:
        run = RUN.format(name=experiment) + (f" --preset {preset}" if preset else "")
        makes = f"this makes them: {run}"
        if have := others.commands(store, experiment.partition("+")[0]):
            makes = f"stored with other settings: python -m analysis {', python -m analysis '.join(have)}"
        raise StoreError(f"{error}; {makes}") from error
    cells = [(cell["stage"], cell["fingerprint"]) for cell in manifest["cells"]]
    table, warnings = curves.usable(store.table("curves", {fingerprint for _, fingerprint in cells}))
    if manifest.get("variants"):
        of_cell = {cell["fingerprint"]: cell["variant"] for cell in manifest["cells"]}
        table["variant"] = pd.Categorical(table["cell"].map(of_cell), manifest["variants"], ordered=True)
    if table.empty:
        raise StoreError(f"{store.root}: {experiment}-{manifest['preset']} has no usable point; {'; '.join(warnings)}")
    reward_models = store.table("reward_models", set(manifest["reward_models"]))
    return Data(manifest, table, reward_models, warnings, provenance(store, manifest, table, cells), store)


def provenance(store, manifest, table, cells) -> dict:
    records = [store.record(store.find(*cell)) for cell in dict.fromkeys(cells)]
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
