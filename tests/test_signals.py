"""Signals, closed and full streams, odd terminals: a command ends with one line, whenever they come."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import screen
from experiments.plan import plan

ROOT = Path(__file__).parent.parent
CELL = plan("rm_size", "smoke", {})[2][0]
RUN = "import sys, time, os, signal; from gold_sim import exits; sys.exit(exits.run('x', lambda: {}, 'all is kept'))"
LONG = "print('x' * 100_000) or 0"
SPOILT = "(lambda: exec('try:\\n os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\\nfinally: 1 / 0'))()"  # as imports
# Python drops what a callback of its garbage collector raises; jax has one.
DROPPED = (
    "(lambda: exec('import gc\\ngc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGINT))"
    "\\ngc.collect(); gc.callbacks.clear(); time.sleep(9); os._exit(3)'))() or 0"
)
DROPPED_LAST = "(lambda: exec('class A:\\n def __del__(self): os.kill(os.getpid(), signal.SIGINT)\\nA()'))() or 0"
KILL = "os.kill(os.getpid(), signal.{}) or time.sleep(9) or 0"
ENDS = [  # work, shell redirection -> status, line
    ("print('²') or 0", "", 0, ""),
    ("print('²') or 7", ">&-", 7, ""),
    (LONG, "> /dev/full", 2, "x: standard output: No space left on device; all is kept"),
    ("print('short') or 0", "> /dev/full", 2, "x: standard output: No space left on device; all is kept"),
    (LONG, "2> /dev/full > /dev/full", 2, ""),
    (LONG, "| head -c 1 > /dev/null", 141, ""),
    (KILL.format("SIGTERM"), "", 143, "x: ended by SIGTERM; all is kept"),
    (KILL.format("SIGHUP"), "", 129, "x: ended by SIGHUP; all is kept"),
    (KILL.format("SIGINT"), "> /dev/full", 130, "x: interrupted; all is kept"),
    (SPOILT, "", 130, "x: interrupted; all is kept"),
    (DROPPED, "", 130, "x: interrupted; all is kept"),
    (DROPPED_LAST, "", 130, "x: interrupted; all is kept"),
    ("(_ for _ in ()).throw(ValueError('so\\n  it is'))", "", 2, "x: so it is"),
    ("open('/nonexistent/file')", "", 2, "x: /nonexistent/file: No such file or directory"),
    ("{}['key']", "", 2, "x: KeyError: 'key'; a fault of the program, its traceback: "),
]


@pytest.mark.parametrize(("work", "redirection", "status", "line"), ENDS)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_ends_with_one_line_whatever_becomes_of_it(tmp_path, work, redirection, status, line, unbuffered):
    environment = dict(os.environ, PYTHONIOENCODING="ascii", PYTHONUNBUFFERED=unbuffered, TMPDIR=str(tmp_path))
    code = RUN.replace("{}", work, 1)
    words = ["bash", "-c", f'set -o pipefail; "$0" -c "$1" {redirection}', sys.executable, code]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(line) and done.stderr.count("\n") == (1 if line else 0), done.stderr
    if "traceback" in line:
        assert "KeyError" in Path(done.stderr.split()[-1]).read_text()


def test_a_signal_that_was_to_be_ignored_stays_ignored():
    """As under nohup, and of a job in the background."""
    code = RUN.replace("{}", KILL.format("SIGHUP").replace("9", "0") + " or 5", 1)
    code = code.replace("import sys,", "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); import sys,")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 5


def test_a_signal_ends_driver_and_workers_with_one_line_and_nothing_left(tmp_path):
    """To the whole group, as a terminal sends Ctrl-C and its own end, or to the driver alone; three drivers at once."""
    line = lambda i: [sys.executable, "-m", "experiments", "rm_size", "--preset", "smoke", "--runs", tmp_path / str(i)]
    options = dict(cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    sent = ((signal.SIGINT, os.killpg, 130), (signal.SIGTERM, os.kill, 143), (signal.SIGHUP, os.killpg, 129))
    drivers = [subprocess.Popen([*line(i), "--workers", "1"], **options) for i in range(len(sent))]
    working = lambda i: list((tmp_path / str(i)).glob(".reports/*"))
    deadline = time.monotonic() + 200
    while not all(map(working, range(len(sent)))) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(working(i)[0].read_text().split()[2]) for i in range(len(sent))]
    held_back = [re.search(r"SigBlk:\t(\w+)", Path(f"/proc/{i}/status").read_text())[1] for i in workers]
    for driver_, (number, send, _) in zip(drivers, sent, strict=True):
        send(driver_.pid, number)
    for i, (driver_, (number, _, status)) in enumerate(zip(drivers, sent, strict=True)):
        errors = driver_.communicate(timeout=60)[1]
        what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
        assert driver_.returncode == status
        assert errors == f"experiments: {what}; finished cells are stored, the same command resumes\n"
        assert not list((tmp_path / str(i)).glob(".tmp-*"))
        with pytest.raises(ProcessLookupError):
            os.kill(workers[i], 0)
    interrupt_and_hangup = 1 << signal.SIGINT - 1 | 1 << signal.SIGHUP - 1
    assert {int(mask, 16) & interrupt_and_hangup for mask in held_back} == {interrupt_and_hangup}


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for term, live in (("dumb", False), ("unknown", False), ("xterm", True)):
        monkeypatch.setenv("TERM", term)
        assert (screen._live() is not None) == live, term
    monkeypatch.setenv("TERM", "dumb")
    shown = screen.Screen(2)
    shown("start", CELL, 0, 1)
    shown("done", CELL, 1, 1)
    assert f"1/2 cells; done {CELL.stage} {CELL.name}" in capsys.readouterr().out


def test_two_cells_of_one_name_are_shown_side_by_side(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    shown, twin = screen.Screen(2), dataclasses.replace(CELL, fingerprint="0" * 16)
    for event in ("start", "progress", "done"):
        for cell in (CELL, twin):
            shown(event, cell, 1, 2)
    shown.say("[not markup]")
    shown.close()
    assert shown.finished == 2 and "[not markup]" in capsys.readouterr().out


def python(*words, shell=None, **environment):
    line = [sys.executable, "-m", "analysis", *map(str, words)]
    line = ["sh", "-c", shell, "sh", *line] if shell else line
    return subprocess.run(line, cwd=ROOT, env=os.environ | environment, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("shell", "environment", "status"),
    [
        ('"$@" >/dev/full', {}, 2),
        ('"$@" >&-', {}, 0),
        ('"$@" 2>&-', {}, 0),
        ('"$@" 2>/dev/full', {}, 0),
        ('"$@" | head -n 1; exit $?', {}, 0),
        ('"$@"', {"PYTHONIOENCODING": "ascii"}, 0),
        ('"$@"', {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, 0),
    ],
)
def test_odd_streams_are_no_traceback(shell, environment, status):
    """`fit` shows R², which ASCII lacks."""
    points = ROOT / "tests" / "gao2023_bon.csv"
    found = python("fit", points, "--x", "kl", "--by", "rm_params", "--form", "bon", shell=shell, **environment)
    lines = [line for line in found.stderr.decode().splitlines() if "warning: " not in line]
    assert found.returncode == status and len(lines) == (status == 2), found
    assert status == 0 or "standard output: No space left on device" in lines[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", [0.05, 0.5, 2.0])
def test_a_signal_is_one_line_whenever_it_comes(number, after):
    """From the moment when our own first lines run; all that takes time is imported after that."""
    begin = "import sys; from analysis.__main__ import main; print(flush=True); sys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", begin, "calibration", "--replications", "100000"]
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(after)
        process.send_signal(number)
        said = process.stderr.read().decode()
    what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert (said, process.returncode) == (f"analysis: {what}\n", 128 + number)


@pytest.mark.parametrize("module", ["analysis.__main__", "experiments.command"])
def test_what_takes_time_is_imported_after_signals_are_heard(module):
    slow = ("numpy", "pandas", "pyarrow", "jax", "matplotlib", "scipy")
    code = f"import sys, {module}; assert not set({slow}) & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
