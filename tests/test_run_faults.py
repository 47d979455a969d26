"""What hostile and careless users do to a run: one line that says what was given and what is allowed, and nothing lost.

Each table is a kind of fault; its rows are examples.
"""

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from analysis import others
from experiments import catalogue, modules, running
from experiments.__main__ import main
from experiments.benchmark import throughput
from experiments.engine import costs, executors, machine, room
from experiments.plan import plan
from gold_sim.store import Store, StoreError, provenance
from gold_sim.store.files import manifest_name, settings_key

ROOT = Path(__file__).parent.parent
CELL = plan("rm_size", "smoke", {})[2][0]


def refused(capsys, *words, status=2) -> str:
    """The one line of a command that is refused."""
    assert main([str(word) for word in words]) == status
    line = capsys.readouterr().err
    assert line.startswith("experiments: ") and line.count("\n") == 1, line
    return line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, from which a user's modules are imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


# --- names and users' modules -----------------------------------------------------------------


@pytest.mark.parametrize("name", [".", "..", "", " ", ".rm_size", "../x", "rm_size.py", "a.b.c", "rm-size", "x/y", "1"])
def test_what_is_no_name_of_an_experiment_is_refused_with_those_that_are(folder, capsys, name):
    line = refused(capsys, name, "--runs", "r")
    assert f"experiment {name!r}" in line and "rm_size, data_size" in line and "module of yours" in line
    assert not list(folder.iterdir())


MODULES = {  # what a user's module says -> what the line must name
    "experiment = 5": ("its experiment is 5", "experiment(preset)"),
    "x = 1": ("has no experiment(preset)",),
    "def experiment(): pass": ("<function experiment", "experiment(preset)"),
    "def experiment(preset, more): pass": ("<function experiment", "experiment(preset)"),
    "def experiment(preset): return 3": ("returned 3", "an Experiment"),
    "def experiment(preset): return {}['sizes']": ("KeyError: 'sizes'", "mine.py, line 1"),
    "1 / 0": ("ZeroDivisionError: division by zero", "mine.py, line 1"),
    "import absent_here": ("No module named 'absent_here'", "mine.py, line 1"),
    "x = (": ("SyntaxError", "mine.py, line 1"),
    "raise SystemExit(3)": ("SystemExit: 3", "mine.py, line 1"),
}


@pytest.mark.parametrize(("text", "named"), MODULES.items())
def test_a_module_that_is_no_experiment_is_one_line_with_its_place(folder, capsys, text, named):
    (folder / "mine.py").write_text(text)
    line = refused(capsys, "mine", "--preset", "smoke", "--runs", "r")
    assert "experiment 'mine'" in line and all(word in line for word in named), line


DECLARED = """
import dataclasses
from experiments.studies import kl_penalty
def experiment(preset):
    return dataclasses.replace(kl_penalty.experiment(preset), **({"name": "mine"} | CHANGES))
"""
ODD = [
    ({"name": "a/b"}, "name='a/b'"),
    ({"name": "claims"}, "none of throughput"),
    ({"name": "rm_size+1"}, "name='rm_size+1'"),
    ({"name": "rm_size"}, "is that of an experiment here"),
    ({"name": None}, "name=None"),
    ({"title": 3}, "title=3"),
    ({"question": "two\nlines"}, "question='two"),
    ({"axis": "nope"}, "axis='nope'"),
    ({"axis": "variant"}, "it has no variants"),
    ({"panels": "nope"}, "panels='nope'"),
    ({"stages": ("gold",)}, "stages=('gold',)"),
    ({"stages": ()}, "stages=()"),
    ({"stages": 5}, "stages=5"),
    ({"grid": {}}, "it has no point"),
    ({"grid": {"seeds": ()}}, "it has no point"),
    ({"grid": 5}, "its points could not be made"),
    ({"grid": {"gold.wdith": (1, 2)}}, "wdith"),
    ({"grid": {"gold.width|gold.depth": ((1, 2, 3),)}}, "its points could not be made"),
    ({"variants": ["a"]}, "experiment('smoke') raised AttributeError"),
    ({"study": "nope"}, "study='nope'"),
    ({"study": "../rm_size"}, "study='../rm_size'"),
    ({"variants": {"a": {"stages": ("pool",)}}}, "stages=('pool',)"),
    ({"base": {"gold.width": "wide"}}, "its points could not be made"),
]


