"""The frontier: its equilibria are the exact tilts of an enumerable world, and its rows say which points they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim.config import Config, FrontierConfig, OptimiserConfig
from gold_sim.optimisation import driver, exact
from gold_sim.optimisation import policy_gradient as pg
from gold_sim.settings import replace
from gold_sim.stages import graph
from gold_sim.stages.policy_gradient import beyond, equilibria, leaps, points_of, tells
from tests.conftest import driven
from tests.test_policy_gradient import config_of, task_of

COEFS = (1.0, 0.5, 0.25, 0.12)


@pytest.mark.parametrize("name, rule", [("rloo", "adam"), ("rloo", "muon"), ("ppo", "adam")])
def test_the_frontier_is_that_of_the_exact_tilts(tiny, name, rule):
    """At each coefficient KL, proxy and gold of pi_ref exp(r / coef) / Z, whose KL goes from 0.3 to 3 nats.

    Gold is the proxy and an error drawn for each response, so it is no function of the proxy.
    """
    gold = tiny.rewards + jax.random.normal(jax.random.key(4), tiny.rewards.shape)
    plateaus = dict(steps=100 * len(COEFS), evaluations=len(COEFS), plateau=100, learning_rate=1e-2)
    task = task_of(tiny, config_of(name, **plateaus, update_rule=rule), jnp.array(COEFS))

    def of(log_p):
        means = (jnp.mean(exact.expected(log_p, values)) for values in (tiny.rewards, gold))
        return jnp.stack([jnp.mean(exact.kl(log_p, tiny.ref)), *means])

    at = lambda state: of(exact.response_log_probs(tiny.net, state.params, tiny.prompts, tiny.responses))
    _, curve = driven(task, tiny.reward, at)
    tilts = np.stack([of(exact.tilt(tiny.ref, tiny.rewards, c)) for c in COEFS])
    print(name, rule, "KL, proxy, gold:", curve[1:].round(3).tolist(), "exact:", tilts.round(3).tolist())
    assert tilts[0, 0] < 0.5 and tilts[-1, 0] > 1.5 and np.all(np.diff(tilts[:, 0]) > 0.2)
    np.testing.assert_allclose(curve[1:, 0], tilts[:, 0], rtol=0.05)
    np.testing.assert_allclose(curve[1:, 1:], tilts[:, 1:], atol=0.04)


def test_equilibria_by_hand():
    """Two plateaus, each measured twice: KL 0, then 1 and 2, then 4 and 3.  (2 - 1) / 2 = 0.5;  (3 - 4) / 3 = -1/3."""
    plateaus = FrontierConfig(kl_coefs=(0.2, 0.1), steps=6, evaluations=3)
    one, other = equilibria(plateaus, np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 1.0], [4.0, 2.0], [3.0, 2.0]]))
    assert one["kl_coef"].tolist() == other["kl_coef"].tolist() == [0.2, 0.2, 0.2, 0.1, 0.1]
    np.testing.assert_allclose(one["kl_drift"], [0.0, np.nan, 0.5, np.nan, -1 / 3])
    np.testing.assert_allclose(other["kl_drift"], [0.0, np.nan, 0.0, np.nan, 0.0])
    (diverged,) = equilibria(plateaus, np.array([[0.0], [np.nan]]))
    assert diverged["kl_coef"].tolist() == [0.2, 0.2] and np.isnan(diverged["kl_drift"][1])


def test_a_run_ends_before_its_first_measurement_beyond_a_kl():
    """KL of three runs: the first passes 5 at its third point and comes back, the second never; the third diverges."""
    kl = np.array([[0.0, 0.0, 0.0], [3.0, 1.0, np.nan], [6.0, 2.0, np.nan], [4.0, 4.9, np.nan]])
    until, taken = OptimiserConfig(until_kl=5.0), np.full((3, 4), range(0, 40, 10)).T
    assert points_of(until, taken, kl).T.tolist() == [2 * [True] + 2 * [False], 4 * [True], 4 * [True]]
    assert beyond(until, kl[2]).tolist() == [True, False, False]
    assert points_of(OptimiserConfig(), taken, kl).all()
    assert points_of(until, taken, kl + 5).T.tolist()[0] == [True, False, False, False]


def test_points_of_steps_taken_again_are_of_the_runs_that_leaped():
    """Measured every 2 steps. From step 2 to 4 the first run leaps from 3 nats beyond 9; the second is at 6 before."""
    until = OptimiserConfig(steps=6, evaluations=3, until_kl=9.0, retrace_below=5.0)
    kl = np.array([[0, 0, 0], [3, 6, 1], [8, 8, 1], [10, 10, 2], [12, 12, 3]])
    taken = np.full((3, 5), [0, 2, 3, 4, 6]).T
    assert points_of(until, taken, kl).T.astype(int).tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 1, 1]]
    assert leaps(until, kl[1], kl[3]).tolist() == [True, False, False]
    assert not leaps(OptimiserConfig(until_kl=9.0), kl[1], kl[3]).any()


class Kept:
    """Checkpoints of a run: what was kept before it, and what is kept of it."""

    def __init__(self, *kept):
        self.kept, self.saved = kept, []

    def resume(self, states, points):
        return self.kept or (states, points, 0)

    def keep(self, states, points, done):
        self.saved.append(done)


def test_runs_are_driven_until_a_point_is_enough():
    """One step adds 1: of points 0, 2, 4, 6, 8 the one of 4 is enough, also if it was the last that was kept."""
    programs = driver.Programs(lambda state: state, None, lambda state, batch: state + 1)
    drive = lambda kept: driver.drive(programs, 0, np.float64, 8, 4, checkpoints=kept, enough=lambda at: at >= 4)
    for kept in (Kept(), Kept(4, [np.float64(0), np.float64(2), np.float64(4)], 2)):
        last, curve = drive(kept)
        assert last == 4 and curve.tolist() == [0, 2, 4]


def test_only_points_that_are_read_are_measured():
    """One step adds 1: of two plateaus of three parts, six steps each, the first parts are passed over."""
    programs = driver.Programs(lambda state: state, None, lambda state, batch: state + 1)
    config = Config(frontier=FrontierConfig(kl_coefs=(0.2, 0.1), steps=6, evaluations=3)).on_plateaus.optimiser
    wanted = functools.partial(tells, config)
    drive = lambda kept: driver.drive(programs, 0, float, 12, 6, checkpoints=kept, wanted=wanted)
    whole = Kept()
    assert drive(whole)[1].tolist() == [0, 4, 6, 10, 12] and whole.saved == [2, 3, 5]
    assert (
        drive(Kept(4, [0.0, 4.0], 2))[1].tolist() == drive(Kept(6, [0.0, 4.0, 6.0], 3))[1].tolist() == [0, 4, 6, 10, 12]
    )
    parts = lambda count: [
        tells(config_of("rloo", plateau=20, steps=40, evaluations=2 * count), n + 1) for n in range(count)
    ]
    assert parts(2) == [True, True] and parts(5) == 3 * [False] + 2 * [True]
    assert all(tells(OptimiserConfig(), number) for number in range(1, 31))


def test_steps_over_which_a_run_leaps_are_taken_again():
    """One step adds 1, and 4 leaps to 6: there each step is measured; what is resumed leads there too."""
    add = jax.jit(lambda state, batch: state + 1, donate_argnums=0)  # what is gone back to must be a copy
    programs = driver.Programs(lambda state: jnp.zeros(()), None, add)
    leaped = lambda before, after: (before, after) == (4, 6)
    drive = lambda kept: driver.drive(programs, jnp.zeros(()), float, 8, 4, checkpoints=kept, leaped=leaped)
    whole = Kept()
    last, curve = drive(whole)
    assert last == 8 and curve.tolist() == [0, 2, 4, 5, 6, 8]
    assert whole.saved == [1, 2, 3]
    for states, points, done in ((2.0, [0.0, 2.0], 1), (6.0, [0.0, 2.0, 4.0, 5.0, 6.0], 3)):
        last, curve = drive(Kept(jnp.float32(states), points, done))
        assert last == 8 and curve.tolist() == [0, 2, 4, 5, 6, 8]


def test_the_rate_falls_along_each_plateau():
    """Three steps of two updates each: 6/6, 5/6, .. 1/6 of the rate, and again."""
    config = config_of("ppo", plateau=3, steps=6, evaluations=2, epochs=2, learning_rate=0.06)
    rates = [float(pg._on_plateaus(config)(count)) for count in range(12)]
    np.testing.assert_allclose(rates, 2 * [0.06, 0.05, 0.04, 0.03, 0.02, 0.01], rtol=1e-6)


def test_the_frontiers_rule_is_the_one_that_updates(tiny):
    """Of two steps down the same gradient, Muon's is another than Adam's."""
    on_plateaus = lambda rule: Config(frontier=FrontierConfig(update_rule=rule)).on_plateaus.optimiser
    task = lambda rule: task_of(tiny, on_plateaus(rule), jnp.array(COEFS))
    ones = jax.tree.map(np.ones_like, task("adam").ref_params)
    descend = lambda rule: pg.descend(on_plateaus(rule), pg.init(task(rule)), ones).params["blocks"]["up"]["kernel"]
    state = jax.jit(descend, static_argnums=0)
    assert on_plateaus("muon").update_rule == "muon" and np.abs(state("muon") - state("adam")).max() > 1e-4


def test_the_path_is_no_part_of_the_frontier():
    """Steps and rate of `optimiser` are of the path; its batch is of both. A frontier's own settings move it alone."""
    code = lambda stage, changes: graph.cell(stage, replace(Config(), changes)).fingerprint
    moved = lambda stage, **changes: (
        code(stage, {k.replace("__", "."): v for k, v in changes.items()}) != code(stage, {})
    )
    assert moved("policy_gradient", optimiser__steps=600) and not moved("frontier", optimiser__steps=600)
    assert moved("policy_gradient", kl_coefs=(0.1,)) and not moved("frontier", kl_coefs=(0.1,))
    assert moved("policy_gradient", optimiser__prompts=64) and moved("frontier", optimiser__prompts=64)
    for change in (dict(frontier__steps=30), dict(frontier__kl_coefs=(0.2, 0.1)), dict(frontier__learning_rate=1e-3)):
        assert moved("frontier", **change) and not moved("policy_gradient", **change)


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"frontier.kl_coefs": (0.1, 0.2)}, r"kl_coefs=\(0.1, 0.2\): s.d. a nat, each below the one before it"),
        ({"frontier.steps": 10}, "evaluations=3 must divide steps=10"),
        ({"optimiser.name": "distillation"}, "name='distillation': a frontier is of rloo, "),
        ({"rounds.count": 2}, "rounds.count=2: a frontier has one round"),
    ],
)
def test_bad_settings_are_one_line(changes, says):
    with pytest.raises(ValueError, match=says):
        graph.cell("frontier", replace(Config(), changes))
