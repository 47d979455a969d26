"""The package as others get it: a wheel with every file, and the command `gold-sim` far from the checkout."""

import importlib.metadata
import os
import re
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gold_sim
from gold_sim.typed import as_typed

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gold_sim", "experiments", "analysis")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")


def run(*words, cwd, status=0, **variables) -> str:
    """What a command prints; it must end with this status and no traceback."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GOLD_SIM"))}
    done = subprocess.run(words, cwd=cwd, env=env | variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built offline from a copy, so that the checkout stays clean; an old output lies about, as after `make demo`."""
    assert int(importlib.metadata.version("setuptools").split(".")[0]) >= 77, "`make test` installs a newer setuptools"
    code, wheels = tmp_path_factory.mktemp("code"), tmp_path_factory.mktemp("wheels")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__", "out"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, code)
    (code / "analysis" / "out" / "rm_size").mkdir(parents=True)
    (code / "analysis" / "out" / "rm_size" / "old.py").touch()
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(wheels), str(code), cwd=wheels)
    (made,) = wheels.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the three packages and bin/gold-sim, as in site-packages."""
    target = tmp_path_factory.mktemp("installed")
    run(*PIP, "install", "--no-deps", "--no-index", "--no-compile", "--target", str(target), str(wheel), cwd=target)
    return target


@pytest.fixture
def command(installed, tmp_path):
    """`gold-sim` in an empty folder, with the installed copy alone to import from."""
    name, path = str(installed / "bin" / "gold-sim"), str(installed)
    return lambda *words, **more: run(name, *words, **{"cwd": tmp_path, "PYTHONPATH": path} | more)


def test_the_wheel_has_every_file_and_no_other(wheel):
    files = {path for package in PACKAGES for kind in ("py", "j2") for path in (ROOT / package).rglob(f"*.{kind}")}
    ours = {path.relative_to(ROOT).as_posix() for path in files if not path.is_relative_to(ROOT / "analysis" / "out")}
    assert any(name.endswith(".j2") for name in ours)
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == ours
    (metadata,) = (zipfile.ZipFile(wheel).read(name).decode() for name in names if name.endswith("/METADATA"))
    assert f"\nVersion: {gold_sim.__version__}\n" in metadata and "\nLicense-Expression: Apache-2.0\n" in metadata
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_command_says_where_all_is(command, installed, tmp_path):
    assert command("--version") == f"gold-sim {gold_sim.__version__}\n"
    told = command("where")
    assert f"{tmp_path}/runs (no " in told and f"{tmp_path}/analysis/out" in told and f" {installed} " in told


def test_experiments_are_listed_and_planned_in_any_folder(command, tmp_path):
    told = command("run")
    assert "rm_size" in told and f"store: {tmp_path}/runs\n" in told and "python -m" not in told
    assert "policy_gradient" in command("run", "rm_size", "--preset", "smoke", "--dry-run")
    assert not (tmp_path / "runs").exists()


def test_fits_need_neither_jax_nor_records(command, installed, tmp_path):
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "jax.py").write_text("raise ImportError('no jax on this machine')\n")
    rows = [f"{kl},{kl**0.5 * (1 - 0.2 * kl**0.5)}\n" for kl in (0.5, 1, 2, 4, 6, 9)]
    (tmp_path / "curve.csv").write_text("kl,gold\n" + "".join(rows))
    words = ("fit", "curve.csv", "--x", "kl", "--form", "bon", "--json", "law.json")
    told = command(*words, PYTHONPATH=f"{absent}{os.pathsep}{installed}")
    law = re.search(r'"alpha": ([\d.]+).*"beta": ([\d.]+)', (tmp_path / "law.json").read_text(), re.DOTALL)
    assert [float(x) for x in law.groups()] == pytest.approx([1.0, 0.2], abs=1e-6) and "law.json" in told


def test_every_command_of_analysis_is_a_word_of_ours(command):
    from analysis.__main__ import COMMANDS

    told = command("--help")
    assert all(f"\n  gold-sim {name} " in told for name in ("run", "analyse", "where", *COMMANDS))
    told = command("analyze", status=2)
    assert told.count("\n") == 1 and all(name in told for name in ("'analyze'", "run", "analyse", *COMMANDS))
    assert "(see gold-sim fit --help)" in command("fit", status=2)
    told = command("analyse")
    assert "gold-sim analyse NAME" in told and "\ngold-sim fit FILE" in told and "python -m" not in told
    assert command("run", "--sets", status=2).endswith("(see gold-sim run --help)\n")


def test_workers_elsewhere_are_shown_a_checkout_and_not_site_packages(monkeypatch):
    """Before the standard library, where PYTHONPATH stands, a package of site-packages may hide a module of it."""
    from experiments.engine import worker

    monkeypatch.setattr(worker, "CODE", ROOT)
    assert worker.import_path() == {"PYTHONPATH": str(ROOT)}
    monkeypatch.setattr(worker, "CODE", Path(site.getsitepackages()[0]).resolve())
    assert worker.import_path() == {}


def test_hints_are_in_the_words_that_were_typed(monkeypatch):
    hint = "python -m analysis fit, python -m analysis rm_size, python -m experiments x, python -m experiments.costs"
    assert as_typed(hint, ("fit",)) == hint
    monkeypatch.setattr(sys, "argv", ["/usr/bin/gold-sim", "fit"])
    assert as_typed(hint, ("fit",)) == (
        "gold-sim fit, gold-sim analyse rm_size, gold-sim run x, python -m experiments.costs"
    )


def test_one_version_everywhere():
    told = run(sys.executable, "-m", "experiments.command", "--version", cwd=ROOT)
    assert told == f"gold-sim {gold_sim.__version__}\n"
    assert f'\nversion: "{gold_sim.__version__}"\n' in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == gold_sim.__version__
