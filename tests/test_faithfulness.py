"""Gold is audited: pooled correlations against direct ones, the checks, and what a poor gold hides of a fall."""

import json

import numpy as np
import pytest

from analysis import analyse, faithfulness, older, records, runs
from gold_sim.store import Store, archive
from tests.made_records import SEEDS, SIZES, Records, one_run


def moments(gold, rubric):
    """What a row of curves tells of the responses of a run."""
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(gold, rubric)[0, 1]
    return len(gold), gold.mean(), gold.std(), rubric.mean(), rubric.std(), correlation


def test_the_pooled_correlation_is_that_of_all_responses_together():
    """Runs of other sizes, means and spreads; in one gold does not vary, so its own correlation is NaN."""
    rng = np.random.default_rng(0)
    drawn = [(rng.normal(s, 1 + s, n), rng.normal(-s, 1, n)) for s, n in enumerate((40, 70, 25))]
    drawn = [(gold, rubric + 0.4 * gold) for gold, rubric in drawn] + [(np.full(30, 0.5), rng.normal(2, 1, 30))]
    told = [np.array(column) for column in zip(*(moments(*run) for run in drawn), strict=True)]
    assert np.isnan(told[-1][-1]) and np.isfinite(told[-1][:-1]).all()
    together = np.corrcoef(*(np.concatenate(part) for part in zip(*drawn, strict=True)))[0, 1]
    assert faithfulness.pooled_correlation(*told) == pytest.approx(together, abs=1e-12)
    assert abs(np.nanmean(told[-1]) - together) > 0.05  # the mean of correlations is another thing
    points = faithfulness.pooled_correlation(*(np.stack([column, column[::-1]], 1) for column in told))
    assert points == pytest.approx([together, together], abs=1e-12)  # [S, T]
    one = lambda *values: [np.array([value]) for value in values]
    assert np.isnan(faithfulness.pooled_correlation(*one(5, 1.0, 0.0, 2.0, 1.0, np.nan)))
    assert np.isnan(faithfulness.pooled_correlation(*one(5, 1.0, 1.0, np.nan, np.nan, np.nan)))


def test_a_fall_from_the_peak_by_hand():
    """Runs 0 4 1 and 0 1 3 and 0 2 2: the others peak at 2 (1 + 2 < 3 + 2), at 1 and at 1."""
    assert runs.fall_from_peak([[0, 4, 1], [0, 1, 3], [0, 2, 2]]).tolist() == [0, -2, 0]
    assert np.isnan(runs.fall_from_peak([[0, 4, 1]])).all()


def test_noise_makes_no_fall():
    """400 times four flat runs of noise: the fall is 0 within 4 s.e., that from the mean curve's own peak is not."""
    noise = np.random.default_rng(1).normal(size=(400, 4, 30))
    falls = np.array([runs.fall_from_peak(one).mean() for one in noise])
    naive = np.array([(runs.peak(one) - one[:, -1]).mean() for one in noise])
    se = falls.std(ddof=1) / 20
    assert abs(falls.mean()) < 4 * se < naive.mean() - 10 * se


# --- checks -----------------------------------------------------------------------------------------


def audited(frames, correlation, rubric=None):
    """The runs with the columns of an audit.  rubric: of a run's d; None: gold."""
    columns = dict(rubric_se=0.04, gold_sd=1.0, rubric_sd=1.0, gold_rubric_correlation=correlation)
    return [f.assign(rubric=f["gold"] if rubric is None else rubric(f["d"]), **columns) for f in frames]


def gold_cell(made, fidelity):
    """Fingerprint of a stored gold with correlations on reference samples and on repeated ones."""
    made.count += 1
    code, (reference, repeated) = f"{made.count:016x}", fidelity
    kinds = {"reference": reference, "repeated": repeated}
    made.store.write("gold", "made", code, {"fidelity": kinds}, arrays={"arrays": {"params": np.ones(3)}})
    return code


def made_main_job(root, correlation, fidelity):
    made, cells = Records(root), []
    for size in SIZES[:2]:
        for form, alpha, beta in (("bon", 0.5, 0.1), ("rl", 0.75, 0.4)):
            cells.append(
                made.cell(audited([one_run(form, s, alpha, beta, rm_params=size) for s in SEEDS], correlation))
            )
    made.manifest("rm_size", "rm_params", cells, golds=[gold_cell(made, fidelity)])
    return made.store


def told(store):
    found = faithfulness.checks(records.load(store, "rm_size"))
    return found["gold_is_faithful"], found["gold_is_faithful_along_rl"]


def test_a_gold_is_faithful_where_all_correlations_say_so_and_an_archive_tells_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "cache"))
    store = made_main_job(tmp_path / "good", 0.98, (0.999, 0.991))
    on_samples, along = told(store)
    assert on_samples["holds"] is True and "0.991 (repeated)" in on_samples["found"]
    assert along["holds"] is True and along["lowest"] == pytest.approx(0.98, abs=0.01)
    archive.pack([store], tmp_path / "packed.tar.xz")
    packed = Store(archive.unpack(tmp_path / "packed.tar.xz"))
    (gold,) = records.load(packed, "rm_size").golds()
    assert told(packed) == (on_samples, along) and list(gold["left_out"]) == ["arrays.safetensors"]
    poor = told(made_main_job(tmp_path / "poor", 0.96, (0.999, 0.98)))
    assert [check["holds"] for check in poor] == [False, False]
    unknown = told(made_main_job(tmp_path / "unknown", 0.98, (0.999, None)))  # it did not vary there
    assert [check["holds"] for check in unknown] == [None, True]


