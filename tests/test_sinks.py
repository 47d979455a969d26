"""Where results go: sinks show what is stored, once, and cost no result; described data sets; named axes."""

import errno
import json
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import curves, records
from analysis.__main__ import main
from analysis.fit import points, trainers
from experiments import running
from experiments.__main__ import main as experiments_main
from gold_sim.store import Store, StoreError, archive, croissant, labelled, outputs, sinks
from gold_sim.store.columns import CURVE_COLUMNS, SETTING_COLUMNS
from gold_sim.store.sinks import event_files
from gold_sim.store.sinks.run import runs_of
from tests.made_records import SEEDS, Records, one_run

SIZES = (1000, 8000)
PUBLISHED = Path(__file__).parent.parent / "docs" / "records" / f"2026-11-30-a-world-with-room{archive.SUFFIX}"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Two sizes by best-of-n and RL, and one cell of two coefficients."""
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "cache"))
    made = Records(tmp_path / "runs")
    cells = []
    for i, size in enumerate(SIZES):
        cells.append(made.cell([one_run("bon", s, 0.4 + 0.1 * i, 0.1, rm_params=size) for s in SEEDS]))
        cells.append(made.cell([one_run("rl", s, 0.6 + 0.1 * i, 0.3, 6.0, rm_params=size) for s in SEEDS]))
    made.manifest("rm_size", "rm_params", cells, made.reward_models("rm_params", SIZES))
    both = [one_run("rl", s, 0.75, 0.4, 5.0, kl_coef=k) for k in (0.0, 0.1) for s in SEEDS]
    made.manifest("kl_penalty", "kl_coef", [made.cell(both)])
    return made.store


def cells_of(store, name="rm_size"):
    return [(cell["stage"], cell["fingerprint"]) for cell in store.manifest(name)["cells"]]


def shown(folder):
    """Bytes of every file in a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def exported(store, folder, *words, name="rm_size", kind="tensorboard"):
    return main(["export", name, "--to", f"{kind}={folder}", "--runs", str(store.root), *words])


# --- settings and curves ----------------------------------------------------------------------


def test_settings_are_constant_along_a_run_and_what_was_measured_is_not(tmp_path, monkeypatch):
    """On published records that have every stage."""
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path))
    table = Store(archive.unpack(PUBLISHED)).table()
    values = table.groupby(["cell", "seed", "dpo_beta", "kl_coef"], dropna=False).nunique(dropna=False).max()
    assert not {name for name in SETTING_COLUMNS if values.get(name, 1) > 1}
    frontier = table[table["stage"] == "frontier"]
    assert (frontier.groupby(["cell", "seed"])["kl_coef"].nunique() > 1).all()
    others = list({*SETTING_COLUMNS} - {"kl_coef", "cell", "seed"})
    assert (frontier.groupby(["cell", "seed"])[others].nunique() <= 1).to_numpy().all()
    steady = {name for name in set(CURVE_COLUMNS) & set(values[values == 1].index) if table[name].notna().any()}
    assert not steady - set(SETTING_COLUMNS)


# --- TensorBoard ------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "method"), [("policy_gradient", "rl"), ("best_of_n", "bon")])
def test_a_fit_of_the_event_files_is_the_stored_law(store, tmp_path, stage, method):
    assert exported(store, tmp_path / "tb") == 0
    out = tmp_path / "fit.json"
    words = [
        "fit",
        tmp_path / "tb" / stage,
        "--x",
        "kl",
        "--form",
        method,
        "--by",
        "rm_params",
        "--seed-column",
        "seed",
    ]
    assert main([str(word) for word in (*words, "--reference", "first", "--json", out)]) == 0
    asked = points.Options(x="kl", form=method, kl_unit="response")
    assert trainers.checked_unit(out, list(CURVE_COLUMNS), "kl", "kl", asked, True) == ("response", [])
    data = records.load(store, "rm_size")
    groups = json.loads(out.read_text())["groups"]
    assert [group["rm_params"] for group in groups] == list(SIZES)
    for stored, read in zip(curves.groups(data.curves, data.axis)[method], groups, strict=True):
        law = curves.law(stored)
        assert (read["alpha"], read["beta"]) == pytest.approx((law.alpha, law.beta), rel=1e-5)
        assert read["alpha_ci"] == pytest.approx(law.alpha_ci, rel=1e-4) and read["runs"] == len(SEEDS)


