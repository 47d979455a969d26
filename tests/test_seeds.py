"""Worlds and seeds of the command line: blocks are cells of their own, analysis joins them, claims say when to stop."""

import types

import numpy as np
import pytest

from analysis import others, records, runs
from analysis.__main__ import main as analyse
from analysis.claims import power, verdicts
from experiments import deciding, extent, running
from experiments import plan as planning
from experiments.__main__ import main
from experiments.plan import plan
from gold_sim.laws import decisions
from gold_sim.store import Store
from gold_sim.store.files import WORLD_SEEDS, settings_key
from tests.made_records import Records, one_run

WORDS = ("rm_size", "--preset", "smoke")


def asked(name="rm_size", preset="cpu", texts=(), world=None, seeds=None):
    return extent.asked(name, preset, texts, world, seeds)


# --- what is asked ----------------------------------------------------------------------------


def test_a_block_that_is_added_recomputes_nothing_and_shares_no_seed():
    one, two, both = (plan("rm_size", "cpu", {}, blocks)[1] for blocks in ([1], [2], [1, 2]))
    codes = lambda cells: {cell.fingerprint for cell in cells}
    assert codes(one) == codes(plan("rm_size", "cpu", {})[1]) and codes(both) == codes(one) | codes(two)
    assert {c.config.seeds for c in one} == {tuple(range(200, 208))} and not codes(one) & codes(two)
    assert {c.config.seeds for c in two} == {tuple(range(208, 216))}
    own = plan("rm_size", "cpu", {"seeds": (7, 8, 20)}, [3])[1]
    assert {c.config.seeds for c in own} == {(35, 36, 48)}  # 14 apart: 7 to 20, 21 to 34, 35 to 48


def test_what_does_not_depend_on_seeds_is_in_one_block():
    """Best-of-n against gold itself: the pool alone decides it."""
    places = planning.places_of(planning.catalogue.find("negative_controls", "cpu"), "cpu", {}, 2)
    blocks = [place["block"] for place in places.values()]
    assert blocks.count(1) == blocks.count(2) + 1


def test_seeds_are_whole_blocks_or_fewer_than_one():
    assert asked(seeds=16) == extent.Extent({}, 2)
    assert asked(seeds=3) == extent.Extent({"seeds": (200, 201, 202)}, 1)
    assert asked(seeds=4, texts=["seeds=[7,8]"]).blocks == 2
    for wrong in (12, 0, -8):
        with pytest.raises(ValueError, match=rf"--seeds {wrong}: rm_size has blocks of 8; allowed are 8, 16, 24, \.\."):
            asked(seeds=wrong)


def test_a_world_is_the_seed_of_all_that_seeds_do_not_draw():
    assert asked(world=201).overrides == dict.fromkeys(WORLD_SEEDS, 201)
    assert asked(world=200) == asked()  # the preset's own
    config = plan("rm_size", "cpu", asked(world=201).overrides)[1][0].config
    assert {config.world.seed, config.reference.seed, config.gold.seed, config.best_of_n.seed} == {201}
    with pytest.raises(ValueError, match="worlds sets world.seed, .* itself; it is run without --world"):
        asked("worlds", world=3)
    with pytest.raises(ValueError, match="--set gold.seed=3 and --set gold.seed=201: a field is set once"):
        asked(world=201, texts=["gold.seed=3"])


# --- manifests --------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A store in which the cells of two blocks count as stored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "missing", lambda *_: [])
    there = {c.fingerprint for c in plan("rm_size", "smoke", {}, [1, 2])[2]}
    monkeypatch.setattr(planning, "missing", lambda _, curves, every: [c for c in every if c.fingerprint not in there])
    return Store("runs")


