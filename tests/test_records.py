"""The store under use and abuse: round trips, strict schemas, races, kills, flipped bytes, full disks."""

import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import records
from gold_sim.store import Store, StoreError, provenance
from gold_sim.store.columns import CURVE_COLUMNS, REWARD_MODEL_COLUMNS, TABLES
from gold_sim.store.system import REAL, host_code

REPOSITORY = Path(__file__).resolve().parents[1]
A, B, C = "a" * 16, "b" * 16, "c" * 16


def columns(kind, cell, rows=3):
    """Made-up columns of a table: other numbers in every column and row, NaN in one place."""
    made = {}
    for i, (name, column) in enumerate(TABLES[kind].items()):
        values = np.arange(rows) + 10 * i
        made[name] = values if column.dtype == "int64" else values + 0.5
        if column.dtype == "string":
            made[name] = [f"{name}{row}" for row in range(rows)]
    made["cell"] = [cell] * rows
    made["ece" if kind == "reward_models" else "entropy"][0] = np.nan
    return made


def write(store, cell=A, stage="best_of_n", rows=3, **record):
    tables = {"curves": columns("curves", cell, rows)}
    return store.write(stage, "tiny", cell, {"note": "é", **record}, tables, {"pool": {"x": np.arange(5)}})


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
    import duckdb  # here, for the spawned writers need not wait for it

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


# --- several writers, killed writers ----------------------------------------------------------


def race(root, barrier, answers):
    store, mine = Store(root), os.getpid()
    for i in range(12):
        barrier.wait(30)
        path = store.write("gold", "tiny", f"{i:016x}", {"writer": mine}, arrays={"x": {"pid": np.full(999, mine)}})
        answers.put((i, str(path), store.record(path)["writer"]))


