"""The command line, as a stranger sees it: bad input is one line with status 2, and a dry run writes nothing."""

import pytest

from tests.test_experiments import command


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["rm_sise"], ("rm_sise", "policy_size", "; is rm_size meant?")),
        (["rm_size", "--preset", "huge"], ("huge", "smoke", "cpu")),
        (["rm_size", "--set", "reward_model.wdith=8"], ("wdith", "width")),
        (["rm_size", "--set", "optimiser.steps=-1"], ("steps=-1", "from 1")),
        (["rm_size", "--set", "optimiser.steps"], ("path=value",)),
        (["rm_size", "--set", "gold.width=4"], ("larger than gold",)),
        (["rm_size", "--set", "seeds=[1]", "--set", "seeds=[2]"], ("seeds=[1]", "seeds=[2]", "once")),
        (["rm_size", "--dry-run", "--set", f"seeds={'[' * 100_000}"], ("--set seeds=[[[[", "JSON")),
        (["rm_size", "--dry-run", "--set", "shaping.name=os:system"], ("os:system", "rewards, references")),
        (["direct_alignment", "--dry-run", "--set", "direct.num_pairs=10000000"], ("num_pairs=10000000", "43200")),
        (["rm_size", "--engine", "abacus"], ("abacus", "local", "ray", "slurm")),
        (["rm_size", "--resource", "num_gpus"], ("num_gpus", "KEY=VALUE")),
        (["rm_size", "--resource", "gpus=1"], ("gpus", "local", "devices")),
        (["rm_size", "--workers", "0"], ("--workers 0", "at least 1")),
        (["rm_size", "grdi"], ("grdi", "; is grid meant?")),
        (["rm_size", "throughput"], ("throughput", "alone")),
    ],
)
def test_bad_input_gets_one_line_and_status_2(words, named, tmp_path):
    found = command(*words, "--runs", tmp_path / "runs")
    assert found.returncode == 2
    assert len(found.stderr.strip().splitlines()) == 1 and all(n in found.stderr for n in named), found.stderr
    assert not (tmp_path / "runs").exists()


def test_an_unwritable_store_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = command("rm_size", "--preset", "smoke", "--runs", tmp_path / "file" / "runs")
    assert found.returncode == 2 and len(found.stderr.strip().splitlines()) == 1, found.stderr


def test_dry_run_lists_cells_and_writes_nothing(tmp_path):
    found = command("data_size", "--dry-run", "--runs", tmp_path / "runs")
    assert found.returncode == 0 and found.stdout.count("to do ") > 10 and "min of one worker" in found.stdout
    assert not (tmp_path / "runs").exists()
