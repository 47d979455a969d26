"""Comparisons of variants: differences by hand; claims that hold, that fail, and that have no records."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import analyse, curves, judgement, older, records, runs
from analysis.__main__ import main
from analysis.claims import catalogue, verdicts
from analysis.paper import venue
from analysis.studies import behaviours, length, negative_controls, regret
from analysis.templates import variants
from experiments.catalogue import find
from gold_sim.store import Store, StoreError, archive
from tests.made_records import SEEDS, Records, one_run

OF_ENSEMBLES = [c.name for c in catalogue.CLAIMS if c.experiment == "ensembles"]
BETAS = {"single": 0.42, "mean": 0.38, "worst_case": 0.30, "mean_minus_0_5_variance": 0.31}  # of made RL curves
LABELS = {"single": "single", "mean": "mean", "worst_case": "worst", "mean_minus_0_5_variance": "less spread"}


def made_ensembles(root, betas, labels=LABELS, world_seed=0, **about):
    """An experiment `ensembles` of made curves: RL at 25 % label noise by variant; best-of-n higher for ensembles.

    about: what its manifest says beside.
    """
    made, cells = Records(root), []
    for name, beta in betas.items():
        own = dict(spread=0.01, label_noise=0.25, world_seed=world_seed)
        rl = [one_run("rl", s, 0.75, beta, 5.0, proxy_spread=0.2, **own) for s in range(8)]
        for run in rl:
            top = (2.5 if name == "mean" else 1.05) + 0.02 * run["seed"].iloc[0]
            run["proxy_spread"] = 0.2 * np.linspace(1.0, top, len(run))
        alpha = 0.6 if name == "single" else 0.75
        bon = [one_run("bon", s, alpha, 0.1, 2.7, **own) for s in range(8)]
        cells += [made.cell(runs) | {"variant": name} for runs in (rl, bon)]
    about = {"panels": "label_noise", "variants": {key: labels[key] for key in betas}} | about
    made.manifest("ensembles", "variant", cells, **about)
    return made.store


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    return records.load(made_ensembles(tmp_path_factory.mktemp("made"), BETAS), "ensembles")


def test_variants_keep_the_order_they_were_declared_in(read):
    assert list(read.curves["variant"].cat.categories) == list(BETAS)
    (panel, form), gs = next(iter(variants.split(read).items()))
    assert panel == "label noise 0.25" and [g.key for g in gs] == list(BETAS)


def test_steps_behind_the_largest_kl_are_drawn_on_where_something_happens(read):
    """Runs that only go out have none; the same runs walked back have all their points again, to the second."""
    g = variants.split(read)["label noise 0.25", "rl"][0]
    assert variants.way_back(g) is None
    turned = tuple(pd.concat([run, run.iloc[-2:0:-1]]) for run in g.runs)
    kl, gold = variants.way_back(dataclasses.replace(g, runs=turned))
    out = np.stack([run["d"].to_numpy() for run in g.runs]).mean(0)
    np.testing.assert_allclose(kl, out[:0:-1] ** 2)
    np.testing.assert_allclose(gold, np.stack([run["gold"].to_numpy() for run in g.runs]).mean(0)[:0:-1])


def test_course_and_differences_by_hand(read):
    """Against the runs themselves: peak of the mean, its end, and the difference of ends seed by seed."""
    gs = {g.key: g for g in variants.split(read)["label noise 0.25", "rl"]}
    gold = {}
    for name in ("single", "mean"):
        runs = read.curves[(read.curves["variant"] == name) & (read.curves["stage"] == "policy_gradient")]
        wide = runs.pivot(index="control", columns="seed", values="gold").to_numpy().T
        gold[name] = wide - wide[:, :1]
    told = variants.course(gs["single"])
    at = gold["single"].mean(0).argmax()
    assert told["gold_peak"] == pytest.approx(gold["single"][:, at].mean())
    assert told["gold_final"] == pytest.approx(gold["single"][:, -1].mean())
    assert told["drop"] == pytest.approx(told["gold_peak"] - told["gold_final"])
    gain = variants.against(gs["single"], gs["mean"])
    paired = gold["mean"][:, -1] - gold["single"][:, -1]
    assert gain["final_gain"] == pytest.approx(paired.mean())
    assert gain["final_gain_ci"] == pytest.approx(curves.interval(paired))
    assert np.isnan(variants.against(gs["single"], gs["single"])["final_gain"])


def test_claims_follow_the_records(read, tmp_path):
    """Made so that they hold; so that they fail; and so that there is hardly a fall to reduce."""
    found = verdicts.checks_of(read)
    assert {name: c["verdict"] for name, c in found.items()} == dict.fromkeys(OF_ENSEMBLES, "holds"), found
    on_falls = ("ensembles_fall_less", "pessimism_beats_the_mean")
    for betas, verdict in (((0.45, 0.49, 0.53, 0.55), "fails"), ((0.2, 0.1, 0.1, 0.1), "no premise")):
        betas = dict(zip(BETAS, betas, strict=True))
        found = verdicts.checks_of(records.load(made_ensembles(tmp_path / verdict, betas), "ensembles"))
        assert [found[name]["verdict"] for name in on_falls] == [verdict] * 2


def test_rl_s_fall_is_said_of_conservative_rules_alone(tmp_path):
    """A mean that falls more than the single model is none against them."""
    read = records.load(made_ensembles(tmp_path, BETAS | {"mean": 0.5}), "ensembles")
    assert verdicts.checks_of(read)["ensembles_fall_less"]["verdict"] == "holds"


def test_claims_are_told_in_one_table_whatever_was_run(tmp_path, capsys):
    made_ensembles(tmp_path, BETAS)
    assert main(["claims", "--runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.count(" python -m experiments") == len(catalogue.CLAIMS) - len(OF_ENSEMBLES)
    count = lambda kind: sum(claim.kind == kind for claim in catalogue.CLAIMS)
    assert f"{count('claim')} claims: 4 holds, {count('claim') - 4} not run; " in said
    assert f"{count('premise')} premises: 2 holds, {count('premise') - 2} not run" in said
    assert (tmp_path / "out" / "claims" / "claims.md").read_text().count("| holds |") == 6


@pytest.mark.parametrize("claim", catalogue.CLAIMS, ids=lambda claim: claim.name)
def test_every_claims_keys_are_in_its_experiment(claim):
    """At the preset that claims are written for. That it asks for no others is tested in tests/test_archive.py."""
    assert claim.lacks(find(claim.experiment, "cpu").variants) == []
    assert [one.name for one in catalogue.CLAIMS].count(claim.name) == 1


def test_a_claim_whose_runs_are_not_found_is_an_error_and_never_open(tmp_path, capsys):
    """At preset cpu as declared; at another preset, or under --set, it is not tested, and says whose doing that is.

    Nor is it where the records' own declaration lacks the variant: they are older than the claim.
    """
    betas = {key: BETAS[key] for key in ("single", "mean", "worst_case")}
    lacking = "ensembles_fall_less", "pessimism_beats_the_mean", "ensembles_gain_in_bon", "spread_grows"
    command = lambda root: ["claims", "--runs", str(root), "--out", str(tmp_path / "out")]
    made_ensembles(tmp_path / "cpu", betas, preset="cpu", variants=LABELS)
    assert main(command(tmp_path / "cpu")) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == (
        "analysis: claim ensembles_fall_less: no variant mean_minus_0_5_variance; there are single, mean, worst_case "
        "in the records of ensembles"
    )
    assert said.err.count("\n") == len(lacking) and "not run, 4 error; " in said.out
    for root, about, reason in (
        ("smoke", {"preset": "smoke"}, "preset smoke"),
        ("set", {"preset": "cpu", "overrides": {"ensemble.rule": "mean"}}, "--set ensemble.rule"),
        ("older", {"preset": "cpu"}, "these records were declared without mean_minus_0_5_variance"),
    ):
        made_ensembles(tmp_path / root, betas, **about)
        assert main(command(tmp_path / root)) == 0
        said = capsys.readouterr().out
        assert said.count(f"({reason})") == len(lacking)
        assert "claims: 4 not tested, " in said


def cut_short(store) -> Path:
    """A table of curves of which a crash left half."""
    path = sorted(store.root.glob("*/*/curves.parquet"))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_damage_is_told_with_what_mends_it_and_not_taken_for_absence(tmp_path, capsys):
    """Whatever a second store has; nothing is written. What mends it does: then it is cells that are missing."""
    path = cut_short(made_ensembles(tmp_path / "damaged", BETAS, overrides={"seeds": [0, 1, 2, 3]}))
    made_ensembles(tmp_path / "whole", BETAS)
    roots = [str(tmp_path / name) for name in ("damaged", "whole")]
    command = ["claims", "--runs", *roots, "--out", str(tmp_path / "out")]
    assert main(command) == 2
    said = capsys.readouterr().err
    mending = "to mend it: python -m experiments ensembles --preset smoke --set 'seeds=[0, 1, 2, 3]' "
    mending += f"--runs {roots[0]} --repair, which sets it aside"
    assert said.count("\n") == 1 and f"{path}: corrupt" in said and mending in said
    shutil.rmtree(path.parent)
    assert main(command) == 2
    said = capsys.readouterr().err
    assert (
        "1 cells asked for are not there: 0000000000000002; to mend it: python -m experiments ensembles" in said
        and "--repair" in said
    )
    manifest = tmp_path / "damaged" / "experiments" / "ensembles-smoke.json"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"{manifest}: corrupt" in said and f"experiments ensembles --preset smoke --runs {roots[0]} --repair" in said
    assert not (tmp_path / "out").exists()
    assert main([*command[:2], roots[1], *command[-2:]]) == 0


def test_damage_of_an_unpacked_archive_is_mended_by_unpacking(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "cache"))
    archive.pack([made_ensembles(tmp_path / "runs", BETAS)], tmp_path / "study.tar.xz")
    store = Store(archive.unpack(tmp_path / "study.tar.xz"))
    cut_short(store)
    with pytest.raises(StoreError, match="to mend it: the same command again, which unpacks the archive anew"):
        records.load(store, "ensembles")
    assert records.load(Store(archive.unpack(tmp_path / "study.tar.xz")), "ensembles").variants == list(BETAS)


def test_what_reads_another_experiment_tells_its_damage(tmp_path):
    """Controls beside a report, RL of rm_size beside regret, the paper's figures."""
    made = Records(tmp_path)
    run = [one_run("rl", s, 0.6, 0.3, reward="gold") for s in SEEDS]
    for name in ("negative_controls", "rm_size"):
        made.manifest(name, "rm_params", [made.cell(run)])
    data = records.load(made.store, "rm_size")
    assert negative_controls.beside(made.store, "smoke") and regret.rl_groups(data)[0]
    assert regret.rl_groups(dataclasses.replace(data, store=Store(tmp_path / "none")))[1][0].endswith(
        "python -m experiments rm_size --preset smoke"
    )
    assert negative_controls.beside(Store(tmp_path / "none"), "smoke") == {}
    for path in made.store.root.glob("*/*/curves.parquet"):
        path.write_bytes(b"")
    for reading in (
        lambda: negative_controls.beside(made.store, "smoke"),
        lambda: regret.rl_groups(data),
        lambda: venue.make(made.store, tmp_path / "out"),
    ):
        with pytest.raises(StoreError, match="corrupt, 0 bytes.*to mend it"):
            reading()


