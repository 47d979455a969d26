"""The benchmark runs and counts what it says; no test is timed."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from analysis.studies import throughput as throughput_figures
from experiments.benchmark import roofline
from gold_sim import device
from gold_sim.networks import transformer
from gold_sim.networks.network import Network

ROOT = Path(__file__).parent.parent


def test_operations_by_hand():
    # width 2, depth 1, 64 outputs; 16 + 8/4 = 18 tokens of 12 * 4 multiply-adds = 864;
    # attended: sum of 9..24 = 264, and 36 / 4 = 9 for the prompt: 273 positions * 2 * 2 = 1092;
    # head: 2 * 64 * 16 = 2048; two operations each: 2 * (864 + 1092 + 2048) = 8008.
    assert roofline.forward_flops(Network(2, 1, 64, 64, 24), tokens=16) == 8008
    # a reward of two blocks: one as above and one output once, 2 * (864 + 1092 + 2); the last block's keys and
    # values, 18 * 2 * 4 = 144, its last token, 10 * 4 = 40, and 24 positions * 2 * 2 = 96.
    assert roofline.reward_flops(Network(2, 2, 64, 1, 24)) == 2 * (864 + 1092 + 2) + 2 * (144 + 40 + 96)


def test_work_by_hand():
    """Width 4, depth 1, 300 parameters or so: a policy of 64 words over 8 completions, two groups."""
    net = Network(4, 1, 64, 64, 24)
    size = transformer.num_params(net)
    once = roofline.forward(net, 8)
    assert once.flops == 8 * roofline.forward_flops(net, tokens=15) and once.bytes == 4 * size
    cached = sum(2 + t for t in range(1, 16)) * 2 * 4  # keys and values of the prompt's share and of t tokens
    assert roofline.sampling(net, 8).bytes == 4 * (16 * size + 8 * cached)
    assert roofline.update(net, 8).flops == 3 * once.flops
    limits = dict(matmul_gflops=1e-9 * once.flops, bandwidth_gbytes=1e-9 * once.bytes / 4)
    measured = roofline.Measurement("reference log-probs", net, once, None, None)
    row = roofline.row(measured, 8.0, 1.0, limits)  # 1 s of products, 4 s of bytes, took 8
    found = [row[name] for name in ("matmul_fraction", "bandwidth_fraction", "roofline_fraction", "least_seconds")]
    assert found == pytest.approx([0.125, 0.5, 0.5, 4.0])
    assert row["bound"] == "bandwidth" and row["completions_per_second"] == 1


@pytest.mark.parametrize("accelerated", [False, True])
def test_table_grows_line_by_line_and_ends_where_steps_take_long(monkeypatch, accelerated):
    monkeypatch.setattr(device, "accelerated", lambda: accelerated)
    monkeypatch.setattr(roofline, "device_limits", lambda: dict(matmul_gflops=1.0, bandwidth_gbytes=1.0))
    zeros = lambda: jnp.zeros(2)
    net, seconds = Network(4, 1, 64, 64, 24), {1: 0.1, 2: 0.6, 4: 5.0}
    monkeypatch.setattr(roofline, "timed", lambda m, program, repeats, rounds: seconds[m.runs])
    of = lambda stage, runs: roofline.Measurement(stage, net, roofline.forward(net, 8), lambda p, i: p, zeros, runs)
    both = [of("a", 1), of("a", 2), of("a", 4), of("b", 1)]
    told, scale = [], dataclasses.replace(roofline.SCALES["smoke"], most_seconds=1.0)
    found = roofline.table(both, scale, 1, lambda line, found: told.append((line["stage"], len(found["rows"]))))
    assert told == [("a", 1), ("a", 2), ("b", 3)]  # twice 0.6 s is too long for more runs of a
    assert [row["mapped_runs"] for row in found["rows"]] == [1, 2, 1] and found["matmul_gflops"] == 1.0


def test_parts_are_measured_stored_and_drawn(tmp_path):
    line = [sys.executable, "-m", "experiments", "throughput", "--preset", "smoke", "--set", "part=mapped"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "analysis/out/throughput/mapped-smoke.json").read_text())
    assert [row["mapped_runs"] for row in record["rows"]] == [1, 2]
    assert all(0 < row["matmul_fraction"] < 1 and row["seconds"] > 0 for row in record["rows"])
    for part in ("mapped", "stages"):  # as if of another preset: what is measured at smoke is not drawn
        (tmp_path / "runs/throughput" / part).mkdir(exist_ok=True)
        (tmp_path / "runs/throughput" / part / "z.json").write_text(json.dumps(dict(record, preset="cpu")))
    record["rows"][0]["stage"] = "sampling"
    (tmp_path / "runs/throughput/stages/z.json").write_text(json.dumps(dict(record, preset="cpu")))
    assert throughput_figures.study(tmp_path / "runs/throughput", tmp_path) == ["stages", "mapped"]
    assert (tmp_path / "stages.png").stat().st_size > 10_000


def test_smoke_writes_the_documented_keys(tmp_path):
    line = [sys.executable, "-m", "experiments", "throughput", "--preset", "smoke"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "analysis/out/throughput-smoke/summary.json").read_text())["rows"][0]
    names = "policy_params completions_per_cpu_second flops_per_completion matmul_fraction compile_seconds"
    assert all(row[name] > 0 for name in names.split())


def test_unknown_option_is_one_line():
    line = [sys.executable, "-m", "experiments", "throughput", "--set", "pear=x"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "pear" in done.stderr and len(done.stderr.strip().splitlines()) == 1
