"""Life of a run, as a stranger sees it: resume after SIGKILL, a full disk, damage; devices and precision."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments.plan import missing, plan
from gold_sim.stages import parallel, pipeline
from gold_sim.store import Store
from gold_sim.store.remote import Remote

ROOT = Path(__file__).parent.parent


def command(*words, module="experiments"):
    line = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def main_job(tmp_path_factory):
    """The finished command and its store; tests that change a store copy this one."""
    runs = tmp_path_factory.mktemp("store") / "runs"
    return command("rm_size", "--preset", "smoke", "--runs", runs, "--workers", 2), runs


@pytest.fixture(scope="module")
def runs(main_job):
    return main_job[1]


RESUMED = """
import sys
from pathlib import Path
from experiments.plan import plan
from gold_sim.stages import checkpointed, pipeline
from gold_sim.store import Store
checkpointed.CHECKPOINT_SECONDS = 0.0
store = Store(Path(sys.argv[1]))
overrides = {"optimiser.steps": 120, "optimiser.evaluations": 60}
_, curves, cells = plan("kl_penalty", "smoke", overrides)
print(pipeline.run(store, curves[-1]), flush=True)
"""


def test_the_main_job_runs_in_two_workers(main_job):
    found, runs = main_job
    assert found.returncode == 0, found.stderr
    assert set(Store(runs).table()["stage"]) == {"best_of_n", "policy_gradient", "frontier"}
    assert "0 to do" in command("rm_size", "--preset", "smoke", "--runs", runs).stdout


def test_a_sink_changes_no_bit_and_a_resumed_sweep_shows_every_run_once(runs, tmp_path):
    """Two cells are computed again with a sink; the others were stored before."""
    again, folder = shutil.copytree(runs, tmp_path / "runs"), tmp_path / "shown"
    for stage in ("best_of_n", "policy_gradient"):
        shutil.rmtree(min((again / stage).iterdir()))
    files = lambda root: {p: Store(root).record(root / p)["files"] for p in cells}
    cells = sorted(str(p.parent.relative_to(runs)) for p in runs.glob("*/*/record.json"))
    words = ("rm_size", "--preset", "smoke", "--runs", again, "--sink", f"tensorboard={folder}")
    found = command(*words)
    assert found.returncode == 0 and found.stderr == "" and ", 2 to do" in found.stdout, found.stderr
    assert files(again) == files(runs) and len(cells) == len(list(again.glob("*/*/record.json")))
    shown = {p: p.stat().st_mtime_ns for p in folder.rglob("*tfevents*")}
    table = Store(runs).table()
    assert len(shown) == len(table[["cell", "seed"]].drop_duplicates()) > 0
    assert {p.parent.parent.name.rpartition("-")[2] for p in shown} == set(table["cell"])
    for p in list(shown)[:2]:
        p.unlink()  # as if the sweep had been killed before they were written
    found = command(*words)
    assert found.returncode == 0 and {p for p in folder.rglob("*tfevents*")} == set(shown)
    assert all(p.stat().st_mtime_ns == at for p, at in list(shown.items())[2:])


def test_several_experiments_share_one_queue_and_each_is_told_when_it_is_whole(runs, tmp_path):
    runs = shutil.copytree(runs, tmp_path / "runs")
    names = ["bon_vs_rl", "kl_penalty"]
    planned = {name: plan(name, "smoke", {}) for name in names}
    todo = {c.fingerprint for _, curves, every in planned.values() for c in missing(Store(runs), curves, every)}
    priced = command(*names, "--preset", "smoke", "--runs", runs, "--dry-run").stdout
    assert priced.count("to do  ") == len(todo) > 0 and priced.count("of one worker") == 1
    found = command(*names, names[0], "--preset", "smoke", "--runs", runs)
    assert found.returncode == 0, found.stderr
    told = [line.rpartition("analysis ")[2].split()[0] for line in found.stdout.splitlines() if "next: " in line]
    assert told[0] == "bon_vs_rl" and sorted(told) == sorted(names)  # it lacked nothing, so it is told first
    for name, (_, curves, _) in planned.items():
        cells = Store(runs).manifest(name, "smoke")["cells"]
        assert [c["fingerprint"] for c in cells] == [c.fingerprint for c in curves]
    assert Store(runs).fingerprints() >= todo


def test_a_killed_run_resumes_to_the_same_record_to_the_bit(runs, tmp_path):
    start = lambda root: subprocess.Popen(
        [sys.executable, "-c", RESUMED, str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for copy in (whole, killed):
        shutil.copytree(runs, copy, ignore=shutil.ignore_patterns("best_of_n", "policy_gradient", "frontier"))
    with start(whole) as process:
        process.communicate()
    for wanted in (2, 11):  # evaluation points that a checkpoint must hold before the kill
        with start(killed) as process:
            deadline = time.monotonic() + 200
            while time.monotonic() < deadline:
                time.sleep(0.01)
                files = list((killed / ".checkpoints").glob("*.safetensors"))
                saved = Store(killed).load_checkpoint(files[0].stem) if files else None
                if process.poll() is not None or (saved is not None and saved[0] >= wanted):
                    break
            assert process.poll() is None, "the run ended before it could be killed"
            os.kill(process.pid, signal.SIGKILL)
    assert Store(killed).table().empty
    with start(killed) as process:
        process.communicate()
    assert not list((killed / ".checkpoints").glob("*.safetensors"))
    one, other = Store(whole).table(), Store(killed).table()
    assert len(one) == 61 * 2
    for column in one:  # NaN equals NaN here, and nothing is rounded
        np.testing.assert_array_equal(one[column].to_numpy(), other[column].to_numpy(), column)


def test_a_killed_driver_loses_nothing_finished(runs, tmp_path):
    killed = tmp_path / "runs"
    before = ("reference", "gold", "preferences")
    for stage in before:  # not their turn to be killed: it would take half a minute more
        shutil.copytree(runs / stage, killed / stage)
    line = [sys.executable, "-m", "experiments", "rm_size", "--preset", "smoke", "--workers", "2", "--runs", killed]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL) as driver:
        deadline = time.monotonic() + 300
        while not list(killed.glob("reward_model/*")) and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert driver.poll() is None and list(killed.glob("reward_model/*")), "killed at the wrong moment"
        driver.kill()
    _, curves, cells = plan("rm_size", "smoke", {})
    find = lambda root: {c.fingerprint: Store(root).find(c.stage, c.fingerprint) for c in cells}
    written = {code: path.stat().st_mtime_ns for code, path in find(killed).items() if path}
    assert len(before) < len(written) < len(cells)
    assert command("rm_size", "--preset", "smoke", "--runs", killed, "--workers", 2).returncode == 0
    assert all(find(killed)[code].stat().st_mtime_ns == at for code, at in written.items())  # kept, not made again
    one, other = (Store(root).table(fingerprints=[c.fingerprint for c in curves]) for root in (runs, killed))
    for column in one:
        np.testing.assert_array_equal(one[column].to_numpy(), other[column].to_numpy(), column)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_killed_workers_cell_is_tried_again_and_the_others_go_on(runs, tmp_path, engine):
    """Ray: a cluster of two worker processes on this machine."""
    if engine == "ray":
        pytest.importorskip("ray")
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy, ignore=shutil.ignore_patterns("policy_gradient"))
    line = [sys.executable, "-m", "experiments", "rm_size", "--preset", "smoke", "--runs", copy, "--workers", "2"]
    with subprocess.Popen(
        [*line, "--engine", engine], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        deadline, reports = time.monotonic() + 300, []
        while len(reports) < 2 and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
            reports = list((copy / ".reports").glob("*"))
        assert len(reports) == 2, "both cells should be under way"
        os.kill(int(reports[0].read_text().split()[2]), signal.SIGKILL)
        said, errors = driver.communicate()
    assert driver.returncode == 0, errors
    assert said.count("lost policy_gradient") == 1 and "tried 1 of 3 times" in said, said
    assert not list((copy / ".reports").iterdir())
    one, other = (Store(root).table(fingerprints=policies_of(root)) for root in (runs, copy))
    for column in one:
        np.testing.assert_array_equal(one[column].to_numpy(), other[column].to_numpy(), column)


def test_two_drivers_on_one_store_end_in_one_record(runs, tmp_path):
    """Both compute the same cell at once; the first to finish is kept, the other takes it."""
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy, ignore=shutil.ignore_patterns("rloo-4x1-Dall-kl0-*"))
    line = [sys.executable, "-m", "experiments", "rm_size", "--preset", "smoke", "--runs", copy, "--workers", "1"]
    both = [subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [driver.communicate(timeout=300)[0] for driver in both]
    assert all(driver.returncode == 0 for driver in both) and all("1 to do" in text for text in said), said
    assert len(list((copy / "policy_gradient").glob("rloo-4x1*"))) == 1 and not list(copy.glob(".tmp-*"))
    one, other = (Store(root).table(fingerprints=policies_of(root)) for root in (runs, copy))
    for column in one:
        np.testing.assert_array_equal(one[column].to_numpy(), other[column].to_numpy(), column)


def test_workers_and_analysis_share_an_object_store(runs, tmp_path, monkeypatch):
    """An address of fsspec; every machine has a cache of its own, and a cell that is stored there is not run again."""
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "one"))
    url = f"file://{tmp_path}/bucket"
    _, curves, cells = plan("rm_size", "smoke", {})
    for cell in cells:
        if cell.stage != "policy_gradient" or "4x1" not in cell.name:
            Remote(url).publish(Store(runs).find(cell.stage, cell.fingerprint))
    found = command("rm_size", "--preset", "smoke", "--runs", url, "--workers", 1)
    assert found.returncode == 0, found.stderr
    assert "1 to do" in found.stdout and url in found.stdout
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "other"))
    found = command("rm_size", "--preset", "smoke", "--runs", url, "--out", tmp_path / "out", module="analysis")
    assert found.returncode == 0, found.stderr
    one, other = (s.table(fingerprints=[c.fingerprint for c in curves]) for s in (Store(runs), Remote(url).store))
    for column in one:
        np.testing.assert_array_equal(one[column].to_numpy(), other[column].to_numpy(), column)


SHARED = """
import os, sys
process, processes, root = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
import jax
if processes > 1:
    jax.distributed.initialize(f"localhost:{sys.argv[4]}", processes, process)