def test_two_processes_that_finish_the_same_cell(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=race, args=(tmp_path, barrier, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    seen = [answers.get(timeout=60) for _ in range(24)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    store = Store(tmp_path)
    for i in range(12):
        path = store.find("gold", f"{i:016x}")
        writer = store.record(path)["writer"]
        assert {(i, str(path), writer)} == {answer for answer in seen if answer[0] == i}  # both saw the same winner
        assert set(store.arrays(path, "x")["pid"]) == {writer}
    assert len(list((tmp_path / "gold").iterdir())) == 12
    assert [p.name for p in tmp_path.iterdir()] == ["gold"]  # the losers left nothing


WRITERS = """
    import os, sys, numpy as np
    from gold_sim.store import Store
    store = Store(sys.argv[1])
    for start in map(int, sys.stdin):  # a line starts a writer, which writes until it is killed
        if pid := os.fork():
            print(pid, flush=True)
            os.waitpid(pid, 0)
            print("dead", flush=True)
            continue
        for i in range(start, start + 1000):
            arrays = {name: {"x": np.full(200_000, i)} for name in "abc"}
            store.write("gold", "tiny", f"{i:016x}", {"i": i}, arrays=arrays)
            store.save_checkpoint("f" * 16, i, {"x": np.full(100_000, i)})
"""


def start_python(code, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, **options)


def test_a_killed_writer_leaves_nothing_half_readable(tmp_path):
    store, rng, half_written, start = Store(tmp_path), random.Random(0), 0, 0
    deadline = time.monotonic() + 120
    with start_python(WRITERS, tmp_path, stdin=subprocess.PIPE) as launcher:
        while half_written < 3 and time.monotonic() < deadline:  # a fast disk is caught in the act less often
            print(start, file=launcher.stdin, flush=True)
            start += 1000
            pid = int(launcher.stdout.readline())
            time.sleep(0.01 + 0.08 * rng.random())
            while not list(tmp_path.glob(".tmp-*")) and time.monotonic() < deadline:
                pass
            os.kill(pid, signal.SIGKILL)
            assert launcher.stdout.readline() == "dead\n"
            half_written += len(list(tmp_path.glob(".tmp-*")))
            for path in (tmp_path / "gold").glob("*"):
                i = store.record(path)["i"]
                assert all((store.arrays(path, name)["x"] == i).all() for name in "abc")
            if loaded := store.load_checkpoint("f" * 16):
                assert (loaded[1]["x"] == loaded[0]).all()
            store.sweep()
            assert not list(tmp_path.glob(".tmp-*"))
        launcher.stdin.close()
    assert half_written, "no kill fell into a write: the test showed nothing"
    assert not list(tmp_path.glob(".checkpoints/*.corrupt"))


def test_sweep_spares_the_living_and_what_other_hosts_write(tmp_path, monkeypatch):
    skewed = time.time() + 7 * 86400  # this host's clock is a week ahead of the file system's
    monkeypatch.setattr(time, "time", lambda: skewed)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine, other = host_code(REAL), f"{int(host_code(REAL), 16) ^ 1:08x}"
    names = {f".tmp-{dead.pid}-{mine}0": True, f".tmp-{os.getpid()}-{mine}1": False, f".tmp-{dead.pid}-{other}2": False}
    for name in (*names, f".tmp-{os.getpid()}-{other}3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    two_days_ago = skewed - 9 * 86400
    os.utime(tmp_path / f".tmp-{os.getpid()}-{other}3", (two_days_ago, two_days_ago))
    assert len(Store(tmp_path).sweep()) == 2
    assert {p.name for p in tmp_path.iterdir()} == {name for name, stale in names.items() if not stale}


def test_a_finished_cell_is_never_replaced(tmp_path):
    store = Store(tmp_path)
    path = write(store, answer=1)
    assert write(store, answer=2) == path
    assert store.write("best_of_n", "another_name", A, {"answer": 3}) == path
    assert store.record(path)["answer"] == 1 and len(list(path.parent.iterdir())) == 1


def test_many_cells_are_found_as_one_is(tmp_path):
    store = Store(tmp_path)
    paths = {("best_of_n", A): write(store), ("gold", B): write(store, B, "gold")}
    assert store.finished([*paths, ("gold", C), ("absent", A)]) == paths
    record = paths["best_of_n", A] / "record.json"
    record.write_bytes(record.read_bytes().replace(b"tiny", b"huge"))
    with pytest.raises(StoreError, match=f"{record}: corrupt"):
        store.finished(paths)


def test_an_analysis_refuses_a_table_that_it_does_not_draw(tmp_path):
    """As that of samples, which `records.load` does not read."""
    store = Store(tmp_path)
    path = write(store)
    assert records._records(store, [("best_of_n", A)])[0]["note"] == "é"
    (path / "curves.parquet").write_bytes(b"of another run")
    with pytest.raises(StoreError, match="curves.parquet: corrupt"):
        records._records(store, [("best_of_n", A)])


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("filename", ["curves.parquet", "pool.safetensors", "record.json"])
def test_one_flipped_byte_is_noticed(tmp_path, filename):
    store = Store(tmp_path)
    path = write(store)
    content = (path / filename).read_bytes()
    read = {
        "curves.parquet": store.table,
        "pool.safetensors": lambda: store.arrays(path, "pool"),
        "record.json": lambda: store.find("best_of_n", A),
    }[filename]
    read()
    for at in random.Random(0).sample(range(len(content)), 60):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        (path / filename).write_bytes(damaged)
        with pytest.raises(StoreError, match=f"{path}/{filename}: corrupt") as caught:
            read()
        assert "\n" not in str(caught.value) and "expected" in str(caught.value)
    for size in (0, 7, len(content) // 2, len(content) - 1):
        (path / filename).write_bytes(content[:size])
        with pytest.raises(StoreError, match=f"{filename}: corrupt.* {size} bytes"):
            read()
    (path / filename).write_bytes(content)
    read()


def test_parquet_pages_carry_checksums_for_other_readers(tmp_path):
    path = write(Store(tmp_path)) / "curves.parquet"
    content, group = path.read_bytes(), pq.read_metadata(path).row_group(0)
    for i in range(group.num_columns):
        chunk = group.column(i)
        assert chunk.compression == "ZSTD"
        damaged = bytearray(content)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        damaged[start + chunk.total_compressed_size - 1] ^= 1  # the last byte of the chunk's last page
        with pytest.raises(OSError, match="(?i)crc|checksum"):
            pq.read_table(pa.BufferReader(bytes(damaged)), page_checksum_verification=True)


def test_foreign_and_incomplete_folders(tmp_path):
    store = Store(tmp_path)
    path = write(store)
    for hidden in (path.with_name(".notebook"), tmp_path / ".cache" / "x"):
        hidden.mkdir(parents=True)
    assert len(store.table()) == 3  # hidden folders are nobody's business
    (tmp_path / "gold").mkdir()

    shutil.copytree(path, tmp_path / "gold" / path.name)  # of another stage
    with pytest.raises(StoreError, match=f"gold/tiny-{A}: foreign.*best_of_n/tiny-{A}"):
        store.find("gold", A)
    with pytest.raises(StoreError, match="same cell"):
        store.table()
    shutil.rmtree(tmp_path / "gold" / path.name)

    shutil.copytree(path, path.with_name(f"tiny-{B}"))  # of another fingerprint
    with pytest.raises(StoreError, match=f"tiny-{B}: foreign"):
        store.find("best_of_n", B)
    with pytest.raises(StoreError, match=f"tiny-{B}: foreign"):
        write(store, B)
    with pytest.raises(StoreError, match=f"tiny-{B}: foreign"):
        store.table()
    shutil.rmtree(path.with_name(f"tiny-{B}"))

    shutil.copytree(path, path.with_name(f"renamed-{A}"))
    with pytest.raises(StoreError, match="same cell"):
        store.find("best_of_n", A)
    shutil.rmtree(path.with_name(f"renamed-{A}"))

    path.with_name(f"tiny-{B}").mkdir()  # no record.json
    with pytest.raises(StoreError, match=f"tiny-{B}/record.json: cannot be read"):
        store.table()
    path.with_name(f"tiny-{B}").rmdir()

    (path / "extra.parquet").touch()
    with pytest.raises(StoreError, match="foreign: extra.parquet"):
        store.find("best_of_n", A)
    (path / "extra.parquet").unlink()
    (path / "curves.parquet").unlink()
    with pytest.raises(StoreError, match=r"missing or foreign: curves.parquet"):
        store.table()
    with pytest.raises(StoreError, match="nothing.safetensors: not there"):
        store.arrays(write(store, C), "nothing")


def test_tables_of_another_version_are_refused(tmp_path, monkeypatch):
    store = Store(tmp_path)
    write(store)
    fewer = {name: column for name, column in CURVE_COLUMNS.items() if name != "d"}
    monkeypatch.setitem(TABLES, "curves", fewer)
    with pytest.raises(StoreError, match=r"curves.parquet: columns differ.*d: double"):
        store.table()


def test_a_root_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")  # binds root too, unlike a mode without write permission
    store = Store(tmp_path / "file" / "runs")
    assert store.find("gold", A) is None and store.table().empty and store.sweep() == []
    calls = [
        lambda: write(store),
        lambda: store.save_checkpoint(A, 1, {"x": np.ones(2)}),
        lambda: store.write_manifest("size-cpu", {"experiment": "size", "preset": "cpu"}),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=f"{tmp_path}/file/runs/.*cannot be written.*expected"):
            call()


FULL_DISK = """
    import resource, sys, numpy as np
    from gold_sim.store import Store, StoreError
    store = Store(sys.argv[1])
    store.write("gold", "small", "a" * 16, {}, arrays={"x": {"x": np.ones(10)}})
    store.save_checkpoint("b" * 16, 7, {"x": np.ones(10)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))  # Python ignores SIGXFSZ: write fails with EFBIG
    big = {"x": np.ones(100_000)}
    calls = [lambda: store.write("gold", "big", "b" * 16, {}, arrays={"y": {"y": np.ones(10)}, "z": big})]
    for call in (*calls, lambda: store.save_checkpoint("b" * 16, 8, big)):
        try:
            call()
        except StoreError as error:
            print(error)
"""


def test_a_full_disk_loses_nothing_finished(tmp_path):
    with start_python(FULL_DISK, tmp_path) as process:
        said = process.stdout.read().splitlines()
    assert len(said) == 2 and process.returncode == 0
    for line, name in zip(said, (f"gold/big-{B}", f".checkpoints/{B}.safetensors"), strict=True):
        assert line.startswith(f"{tmp_path}/{name}: no room") and "nothing finished was lost" in line
    store = Store(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".checkpoints", "gold"]
    assert store.find("gold", B) is None
    assert (store.arrays(store.find("gold", A), "x")["x"] == 1).all()
    assert store.load_checkpoint(B)[0] == 7


# --- checkpoints and manifests ----------------------------------------------------------------


def test_checkpoints_are_replaced_dropped_and_set_aside_when_corrupt(tmp_path):
    store = Store(tmp_path)
    tree = {"params": {"w": np.float32([[1, 2]])}, "key": np.uint32([3, 4]), "count": np.int32(5)}
    store.save_checkpoint(A, 10, {"old": np.ones(3)})
    store.save_checkpoint(A, 20, tree)
    step, back = store.load_checkpoint(A)
    assert step == 20 and back.keys() == tree.keys() and back["count"].shape == ()
    assert back["params"]["w"].dtype == np.float32 and back["params"]["w"].tolist() == [[1, 2]]
    path = tmp_path / ".checkpoints" / f"{A}.safetensors"
    content = path.read_bytes()
    for at in (3, 20, content.index(b"count"), *range(len(content) - 60, len(content), 7)):
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert store.load_checkpoint(A) is None, at
        assert not path.exists() and Path(f"{path}.corrupt").read_bytes() == damaged
    path.write_bytes(content[:-5])
    assert store.load_checkpoint(A) is None
    store.save_checkpoint(A, 30, tree)
    assert store.load_checkpoint(A)[0] == 30
    store.drop_checkpoint(A)
    store.drop_checkpoint(A)
    assert store.load_checkpoint(A) is None
    with pytest.raises(TypeError, match="tree/x"):
        store.save_checkpoint(A, 1, {"x": None})


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


# --- provenance and floors --------------------------------------------------------------------


def load_copy(folder):
    """provenance.py as a module that lies in another folder."""
    folder.mkdir()
    shutil.copy(provenance.__file__, folder / "copied_provenance.py")
    spec = importlib.util.spec_from_file_location("copied_provenance", folder / "copied_provenance.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["copied_provenance"] = module
    spec.loader.exec_module(module)
    return module


def test_provenance_inside_and_outside_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    copy = load_copy(tmp_path / "code")
    found = copy.provenance({"a": 1})
    assert (found["commit"], found["diff"], found["config"]) == ("", "", {"a": 1})
    assert found["versions"]["numpy"] == np.__version__ and found["python"] in sys.version
    assert found["created"].endswith("+00:00")

    def git(*arguments):
        identity = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", "-C", copy.__file__ and str(tmp_path / "code"), *identity, *arguments], check=True
        )

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "someone else's")
    assert copy.provenance({})["commit"] == ""  # an untracked copy in another project
    git("add", "copied_provenance.py")
    git("commit", "-q", "-m", "ours")
    found = copy.provenance({})
    assert len(found["commit"]) == 40 and found["diff"] == ""
    with open(tmp_path / "code" / "copied_provenance.py", "a") as file:
        file.write("# édité\n" * 20_000)
    diff = copy.provenance({})["diff"]
    assert "+# édité" in diff and 60_000 < len(diff.encode()) <= 65_536 + 2
    monkeypatch.setenv("PATH", "")
    assert copy.provenance({})["commit"] == ""


def test_records_never_imports_jax():
    with start_python("import sys, gold_sim.store; print(*[m for m in sys.modules if 'jax' in m])") as process:
        assert process.stdout.read().strip() == ""


@pytest.mark.parametrize("takes, saved_at", [(0.1, range(2, 100, 2)), (30.0, (2, 62))])
def test_saving_takes_a_twentieth_of_the_time_at_most(takes, saved_at):
    """A point takes 10 s: checkpoints of 0.1 s come every 20 s, those of 30 s every 600 s after the first."""
    from gold_sim.optimisation import driver
    from gold_sim.stages import checkpointed

    clock, saved = [0.0], []

    class Slow:
        system = SimpleNamespace(monotonic=lambda: clock[0])

        def load_checkpoint(self, fingerprint):
            return None

        def save_checkpoint(self, fingerprint, step, tree):
            saved.append(step)
            clock[0] += takes

    def update(state, batch):
        clock[0] += 10.001
        return state

    checkpoints = checkpointed.Checkpointed(Slow(), SimpleNamespace(fingerprint=A))
    programs = driver.Programs(lambda state: None, None, update)
    driver.drive(programs, np.zeros(1), lambda state: {"gold": state}, 100, 100, checkpoints=checkpoints)
    assert saved == list(saved_at)