def test_a_run_is_written_once_and_never_over_another(store, tmp_path, capsys):
    folder = tmp_path / "tb"
    assert exported(store, folder) == 0 and f"{4 * len(SEEDS)} runs of 4 cells" in capsys.readouterr().out
    first = shown(folder)
    stamps = {path: (folder / path).stat().st_mtime_ns for path in first}
    assert len(first) == 4 * len(SEEDS) and exported(store, folder) == 0
    assert shown(folder) == first and {p: (folder / p).stat().st_mtime_ns for p in first} == stamps
    assert exported(store, folder, name="kl_penalty") == 0
    own = {path.split("/")[-3] for path in shown(folder).keys() - first.keys()}
    assert own == {"kl_coef_0", "kl_coef_0.1"}  # only a cell of several coefficients has folders for them
    other = Records(tmp_path / "other")  # the same cells, drawn elsewhere
    cells = [other.cell([one_run("bon", s, 0.9, 0.1, rm_params=SIZES[0]) for s in SEEDS])]
    other.manifest("rm_size", "rm_params", cells)
    before = shown(folder)
    assert exported(other.store, folder) == 2 and "of other records" in capsys.readouterr().err
    assert shown(folder) == before


def test_a_diverged_run_is_shown_as_it_is_and_not_fitted(store, tmp_path, capsys):
    made = Records(tmp_path / "diverged")
    runs = [
        one_run("rl", s, 0.6, 0.3, 6.0, rm_params=1000, status="diverged" if s == SEEDS[0] else "ok") for s in SEEDS
    ]
    runs[0].loc[5:, "gold"] = np.nan
    made.manifest("rm_size", "rm_params", [made.cell(runs)])
    assert exported(made.store, tmp_path / "tb") == 0
    out = tmp_path / "fit.json"
    words = ["fit", tmp_path / "tb", "--x", "kl", "--form", "rl", "--seed-column", "seed", "--json", out]
    assert main([str(word) for word in words]) == 0
    assert json.loads(out.read_text())["groups"][0]["runs"] == len(SEEDS) - 1
    assert "status" in capsys.readouterr().err


# --- what goes wrong --------------------------------------------------------------------------


def test_a_missing_package_is_said_before_anything_is_computed(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "_run", lambda *_: pytest.fail("work was begun"))
    line = "sink wandb needs wandb, which is not installed: pip install 'gold_sim[sinks]'\n"
    assert experiments_main(["rm_size", "--preset", "smoke", "--sink", "wandb=w", "--runs", "new"]) == 2
    assert capsys.readouterr().err == f"experiments: {line}" and not (tmp_path / "new").exists()
    assert exported(store, "w", kind="wandb") == 2 and capsys.readouterr().err == f"analysis: {line}"
    for wrong in ("tensorboard", "tensorboard=", "mlflow=x"):
        assert experiments_main(["rm_size", "--sink", wrong]) == 2
        assert "tensorboard=DIR or wandb=DIR is wanted" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert experiments_main(["rm_size", "--sink", "tensorboard=file/tb"]) == 2
    assert "file is no folder" in capsys.readouterr().err
    assert experiments_main(["--sink", "tensorboard=tb"]) == 2 and "names of experiments" in capsys.readouterr().err


def test_a_sink_that_fails_is_one_line_and_left_out_while_others_go_on(store, tmp_path, monkeypatch):
    def full(path, content):
        if path.is_relative_to(tmp_path / "full"):
            raise StoreError(f"{path}: no room to write it ({errno.ENOSPC})")
        real(path, content)

    def breaks(folder, run):
        raise KeyError("whatever others raise")

    real = outputs.write
    monkeypatch.setattr(event_files.outputs, "write", full)
    small, good = (sinks.open_sink(f"tensorboard={tmp_path / name}") for name in ("full", "good"))
    args = types.SimpleNamespace(sink=[small, sinks.Sink("wandb", tmp_path / "w", breaks), good])
    place = running._place(str(store.root))
    before, said = shown(store.root), []
    for stage, code in cells_of(store):
        running._show(args, place, [types.SimpleNamespace(stage=stage, fingerprint=code)], said.append)
    assert args.sink == [good] and len(said) == 2 and len(shown(tmp_path / "good")) == 4 * len(SEEDS)
    assert "no room" in said[0] and "KeyError" in said[1] and all("export NAME --to" in line for line in said)
    assert shown(store.root) == before


def test_weights_and_biases_gets_a_run_once(store, tmp_path):
    pytest.importorskip("wandb")
    sink = sinks.open_sink(f"wandb={tmp_path / 'w'}")
    for _ in range(2):
        assert sinks.export(sink, store, cells_of(store)[:1]) == len(SEEDS)
        files = list((tmp_path / "w" / "wandb").glob("offline-run-*/run-*.wandb"))
        assert len(files) == len(SEEDS) and {p.name for p in (tmp_path / "w").iterdir()} == {"wandb"}
    [run, *_] = runs_of(store, *cells_of(store)[0])
    held = b"".join(path.read_bytes() for path in files)
    assert run.path.encode() in held and b"gold_rubric" not in held  # what is all NaN is left out
    assert all(f'"{name}"'.encode() in held or name.encode() in held for name in ("gold", "proxy", "rm_params"))