def test_a_single_bad_point_is_found(tmp_path):
    """Of values as recorded: seeds start at other heights, which zeroed runs would not tell."""
    made = Records(tmp_path)
    good = audited([one_run("rl", s, 0.75, 0.4, spread=0.0, noise=0.0, start=0.3 * s) for s in SEEDS], 0.999)
    for frame in good:
        frame.loc[7, "gold_rubric_correlation"] = 0.95
    at = [[frame[name][7] for frame in good] for name in ("gold", "rubric")]
    lowest = (0.95 + np.cov(*at, ddof=0)[0, 1]) / np.sqrt((1 + np.var(at[0])) * (1 + np.var(at[1])))
    made.manifest("rm_size", "rm_params", [made.cell(good)], golds=[])
    (on_samples, along), kl = told(made.store), np.mean([frame["kl"][7] for frame in good])
    assert along["holds"] is False and (along["kl"], along["lowest"]) == pytest.approx((kl, lowest))
    assert on_samples["verdict"] == faithfulness.NOT_RECORDED


def test_older_records_are_not_judged(tmp_path):
    """Neither the columns nor the list of golds: no failure, and the words say why."""
    made = Records(tmp_path)
    made.manifest("rm_size", "rm_params", [made.cell([one_run("rl", s, 0.75, 0.4) for s in SEEDS])])
    assert (
        "golds" not in made.store.manifest("rm_size") and older.current(made.store.manifest("rm_size"))["golds"] == []
    )
    for check in told(made.store):
        assert (
            check["holds"] is None and check["verdict"] == "not recorded" and check["found"].startswith("not recorded")
        )


# --- what a poor gold hides -------------------------------------------------------------------------


def made_gold_quality(root):
    """All rise by 0.2 d up to d = 3. Behind it the rubric falls by 0.5 d, and golds by 0, 0.3 d and 0.5 d."""
    made, cells, golds = Records(root), [], {"poor": (0.8, 0.7), "fair": (0.95, 0.9), "good": (0.999, 0.99)}
    shape = lambda rise, fall: lambda d: rise * np.minimum(d, 3.0) - fall * np.maximum(d - 3.0, 0.0)
    manifest = {"poor": "100 steps", "fair": "1,000 steps", "good": "8,000 steps"}
    codes = {name: gold_cell(made, fidelity) for name, fidelity in golds.items()}
    for name, falls_by in (("poor", 0.0), ("fair", 0.3), ("good", 0.5)):
        for form in ("rl", "bon"):
            runs_of = [one_run(form, s, 0.75, 0.4, 4.5 + 0.1 * s, rm_params=15_000) for s in SEEDS]
            for s, run in enumerate(runs_of):
                ripple = 0.01 * np.random.default_rng(s).standard_normal(len(run))
                run["gold"] = shape(0.2, falls_by)(run["d"]) + ripple - ripple[0]
            runs_of = audited(runs_of, golds[name][0], shape(0.2, 0.5))
            made.upstream = {"gold": codes[name]} if form == "rl" else {"pool": codes[name]}
            cells.append(made.cell(runs_of) | {"variant": name})
    about = dict(variants=manifest, panels="rm_params", study="gold_quality", golds=list(codes.values()))
    made.manifest("gold_quality", "variant", cells, **about)
    return made.store


def test_what_golds_hide_of_a_fall_is_found(tmp_path):
    """Up to 15 nats, d = 3.87, the rubric falls by 0.5 x 0.87 = 0.436; the poor gold by 0, the fair by 0.262."""
    store = made_gold_quality(tmp_path / "runs")
    _, found = analyse.analyse(store, "gold_quality", None, tmp_path / "out")
    golds = {(e["key"], e["method"]): e for e in found.summary["golds"]}
    for name, fall in (("poor", 0.0), ("fair", 0.262), ("good", 0.436)):
        e = golds[name, "rl"]
        measured = [e[key] for key in ("fall_at_gold", "fall_at_rubric", "fall_at_hidden", "overstated_at", "at_kl")]
        assert measured == pytest.approx([fall, 0.436, 0.436 - fall, 0.436 - fall, 15.0], abs=0.03), name
    assert golds["poor", "rl"]["fall_hidden"] > 0.45 and golds["poor", "bon"]["fall_hidden"] < 0.05
    assert golds["poor", "rl"]["reference"] == 0.8 and golds["poor", "rl"]["disturbed"] == 0.7
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    held = {check["name"]: check["holds"] for check in summary["checks"]}
    assert held == dict.fromkeys(
        ("poorest_gold_hides_15000", "best_gold_hides_nothing_15000", "poorer_golds_hide_more_15000"), True
    )
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == {"hidden_fall", "gold", "faithfulness"}
