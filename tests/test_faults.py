"""What hostile and careless users do to stores, results, files of curves and terminals: one line, and nothing lost.

Every table is of one kind of fault; whoever meets a new fault of a kind adds a row.
"""

import io
import json
import lzma
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import analyse, findings
from analysis.__main__ import main
from experiments import repair, running
from gold_sim import laws
from gold_sim.store import Damaged, Store, StoreError, archive, files, outputs
from gold_sim.store.columns import TABLES
from tests.test_escaped import ESCAPE, NASTY

ROOT = Path(__file__).parent.parent
CURVE, RM = "a" * 16, "b" * 16


def made(kind, rows=2):
    """Rows of a table: other numbers in every column."""
    values = {"int64": np.arange(rows), "float64": np.linspace(0.5, 1, rows), "string": ["x"] * rows}
    columns = {name: values[column.dtype] for name, column in TABLES[kind].items()}
    return columns | ({"status": ["ok"] * rows} if kind == "curves" else {})


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of one experiment, in the current folder."""
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "runs")
    store.write("policy_gradient", "made", CURVE, {"device": "cpu"}, {"curves": made("curves")})
    store.write("reward_model", "made", RM, {}, {"reward_models": made("reward_models")})
    store.write_manifest("own-cpu", manifest())
    return store


def manifest(**changes):
    words = {name: name for name in ("title", "question", "figure", "expected")} | {"axis": "rm_params"}
    cells = [{"stage": "policy_gradient", "fingerprint": CURVE, "name": "made"}]
    about = {"experiment": "own", "preset": "cpu", "cells": cells, "reward_models": [RM], "overrides": {"seeds": [9]}}
    return about | words | changes


def complaint(capsys, *words, status=2):
    """The one line on standard error of a command of analysis."""
    assert main([str(word) for word in words]) == status
    err = capsys.readouterr().err
    assert err.startswith("analysis: ") and err.count("\n") == 1, err
    return err


def cut(path: Path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


# --- damage is not absence --------------------------------------------------------------------


@pytest.mark.parametrize("file", ["curves.parquet", "record.json"])
@pytest.mark.parametrize("words", [["own"], ["pack", "out.tar.xz"], ["advise", "own"]])
def test_damage_names_the_command_that_mends_it(store, capsys, file, words):
    cut(store.find("policy_gradient", CURVE) / file)
    said = complaint(capsys, *words)
    assert file in said and "corrupt" in said
    assert "python -m experiments own --preset cpu --set 'seeds=[9]' --runs runs --repair" in said
    assert not Path("out.tar.xz").exists()


def test_every_damage_names_a_remedy(store):
    """Whatever a reader of the store raises for what is there and cannot be trusted."""
    cell = store.find("policy_gradient", CURVE)
    path, whole = cell / "curves.parquet", (cell / "curves.parquet").read_bytes()
    no_list = files.to_json({"stage": "policy_gradient", "name": "made", "fingerprint": CURVE})
    for spoil in (
        lambda: path.write_bytes(b""),
        lambda: path.unlink(),
        lambda: (cell / "more.parquet").write_bytes(whole),
        lambda: (cell / "record.json").write_bytes(no_list),
        lambda: (cell / "record.json").write_text("[]"),
        lambda: (cell / "record.json").write_text("[" * 100_000),
        lambda: (cell / "record.json").unlink(),
        lambda: cell.rename(cell.with_name(f"other-{CURVE}")),
    ):
        spoil()
        with pytest.raises(Damaged, match="--repair") as caught:
            store.table(fingerprints=[CURVE])
        assert "\n" not in str(caught.value)
        [(at, _)] = store.damaged([CURVE])
        store.set_aside(at)
        assert store.find("policy_gradient", CURVE) is None
        store.write("policy_gradient", "made", CURVE, {"device": "cpu"}, {"curves": made("curves")})
        assert len(store.table(fingerprints=[CURVE])) == 2
    assert len(list((store.root / ".damaged").glob("*/*"))) == 8


def test_of_two_folders_of_one_cell_the_foreign_one_is_set_aside(store):
    cell = store.find("policy_gradient", CURVE)
    copy = cell.with_name(f"copy-{CURVE}")
    copy.mkdir()
    for path in cell.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(Damaged, match="same cell"):
        store.find("policy_gradient", CURVE)
    assert [path for path, _ in store.damaged([CURVE])] == [copy]


def test_a_damaged_manifest_is_set_aside(store):
    cut(store.root / "experiments" / "own-cpu.json")
    [line] = repair.set_aside(store, None, [], "own-cpu")
    assert "corrupt" in line and not (store.root / "experiments" / "own-cpu.json").exists()
    assert len(list((store.root / ".damaged/experiments").iterdir())) == 1


def test_the_list_of_experiments_counts_damaged_cells_apart(tmp_path, monkeypatch, capsys):
    from experiments.plan import plan

    curve = next(c for c in plan("rm_size", "cpu", {})[1] if c.stage == "best_of_n")
    store = Store(tmp_path)
    folder = store.write(curve.stage, curve.name, curve.fingerprint, {}, {"curves": made("curves")})
    monkeypatch.setattr(running.catalogue, "NAMES", ("rm_size",))
    assert running.main(["--runs", str(tmp_path)]) == 0
    before = capsys.readouterr().out
    cut(folder / "curves.parquet")
    assert running.main(["--runs", str(tmp_path)]) == 0
    after = capsys.readouterr().out
    assert "--repair" not in before and "1 damaged: python -m experiments rm_size --repair" in after
    assert before.count("0 of") == 0 and after.count("0 of") == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"axis": "nosuch"}, "'axis'"),
        ({"axis": ["x"]}, "'axis'"),
        ({"axis": "variant"}, "'axis'"),  # without variants
        ({"panels": 5}, "'panels'"),
        ({"title": None}, "'title'"),
        ({"expected": {}}, "'expected'"),
        ({"overrides": [1]}, "'overrides'"),
        ({"variants": "abc"}, "'variants'"),
        ({"variants": ["a"], "axis": "variant"}, "'variants'"),
        ({"cells": None}, "'cells'"),
        ({"reward_models": ["f" * 16]}, "not there"),
        ({"cells": [{"stage": "best_of_n", "fingerprint": CURVE}]}, "best_of_n"),
    ],
)
def test_a_manifest_that_cannot_be_analysed_is_named_with_what_is_wrong(store, capsys, changes, named):
    store.write_manifest("own-cpu", manifest(**changes))
    said = complaint(capsys, "own")
    assert named in said and "--repair" in said and "fault of the program" not in said


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "{}", '{"preset": "cpu"}', '{"preset": "cpu", "rows": [{}]}', "[" * 99_999]
)
def test_a_damaged_measurement_of_speed_is_named(store, capsys, text):
    path = Path("runs/throughput/mapped/a.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert "mapped/a.json: no measurement" in complaint(capsys, "throughput")


# --- archives ---------------------------------------------------------------------------------


def packed(content: dict[str, bytes], path="study.tar.xz"):
    with tarfile.open(path, "w:xz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return Path(path)


def whole(store) -> dict[str, bytes]:
    """What an archive of the store holds."""
    archive.pack([store], Path("whole.tar.xz"))
    with tarfile.open("whole.tar.xz") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


RECORD, TABLE = f"policy_gradient/made-{CURVE}/record.json", f"policy_gradient/made-{CURVE}/curves.parquet"
MANIFEST = "experiments/own-cpu.json"
NO_FILES = files.to_json({"stage": "policy_gradient", "name": "made", "fingerprint": CURVE})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({RECORD: NO_FILES}, "digests of its files"),
        ({RECORD: None}, "no record.json"),
        ({RECORD: b"{}"}, "corrupt or edited"),
        ({TABLE: None}, "missing or foreign: curves.parquet"),
        ({TABLE: b"other"}, "corrupt, 5 bytes"),
        ({f"policy_gradient/made-{CURVE}/more.parquet": b""}, "missing or foreign: more.parquet"),
        ({f"policy_gradient/odd-{CURVE}/record.json": NO_FILES}, "digests of its files"),
        ({MANIFEST: files.to_json({"experiment": "own", "preset": "cpu"})}, "lists 'cells'"),
        ({MANIFEST: files.to_json(manifest(cells=[{"stage": 1}]))}, "lists 'cells'"),
        ({MANIFEST: files.to_json(manifest(cells="abc"))}, "lists 'cells'"),
        ({MANIFEST: files.to_json(manifest(reward_models=["c" * 16]))}, "1 of its cells are not there"),
        ({MANIFEST: None}, "no experiment"),
        ({"../away/record.json": b""}, "../away"),
        ({"notes.txt": b""}, "notes.txt"),
    ],
)
def test_a_malformed_archive_is_named_with_what_is_wrong_in_it(store, capsys, changes, named):
    content = {name: data for name, data in (whole(store) | changes).items() if data is not None}
    path = packed(content)
    said = complaint(capsys, "own", "--runs", path)
    assert "study.tar.xz" in said and named in said and "cache" not in said
    assert not Path("analysis").exists()


def test_an_archive_that_holds_a_file_twice_is_refused(store):
    with tarfile.open("twice.tar.xz", "w:xz") as tar:
        for name, data in [*(content := whole(store)).items(), (TABLE, content[TABLE])]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(Damaged, match="twice.tar.xz: holds .* twice"):
        archive.unpack(Path("twice.tar.xz"))


def test_an_archive_does_not_unpack_to_more_than_records_do(store, monkeypatch):
    monkeypatch.setattr(archive, "ALWAYS", 10_000)
    bombs = {
        "zeros.tar.xz": lzma.compress(bytes(10_000_000)),
        "member.tar.xz": packed({TABLE: bytes(10_000_000)}).read_bytes(),
    }
    for name, data in bombs.items():
        Path(name).write_bytes(data)
        assert len(data) < 20_000
        with pytest.raises(Damaged, match=f"{name}: .* unpack to more than"):
            archive.unpack(Path(name))
    header = tarfile.TarInfo(TABLE)
    header.size, header.type = 2**33, tarfile.GNUTYPE_SPARSE  # says 8 GB, holds none
    Path("sparse.tar.xz").write_bytes(lzma.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    with pytest.raises(StoreError, match="sparse.tar.xz"):
        archive.unpack(Path("sparse.tar.xz"))


def test_whatever_is_cut_or_changed_in_an_archive_is_one_line(store):
    archive.pack([store], Path("study.tar.xz"))
    data = Path("study.tar.xz").read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(data), 40):
        changed = bytearray(data)
        changed[at] ^= 1 << int(at) % 8
        for wrong in (data[:at], bytes(changed)):
            Path("wrong.tar.xz").write_bytes(wrong)
            with pytest.raises(StoreError, match="wrong.tar.xz") as caught:
                archive.unpack(Path("wrong.tar.xz"))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cell: cut(cell / "curves.parquet"),
        lambda cell: (cell / "record.json").unlink(),
        lambda cell: (cell / "more.parquet").touch(),
        lambda cell: shutil.rmtree(cell),
        lambda cell: cut(cell.parent.parent / "experiments" / "own-cpu.json"),
        lambda cell: (cell.parent.parent / "unpacked").write_text(""),
        lambda cell: ((cell.parent.parent / "unpacked").unlink(), cut(cell / "curves.parquet")),
    ],
)
def test_a_damaged_cache_is_unpacked_again(store, spoil):
    archive.pack([store], Path("study.tar.xz"))
    root = archive.unpack(Path("study.tar.xz"))
    spoil(Store(root).find("policy_gradient", CURVE))
    assert archive.unpack(Path("study.tar.xz")) == root
    assert Store(root).table().equals(store.table()) and Store(root).manifest("own") == manifest()


def test_messages_name_the_archive_and_not_its_cache(store, capsys):
    archive.pack([store], Path("study.tar.xz"))
    said = complaint(capsys, "own", "--preset", "smoke", "--runs", "study.tar.xz")
    assert "study.tar.xz/experiments/own-smoke.json: no such manifest" in said and "cache" not in said


# --- inputs are checked before outputs are touched --------------------------------------------


def csv(path="mine.csv", rows=12, **changes):
    d = np.linspace(0, 5, rows)
    columns = {"kl": d**2, "gold": laws.overoptimization_rl(d, 0.7, 0.4), "seed": 1, "size": "a"}
    pd.DataFrame(columns).assign(**changes).to_csv(path, index=False)
    return Path(path)


FIT = ["--x", "kl", "--form", "rl"]


@pytest.fixture
def old(store):
    """What earlier commands wrote, and other people's files: none may change."""
    csv()
    csv("other.csv")
    Path("link.csv").symlink_to("mine.csv")
    Path("trainer_state.json").write_text('{"log_history": []}')
    Path("old.tar.xz").write_bytes(b"an old archive")
    archive.pack([store], Path("study.tar.xz"))
    for folder, name in (("claims", "claims.md"), ("paper_gao2023", "captions.md"), ("own", "summary.json")):
        Path("out", folder).mkdir(parents=True)
        Path("out", folder, name).write_text("good")
    Path("in_the_way").write_text("a file")
    Path("a_folder").mkdir()
    Path("empty").mkdir()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["fit", "mine.csv", *FIT, "--json", "mine.csv"], "is what is read"),
        (["fit", "mine.csv", *FIT, "--json", "./a_folder/../mine.csv"], "is what is read"),
        (["fit", "mine.csv", *FIT, "--json", "link.csv"], "is what is read"),
        (["fit", "mine.csv", *FIT, "--json", "other.csv"], "no result of this command"),
        (["fit", "mine.csv", *FIT, "--json", "trainer_state.json"], "no result of this command"),
        (["advise", "mine.csv", "--x", "kl", "--json", "mine.csv"], "is what is read"),
        (["fit", "mine.csv", *FIT, "--json", "a_folder"], "is a folder"),
        (["fit", "mine.csv", *FIT, "--json", "nowhere/fit.json"], "there is no folder"),
        (["fit", "mine.csv", *FIT, "--json", "in_the_way/fit.json"], "is no folder"),
        (["fit", "mine.csv", *FIT, "--json", "/dev/full"], "/dev/full: no room"),
        (["fit", "mine.csv", *FIT, "--json", "x" * 300], "x"),
        (["pack", "old.tar.xz"], "--replace"),
        (["pack", "study.tar.xz", "--runs", "study.tar.xz", "--replace"], "is what is read"),
        (["pack", "nowhere/x.tar.xz"], "there is no folder"),
        (["pack", "in_the_way/x.tar.xz"], "is no folder"),
        (["pack", "x.tar.xz", "--runs", "TYPO"], "TYPO: no such folder"),
        (["claims", "--out", "out", "--runs", "TYPO"], "TYPO: no such folder"),
        (["claims", "--out", "out", "--runs", "runs", "TYPO"], "TYPO: no such folder"),
        (["claims", "--out", "out", "--runs", "in_the_way"], "not a folder"),
        (["claims", "--out", "out", "--runs", "empty"], "no experiment has records"),
        (["claims", "--out", "out", "--preset", "foo"], "--preset foo"),
        (["claims", "--out", "in_the_way"], "is no folder"),
        (["paper", "gao2023", "--out", "out", "--runs", "nosuch"], "nosuch: no such folder"),
        (["paper", "gao2023", "--out", "out", "--preset", "foo"], "--preset foo"),
        (["paper", "gao2023", "--out", "in_the_way"], "is no folder"),
        (["own", "--out", "in_the_way"], "is no folder"),
        (["own", "--out", "in_the_way/deeper"], "is no folder"),
        (["own", "--out", "out", "--runs", "TYPO"], "TYPO: no such folder"),
        (["own", "--out", "out", "--preset", "foo"], "no such manifest"),
        (["onw", "--out", "out"], "is own meant?"),
        (["fti", "mine.csv"], "unrecognized arguments: mine.csv; is fit meant?"),
        (["pack", "described", "--croissant", "--url", "example.org"], "--url example.org: an address is wanted"),
        (["--runs", "TYPO"], "TYPO: no such folder"),
        (["throughput", "--runs", "TYPO"], "TYPO: no such folder"),
    ],
)
def test_nothing_is_overwritten_where_something_is_wrong(old, capsys, words, named):
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert named in said[-1] and sum(not line.startswith("analysis: warning") for line in said) == 1, said
    after = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and "cache" not in path.parts}
    assert after == {path: data for path, data in before.items() if "cache" not in path.parts}