# --- described data sets ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_a_described_data_set_is_valid_and_read_by_others(store, tmp_path, capsys):
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = tmp_path / "published"
    words = ["pack", str(folder), "--croissant", "--runs", str(store.root)]
    assert main(words) == 0 and main(words) == 2 and "--replace" in capsys.readouterr().err
    dataset = mlcroissant.Dataset(str(folder / croissant.NAME))  # raises what does not conform
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings
    table = Store(archive.unpack(folder / croissant.PACKED)).table()
    assert table.equals(store.table())
    for row, read in zip(table.head(3).to_dict("records"), dataset.records("curves"), strict=False):
        assert read["curves/gold"] == row["gold"] and read["curves/stage"].decode() == row["stage"]
        assert len(read) == len(row) and read["curves/entropy"] is None and np.isnan(row["entropy"])
    about = json.loads((folder / croissant.NAME).read_text())
    assert about["license"].endswith("Apache-2.0.html") and about["version"] and "@software" in about["citeAs"]
    fields = {field["name"]: field for field in about["recordSet"][0]["field"]}
    assert list(fields) == list(table) and fields["kl"]["unitText"] == "nats a response"
    assert fields["gold"]["description"] == str(CURVE_COLUMNS["gold"])
    digests = {file["name"]: file["sha256"] for file in about["distribution"]}
    assert digests == {p.name: archive.sha256(p.read_bytes()) for p in folder.iterdir() if p.name != croissant.NAME}
    (folder / "curves.parquet").write_bytes(b"other")
    with pytest.raises(Exception, match=r"Download\(curves.parquet\)"):
        next(iter(mlcroissant.Dataset(str(folder / croissant.NAME)).records("curves")))


# --- named axes -------------------------------------------------------------------------------


def test_curves_as_xarray_hold_every_point_with_its_unit(store):
    pytest.importorskip("xarray")
    table = store.table()
    made = labelled.curves_to_xarray(table)
    assert made.sizes == {
        "cell": 6,
        "seed": len(SEEDS),
        "point": table.groupby(["cell", "seed", "kl_coef"]).size().max(),
    }
    assert int(made["gold"].notnull().sum()) == table["gold"].notna().sum()
    for row in table.sample(20, random_state=0).to_dict("records"):
        one = made.isel(cell=((made["cell"] == row["cell"]) & (made["kl_coef"] == row["kl_coef"])).values)
        at = one.sel(seed=row["seed"]).squeeze("cell")
        point = int(np.flatnonzero(at["control"] == row["control"])[0])
        assert float(at["gold"][point]) == row["gold"] and float(at["kl"][point]) == row["kl"]
        assert at["rm_params"] == row["rm_params"] and at["status"] == "ok"
    assert made["gold"].attrs["units"] == "gold s.d." and made["kl"].attrs["units"] == "nats a response"
    with pytest.raises(ValueError, match="no rows"):
        labelled.curves_to_xarray(table[:0])


def test_a_frontiers_coefficient_is_measured_along_it(tmp_path):
    pytest.importorskip("xarray")
    rows = pd.concat([one_run("rl", s, 0.7, 0.3, 4.0) for s in SEEDS])
    rows = rows.assign(stage="frontier", cell="a" * 16, rm_cell="", kl_coef=1.0 / (1 + rows["control"]))
    made = labelled.curves_to_xarray(rows)
    assert made.sizes["cell"] == 1 and made["kl_coef"].isnull().all()
    assert np.allclose(made["kl_coef_along"], 1 / (1 + made["control"]))


def test_score_tables_have_an_axis_for_prompts_and_samples():
    pytest.importorskip("xarray")
    table = pd.DataFrame({"prompt": [5, 5, 7, 7], "rm": [1, 1, 1, 1], "proxy": [0.1, 0.2, 0.3, 0.4], "gold": 1.0})
    made = labelled.scores_to_xarray(table, ("rm", "prompt", "sample"))
    assert made.sizes == {"rm": 1, "prompt": 2, "sample": 2}
    assert made["proxy"].sel(rm=1, prompt=7, sample=1) == 0.4
    with pytest.raises(ValueError, match="prompt=5 stands twice"):
        labelled.scores_to_xarray(table, ("prompt",))
    with pytest.raises(ValueError, match="no column 'item'; the table has prompt, rm"):
        labelled.scores_to_xarray(table, ("item", "sample"))


def test_a_table_is_a_hugging_face_data_set(store):
    pytest.importorskip("datasets")
    made = labelled.to_dataset(store.table("reward_models"), "reward_models")
    assert made.num_rows == len(SIZES) * len(SEEDS) and made["val_accuracy"][0] == 0.8
    assert "val_accuracy: share of pairs: held-out pairs" in made.info.description


@pytest.mark.parametrize("function", ["curves_to_xarray", "scores_to_xarray", "to_dataset"])
def test_what_is_not_installed_is_one_line(monkeypatch, function):
    monkeypatch.setitem(sys.modules, "xarray", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        ValueError, match=rf"^{function} needs \w+, which is not installed: pip install 'gold_sim\[data"
    ):
        getattr(labelled, function)(pd.DataFrame({"x": [1]}))
