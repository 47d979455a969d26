"""Records of the store: what is written comes back the same, and what would not is refused."""

import json
import shutil
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pytest

from analysis import records
from gold_sim.store import Store, StoreError
from gold_sim.store.columns import CURVE_COLUMNS, REWARD_MODEL_COLUMNS, TABLES
from tests.made_cells import A, B, C, columns, write

# --- round trips ------------------------------------------------------------------------------


def test_arrays_keep_dtype_shape_and_bits(tmp_path):
    rng = np.random.default_rng(0)
    dtypes = (np.uint8, np.int32, np.uint32, np.int64, np.bool_, np.float16, np.float32, np.float64)
    tree = {np.dtype(d).name: {"many": (rng.random((3, 4)) * 9).astype(d), "scalar": d(1)} for d in dtypes}
    tree["odd"] = {
        "transposed": rng.random((3, 4)).T,
        "strided": np.arange(10)[::3],
        "big_endian": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 3), np.uint8),
        "not_finite": np.array([np.nan, np.inf, -0.0], np.float32),
        "deeper": {"still": {"x.y-z": np.float32(2.5)}},
    }
    store = Store(tmp_path)
    back = store.arrays(store.write("gold", "tiny", A, {}, arrays={"params": tree}), "params")

    def compare(left, right):
        assert isinstance(left, dict) == isinstance(right, dict)
        if isinstance(left, dict):
            assert left.keys() == right.keys()
            for key in left:
                compare(left[key], right[key])
        else:
            left = np.asarray(left)
            assert (left.dtype.name, left.shape) == (right.dtype.name, right.shape)
            assert left.astype(right.dtype).tobytes() == right.tobytes()

    compare(tree, back)


@pytest.mark.parametrize(
    "tree",
    [{"a": None}, {"a": {}}, {}, {"a": "text"}, {"a": [1, None]}, {"a/b": np.ones(2)}, {1: np.ones(2)}, {"a": 1j}],
)
def test_arrays_that_would_not_come_back_are_refused(tmp_path, tree):
    with pytest.raises(TypeError, match="arrays at"):
        Store(tmp_path).write("gold", "tiny", A, {}, arrays={"params": tree})
    assert not list(tmp_path.iterdir())


def test_tables_come_back_with_values_dtypes_and_column_order(tmp_path):
    store = Store(tmp_path)
    for kind, cell in (("curves", A), ("reward_models", B)):
        made = columns(kind, cell)
        store.write("reward_model", "tiny", cell, {}, {kind: made})
        table = store.table(kind)
        assert list(table) == list(TABLES[kind])
        for name, column in TABLES[kind].items():
            np.testing.assert_array_equal(table[name].tolist(), made[name])
            assert str(table[name].dtype) == column.dtype.replace("string", "str"), name


def test_float32_columns_are_widened_exactly(tmp_path):
    store, made = Store(tmp_path), columns("curves", A)
    made["gold"] = np.float32([0.1, np.inf, -1e-30])
    store.write("best_of_n", "tiny", A, {}, {"curves": made})
    assert store.table()["gold"].tolist() == [float(v) for v in made["gold"]]


def test_table_is_all_cells_or_those_asked_for(tmp_path):
    store = Store(tmp_path)
    write(store, A, rows=2)
    write(store, B, "policy_gradient", rows=5)
    store.write("reward_model", "tiny", C, {}, {"reward_models": columns("reward_models", C)})
    assert store.table().groupby("cell").size().to_dict() == {A: 2, B: 5}
    assert set(store.table(fingerprints=[B, C])["cell"]) == {B}
    assert len(store.table("reward_models")) == 3
    with pytest.raises(StoreError, match="dddd"):
        store.table(fingerprints=[A, "d" * 16])
    assert len(store.table(fingerprints=[])) == 0


def test_sql_over_the_folder_agrees_with_table(tmp_path):
    store = Store(tmp_path / "runs")
    write(store, A, rows=4)
    write(store, B, "policy_gradient", rows=5)
    (tmp_path / "runs" / ".tmp-1-x").mkdir()
    shutil.copy(store.find("best_of_n", A) / "curves.parquet", tmp_path / "runs" / ".tmp-1-x")  # half-written
    query = f"select count(*), sum(gold), count(distinct cell) from read_parquet('{tmp_path}/runs/*/*/curves.parquet')"
    table = store.table()
    assert duckdb.sql(query).fetchall() == [(9, table["gold"].sum(), 2)]
    assert len(table) == 9


def test_an_empty_store_has_the_right_columns(tmp_path):
    store = Store(tmp_path / "nowhere")
    assert list(store.table()) == list(CURVE_COLUMNS)
    assert list(store.table("reward_models")) == list(REWARD_MODEL_COLUMNS)
    assert store.table()["gold"].dtype == float and store.table()["seed"].dtype == int
    assert store.find("gold", A) is None and store.load_checkpoint(A) is None and store.sweep() == []


