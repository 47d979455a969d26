"""Readers of tables, JSON and event files refuse what they would have to guess, in one line, and read the rest."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import main
from gold_sim import laws


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


def complaint(capsys, *words, status=2):
    """The one line on standard error of a command of analysis."""
    assert main([str(word) for word in words]) == status
    err = capsys.readouterr().err
    assert err.startswith("analysis: ") and err.count("\n") == 1, err
    return err


FIT = ["--x", "kl", "--form", "rl"]
ROWS = [(float(d**2), float(laws.overoptimization_rl(d, 0.7, 0.4)), 1) for d in np.linspace(0.5, 5, 10)]
LINES = "\n".join(f"{kl},{gold},{seed}" for kl, gold, seed in ROWS)
OBJECTS = [{"kl": kl, "gold": gold, "seed": seed} for kl, gold, seed in ROWS]
JSON = "\n".join(map(json.dumps, OBJECTS))
TIMES = pd.date_range("2026-01-01", periods=10)


@pytest.mark.parametrize(
    ("text", "words", "named"),
    [
        ("kl,gold\n" + LINES, [], "line 2 has 3 values, the header 2 names"),
        ("kl,gold,seed\n" + LINES.replace("\n", ",\n") + ",", [], "line 2 has 4 values"),
        ("kl,gold,seed,note\n" + LINES, [], "line 2 has 3 values, the header 4 names"),
        ("kl,gold,seed\n" + LINES + ",7", [], "line 11 has 4 values"),
        ("kl,gold,seed\n" + LINES[: LINES.rindex(",")], [], "line 11 has 2 values"),
        ("kl,gold,gold\n" + LINES, [], "two columns are named 'gold'"),
        ("kl,kl,gold\n" + LINES, [], "two columns are named 'kl'"),
        ("kl,gold,seed\n" + LINES.replace("4.0", "yes"), [], "kl="),
        ("", [], "is empty"),
        ("kl,gold,d\n" + LINES, ["--by", "d"], "'d' has a meaning in the result"),
        ("kl,gold,alpha\n" + LINES, ["--by", "alpha"], "'alpha' has a meaning"),
        ("kl,gold,se\n" + LINES, ["--seed-column", "se"], "'se' has a meaning"),
        ("kl,gold,seed\n" + LINES, ["--y", "kl"], "other columns"),
    ],
)
def test_a_table_of_text_that_would_be_guessed_at_is_refused(capsys, text, words, named):
    Path("x.csv").write_text(text)
    said = complaint(capsys, "fit", "x.csv", *FIT, *words)
    assert named in said and "x.csv" in said


@pytest.mark.parametrize(
    ("changes", "words", "named"),
    [
        ({"kl": TIMES}, [], "kl is a time ('2026-01-01 00:00:00')"),
        ({"kl": TIMES - TIMES[0]}, [], "kl is a time span"),
        ({"gold": [True, False] * 5}, [], "gold is yes or no"),
        ({"gold": [[1.0]] * 10}, [], "gold=[1.0] in data row 1"),
        ({"gold": [{"a": 1}] * 10}, [], "gold={'a': 1} in data row 1"),
        ({"gold": [1.0] * 9 + [np.nan]}, [], "gold=nan in data row 10"),
        ({"gold": [1.0] * 9 + [np.inf]}, [], "gold=inf in data row 10"),
        ({"tags": [["a", "b"]] * 10}, ["--by", "tags"], "is a list"),
        ({"tags": [np.inf] * 10}, ["--by", "tags"], "no finite number"),
        ({"gold": TIMES.date}, [], "gold=2026-01-01 in data row 1"),
        ({"tags": [{"a": 1}] * 10}, ["--by", "tags"], "of type dict"),
        ({"when": TIMES}, ["--by", "when"], "is a time"),
        ({"when": TIMES.date}, ["--by", "when"], "is a time"),
        ({"when": TIMES}, ["--seed-column", "when"], "is a time"),
        ({"tags": [b"a"] * 10}, ["--by", "tags"], "of type bytes"),
        ({"gold_se": [0.0] * 10}, ["--se", "gold_se"], "gold_se=0 in data row 1"),
        ({"gold_se": TIMES}, ["--se", "gold_se"], "gold_se is a time"),
        ({"status": ["off"] + ["ok"] * 9, "gold": [0.1] * 9 + [np.nan]}, [], "in data row 10"),  # of the file
    ],
)
def test_a_table_of_other_types_is_refused(capsys, changes, words, named):
    pd.DataFrame(OBJECTS).assign(**changes).to_parquet("x.parquet")
    said = complaint(capsys, "fit", "x.parquet", *FIT, *words)
    assert named in said and "np." not in said and "x.parquet" in said


@pytest.mark.parametrize(
    ("text", "words", "named"),
    [
        (JSON + '\n{"kl": 1.0, "gold": 1.0, "gold": 2.0}', [], "line 11: 'gold' stands twice"),
        ('{"kl": 1.0, "go\n' + JSON, [], "line 1 is no whole JSON object"),
        (JSON + "\n[1, 2]", [], "line 11 is [1, 2]"),
        (JSON.replace('"seed": 1', '"seed": [1]'), ["--by", "seed"], "is a list"),
        (JSON.replace('"seed": 1', '"seed": "1"', 5), ["--by", "seed"], "text in some rows and a number in others"),
        (JSON.replace('"kl": 0.25', '"kl": null'), [], "kl=nan in data row 1"),
        ("[" * 100_000, [], "x.jsonl"),
    ],
)
def test_lines_of_json_that_would_be_guessed_at_are_refused(capsys, text, words, named):
    Path("x.jsonl").write_text(text)
    assert named in complaint(capsys, "fit", "x.jsonl", *FIT, *words)


def test_what_can_be_read_for_certain_still_is():
    table = pd.DataFrame(OBJECTS)
    table.assign(note='a, b\n"c"', note2=1).rename(columns={"note2": "Unnamed: 9"}).to_csv("quoted.csv", index=False)
    Path("twice.csv").write_text("kl,gold,seed,seed\n" + LINES.replace("\n", ",1\n") + ",1\n\n")  # nobody wants seed
    table.to_csv("bom.csv", index=False, encoding="utf-8-sig")
    table.assign(seed=pd.Categorical(["x"] * 10, ["w", "x"])).set_index("kl").to_parquet("index.parquet")
    Path("nan.jsonl").write_text(JSON.replace('"seed": 1', '"seed": 1, "note": NaN') + "\n\n")
    Path("torn.jsonl").write_text(JSON + '\n{"kl": 1.0, "go')  # its writer was killed
    by = {"index.parquet": ["--by", "seed"]}
    for name in ("quoted.csv", "twice.csv", "bom.csv", "index.parquet", "nan.jsonl", "torn.jsonl"):
        assert main(["fit", name, *FIT, *by.get(name, []), "--json", "fit.json"]) == 0, name
        [group] = json.loads(Path("fit.json").read_text())["groups"]
        assert (group["alpha"], group["beta"]) == pytest.approx((0.7, 0.4)), name


def test_event_files_cut_short_or_damaged_are_refused(capsys):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter("logs")
    for step, row in enumerate(OBJECTS):
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
        writer.add_event(Event(step=step, wall_time=step, summary=Summary(value=scalars)))
    writer.close()
    [path] = Path("logs").iterdir()
    data, words = path.read_bytes(), ["fit", "logs", *FIT, "--kl-unit", "response"]
    assert main(words) == 0
    capsys.readouterr()
    for at in np.random.default_rng(0).integers(1, len(data), 30):
        flipped = bytearray(data)
        flipped[at] ^= 64
        for wrong in (data[:at], bytes(flipped)):
            path.write_bytes(wrong)
            if wrong != data[:at] or at not in ends(data):
                assert "is cut short or damaged" in complaint(capsys, *words)
    for junk in (b"\0" * 7, b"\xff" * 40):
        path.write_bytes(data + junk)
        assert f"at byte {len(data)}" in complaint(capsys, *words).replace(",", "")


def ends(data: bytes) -> set[int]:
    """Where records of an event file end."""
    at, found = 0, set()
    while at < len(data):
        at += 16 + int.from_bytes(data[at : at + 8], "little")
        found.add(at)
    return found
