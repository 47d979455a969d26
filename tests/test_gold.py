"""Gold's zero and unit, what is told of its fidelity, and the samples that it is raised on."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.presets import PRESETS
from gold_sim import policy
from gold_sim.config import Config, GoldConfig, PolicyConfig, WorldConfig
from gold_sim.language.topics import world
from gold_sim.named import imported
from gold_sim.networks import pieces
from gold_sim.rewards import gold
from gold_sim.settings import replace
from gold_sim.stages import graph, pipeline
from gold_sim.store import Store
from tests.conftest import init, judge_init

LANGUAGE, REFERENCE = world.make(WorldConfig(response_len=6)), PolicyConfig(width=8, depth=1)
NET = gold.network(LANGUAGE, GoldConfig(width=8, depth=1))


@pytest.fixture(scope="module")
def params():
    return init(policy.network(LANGUAGE, REFERENCE), jax.random.key(0)), judge_init(NET, jax.random.key(1))


@pytest.fixture
def samples(params, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 64)
    return gold.reference_samples(LANGUAGE, REFERENCE, params[0], jax.random.key(2), 200, 4)


def test_every_chunk_and_every_pair_of_responses_is_drawn_anew(params, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 64)
    prompts = np.repeat(np.asarray(LANGUAGE.prompts(jax.random.key(3), 1)), 128, 0)
    net = policy.network(LANGUAGE, REFERENCE)
    drawn = policy.responses(net, params[0], prompts, 4, 6, jax.random.key(4))
    assert drawn.shape == (128, 4, 6)
    assert (drawn[:64] != drawn[64:]).any(-1).mean() > 0.5 and (drawn[:, :2] != drawn[:, 2:]).any(-1).mean() > 0.5


def test_zero_and_unit_are_those_of_reference_samples(params, samples):
    judge = gold.standardised(LANGUAGE, NET, params[1], *samples)
    both = jax.jit(lambda p, r: (gold.scores(NET, judge, p, r), gold.rubric(LANGUAGE, judge, p, r)))(*samples)
    for scores in both:
        assert np.mean(scores) == pytest.approx(0, abs=1e-4) and np.std(scores) == pytest.approx(1, abs=1e-4)
    wanted = np.asarray(jax.jit(LANGUAGE.rubric)(*samples))
    assert np.corrcoef(wanted.ravel(), np.ravel(both[1]))[0, 1] == pytest.approx(1) and np.std(wanted) > 0.01


def test_fidelity_on_reference_samples_is_of_the_samples_as_they_are(params, samples):
    told = gold.fidelity(LANGUAGE, NET, params[1], jax.random.key(5), *samples)
    raw, rubric = gold.raw_of(NET, params[1], *samples), jax.jit(LANGUAGE.rubric)(*samples)
    assert list(told) == ["reference", *gold.OFF_REFERENCE] and len(set(told.values())) == len(told)
    assert told["reference"] == pytest.approx(np.corrcoef(raw.ravel(), np.ravel(rubric))[0, 1], abs=1e-5)


def test_a_step_draws_each_prompt_and_each_disturbance_alike_and_disturbs_whatever_the_kind():
    """80,000 responses of 20,000 draws: rates within 5 s.d."""
    batch = jax.jit(lambda key: gold._batch(GoldConfig(batch=80_000, off_reference=0.3), key, 10))
    pick, how, off = map(np.asarray, batch(jax.random.key(5)))
    kinds = len(gold.OFF_REFERENCE)
    assert np.abs(np.bincount(pick, minlength=10) / 20_000 - 0.1).max() < 5 * (0.1 * 0.9 / 20_000) ** 0.5
    assert np.abs(np.bincount(how.ravel(), minlength=kinds) * kinds / 80_000 - 1).max() < 5 * (kinds / 80_000) ** 0.5
    assert len(np.bincount(pick)) == 10 and len(np.bincount(how.ravel())) == kinds
    for kind in range(kinds):
        assert off[how == kind].mean() == pytest.approx(0.3, abs=5 * (0.21 * kinds / 80_000) ** 0.5)
    assert gold._pick(np.float32([0, 0.49, 0.5, 1 - 2**-24]), 3, 5).tolist() == [3, 3, 4, 4]


def test_criteria_are_targets_beside_the_rubric_in_units_of_reference_samples(samples):
    """Weights: 1 for the rubric, and `criteria` for all criteria together."""
    of = jax.jit(lambda p, r: gold._targets(LANGUAGE, GoldConfig(criteria=0.5), p, r).of(p, r))
    each, rubric = np.asarray(of(*samples)), np.asarray(jax.jit(LANGUAGE.rubric)(*samples))
    weight = jax.jit(lambda p, r: gold._targets(LANGUAGE, GoldConfig(criteria=0.5), p, r).weight)(*samples)
    assert each.shape == (200, 4, 19) and weight == pytest.approx([1.0, *[0.5 / 18] * 18])
    np.testing.assert_allclose(each.mean((0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(each.std((0, 1)), 1, atol=1e-4)
    assert np.corrcoef(each[..., 0].ravel(), rubric.ravel())[0, 1] == pytest.approx(1)


def test_marks_are_targets_of_the_block_before_the_last(samples):
    """In units of reference tokens; with them alone to learn, that block tells them and the last knows nothing."""
    of = jax.jit(lambda p, r: gold._marks(LANGUAGE, GoldConfig(marks=0.5), p, r).of(p, r))
    each = np.asarray(of(*samples))
    assert each.shape == (*samples[1].shape, 4)
    np.testing.assert_allclose(each.std((0, 1, 2)), 1, atol=1e-4)
    marked = lambda marks: gold.train(
        *(LANGUAGE, GoldConfig(width=8, depth=2, steps=200, batch=64, marks=marks, learning_rate=1e-2)),
        *(jax.random.key(9), *samples),
    )
    (plain, losses), (told, with_marks) = marked(0.0), marked(20.0)
    assert set(plain) == set(told) == set(NET.init(jax.random.key(0)))
    excess = np.asarray(with_marks - losses) / 20
    assert excess[0] == pytest.approx(float(np.mean(np.square(each))), rel=0.3)
    assert excess[-20:].mean() < 0.85 * excess[0]


def test_gold_starts_with_the_trunk_of_a_language_model_and_ends_with_one_head(samples):
    """At a rate of nearly 0 the trunk stays; at an ordinary one everything moves."""
    own = GoldConfig(width=8, depth=1, steps=3, batch=16, criteria=1.0, learning_rate=1e-12)
    model = dataclasses.replace(REFERENCE, steps=2, batch=16)
    shown = policy.demonstrated(LANGUAGE, model.batch, model.steps, jax.random.key(7))
    trunk, _ = policy.fitted(LANGUAGE, model, jax.random.key(6), *shown)
    still, _ = gold.train(LANGUAGE, own, jax.random.key(8), *samples, trunk)
    moved, losses = gold.train(
        LANGUAGE, dataclasses.replace(own, learning_rate=1e-2), jax.random.key(8), *samples, trunk
    )
    assert still["head"]["kernel"].shape == (8, 1) and set(still) == set(NET.init(jax.random.key(0)))
    far = lambda tree: [
        float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (tree, trunk_of)), strict=True)
    ]
    trunk_of = {name: value for name, value in trunk.items() if name in still and name != "head"}
    without_head = lambda params: {name: value for name, value in params.items() if name != "head"}
    assert max(far(without_head(still))) < 1e-6 and min(far(without_head(moved))) > 0 and len(losses) == 3


def test_the_stage_of_gold_starts_with_the_trunk_that_a_stage_before_it_stored(tmp_path):
    """At a rate of nearly 0 gold is that trunk, but for its head. Golds that differ in steps share it."""
    at = PRESETS["smoke"] | {"gold.pretraining": 3, "gold.steps": 2, "gold.learning_rate": 1e-12}
    cell_of = lambda **changes: graph.cell("gold", replace(Config(), at | changes))
    trunk_of = lambda **changes: dict(cell_of(**changes).upstream)["trunk"]
    cell, store = cell_of(), Store(tmp_path)
    path = [pipeline.run(store, one) for one in (*cell.all_upstream(), cell)][-1]
    judge = store.arrays(path, "arrays")["params"]
    stored = store.arrays(store.find("gold_trunk", trunk_of().fingerprint), "arrays")
    zeros = imported(trunk_of().declared.blank)(pipeline.Inputs(store, cell).language, cell.config)
    assert jax.tree.map(np.shape, stored) == jax.tree.map(np.shape, zeros)
    kept = {name: value for name, value in stored["params"].items() if name in judge and name != "head"}
    assert set(kept) == set(judge) - {"head"}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), kept, {name: judge[name] for name in kept})
    codes = [trunk_of(**{f"gold.{name}": 9}).fingerprint for name in ("criteria", "steps", "pretraining", "seed")]
    assert codes[0] == codes[1] == trunk_of().fingerprint and len(set(codes)) == 3
