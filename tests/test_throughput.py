"""The benchmark runs and counts what it says; no test is timed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from experiments import roofline

ROOT = Path(__file__).parent.parent


def test_operations_by_hand():
    # width 2, depth 1, 64 outputs; 16 + 8/4 = 18 tokens of 12 * 4 multiply-adds = 864;
    # attended: sum of 9..24 = 264, and 36 / 4 = 9 for the prompt: 273 positions * 2 * 2 = 1092;
    # head: 2 * 64 * 16 = 2048; two operations each: 2 * (864 + 1092 + 2048) = 8008.
    assert roofline.forward_flops(2, 1, 64, tokens=16, heads=16) == 8008


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