def test_runs_that_diverged_are_not_tested_and_no_error(tmp_path):
    """The warning says what was left out; the experiment has the variant."""
    read = records.load(made_ensembles(tmp_path, BETAS, preset="cpu"), "ensembles")
    left = read.curves[read.curves["variant"] != "worst_case"]
    without = dataclasses.replace(read, curves=left, warnings=["left out 62 of 300 points"])
    found = verdicts.checks_of(without)["ensembles_fall_less"]
    assert found["verdict"] == "not tested" and "left out 62" in found["found"]


def test_variants_that_differ_in_nothing_are_told(tmp_path):
    """Else a comparison of the two reads as evidence that what sets them apart does nothing."""
    made = Records(tmp_path)
    run = lambda beta: one_run("rl", 0, 0.7, beta)
    cells = [made.cell([run(beta)]) | {"variant": key} for key, beta in (("a", 0.2), ("b", 0.2), ("c", 0.3))]
    made.manifest("ensembles", "variant", cells, panels="label_noise", variants=dict(a="one", b="the other", c="third"))
    assert records.load(made.store, "ensembles").alike() == [
        "the same curves of policy_gradient, to the last digit: one; the other"
    ]


def test_labels_are_what_is_read_and_keys_what_is_compared(read, tmp_path):
    """Reworded labels change no claim, and stand in tables and texts; summary.json has both."""
    found = verdicts.checks_of(read)["ensembles_fall_less"]["found"]
    assert "less spread" in found and "mean_minus" not in found
    _, findings = analyse.analyse(read.store, "ensembles", None, tmp_path)
    assert findings.tables[0].frame["variant"].unique().tolist() == list(LABELS.values())
    entries = json.loads((tmp_path / "summary.json").read_text())["variants"]
    assert {entry["key"]: entry["label"] for entry in entries} == LABELS