def test_every_column_says_unit_and_meaning():
    for column in (*CURVE_COLUMNS.values(), *REWARD_MODEL_COLUMNS.values()):
        assert column.unit and column.meaning and str(column) == f"{column.unit}: {column.meaning}"
        assert column.dtype in ("string", "int64", "float64")
    assert str(CURVE_COLUMNS["kl"]) == "nats a response: KL(policy || ref_policy); best-of-n: log n - (n-1)/n"


def test_record_is_strict_json_with_null_for_nan(tmp_path):
    store = Store(tmp_path)
    given = {"loss": np.float32(np.nan), "peak": float("inf"), "x": 0.1, "n": np.int64(3), "axes": (1, [True, None])}
    path = write(store, more={"values": np.array([1.5, np.nan])}, **given)
    text = (path / "record.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    record = store.record(path)
    assert {key: record[key] for key in given} == {
        "loss": None,
        "peak": None,
        "x": 0.1,
        "n": 3,
        "axes": [1, [True, None]],
    }
    assert record["more"] == {"values": [1.5, None]} and record["note"] == "é"
    assert (record["stage"], record["name"], record["fingerprint"]) == ("best_of_n", "tiny", A)
    assert set(record["files"]) == {"curves.parquet", "pool.safetensors"}
    with pytest.raises(TypeError, match="Path"):
        write(store, B, where=Path("x"))
    with pytest.raises(ValueError, match="fingerprint"):
        store.write("gold", "tiny", C, {"fingerprint": B})


# --- schema -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gold": None}, r"missing columns \['gold'\]"),
        ({"golden": [1.0, 2.0, 3.0]}, r"unknown columns \['golden'\]"),
        ({"gold": [1.0, 2.0]}, "one length"),
        ({"seed": [1.0, 2.0, 3.0]}, "curves.seed: int64"),
        ({"seed": [True, False, True]}, "curves.seed: int64"),
        ({"gold": [1.0, None, 3.0]}, "curves.gold: double"),
        ({"gold": ["1", "2", "3"]}, "curves.gold: double"),
        ({"status": ["ok", "ok", None]}, "curves.status: string"),
        ({"status": [1, 2, 3]}, "curves.status: string"),
    ],
)
def test_wrong_columns_are_refused(tmp_path, change, message):
    made = columns("curves", A) | change
    made = {name: values for name, values in made.items() if values is not None}
    with pytest.raises(ValueError, match=message):
        Store(tmp_path).write("best_of_n", "tiny", A, {}, {"curves": made})
    assert not list(tmp_path.iterdir())


def test_bad_names_are_refused(tmp_path):
    store = Store(tmp_path)
    for stage, name, cell in (("gold", "a/b", A), ("gold", "x", "A" * 16), ("..", "x", A), ("experiments", "x", A)):
        with pytest.raises(ValueError, match="is wanted"):
            store.write(stage, name, cell, {})
    with pytest.raises(ValueError, match="allowed are curves"):
        store.table("curve")


# --- manifests --------------------------------------------------------------------------------


def test_manifests(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="size-\\*.json: no such manifest; stored are none"):
        store.manifest("size")
    for name in ("size-smoke", "size-gpu", "size-cpu", "size-mine", "size-noise-pod"):
        experiment, _, preset = name.rpartition("-")
        store.write_manifest(name, {"experiment": experiment, "preset": preset, "title": "old"})
        store.write_manifest(name, {"experiment": experiment, "preset": preset, "title": name})
    assert store.manifest("size")["title"] == "size-gpu"
    assert store.manifest("size", "mine")["title"] == "size-mine"
    assert store.manifest("size-noise") == {"experiment": "size-noise", "preset": "pod", "title": "size-noise-pod"}
    with pytest.raises(StoreError, match="size-pod.json: no such manifest; stored are size-cpu, size-gpu") as said:
        store.manifest("size", "pod")
    assert "meant" not in str(said.value)
    for read in (store.manifest, partial(records.load, store)):
        with pytest.raises(StoreError, match="is size meant\\?$"):
            read("szie")
    with pytest.raises(ValueError, match="manifest name='x-cpu'"):
        store.write_manifest("x-cpu", {"experiment": "y", "preset": "cpu"})
    path = tmp_path / "experiments" / "size-gpu.json"
    shutil.copy(path, tmp_path / "experiments" / "other-gpu.json")
    with pytest.raises(StoreError, match="other-gpu.json: is the manifest of .*size"):
        store.manifest("other")
    path.write_text(path.read_text().replace("size-gpu", "size-gpv"))
    with pytest.raises(StoreError, match="size-gpu.json: corrupt"):
        store.manifest("size")
    assert store.table().empty  # experiments/ holds no cells
