"""Gold's zero and unit, what is told of its fidelity, and the samples that it is raised on."""

import jax
import numpy as np
import pytest

from gold_sim import policy
from gold_sim.config import GoldConfig, PolicyConfig, WorldConfig
from gold_sim.language.topics import world
from gold_sim.networks import pieces
from gold_sim.rewards import gold
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
    pick, how, off = jax.jit(lambda key: gold._batch(GoldConfig(batch=80_000, off_reference=0.3), key, 10))(
        jax.random.key(5)
    )
    kinds = len(gold.OFF_REFERENCE)
    assert np.abs(np.bincount(pick, minlength=10) / 20_000 - 0.1).max() < 5 * (0.1 * 0.9 / 20_000) ** 0.5
    assert np.abs(np.bincount(how.ravel(), minlength=kinds) * kinds / 80_000 - 1).max() < 5 * (kinds / 80_000) ** 0.5
    assert len(np.bincount(pick)) == 10 and len(np.bincount(how.ravel())) == kinds
    for kind in range(kinds):
        assert off[how == kind].mean() == pytest.approx(0.3, abs=5 * (0.21 * kinds / 80_000) ** 0.5)
    assert gold._pick(np.float32([0, 0.49, 0.5, 1 - 2**-24]), 3, 5).tolist() == [3, 3, 4, 4]