from experiments.engine import executors
from experiments.plan import missing, plan
from gold_sim.stages import checkpointed, pipeline
from gold_sim.store import Store
checkpointed.CHECKPOINT_SECONDS = 0.0
store, (_, curves, cells) = Store(root), plan("rm_size", "smoke", {})
cells = missing(store, curves, cells)
if processes > 1:
    from jax.experimental import multihost_utils
    multihost_utils.sync_global_devices("planned")
print(jax.device_count(), "devices", len(cells), "cells", flush=True)
for cell in cells:
    pipeline.run(store, cell)
if os.environ["GOLD_SIM_MODEL_DEVICES"] != "1":
    import numpy as np
    from gold_sim.stages.gold import gold_model
    from gold_sim.stages.inputs import Inputs
    cell = next(c for c in curves[0].all_upstream() if c.stage == "gold")
    one = store.arrays(store.find("gold", cell.fingerprint), "arrays")
    other = gold_model(cell, Inputs(store, cell), store, None)[2]["arrays"]
    off = max(np.abs(a - b).max() for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    assert 0 < off < 1e-4, off  # other sums, the same gold
"""


@pytest.mark.parametrize(("processes", "devices", "a_run"), [(1, 8, 1), (1, 4, 2), (2, 1, 1)])
def test_runs_spread_over_devices_and_hosts_are_those_of_one_device(runs, tmp_path, processes, devices, a_run):
    """A reward model and its policies, two seeds each, on forced devices and in two jax.distributed processes.

    a_run: devices that share each network's matrices; gold too is then raised again. Without collectives in the
    numbers they could only differ by how XLA rounds, with them by the order of sums: 1e-5 of a score of order 1.
    """
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    for path in (*copy.glob("reward_model/4x1*"), *copy.glob("policy_gradient/rloo-4x1*")):
        shutil.rmtree(path)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    line = lambda i: [sys.executable, "-c", SHARED, str(i), str(processes), str(copy), port]
    environment = dict(os.environ, XLA_FLAGS=flags, GOLD_SIM_MODEL_DEVICES=str(a_run))
    options = dict(cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    started = [subprocess.Popen(line(i), text=True, **options) for i in range(processes)]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert all(process.returncode == 0 for process in started), said
    assert f"{processes * devices} devices 2 cells" in said[0]
    same_curves(runs, copy)


def same_curves(runs, copy):
    """Policies and reward models of two stores, equal within rounding."""
    one, other = (Store(root).table(fingerprints=policies_of(root)) for root in (runs, copy))
    for column in one:
        if one[column].dtype.kind == "f":
            np.testing.assert_allclose(one[column], other[column], rtol=1e-5, atol=2e-4, err_msg=column)
        else:
            assert (one[column] == other[column]).all(), column
    one, other = (Store(root).table("reward_models") for root in (runs, copy))
    np.testing.assert_allclose(one["val_loss"], other["val_loss"], atol=1e-5)


def test_runs_side_by_side_as_on_an_accelerator_are_those_one_after_another(runs, tmp_path, monkeypatch):
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    optimised = ("policy_gradient/rloo-4x1*", "frontier/rloo-4x1*")
    for pattern in ("pool/*", "gold_scores/*", "scores/4x1*", "best_of_n/4x1*", "reward_model/4x1*", *optimised):
        shutil.rmtree(next(copy.glob(pattern)))
    monkeypatch.setattr(parallel, "accelerated", lambda: True)
    _, curves, every = plan("rm_size", "smoke", {})
    for cell in missing(Store(copy), curves, every):
        pipeline.run(Store(copy), cell)
    same_curves(runs, copy)
    for stage in ("gold_scores", "scores"):
        one, other = (load_file(next((root / stage).glob("4x*/arrays.safetensors"))) for root in (runs, copy))
        for name in one:  # training amplifies rounding: scores differ by 1e-5 of the 0.2 they spread
            np.testing.assert_allclose(one[name], other[name], atol=1e-4, err_msg=name)


def test_half_precision_gives_the_same_curves_within_its_own_rounding(runs, tmp_path):
    """Reference, gold, reward model and policy in bfloat16, of the smallest size.

    Validation losses within 0.01 nats; KL, proxy and gold of RL within a tenth, of nats or s.d.
    """
    half = {f"{name}.precision": "bfloat16" for name in ("reference", "gold", "reward_model")}
    _, curves, _ = plan("rm_size", "smoke", half)
    wanted = next(c for c in curves if c.stage == "policy_gradient" and "4x1" in c.name)
    for cell in (*wanted.all_upstream(), wanted):
        pipeline.run(Store(tmp_path), cell)
    first = lambda root, kind: (lambda t: t[t["rm_params"] == t["rm_params"].min()])(Store(root).table(kind))
    one, other = (first(root, "reward_models") for root in (runs, tmp_path))
    np.testing.assert_allclose(one["val_loss"], other["val_loss"], atol=0.01)
    one, other = (first(root, "curves") for root in (runs, tmp_path))
    one = one[one["stage"] == "policy_gradient"]
    assert len(one) == len(other) and not np.array_equal(one["gold"], other["gold"])
    for column in ("kl", "gold", "proxy"):
        np.testing.assert_allclose(one[column], other[column], atol=0.1, err_msg=column)


@pytest.mark.skipif(not shutil.which("slurmctld") or os.geteuid() != 0, reason="needs Slurm on this machine, and root")
def test_jobs_of_a_real_slurm_outlive_the_driver_are_requeued_and_cancelled(runs):
    line = [ROOT / "tests" / "slurm.sh", runs, sys.executable]
    found = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "the same curves to the bit" in found.stdout


def policies_of(root):
    _, curves, _ = plan("rm_size", "smoke", {})
    return [c.fingerprint for c in curves if c.stage == "policy_gradient"]


def test_what_a_stored_cell_had_compiled_is_not_compiled_ahead(runs):
    """Other seeds: other cells, the same programs."""
    from experiments.engine import queue

    _, _, every = plan("rm_size", "smoke", {"seeds": (7, 8), "preferences.seed": 7})
    _, _, wider = plan("rm_size", "smoke", {"reward_model.width": 12})
    assert queue._of_each_program(runs, every) == []
    new = queue._of_each_program(runs, wider)
    program = lambda cell: cell.declared.program_key(cell.config)
    assert new and all(program(c) not in {program(other) for other in every} for c in new)


def test_an_identical_call_compiles_nothing(runs):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: compiled.append(name) if "compile" in name else None
    )
    _, curves, cells = plan("rm_size", "smoke", {})
    before = {c.fingerprint: Store(runs).record(Store(runs).find(c.stage, c.fingerprint)) for c in cells}
    for cell in cells:
        pipeline.run(Store(runs), cell)
    assert not compiled
    after = {c.fingerprint: Store(runs).record(Store(runs).find(c.stage, c.fingerprint)) for c in cells}
    assert before == after
    jax.jit(lambda x: x * 3.25)(1.0)
    assert compiled, "the listener hears compilations"


def test_a_checkpoint_of_another_run_is_named_and_left_alone(runs, tmp_path):
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    _, curves, _ = plan("rm_size", "smoke", {"optimiser.steps": 16})
    cell = next(c for c in curves if c.stage == "policy_gradient")
    store = Store(copy)
    store.save_checkpoint(cell.fingerprint, 2, {"state": {"0000": np.zeros(3)}, "points": {"kl": np.zeros((2, 2))}})
    data = store.checkpoint_path(cell.fingerprint).read_bytes()
    found = command("rm_size", "--preset", "smoke", "--runs", copy, "--set", "optimiser.steps=16")
    assert found.returncode == 2 and str(store.checkpoint_path(cell.fingerprint)) in found.stderr, found.stderr
    assert len(found.stderr.strip().splitlines()) == 1
    assert store.checkpoint_path(cell.fingerprint).read_bytes() == data


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    limit = ["sh", "-c", 'ulimit -f 4; exec "$@"', "sh"]  # 2 to 4 kB a file: writes fail as on a full disk
    line = [sys.executable, "-m", "experiments", "rm_size", "--preset", "smoke", "--runs", tmp_path / "runs"]
    environment = dict(os.environ, JAX_ENABLE_COMPILATION_CACHE="false", PYTHONDONTWRITEBYTECODE="1")
    options = dict(cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = subprocess.run([*limit, *line], **options)
    assert found.returncode == 2 and "no room" in found.stderr, found.stderr
    assert len(found.stderr.strip().splitlines()) == 1, found.stderr
    assert Store(tmp_path / "runs").table().empty  # readable, and nothing half-written in it


def test_a_corrupt_cell_is_named_and_left_alone(runs, tmp_path):
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    _, _, cells = plan("rm_size", "smoke", {})
    gold = next(c for c in cells if c.stage == "gold")  # the store may hold others, of other experiments
    victim = Store(copy).find("gold", gold.fingerprint) / "arrays.safetensors"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    found = command("rm_size", "--preset", "smoke", "--runs", copy, "--set", "optimiser.steps=12")
    assert found.returncode == 2 and str(victim) in found.stderr, found.stderr
    assert len(found.stderr.strip().splitlines()) == 1
    assert victim.read_bytes() == bytes(data)


def test_a_damaged_table_is_told_set_aside_and_computed_again_to_the_bit(runs, tmp_path):
    """A store that analysis calls damaged is not called whole here, and the command that both name mends it."""
    copy = Store(shutil.copytree(runs, tmp_path / "runs"))
    curve = next(c for c in plan("rm_size", "smoke", {})[1] if c.stage == "best_of_n")
    victim = copy.find(curve.stage, curve.fingerprint) / "curves.parquet"
    whole, data = copy.table(fingerprints=[curve.fingerprint]), victim.read_bytes()
    victim.write_bytes(data[:-100])
    words = ["rm_size", "--preset", "smoke", "--runs", copy.root]
    for found in (command(*words), command(*words, "--dry-run"), command(*words, module="analysis")):
        assert found.returncode == 2 and str(victim) in found.stderr and "--repair" in found.stderr, found.stderr
        assert len(found.stderr.strip().splitlines()) == 1
    assert victim.read_bytes() == data[:-100]
    found = command(*words, "--repair", "--workers", 1)
    assert found.returncode == 0 and "set aside" in found.stdout and "1 to do" in found.stdout, found
    assert copy.table(fingerprints=[curve.fingerprint]).equals(whole)
    [aside] = (copy.root / ".damaged" / "best_of_n").iterdir()
    assert (aside / "curves.parquet").read_bytes() == data[:-100] and (aside / "record.json").exists()
    assert command("--repair", "--runs", copy.root).returncode == 2
