"""Reward models trained until the loss of other pairs no longer falls, and the trunks that they start with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.presets import PRESETS
from gold_sim import preferences
from gold_sim.config import Config, RewardModelConfig
from gold_sim.named import imported
from gold_sim.rewards import convergence, reward_model, reward_network
from gold_sim.settings import replace
from gold_sim.stages import graph, pipeline
from gold_sim.stages import reward_model as stage
from gold_sim.stages.inputs import Inputs
from gold_sim.store import Store

CONVERGED = {"reward_model.train_until": "converged", "reward_model.epochs": 12, "reward_model.patience": 2}
PRETRAINED = {"reward_model.start": "pretrained", "reward_model.members": 2}


def course_of(losses, patience: int, most: int) -> convergence.Course:
    """The course after these losses, or as many of them as are evaluated before it is done."""
    course = convergence.begin()
    for loss in losses:
        course = convergence.after(course, jnp.float32(loss), patience, 1e-3, most)
        if course.done:
            break
    return jax.tree.map(np.asarray, course)


@pytest.mark.parametrize(
    ("losses", "patience", "most", "wanted"),
    [  # wanted: evaluations taken, the best of them, whether the loss fell no more
        ([5, 4, 4.5, 4.2, 3], 2, 10, (4, 2, True)),  # the 3rd and the 4th are no falls; the 3 is never seen
        ([5, 4, 4.5, 3, 3, 3.1], 2, 10, (6, 4, True)),  # patience begins anew at the 3; an equal loss is no fall
        ([5, 4, 3, 2], 2, 3, (3, 3, False)),  # the passes are over
        ([5, 4, 4], 2, 3, (3, 2, False)),  # they are over before patience is
        ([np.nan, 4, 4], 2, 10, (3, 1, True)),  # a run that diverges at once keeps what diverged
        ([5, 4, np.nan, np.nan], 2, 10, (4, 2, True)),  # one that diverges later keeps what did not
        ([5, 4.9995, 4.9992], 2, 10, (3, 3, True)),  # less than 0.001 is no fall, but the lowest is kept
        ([5, 4.9995, 4.9989, 4.9985, 4.998], 2, 10, (5, 5, True)),  # two small ones are, from 5 to 4.9989
    ],
)
def test_a_course_by_hand(losses, patience, most, wanted):
    course = course_of(losses, patience, most)
    assert (course.taken, course.best, course.converged) == wanted and course.done
    assert np.array_equal(course.best_loss, np.float32(losses[wanted[1] - 1]), equal_nan=True)


def test_the_rate_rises_and_stays():
    assert np.allclose(convergence.rates(28, 4), [29 / 30, 1, 1, 1]) and np.isclose(convergence.rates(0, 1)[0], 1 / 30)


def test_the_mean_is_of_about_the_last_tenth_of_the_steps():
    """Weights of the recursion for t = 1000 by hand: each step's own weight 11 / (t + 10), times what later ones left.

    The first step has weight 11 / 11 = 1, so what was there before does not count. Of p_t = t the mean is
    t - (t - 1) / 12: at 1000 it lies 83.25 steps back, as the sum of k (k + 1) .. (k + 10) gives in closed form.
    """
    mean = jnp.float32(1e6)
    mean = jax.lax.scan(lambda m, t: (convergence.averaged(m, t + 1.0, t), None), mean, jnp.arange(1000.0))[0]
    assert float(mean) == pytest.approx(1000 - 999 / 12, rel=1e-4)


def test_intervals_run_through_whole_passes_without_a_gap():
    """Passes of 5 steps, evaluations every 3: steps 0 1 2 | 3 4, 0 | 1 2 3 | 4 of the second pass is left over."""
    of_pass = lambda epoch: 10 * epoch + np.arange(5)[:, None]
    found = list(convergence.intervals(convergence.Spacing(5, 3, 10 // 3), of_pass))
    assert [part[:, 0].tolist() for part in found] == [[0, 1, 2], [3, 4, 10], [11, 12, 13]]
    space = lambda **more: reward_model.spacing(RewardModelConfig(epochs=4, train_until="converged", **more), 1000)
    assert space() == (15, 15, 4)  # 1000 // 64 steps a pass, of which there are fewer than evaluate_every
    assert space(evaluate_every=10, num_pairs=700) == (10, 10, 4) and space(evaluate_every=6) == (15, 6, 10)
    assert space(members=2, diversity="disjoint") == (7, 7, 4)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


def cell_of(changes):
    preset = PRESETS["smoke"] | {"preferences.num_pairs": 320, "preferences.held_out": 0.4, "reward_model.width": 8}
    return graph.cell("reward_model", replace(Config(), preset | {"reward_model.learning_rate": 3e-2} | changes))


def run(store, cell) -> tuple[dict, object]:
    """(arrays, rows of the table) of a cell, which is computed with all that it reads."""
    for one in [*cell.all_upstream(), cell]:
        path = pipeline.run(store, one)
    return store.arrays(path, "arrays"), store.table("reward_models", {cell.fingerprint})


def test_a_seed_stops_where_it_would_stop_alone(store):
    """Beside two different seeds it has the same bits; trained anew by `fit` it is the same but for rounding."""
    (one, rows), (other, others) = (run(store, cell_of(CONVERGED | {"seeds": (200, s)})) for s in (201, 202))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), one, other)
    ran = {row.seed: row.epochs_run for rows in (rows, others) for row in rows.itertuples()}
    assert len(set(ran.values())) > 1, "all stop together: nothing is frozen"
    cell = cell_of(CONVERGED | {"seeds": (200, 201)})
    own, config = Inputs(store, cell), cell.config
    data = preferences.split(config.preferences, preferences.Preferences(**own.arrays("preferences")))
    for i, row in enumerate(rows.itertuples()):
        model, metrics = reward_model.fit(own.language, config.reward_model, *data, row.seed)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-5), one, model._asdict())
        for name in ("steps", "epochs_run", "converged", "stop_loss", "train_loss", "val_loss"):
            assert getattr(row, name) == pytest.approx(float(metrics[name]), abs=1e-5), name


def test_the_best_parameters_are_kept_and_measured_on_pairs_that_did_not_choose_them(store):
    """Of the stopping half the kept parameters have the lowest loss of the course; all else is of the other half."""
    cell = cell_of(CONVERGED | {"seeds": (200, 201)})
    (arrays, rows), own, config = run(store, cell), Inputs(store, cell), cell.config.reward_model
    _, held_out = preferences.split(cell.config.preferences, preferences.Preferences(**own.arrays("preferences")))
    stopping, reported = (jax.tree.map(lambda a, p=p: a[p], held_out) for p in (slice(64), slice(64, None)))
    assert len(held_out.labels) == 128
    net, params = reward_network.make(own.language, config), jax.tree.map(lambda a: jnp.asarray(a[0]), arrays["params"])
    loss = jax.jit(lambda pairs: reward_model._mean_loss(net, config, params, pairs))
    assert rows.stop_loss[0] == pytest.approx(float(loss(stopping)), abs=1e-5)
    assert rows.val_loss[0] == pytest.approx(float(loss(reported)), abs=1e-5)
    assert abs(rows.stop_loss[0] - rows.val_loss[0]) > 1e-3
    epochs = run(store, cell_of({}))[1]
    assert set(epochs.train_until) == {"epochs"} and epochs[["converged", "stop_loss"]].isna().to_numpy().all()
    assert set(epochs.steps) == {192 // 32} and set(epochs.epochs_run) == {1.0}


@pytest.mark.parametrize("trunk", ["shared", "by_seed", "own"])
def test_reward_models_start_with_their_trunk_to_the_bit(store, trunk):
    cell = cell_of(PRETRAINED | {"reward_model.trunk": trunk})
    for one in cell.all_upstream():
        pipeline.run(store, one)
    own, config = Inputs(store, cell), cell.config
    stored = own.arrays("trunk")["params"]
    blank = imported(own.cell("trunk").declared.blank)(own.language, config)["params"]
    assert jax.tree.map(jnp.shape, stored) == jax.tree.map(jnp.shape, blank)
    at, member = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    runs = [jnp.asarray(a, jnp.int32) for a in (np.asarray(config.seeds)[at], member)]
    fitting = stage.Fitting(own.language, config.reward_model, apart=False)
    begun = fitting.begin(runs, stage._trunks(own, config.reward_model, at, member)).params
    place = {"shared": [0, 0, 0, 0], "by_seed": [0, 0, 1, 1], "own": [0, 1, 2, 3]}[trunk]
    assert len(stored["token"]) == max(place) + 1
    for name in ("token", "position", "blocks", "norm"):
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[np.array(place)]), begun[name], stored[name])
    assert len(np.unique(np.asarray(stored["token"]), axis=0)) == max(place) + 1  # no two trunks alike
    heads = begun["head"]["kernel"]
    assert heads.shape == (4, 8, 1) and len(np.unique(np.asarray(heads), axis=0)) == 4  # heads are fresh


def test_the_trunk_of_the_reference_policy(store):
    same = {"reward_model.start": "reference", "reward_model.width": PRESETS["smoke"]["reference.width"]}
    cell = cell_of(same)
    rows = run(store, cell)[1]
    assert set(rows.start) == {"reference"} and set(rows.trunk) == {"none"}
    own, rm = Inputs(store, cell), cell.config.reward_model
    trunks = stage._trunks(own, rm, np.zeros(2, int), np.zeros(2, int))
    params = reward_model.start(own.language, rm, 200, 0, jax.tree.map(lambda a: a[0], trunks)).params
    policy = store.arrays(store.find("reference", own.cell("trunk").fingerprint), "arrays")["params"]
    jax.tree.map(
        np.testing.assert_array_equal,
        {k: params[k] for k in ("token", "blocks")},
        {k: policy[k] for k in ("token", "blocks")},
    )


def test_pretraining_sees_neither_gold_nor_pairs_and_each_draw_is_its_own(store):
    """A trunk depends on its seed and member alone: seed 201 of (201, 202) is seed 201 of (200, 201)."""
    cells = [cell_of(PRETRAINED | {"reward_model.trunk": "by_seed", "seeds": s}) for s in ((200, 201), (201, 202))]
    trunks = [dict(cell.upstream)["trunk"] for cell in cells]
    assert all(not trunk.upstream for trunk in trunks)
    one, other = (store.arrays(pipeline.run(store, trunk), "arrays")["params"] for trunk in trunks)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b[0]), one, other)
    same = {"gold.seed": 7, "preferences.seed": 8, "reward_model.learning_rate": 1e-3}
    code = lambda changes: dict(cell_of(PRETRAINED | changes).upstream)["trunk"].fingerprint
    assert code(same) == code({}) != code({"reward_model.width": 12}) and code({"seeds": (1, 2)}) == code({})
    assert code({"reward_model.trunk": "own"}) != code({"reward_model.trunk": "own", "seeds": (1, 2)})
