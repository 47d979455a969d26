"""Every shaping rule keeps shapes and order; each by hand; a rule of the user's own is found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import named
from gold_sim.rewards import shaping

REWARDS = jax.random.normal(jax.random.key(0), (3, 50))
REFERENCES = jax.random.normal(jax.random.key(1), (3, 8))
LENGTHS = jnp.full((3, 50), 0.5)


@pytest.mark.parametrize("name", list(named.SHAPINGS))
def test_properties_of_every_rule(name):
    given = shaping.find(name)(REWARDS, REFERENCES, LENGTHS, 1.0)
    assert given.shape == REWARDS.shape and np.isfinite(given).all()
    order = np.argsort(REWARDS, axis=1)
    rising = np.diff(np.take_along_axis(np.asarray(given), order, axis=1), axis=1)
    assert np.all(rising > -1e-6)  # at equal length a better response is never worse
    if name not in ("none", "length_penalty"):  # a shift of a prompt's rewards and references alike changes nothing
        offset = jnp.array([[3.0], [-1.0], [0.5]])
        assert np.allclose(
            shaping.find(name)(REWARDS + offset, REFERENCES + offset, LENGTHS, 1.0) - given, 0, atol=1e-5
        ) or (name == "clip")


def test_rules_by_hand():
    """References (0, 2), reward 1: par at slope log 3 = (3 / 4 + 1 / 4) / 2; at 3, both as far above as 1 is from 0."""
    rewards, references, lengths = jnp.array([[1.0, 9.0]]), jnp.array([[0.0, 2.0]]), jnp.array([[0.5, 1.0]])
    rule = lambda name, coef: shaping.find(name)(rewards, references, lengths, coef)
    assert np.allclose(rule("none", 1.0), rewards)
    assert np.allclose(rule("par", np.log(3))[0, 0], 0.5)
    assert np.allclose(rule("clip", 1.0), [[1.0, 2.0]])  # mean 1, standard deviation 1
    assert np.allclose(rule("log_sigmoid", 1.0)[0, 0], -np.log(1 + np.exp(0.7)))  # q85 of (0, 2) is 1.7
    assert np.allclose(rule("length_penalty", 2.0), [[0.0, 7.0]])


def test_bounded_rules_stop_rising():
    far = jnp.array([[50.0, 100.0]])
    for name in ("par", "clip", "log_sigmoid"):
        given = shaping.find(name)(far, REFERENCES[:1], LENGTHS[:1, :2], 1.0)
        assert np.allclose(given[0, 0], given[0, 1], atol=1e-5), name


def test_names_in_settings_are_those_of_the_rules():
    assert [shaping.find(name) for name in named.SHAPINGS] == [getattr(shaping, name) for name in named.SHAPINGS]


def test_a_rule_of_the_users_own(tmp_path, monkeypatch):
    assert shaping.find("gold_sim.rewards.shaping:par") is shaping.par
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(3)")
    (tmp_path / "breaks.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    for bad, word in (
        ("squash", "allowed are none, par"),
        ("no_such_module:f", "no_such_module"),
        ("math:f", "math:f"),
        ("os:system", "rewards, references, lengths, coef"),
        ("leaves_at_once:f", "SystemExit: 3"),
        ("breaks:f", "ZeroDivisionError"),
    ):
        with pytest.raises(ValueError, match=word):
            shaping.find(bad)