def test_a_study_has_all_blocks_that_the_store_has_whole(stored, capsys):
    assert main(WORDS) == 0
    manifest = stored.manifest("rm_size")
    assert [cell["block"] for cell in manifest["cells"]].count(2) * 2 == len(manifest["cells"])
    assert manifest["seeds_a_block"] == 2 and manifest["world"] == 200
    assert "reward-model size: 4 seeds" in capsys.readouterr().out
    assert main([*WORDS, "--seeds", "6"]) == 0 and max(c["block"] for c in stored.manifest("rm_size")["cells"]) == 3
    assert len(set(stored.manifest("rm_size")["reward_models"])) == 6


def test_another_world_has_a_manifest_of_its_own_that_the_same_words_find(stored, capsys):
    assert main([*WORDS, "--world", "7"]) == 0 and main([*WORDS, "--seeds", "1"]) == 0 and main(WORDS) == 0
    out = capsys.readouterr().out
    assert "python -m analysis rm_size --preset smoke --world 7\n" in out
    assert "python -m analysis rm_size --preset smoke --seeds 1\n" in out
    key = settings_key(dict.fromkeys(WORLD_SEEDS, 7))
    find = lambda world=None, seeds=None: others.found(stored, "rm_size", None, [], world, seeds)
    assert (find(7), find(200), find(), find(8)[:8]) == (f"rm_size+{key}", "rm_size", "rm_size", "rm_size+")
    assert stored.manifest(find(seeds=1))["overrides"] == {"seeds": [200]} and find(seeds=4) == "rm_size"
    assert "rm_size --preset smoke --world 7" in others.commands(stored, "rm_size")
    assert others.worlds(stored, "rm_size") == ["rm_size", f"rm_size+{key}"]  # not that of one seed


# --- analysis ---------------------------------------------------------------------------------


def blocks_of_runs(root, blocks: int, effects=(0.0, 0.4)):
    """An experiment of two variants, RL on blocks of four seeds, as a store has it."""
    made, cells = Records(root), []
    for block in range(1, blocks + 1):
        for key, effect in zip(("plain", "better"), effects, strict=True):
            frames = [one_run("rl", 4 * block + s, 0.75 + effect, 0.3, 5.0, spread=0.01) for s in range(4)]
            cells.append(made.cell(frames) | {"variant": key, "block": block})
    variants = {"plain": "plain", "better": "better"}
    made.manifest("twice", "variant", cells, variants=variants, panels=None, study="variants", seeds_a_block=4)
    return made.store