def test_manifests_with_labels_alone_are_read_by_keys(tmp_path):
    """As code before December 2026 wrote them: variants a list of labels, and no study."""
    labels = {"single": "single", "mean": "mean", "worst_case": "worst case"}
    labels["mean_minus_0_5_variance"] = "mean - 0.5 variance"
    store = made_ensembles(tmp_path, BETAS, labels)
    today = store.manifest("ensembles")
    cells = [cell | {"variant": labels[cell["variant"]]} for cell in today["cells"]]
    older = {key: value for key, value in today.items() if key != "study"} | {"variants": list(labels.values())}
    store.write_manifest("ensembles-smoke", older | {"cells": cells})
    read = records.load(store, "ensembles")
    assert read.labels == labels and read.variants == list(labels)
    found = verdicts.checks_of(read)
    assert {name: c["verdict"] for name, c in found.items()} == dict.fromkeys(OF_ENSEMBLES, "holds")


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("RLOO", "rloo"),
        ("best-of-n", "best_of_n"),
        ("mean - 0.5 variance", "mean_minus_0_5_variance"),
        ("flips 25 %", "flips_25"),
        ("accept, retry, abandon", "accept_retry_abandon"),
        ("chi2 0.0001", "chi2_0_0001"),
    ],
)
def test_keys_of_older_labels_by_hand(label, key):
    assert older.key_of(label) == key


