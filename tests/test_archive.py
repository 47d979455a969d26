"""A study in one file: what analysis reads comes back, weights do not, damage is one line."""

import dataclasses
import fnmatch
import io
import os
import re
import tarfile
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import curves, older
from analysis.__main__ import main
from analysis.claims import catalogue, verdicts
from analysis.claims.claim import Claim, Part
from analysis.records import load
from experiments.catalogue import NAMES, find
from gold_sim.store import Store, StoreError, archive
from gold_sim.store.columns import TABLES
from tests.test_documents import GENERATE, marked

ROOT = Path(__file__).parent.parent
PUBLISHED = sorted((ROOT / "docs" / "records").glob(f"*{archive.SUFFIX}"))
CURVE, RM, ALONE = "a" * 16, "b" * 16, "c" * 16


def made(kind):
    """Two rows of a table: other numbers in every column."""
    values = {"int64": np.arange(2), "float64": np.array([0.5, np.nan]), "string": ["x", "y"]}
    return {name: values[column.dtype] for name, column in TABLES[kind].items()}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "runs")
    weights = {"arrays": {"params": np.ones(1000)}}
    tables = {kind: made(kind) for kind in ("curves", "samples")}
    store.write("policy_gradient", "made", CURVE, {"device": "cpu"}, tables, weights)
    store.write("reward_model", "made", RM, {}, {"reward_models": made("reward_models")}, weights)
    store.write("gold", "made", ALONE, {}, arrays=weights)  # nothing that analysis reads
    cells = [{"stage": "policy_gradient", "fingerprint": CURVE}]
    store.write_manifest("own-cpu", {"experiment": "own", "preset": "cpu", "cells": cells, "reward_models": [RM]})
    return store


def test_records_and_tables_come_back_without_weights(store, tmp_path):
    path = tmp_path / "study.tar.xz"
    assert archive.pack([store], path) == 2
    back = Store(archive.unpack(path))
    assert back.fingerprints() == {CURVE, RM} and back.manifest("own") == store.manifest("own")
    for kind in ("curves", "samples", "reward_models"):
        assert back.table(kind).equals(store.table(kind)) and len(back.table(kind)) == 2
    record = back.record(back.find("policy_gradient", CURVE))
    weights = store.record(store.find("policy_gradient", CURVE))["files"]["arrays.safetensors"]
    assert record["device"] == "cpu" and record["left_out"] == {"arrays.safetensors": weights}
    with pytest.raises(StoreError, match="not there"):
        back.arrays(back.find("policy_gradient", CURVE), "arrays")


def test_an_archive_of_an_archive_is_the_same_and_leaves_out_tables(store, tmp_path):
    first, second, less = (tmp_path / f"{name}.tar.xz" for name in ("first", "second", "less"))
    archive.pack([store], first)
    archive.pack([Store(archive.unpack(first))], second)
    assert first.read_bytes() == second.read_bytes()
    archive.pack([store], less, leave=("samples",))
    back = Store(archive.unpack(less))
    assert len(back.table("samples")) == 0 and back.table().equals(store.table())


def test_an_archive_of_seven_digits_has_those_of_float32_and_the_digests_of_both(store, tmp_path):
    own, single, again = Store(tmp_path / "own"), tmp_path / "single.tar.xz", tmp_path / "again.tar.xz"
    own.write("policy_gradient", "made", CURVE, {}, {"curves": made("curves") | {"gold": np.array([1 / 3, np.nan])}})
    about = store.manifest("own") | {"reward_models": []}
    own.write_manifest("own-cpu", about)
    archive.pack([own], single, digits=7)
    back = Store(archive.unpack(single))
    assert back.table()["gold"][0] == np.float64(np.float32(1 / 3)) != own.table()["gold"][0]
    assert back.table().drop(columns="gold").equals(own.table().drop(columns="gold"))
    record = lambda of: of.record(of.find("policy_gradient", CURVE))
    assert record(back)["rounded"] == record(own)["files"]
    archive.pack([back], again, digits=7)
    assert again.read_bytes() == single.read_bytes()
    archive.pack([own], again, digits=5)
    five = Store(archive.unpack(again)).table()["gold"]
    assert five[0] == pytest.approx(1 / 3, rel=1e-5) and five[0] != back.table()["gold"][0] and np.isnan(five[1])