@pytest.mark.parametrize(("changes", "named"), ODD)
def test_an_odd_declaration_is_refused_before_its_cells_are_computed(folder, capsys, changes, named):
    (folder / "mine.py").write_text(DECLARED.replace("CHANGES", repr(changes)))
    assert named in refused(capsys, "mine", "--preset", "smoke", "--runs", "r")
    assert not (folder / "r").exists()


def test_what_is_declared_here_is_not_odd_and_commands_keep_their_words(folder, capsys):
    from analysis.__main__ import COMMANDS

    for name in catalogue.NAMES:
        assert modules.oddity(catalogue.find(name, "smoke"), "smoke") is None, name
    assert {*COMMANDS, "throughput", "experiments"} <= set(modules.RESERVED)
    (folder / "mine.py").write_text(DECLARED.replace("CHANGES", "{}"))
    assert main(["mine", "experiments.studies.rm_size", "--preset", "smoke", "--dry-run", "--runs", "r"]) == 0


def test_two_modules_with_one_name_do_not_replace_each_other(folder, capsys, monkeypatch):
    for name in ("mine", "other"):
        (folder / f"{name}.py").write_text(DECLARED.replace("CHANGES", "{}"))
    assert "module mine has one of the same name" in refused(capsys, "mine", "other", "--preset", "smoke")
    monkeypatch.setattr(running, "missing", lambda *_: [])  # as if all cells were stored
    assert main(["mine", "--preset", "smoke"]) == 0
    assert main(["mine", "--preset", "smoke"]) == 0
    assert "module mine has one of the same name" in refused(capsys, "other", "--preset", "smoke")
    assert Store("runs").manifest("mine")["module"] == "mine"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--workers", "x"], ("--workers", "'x'", "--help")),
        (["--nope"], ("--nope", "--help")),
        (["--memory", "much"], ("--memory much", "GiB")),
        (["--memory", "-1"], ("--memory -1", "above 0")),
        (["--memory", "nan"], ("--memory nan", "above 0")),
        (["--memory", "4", "--engine", "ray"], ("--memory", "local", "--resource")),
        (["--resource", "devices=,"], ("devices=,", "0+1,2+3")),
        (["--resource", "devices=0;1"], ("devices=0;1", "0+1,2+3")),
    ],
)
def test_odd_options_are_one_line_and_make_no_store(folder, capsys, words, named):
    line = refused(capsys, "rm_size", "--preset", "smoke", *words)
    assert all(word in line for word in named), line
    assert not list(folder.iterdir())


# --- memory and machine -----------------------------------------------------------------------

GIB = 2**30


def test_cells_that_cannot_fit_are_refused_before_work_is_spent(folder, capsys, monkeypatch):
    """Cells of 3, 2 and 1 GiB, as a model of three numbers predicts; the largest that may run at once count."""
    cells = [dataclasses.replace(CELL, name=name) for name in ("one", "two", "three")]
    predicted = types.SimpleNamespace(bytes=lambda cell: (1 + ["one", "two", "three"].index(cell.name)) * GIB)
    monkeypatch.setattr(room, "usual", lambda: 3)
    monkeypatch.setattr(room, "accelerator", lambda: False)
    free = lambda gib: monkeypatch.setattr(machine, "memory", lambda: None if gib is None else int(gib * GIB))
    for gib, asked, fits in ((6.1, None, 3), (5.9, None, 2), (4.0, None, 1), (None, 9, 9), (6.1, 8, 8), (3.1, 1, 1)):
        free(gib)
        workers, line = room.workers(asked, cells, predicted, None)
        assert workers == fits and (line is None) == (fits >= 3 or asked is not None), (gib, line)
    free(5.5)
    with pytest.raises(ValueError, match=r"--workers 3: 3 workers may take 6.0 GiB.* 5.5 GiB are free.*--workers 2"):
        room.workers(3, cells, predicted, None)
    assert room.workers(3, cells, predicted, float("inf")) == (3, None)  # --memory inf
    with pytest.raises(ValueError, match=r"three: takes 3.0 GiB.*--memory allows 2 GiB; smaller settings"):
        room.workers(None, cells, predicted, room.limit("2"))
    free(2.5)
    with pytest.raises(ValueError, match=r"three: takes 3.0 GiB.* 2.5 GiB are free"):
        room.workers(1, cells, predicted, None)
    monkeypatch.setattr(room, "accelerator", lambda: True)
    assert room.workers(3, cells, predicted, None) == (3, None)