def test_older_manifests_name_their_study():
    manifest = {"experiment": "ppo_penalty", "cells": []}
    assert older.current(manifest)["study"] == "kl_penalty"
    assert older.current(manifest | {"experiment": "annotators"})["study"] == "variants"
    assert older.current(manifest | {"study": "own"})["study"] == "own"


def test_what_is_past_the_peak_by_hand():
    """Means over 5 points, of fewer at the ends: 0 4 4 4 0 0 0 0 give 8/3, 3, 12/5, 12/5, 8/5, ..: highest at 1.

    The highest value alone, a stray 5 near the end, is no peak.
    """
    gold = np.array([[0.0, 4, 4, 4, 0, 0, 0, 0], [0.0, 4, 4, 4, 0, 0, 5, 0]])
    assert behaviours.past_peak(gold).tolist() == [[False, False, *[True] * 6]] * 2


def test_a_signal_is_judged_by_what_it_adds_to_kl_on_other_seeds():
    """Gold turns at a KL of each seed's own, which the signal knows and KL does not; noise adds nothing."""
    rng = np.random.default_rng(0)
    events, kl, signal, noise = [], [], [], []
    for turn in rng.uniform(20, 60, 12):
        at = np.arange(80.0)
        events.append(at > turn)
        kl.append(at[:, None])
        signal.append(np.column_stack([at, at - turn + rng.standard_normal(80)]))
        noise.append(np.column_stack([at, rng.standard_normal(80)]))
    alone, knows, nothing = (behaviours.areas(x, events)[0] for x in (kl, signal, noise))
    assert knows.min() > 0.98 and (nothing - alone).mean() < 0.01
    alike = [np.concatenate([x, x]) for x in kl]
    mixed = [np.concatenate([e, np.roll(e, 20)]) for e in events]
    assert (behaviours.areas(alike, mixed)[0] < 1).all()


def test_area_under_the_roc_curve_by_hand():
    """Events at 3 and 1 against 2 and 0: of four pairs three are ranked right; a tie counts half."""
    event = np.array([True, False, True, False])
    assert behaviours.area(np.array([3.0, 2.0, 1.0, 0.0]), event) == 0.75
    assert behaviours.area(np.array([3.0, 1.0, 1.0, 0.0]), event) == 0.875
    assert np.isnan(behaviours.area(np.arange(4.0), np.ones(4, bool)))


def test_share_of_length_by_hand():
    """The proxy gains 1 and then 4, its lengths 1 and then 2: all of it, then half; at the start there is no gain."""
    share = length.share_of_length(np.array([[2.0, 3.0, 6.0]]), np.array([[5.0, 6.0, 7.0]]))
    assert np.isnan(share[0, 0]) and share[0, 1:].tolist() == [1.0, 0.5]