def test_settings_keep_their_value_in_an_archive_of_few_digits(store, tmp_path):
    """0.35 is no binary fraction: in as many bits as four digits take it would be 0.35004, by which no run is found."""
    own, few = Store(tmp_path / "own"), tmp_path / "few.tar.xz"
    settings = {"label_noise": np.array([0.35, 0.1]), "kl_coef": np.array([0.006, 0.0])}
    own.write("policy_gradient", "made", CURVE, {}, {"curves": made("curves") | settings})
    own.write_manifest("own-cpu", store.manifest("own") | {"reward_models": []})
    archive.pack([own], few, digits=4)
    back = Store(archive.unpack(few)).table()
    assert all(back[name].tolist() == values.tolist() for name, values in settings.items())


def test_archives_of_several_stores_are_joined_and_the_first_counts(store, tmp_path):
    first, both = tmp_path / "first.tar.xz", tmp_path / "both.tar.xz"
    archive.pack([store], first)
    other = Store(tmp_path / "other")
    other.write("policy_gradient", "made", CURVE, {"device": "another"}, {"curves": made("curves")})
    cells = [{"stage": "policy_gradient", "fingerprint": CURVE}]
    about = {"experiment": "another", "preset": "cpu", "cells": cells, "reward_models": []}
    other.write_manifest("another-cpu", about)
    newer = store.manifest("own") | {"title": "newer"}
    other.write_manifest("own-cpu", newer)
    assert main(["pack", str(both), "--runs", str(other.root), str(first)]) == 0
    back = Store(archive.unpack(both))
    assert back.manifest("another") == about and back.manifest("own") == newer
    assert back.fingerprints() == {CURVE, RM}
    assert back.record(back.find("policy_gradient", CURVE))["device"] == "another"


def test_claims_read_an_experiment_whole_from_the_first_store_that_has_it(store, tmp_path, monkeypatch):
    told = lambda read: [Part(read.manifest["title"], pd.Series(1.0, range(8)))]
    monkeypatch.setattr(catalogue, "CLAIMS", [Claim("it", "own", "", "", "", told)])

    def read(store, name, preset):
        table = pd.DataFrame({"world_seed": [7]})
        return types.SimpleNamespace(manifest=store.manifest(name, preset), variants=[], curves=table)

    monkeypatch.setattr(verdicts.records, "load", read)
    monkeypatch.setattr(verdicts, "cpu_hours", lambda read: 0.0)
    stores = {title: Store(tmp_path / title) for title in ("first", "second")}
    for title, of in stores.items():
        of.write_manifest("own-cpu", store.manifest("own") | {"title": title})
    found = lambda *of: [verdicts.entries(of)[0][name].partition(" ")[0] for name in ("verdict", "found")]
    assert found(stores["first"], stores["second"]) == ["holds", "first"]
    assert found(Store(tmp_path / "none"), stores["second"], stores["first"]) == ["holds", "second"]
    assert verdicts.entries([Store(tmp_path / "none")])[0]["verdict"] == verdicts.NOT_RUN


def test_what_was_cut_short_by_a_kill_is_unpacked_again(store, tmp_path):
    path = tmp_path / "study.tar.xz"
    archive.pack([store], path)
    root = archive.unpack(path)
    (root / "unpacked").unlink()
    (root / "experiments/own-cpu.json").unlink()
    assert archive.unpack(path) == root and Store(root).manifest("own")["preset"] == "cpu"


def test_what_a_power_cut_left_empty_is_unpacked_again_as_nothing_waits_for_the_disk(store, tmp_path, monkeypatch):
    path, synced = tmp_path / "study.tar.xz", []
    archive.pack([store], path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(descriptor))
    root = archive.unpack(path)
    tables = list(root.glob("*/*/*.parquet"))
    wanted = [table.read_bytes() for table in tables]
    assert tables and len(synced) < 10  # of manifests and of the list of digests
    for table in tables:
        table.write_bytes(b"")
    assert archive.unpack(path) == root and [table.read_bytes() for table in tables] == wanted