def test_a_run_that_cannot_fit_makes_no_store_and_its_dry_run_says_so(folder, capsys, monkeypatch):
    monkeypatch.setattr(room, "accelerator", lambda: False)
    huge = [
        "rm_size",
        "--preset",
        "smoke",
        "--set",
        "best_of_n.num_prompts=60000",
        "--set",
        "best_of_n.num_samples=65536",
    ]
    line = refused(capsys, *huge)
    assert "GiB of memory, as predicted" in line and "--memory" in line and not (folder / "runs").exists()
    assert main([*huge, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("here this would be refused: ")


GROUPS = {  # files under /sys/fs/cgroup and /proc -> (cores by quota, GiB free)
    "version 2": (
        {
            "proc/self/cgroup": "0::/pod/task",
            "cgroup/pod/memory.max": f"{8 * GIB}",
            "cgroup/pod/memory.current": f"{6 * GIB}",
            "cgroup/pod/memory.stat": f"anon 5\ninactive_file {GIB}",
            "cgroup/pod/task/memory.max": "max",
            "cgroup/pod/task/memory.current": f"{GIB}",
            "cgroup/pod/cpu.max": "150000 100000",
        },
        (1, 3.0),
    ),
    "version 1": (
        {
            "proc/self/cgroup": "4:memory:/task\n2:cpu,cpuacct:/task\n0::/",
            "cgroup/memory/task/memory.limit_in_bytes": f"{2 * GIB}",
            "cgroup/memory/task/memory.usage_in_bytes": f"{GIB}",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "cgroup/memory/memory.usage_in_bytes": "1",
            "cgroup/cpu/task/cpu.cfs_quota_us": "300000",
            "cgroup/cpu/task/cpu.cfs_period_us": "100000",
        },
        (3, 1.0),
    ),
    "none": ({"proc/self/cgroup": "0::/", "cgroup/cpu.max": "max 100000"}, (64, 16.0)),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_limits_of_containers_and_allocations_are_asked(tmp_path, monkeypatch, kind):
    files, (cores, free) = GROUPS[kind]
    for name, text in (files | {"proc/meminfo": "MemTotal: 99 kB\nMemAvailable: 16777216 kB"}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert (machine.cores(), machine.memory() / GIB) == (cores, free)


def test_the_commit_is_of_the_codes_repository_and_no_git_is_no_failure(tmp_path, monkeypatch):
    git = lambda *words: subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)
    git("init")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "--allow-empty", "-m", "of someone else")
    monkeypatch.chdir(tmp_path)
    here = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout
    assert provenance.provenance({})["commit"] == here.strip()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.provenance({})["commit"] == provenance.provenance({})["diff"] == ""
    monkeypatch.setattr(running, "missing", lambda *_: [])  # as if all cells were stored
    assert main(["rm_size", "--preset", "smoke"]) == 0 and Store("runs").manifest("rm_size")["commit"] == ""


# --- the store at the start -------------------------------------------------------------------


def places(folder):
    """Each kind of thing that is no store, by what the line must say of it."""
    (folder / "file").write_text("in the way")
    (folder / "archive.tar.xz").write_text("none")
    (folder / "link").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "stage").mkdir()
    (folder / "stage" / CELL.stage).write_text("in the way")
    (folder / "manifests").mkdir()
    (folder / "manifests" / "experiments").symlink_to("nowhere")
    return {
        "file": "file: a file",
        "file/runs": "file/runs: cannot be written",
        "archive.tar.xz": "archive.tar.xz: damaged",
        "absent.tar.xz": "absent.tar.xz: cannot be read",
        "link": "link: a link that leads nowhere (nowhere)",
        "loop": "loop: a link that leads nowhere (loop)",
        "stage": f"stage/{CELL.stage}: cannot be written",
        "manifests": "manifests/experiments: cannot be written",
        "x" * 300: "File name too long",
        "": "--runs ''",
        "/proc/runs": "/proc/runs: cannot be written",
        "nosuch://bucket": "nosuch://bucket: Protocol not known",
    }


def test_what_is_no_store_is_refused_before_the_first_cell(folder, capsys, monkeypatch):
    monkeypatch.setattr(executors, "make", lambda *_: types.SimpleNamespace(stop=lambda: None))
    for where, named in places(folder).items():
        assert named in refused(capsys, "rm_size", "--preset", "smoke", "--runs", where), where
    for where in ("file", "link", ""):
        refused(capsys, "--runs", where)  # nor is it listed as empty


def test_a_finished_store_that_cannot_be_written_is_listed_and_its_end_is_told(folder, capsys, monkeypatch):
    words = ["rm_size", "--preset", "smoke"]
    with monkeypatch.context() as done:
        done.setattr(running, "missing", lambda *_: [])
        assert main(words) == 0
        before = (folder / "runs/experiments/rm_size-smoke.json").read_bytes()

        def readonly(self, stages=()):
            raise StoreError(f"{self.root}: cannot be written")

        done.setattr(Store, "open", readonly)
        capsys.readouterr()
        assert main(words) == 0 and "stored in" in capsys.readouterr().out
        assert "cannot be written" in refused(capsys, *words, "--set", "seeds=[9]")  # its manifest is not there
        assert (folder / "runs/experiments/rm_size-smoke.json").read_bytes() == before
    monkeypatch.setattr(Store, "open", readonly)
    assert "cannot be written" in refused(capsys, *words)  # with cells to do
    monkeypatch.setattr(catalogue, "NAMES", ("rm_size",))  # the others take seconds
    assert main([]) == 0 and "rm_size " in capsys.readouterr().out


def test_other_settings_have_a_manifest_of_their_own(folder, capsys, monkeypatch):
    monkeypatch.setattr(running, "missing", lambda *_: [])  # as if all cells were stored
    words, store = ["rm_size", "--preset", "smoke"], Store("runs")
    assert main([*words, "--set", "seeds=[9]", "--set", "optimiser.name=ppo"]) == 0
    assert "rm_size --preset smoke --set 'seeds=[9]' --set optimiser.name=ppo\n" in capsys.readouterr().out
    with pytest.raises(StoreError, match="no such manifest"):
        store.manifest("rm_size")
    assert main(words) == 0
    plain = store.manifest("rm_size")
    assert plain["overrides"] == {} and plain["settings"] == ""
    name = others.named("rm_size", ["optimiser.name=ppo", "seeds=[9]"])  # in any order
    own = store.manifest(name, "smoke")
    assert own["overrides"] == {"seeds": [9], "optimiser.name": "ppo"} and own["experiment"] == "rm_size"
    assert own["cells"] != plain["cells"] and store.others("rm_size") == [own]
    (told,) = others.commands(store, "rm_size", "smoke")
    assert told == "rm_size --preset smoke --set 'seeds=[9]' --set optimiser.name=ppo"
    assert main(words) == 0 and store.manifest(name) == own  # neither replaces the other
    assert others.named("rm_size", []) == "rm_size" and not store.others("rm_size", "cpu") and not store.others("rm")
    with pytest.raises(ValueError, match="manifest name='rm_size-smoke'"):
        store.write_manifest("rm_size-smoke", own)


def test_a_manifest_of_before_is_found_by_its_plain_name(tmp_path):
    """Its overrides were no part of the name."""
    old = {"experiment": "size", "preset": "cpu", "overrides": {"seeds": [9]}}
    assert Store(tmp_path).write_manifest(manifest_name(old), old).name == "size-cpu.json"
    assert Store(tmp_path).manifest("size")["overrides"] == {"seeds": [9]} and not Store(tmp_path).others("size")
    assert settings_key({}) == "" and settings_key({"a": 1, "b": 2}) == settings_key({"b": 2, "a": 1})


def test_analysis_names_the_records_that_there_are(folder, capsys, monkeypatch):
    from analysis.__main__ import main as analysis

    monkeypatch.setattr(running, "missing", lambda *_: [])
    assert main(["rm_size", "--preset", "smoke", "--set", "seeds=[9]"]) == 0
    capsys.readouterr()
    for words in (["rm_size"], ["rm_size", "--set", "seeds=[8]"]):
        assert analysis(words) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "python -m analysis rm_size --preset smoke --set 'seeds=[9]'" in line, line
    assert analysis(["rm_size", "--set", "seeds=[9]"]) == 2  # its manifest is found: cells are what is lacking
    assert "cells asked for are not there" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".tmp-x1-host", ".tmp-", ".tmp-1", ".tmp-12-notes", ".tmp-x-00000000aa"])