def made_length(of_length, follows, beta):
    """Records of `length`: ODIN's lengths earn a tenth of its gain, the single proxy's `of_length` of it."""
    parts, models = [], []
    for name, share, correlation, b in (("single", of_length, 0.8, 0.3), ("odin", 0.1, follows, beta)):
        one = {"cell": name, "seed": range(8), "world_seed": 0, "gold_seed": 0}
        models.append(pd.DataFrame(one | {"length_correlation": correlation + 0.001 * np.arange(8)}))
        for form in ("rl", "bon"):
            runs = [one_run(form, s, 0.75, b / (1 + 2 * (form == "bon")), 5.0, spread=0.01) for s in range(8)]
            runs = [run.assign(cell=name + form, rm_cell=name, variant=name) for run in runs]
            parts += [run.assign(proxy_of_length=0.3 + share * run["proxy"]) for run in runs]
    table = pd.concat(parts)
    table["variant"] = pd.Categorical(table["variant"], ["single", "odin"], ordered=True)
    about = {"experiment": "length", "axis": "variant", "preset": "cpu"}
    return records.Data(about, table, pd.concat(models), [], {}, None)


def test_claims_on_length_follow_the_records():
    found = lambda *made: [check["verdict"] for check in verdicts.checks_of(made_length(*made)).values()]
    assert found(0.8, 0.02, 0.1) == ["holds", "holds"]  # ODIN's beta is lower: it keeps more gold
    assert found(0.4, 0.2, 0.1) == ["fails", "fails"]
    assert found(0.8, 0.02, 0.5) == ["fails", "holds"]
    assert found(np.nan, np.nan, 0.1) == ["not tested", "not tested"]  # stored before the columns were


def test_the_share_of_length_is_said_of_rl_alone():
    """In best-of-n lengths earn nothing, which nobody denied. The share that is told is 80 % of RL's gain."""
    read = made_length(0.8, 0.02, 0.1)
    of_bon = read.curves["stage"] == "best_of_n"
    read.curves.loc[of_bon, "proxy_of_length"] = 0.3
    found = verdicts.checks_of(read)["gain_is_length"]
    assert found["verdict"] == "holds" and "a share of 80%" in found["found"]


def made_behaviours(rises, beta=0.42):
    """Runs whose gold falls: variant -> by how much sycophancy changes along them."""
    runs = [one_run("rl", s, 0.75, beta, 5.0, spread=0.01).assign(cell=n, variant=n) for n in rises for s in range(8)]
    runs = [run.assign(sycophancy=0.5 + rises[run["cell"][0]] * np.linspace(0, 1, len(run))) for run in runs]
    table = pd.concat(runs)
    table["variant"] = pd.Categorical(table["variant"], list(rises), ordered=True)
    about = {"experiment": "behaviours", "axis": "variant", "preset": "smoke"}
    return records.Data(about, table, pd.DataFrame(), [], {}, None)


def test_a_behaviour_is_looked_at_where_gold_falls_and_only_there():
    """From gold's peak to 15 nats; where gold does not fall there is nothing to say."""
    told = lambda *made: verdicts.checks_of(made_behaviours(*made))["sycophancy"]["verdict"]
    assert told({"small_proxy": 0.9, "few_pairs": 0.9}) == "holds"
    assert told({"small_proxy": 0.9, "few_pairs": -0.9}) == "fails"
    assert told({"small_proxy": 0.9, "few_pairs": 0.9}, 0.2) == "no premise"


def test_an_empty_store_is_told(tmp_path):
    assert {one["verdict"] for one in verdicts.entries([Store(tmp_path)])} == {verdicts.NOT_RUN}


def test_intervals_decide_and_lack_of_evidence_is_open():
    assert judgement.surely((0.9, 1.1), 0.8) is True and judgement.surely((0.9, 1.1), 1.2) is False
    assert judgement.surely((-3, 5)) is None


def test_runs_are_compared_at_the_controls_that_all_have():
    """The second run is measured at a step more, and goes on for longer."""
    tables = [
        pd.DataFrame({"control": [0, 10, 20], "gold": [0.0, 1.0, 2.0]}),
        pd.DataFrame({"control": [0, 10, 12, 20, 30], "gold": [0.0, 3.0, 9.0, 4.0, 5.0]}),
    ]
    assert runs.together(tables, "gold").tolist() == [[0, 1, 2], [0, 3, 4]]