def test_what_is_wrong_is_said_in_one_line(store, tmp_path, capsys):
    path = tmp_path / "study.tar.xz"
    archive.pack([store], path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged, foreign, text = (tmp_path / f"{name}.tar.xz" for name in ("damaged", "foreign", "text"))
    damaged.write_bytes(data)
    text.write_text("no archive")
    with tarfile.open(foreign, "w:xz") as tar:
        member = tarfile.TarInfo("../elsewhere/record.json")
        tar.addfile(member, io.BytesIO())
    missing = tmp_path / "missing.tar.xz"
    for path, said in ((damaged, "damaged"), (text, "damaged"), (foreign, "elsewhere"), (missing, "No such file")):
        with pytest.raises(StoreError, match=said):
            archive.unpack(path)
    assert not (tmp_path / "elsewhere").exists()
    assert main(["claims", "--runs", str(missing)]) == 2 and capsys.readouterr().err.count("\n") == 1
    assert main(["pack", str(tmp_path / "study.zip"), "--runs", str(store.root)]) == 2
    assert main(["pack", str(tmp_path / "x.tar.xz"), "--runs", str(store.root), "--leave", "weights"]) == 2
    assert main(["pack", str(tmp_path / "x.tar.xz"), "--runs", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_an_unfinished_experiment_is_not_packed(store, tmp_path):
    cells = [{"stage": "policy_gradient", "fingerprint": "d" * 16}]
    store.write_manifest("late-cpu", {"experiment": "late", "preset": "cpu", "cells": cells, "reward_models": []})
    with pytest.raises(StoreError, match="not finished"):
        archive.pack([store], tmp_path / "study.tar.xz")
    assert not list(tmp_path.glob("study*"))


def check_declared(stores):
    """Older manifests have keys and studies of today's declarations."""
    for store in stores:
        for path in store.root.glob("experiments/*.json"):
            manifest = older.current(store.manifest(path.stem.rpartition("-")[0]))
            declared = find(manifest["experiment"], "cpu")
            assert set(manifest["variants"]) <= set(declared.variants) and manifest["study"] == declared.study


def check_keys(claim, read, found: str):
    """A claim asks for no key that it does not name: from the runs of those alone it finds the same."""
    if claim.variants and not claim.lacks(read.variants):  # or declared later
        named = [key for wanted in claim.variants for key in fnmatch.filter(read.variants, wanted)]
        less = dataclasses.replace(read, curves=read.curves[read.curves["variant"].isin(named)])
        assert verdicts.measured(claim, less).found == found, claim.name


def test_published_records_are_those_of_the_documents(tmp_path, monkeypatch):
    """Peaks of the README's table and the claims of docs/, read off the records that the repository ships."""
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path))
    stores = [Store(archive.unpack(path)) for path in PUBLISHED]
    data = load(Store(archive.unpack(ROOT / GENERATE["MAIN_JOB"])), "rm_size")
    groups = curves.groups(data.curves, data.axis)
    peaks = {form: {g.key: np.max(g.mean("gold")) for g in gs} for form, gs in groups.items()}
    rows = re.findall(r"^\| ([\d,]+) \|(.+)\|$", marked("README.md", "rm_size table"), re.M)
    assert len(rows) == len(peaks["bon"]) == 5
    for params, rest in rows:
        size, cells = int(params.replace(",", "")), rest.split("|")
        told = float(cells[4]), float(cells[8])
        assert told == pytest.approx((peaks["bon"][size], peaks["rl"][size]), abs=0.006), size
    kept, measured = [], verdicts.measured
    monkeypatch.setattr(verdicts, "measured", lambda *given: kept.append((*given[:2], measured(*given))) or kept[-1][2])
    GENERATE["entries"].cache_clear()  # of a test before this one
    told = [one["verdict"] for one in GENERATE["entries"]()]
    monkeypatch.setattr(verdicts, "measured", measured)
    for page, parts in GENERATE["PARTS"].items():
        if "claims" in parts:
            assert marked(page, "claims").strip() == parts["claims"]().strip(), "python docs/generate.py"
    check_declared(stores)
    for claim, read, found in kept:
        check_keys(claim, read, found.found)
    assert len(kept) > 50
    own = lambda store: {p.stem.rpartition("-")[0].partition("+")[0] for p in store.root.glob("experiments/*.json")}
    here = [own(store) for store in stores]
    assert set.union(*here) == set(GENERATE["drawn"]())
    assert verdicts.ERROR not in told
    not_run = {one["experiment"] for one in GENERATE["entries"]() if one["verdict"] == verdicts.NOT_RUN}
    assert not_run <= set(NAMES) - set(GENERATE["drawn"]())