def test_where_no_figure_can_be_drawn_old_captions_stay(old, capsys):
    assert main(["paper", "gao2023", "--out", "out"]) == 2
    assert "no figure could be drawn from runs" in capsys.readouterr().err.splitlines()[-1]
    assert Path("out/paper_gao2023/captions.md").read_text() == "good"


def test_a_result_is_replaced_by_the_next_and_an_archive_when_it_is_said(old, capsys):
    for _ in range(2):
        assert main(["fit", "mine.csv", *FIT, "--json", "fit.json"]) == 0
    assert main(["pack", "old.tar.xz", "--replace"]) == 0
    assert Store(archive.unpack(Path("old.tar.xz"))).manifest("own") == manifest()


@pytest.mark.parametrize("name", ["x.json", "x.md", "x.png", "x.tar.xz"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, name):
    """As on a full disk: 64 MB allowed, the file was begun; and a kill while it is being renamed."""
    path = tmp_path / name
    path.write_text("old")
    for what in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(outputs.os, what, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(StoreError, match=f"{name}: no room"):
                outputs.write(path, "new")
        assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == [name]
    outputs.write(path, "new")
    assert path.read_text() == "new"


def test_links_modes_and_streams_are_kept(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    outputs.write(link, "new")
    assert link.is_symlink() and real.read_text() == "new" and real.stat().st_mode & 0o777 == 0o640
    outputs.write("/dev/null", "x")
    assert Path("/dev/null").is_char_device()


def test_everything_that_is_written_is_written_by_one_function():
    """Outside the store: no other write, savefig or to_csv to a path in analysis, and in the benchmarks."""
    allowed = {"gold_sim/store/outputs.py", "gold_sim/store/system.py", "gold_sim/stages/spent.py"}
    words = (".write_text(", ".write_bytes(", "to_csv(folder", "to_csv(path", "json.dump(")
    for tree in ("analysis", "experiments", "gold_sim"):
        for path in (ROOT / tree).rglob("*.py"):
            found = [word for word in words if word in path.read_text()]
            assert not found or str(path.relative_to(ROOT)) in allowed, (path, found)


# --- text of others ---------------------------------------------------------------------------


def test_names_of_groups_reach_no_terminal(store, capsys):
    csv(size=NASTY)
    words = ["mine.csv", *FIT, "--by", "size"]
    for command_words in (["fit", *words, "--compare", "--json", "fit.json"], ["advise", *words]):
        assert main(command_words) == 0
        out, err = capsys.readouterr()
        for line in (out + err).split("\n"):
            assert line.isprintable() or not line, repr(line)
        assert "\\x1b[2J" in out
    assert json.loads(Path("fit.json").read_text())["groups"][0]["size"] == NASTY  # data are kept as they are


def test_titles_of_others_records_reach_no_terminal(store, capsys):
    read = type("Read", (), {"manifest": manifest(title=NASTY), "warnings": [NASTY]})
    table = findings.Table("t", NASTY, pd.DataFrame({NASTY: [NASTY]}))
    analyse.show(
        read, findings.Findings({"checks": {"c": {"verdict": "open", "found": NASTY}}}, [], [table]), Path("out")
    )
    out, err = capsys.readouterr()
    assert all(line.isprintable() or not line for line in (out + err).split("\n"))


def test_messages_show_no_escape_codes(store, capsys):
    csv(f"{ESCAPE}\n.csv")
    for words in (["fit", f"{ESCAPE}\n.csv", *FIT, "--y", ESCAPE], [ESCAPE], ["own", "--runs", ESCAPE]):
        assert complaint(capsys, *words).strip().isprintable()
