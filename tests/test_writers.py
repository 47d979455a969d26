"""Writers of one store: several at once, killed, without room or leave to write; nothing finished is lost."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from gold_sim.store import Store, StoreError
from gold_sim.store.system import REAL, host_code
from tests.made_cells import A, B, write

REPOSITORY = Path(__file__).resolve().parents[1]


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