def test_analysis_sees_one_study_with_more_seeds(tmp_path, capsys):
    store = blocks_of_runs(tmp_path / "runs", 2)
    read = records.load(store, "twice")
    both = [runs.along(read, key, "rl") for key in ("plain", "better")]
    assert [gold.shape[0] for gold in both] == [8, 8]
    first = runs.along(records.load(store, "twice", seeds=4), "plain", "rl")
    np.testing.assert_array_equal(first, both[0][:4])
    words = ["twice", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    assert analyse([*words, "--seeds", "8"]) == 0
    assert "seeds 4, 5, 6, 7, 8, 9, 10, 11" in read.provenance["records"]
    assert analyse([*words, "--seeds", "6"]) == 2
    assert "--seeds 6: the records have blocks of seeds; allowed are 4, 8" in capsys.readouterr().err


# --- until decided ----------------------------------------------------------------------------


def standing(verdict, wanted=None):
    return power.Standing("claim", "claim", verdict, "found", 8, wanted)


def blocks_run(monkeypatch, tells, most=64) -> tuple[list, list]:
    """(blocks of every round, what was printed) of a study of blocks of eight.  tells: seeds -> its claims."""
    rounds, said = [], []
    monkeypatch.setattr(deciding, "standings", lambda *_: tells(8 * rounds[-1]))
    monkeypatch.setattr("builtins.print", lambda *text, **_: said.append(" ".join(map(str, text))))
    run = lambda extents: rounds.append(extents["rm_size"].blocks)
    deciding.until_decided({"rm_size": extent.Extent({}, 1)}, "cpu", most, None, run)
    return rounds, said


def test_blocks_are_added_until_claims_are_decided_at_a_look(monkeypatch):
    """Decided with 24 seeds, which is no look: the study stops at 32."""
    tells = lambda seeds: [standing("holds"), standing("fails" if seeds >= 24 else "open", 30)]
    rounds, said = blocks_run(monkeypatch, tells)
    assert rounds == [1, 2, 3, 4]
    assert said[0] == "rm_size, 8 seeds: 1 decided, 1 open: claim (about 30 seeds)" and said[-1] == "rm_size: decided"


def test_blocks_end_with_the_budget_or_without_hope(monkeypatch):
    rounds, said = blocks_run(monkeypatch, lambda _: [standing("open", 100)], most=24)
    assert rounds == [1, 2] and said[-1] == "rm_size: each open claim wants more than 48 seeds, and 24 are allowed"
    rounds, said = blocks_run(monkeypatch, lambda _: [standing("open", 40)], most=24)
    assert rounds == [1, 2, 3] and said[-1] == "rm_size: 24 seeds at most, so 1 stay open"
    rounds, said = blocks_run(monkeypatch, lambda _: [standing("not tested")])
    assert rounds == [1] and said == ["rm_size: no claim that seeds decide; 8 seeds"]


def test_options_of_until_decided_that_do_not_go_together(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, line in (
        (["--most-seeds", "16"], "--most-seeds 16: with --until-decided alone"),
        (["--until-decided", "--most-seeds", "65"], "allowed from 1 to 64, the last look of the rule"),
        (["--until-decided", "--dry-run"], "--dry-run: not with --until-decided"),
    ):
        assert main([*WORDS, *words]) == 2 and line in capsys.readouterr().err


def test_power_counts_the_seeds_that_a_family_shares(tmp_path, capsys, monkeypatch):
    """Two open claims: each is judged at half the level, so it wants more seeds than alone."""
    store = blocks_of_runs(tmp_path / "runs", 2)
    values = 0.3 * np.random.default_rng(1).standard_normal(8) + 0.1

    def judged(read, level=decisions.LEVEL):
        d = decisions.decide(decisions.Evidence(values), level)
        one = verdicts.Judged("open", "found", d.seeds, d.seeds_wanted, d)
        return {"first": one, "second": one}

    claims = tuple(types.SimpleNamespace(name=name, kind="claim") for name in ("first", "second"))
    monkeypatch.setattr(power.catalogue, "CLAIMS", claims)
    monkeypatch.setattr(verdicts, "judged", judged)
    (one, other) = power.standings(records.load(store, "twice"))
    alone = decisions.seeds_wanted(decisions.Evidence(values), "above")
    assert one.wanted == other.wanted > alone and one.open and not one.decided
    assert analyse(["power", "twice", "--runs", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert str(one.wanted) in out and "a block has 4" in out and "second" in out


def test_a_run_until_decided_ends_with_one_manifest_and_computes_each_block_once(tmp_path, capsys):
    """At toy size, to the end of a budget of two blocks; the same command then has nothing to do."""
    words = ["heavy_tails", "--preset", "smoke", "--runs", str(tmp_path), "--workers", "1"]
    words += [f"--set={text}" for text in ("gold.steps=2", "reference.steps=2", "best_of_n.num_samples=16")]
    until = [*words, "--until-decided", "--most-seeds", "4"]
    assert main(until) == 0
    out = capsys.readouterr().out
    assert "heavy_tails, 2 seeds: " in out and "heavy_tails, 4 seeds: " in out
    assert len(list((tmp_path / "experiments").glob("*.json"))) == 1
    made = {folder: folder.stat().st_mtime_ns for folder in tmp_path.glob("best_of_n/*")}
    assert len(made) == 2 * 4  # two kinds of error, two rules, two blocks
    assert main(until) == 0 and " 0 to do" in capsys.readouterr().out
    assert {folder: folder.stat().st_mtime_ns for folder in tmp_path.glob("best_of_n/*")} == made
    assert sorted(Store(tmp_path).table()["seed"].unique()) == [200, 201, 202, 203]