def test_a_foreign_name_in_the_store_is_left_alone(tmp_path, name):
    (tmp_path / name).mkdir()
    os.utime(tmp_path / name, (1, 1))  # old enough to be swept, were it ours
    assert Store(tmp_path).sweep() == [] and (tmp_path / name).exists()


def test_foreign_folders_in_the_store_are_no_cells(tmp_path):
    for name in ("notes/plots", "gold/plots", "gold/old-copy", "other/old-copy", ".hidden/x-0123456789abcdef"):
        (tmp_path / name).mkdir(parents=True)
    assert Store(tmp_path).fingerprints() == set() and Store(tmp_path).table().empty


# --- benchmark and costs ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--preset", "foo"], ("'foo'", "smoke, cpu")),
        (["--preset", "foo", "--set", "part=stages", "--dry-run"], ("'foo'", "smoke, cpu, gpu")),
        (["--preset", "gpu"], ("'gpu'", "with part= gpu")),
        (["--set", "part=nope"], ("part=nope", "stages, mapped")),
        (["--set", "peer"], ("peer=", "peer=SCRIPT")),
        (["--set", "peer=."], ("peer=.", "no such script")),
        (["--set", "python=x"], ("python", "peer=SCRIPT")),
        (["--set", "part=stages", "--set", "peer=x"], ("part peer", "part=PART alone")),
        (["--set", "part=stages", "--set", "part=mapped"], ("part=mapped", "once")),
        (["--runs", "/proc/x"], ("/proc/x", "cannot be written")),
    ],
)
def test_odd_options_of_the_benchmark_are_one_line_before_it_measures(folder, capsys, words, named):
    line = refused(capsys, "throughput", *words)
    assert all(word in line for word in named), line


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("print(1)", "said 1; a last line of JSON, an object"),
        ("print('[1]')", "an object"),
        ("", "it said nothing"),
        ("print('{}')", "completions_per_cpu_s=None"),
        ("""print('{"completions_per_cpu_s": 0}')""", "=0; a number above 0"),
        ("""print('{"completions_per_cpu_s": NaN}')""", "=nan; a number above 0"),
        ("""print('{"completions_per_cpu_s": "9"}')""", "='9'; a number above 0"),
        ("import sys; sys.stdout.buffer.write(bytes(range(200, 255)))", "a last line of JSON"),
        ("raise KeyError('x')", "failed: KeyError: 'x'"),
    ],
)
def test_a_peer_that_says_no_rate_is_one_line(tmp_path, text, named):
    (tmp_path / "peer.py").write_text(text)
    with pytest.raises(ValueError, match="^throughput: ") as told:
        throughput._rate_of([sys.executable, "-S", str(tmp_path / "peer.py")], [])
    assert named in str(told.value) and "\n" not in str(told.value)


def test_a_python_that_is_not_there_is_one_line():
    for python in ("/nonexistent", "/etc/passwd"):
        with pytest.raises(ValueError, match=f"{python}: cannot be run"):
            throughput._rate_of([python, "peer.py"], [])


def test_costs_of_no_store_are_refused_and_of_an_empty_one_told(tmp_path, capsys):
    for where in ("nosuch", "nosuch.tar.xz", __file__):
        assert costs.main([where]) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"costs: {where}: ") and line.count("\n") == 1
    assert costs.main([str(tmp_path)]) == 0 and "0 measured cells" in capsys.readouterr().out
    record = {"stage": "gold", "device": "cpu"}
    (tmp_path / "gold" / "odd").mkdir(parents=True)
    (tmp_path / "gold" / "odd" / "record.json").write_text(json.dumps(record))
    assert costs.main([str(tmp_path)]) == 0
