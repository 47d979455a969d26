"""The cost model: operations by hand, rates and peaks recovered from made ones, unaffected by resumed cells."""

import dataclasses
import datetime
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.engine import costs
from gold_sim import policy
from gold_sim.config import Config, OptimiserConfig
from gold_sim.language.topics import world
from gold_sim.networks.network import Network
from gold_sim.rewards import gold, reward_network
from gold_sim.settings import replace, to_dict
from gold_sim.stages import sizes, spent
from gold_sim.stages.declared import STAGES, labels, policies


def work(cell):
    return STAGES[cell.stage].work(cell.config)


def program(cell):
    return STAGES[cell.stage].program_key(cell.config)


def test_a_response_by_hand():
    """Width 4, responses of 16 and a quarter of their prompt of 6: 17.5 tokens, which attend to 6 + 8 on average.

    A block: 17.5 (12 * 16 + 14 * 8) multiply-adds; a head of 3: 16 * 12. A reward model's last block: 17.5 * 2 * 16 for
    keys and values, a sixth of a block's, 10 * 16 for the last token, which attends to 22 (2 * 4 each); a head of 1: 4.
    """
    found = sizes.written(Config(), Network(4, 1, 9, 3, 22))
    assert found.flops == 2 * (17.5 * (192 + 112) + 16 * 12) and found.tokens == 17.5
    found = sizes.judged(Config(), Network(4, 2, 9, 1, 22))
    assert found.flops == 2 * (17.5 * (192 + 112) + 4 + 560 + 160 + 176)
    assert found.tokens == pytest.approx(17.5 * (1 + 1 / 6))


def test_networks_of_declarations_are_those_of_stages():
    """Declarations import no jax, so they count the tokens of a language without making it."""
    c = replace(Config(), {"world.topics": 3, "world.hazards": 5, "policy.width": 32, "gold.depth": 4})
    language = world.make(c.world)
    assert sizes.policy(c) == policy.network(language, c.policy)
    assert sizes.reference(c) == policy.network(language, c.reference)
    assert sizes.gold(c) == gold.network(language, c.gold).net
    assert sizes.proxy(c) == reward_network.make(language, c.reward_model).net
    assert labels.RAISED_ON == gold.NUM_REFERENCE * gold.GROUP


def test_work_follows_what_is_run():
    cell = lambda **changes: costs.Stored("policy_gradient", replace(Config(), changes))
    base = work(cell())
    twice = work(cell(**{"optimiser.steps": 600, "optimiser.evaluations": 30}))
    more = work(cell(**{"kl_coefs": (0.0, 0.1)}))
    assert base.flops < twice.flops < 2 * base.flops  # measuring is not doubled
    assert more.flops > 2 * base.flops  # two runs a seed, and the reference policy is read
    rm = lambda **changes: work(costs.Stored("reward_model", replace(Config(), changes)))
    assert rm(**{"reward_model.members": 5}).flops == pytest.approx(5 * rm().flops)


def test_runs_that_end_at_a_kl_are_expected_to_take_fewer_steps():
    """30 nats take 0.087 / rate steps at the full rate: 48 at 0.0018. A rate that rises for 200 steps gives 49 of these
    in its first 140 steps."""
    taken = lambda **settings: policies._taken(
        OptimiserConfig(learning_rate=0.0018, warmup_steps=200, evaluations=10, **settings)
    )
    assert taken(steps=400) == 1.0
    assert taken(steps=400, until_kl=30.0) == pytest.approx(140 / 400, rel=0.02)
    assert taken(steps=100, until_kl=30.0) == 1.0
    assert taken(steps=400, until_kl=90.0) == pytest.approx((145 + 100) / 400, rel=0.01)
    cell = lambda **changes: work(costs.Stored("policy_gradient", replace(Config(), changes)))
    ended = {"optimiser.until_kl": 3.0, "optimiser.learning_rate": 0.1}
    assert cell(**ended).flops < cell().flops
    assert cell(**ended, kl_coefs=(0.1,)).flops == cell(kl_coefs=(0.1,)).flops  # a penalty holds it below
    held = {"optimiser.constraint": "adaptive_kl"}
    assert cell(**ended, **held).flops == cell(**held).flops


def test_rates_are_recovered_and_resumed_cells_do_not_matter():
    """New programs take 4 s and 3 s a block to compile, known ones 1 s and 1 s a block, and those known in part are in
    the middle; what is spared is told."""
    rng, rows = np.random.default_rng(0), []
    for width in (4, 8, 16, 32, 64):
        for steps in (30, 150, 600):
            for known in (costs.NEW, costs.PARTLY, costs.COMPILED):
                changes = {"policy.width": width, "policy.depth": 1 + steps % 4, "optimiser.steps": steps}
                cell = costs.Stored("policy_gradient", replace(Config(), changes))
                w, n = work(cell), STAGES[cell.stage].blocks(cell.config)
                new, own = 4 + 3 * n, (4 + 3 * n, 2.5 + 2 * n, 1 + n)[known]
                compiling = own * rng.uniform(0.95, 1.05)
                running = (2 + 0.03 * w.flops / 1e9 + 0.5 * w.tokens / 1e6) * rng.uniform(0.95, 1.05)
                held, spared = 1e9 + 2 * STAGES[cell.stage].holds(cell.config), new - own
                rows.append(costs.Measured(cell, running + compiling, compiling, spared, known, held))
    truth = np.array([m.seconds for m in rows])
    rows[6] = dataclasses.replace(rows[6], seconds=1.0, compiling=0.5, peak_bytes=None)  # tells of its last seconds
    found = costs.fit(rows)
    ratio = np.array([found.seconds(m.cell, m.known) for m in rows]) / truth
    assert np.all(np.abs(np.log(ratio)) < np.log(1.3)), ratio
    new, partly, compiled = (found.seconds(rows[0].cell, known) for known in range(3))
    assert new - compiled == pytest.approx(3 + 2 * 4, rel=0.3) and new - partly == pytest.approx(1.5 + 4, rel=0.3)
    peaks = [m.peak_bytes for m in rows if m.peak_bytes]
    assert np.allclose([found.bytes(m.cell) for m in rows if m.peak_bytes], peaks, rtol=0.05)
    held_out = costs.left_out(rows)["policy_gradient"]
    off = np.abs(held_out - 1) > 0.3
    assert len(held_out) == 45 and off[6] and off.sum() == 1
    assert costs.fit(rows[:2]) == costs.Model({}, {}, {}, {}, {})  # too few to tell


def test_a_program_is_compiled_once():
    """Seeds, weights and coefficients are arguments; shapes, counts and constants are not."""
    cell = lambda stage="policy_gradient", **changes: costs.Stored(stage, replace(Config(), changes))
    same = [{}, {"seeds": (7, 8, 9, 10)}, {"preferences.label_noise": 0.2}, {"reward_model.learning_rate": 0.1}]
    other = [{"seeds": (1, 2)}, {"reward_model.width": 8}, {"kl_coefs": (0.1,)}, {"optimiser.learning_rate": 0.1}]
    assert len({program(cell(**changes)) for changes in same}) == 1
    assert len({program(cell(**changes)) for changes in other}) == 4
    assert len({program(cell(stage)) for stage in STAGES}) == len(STAGES)
    one, two = (costs.Measured(cell(**changes), 9.0, 1.0, 0.0, costs.NEW, None) for changes in (same[0], other[1]))
    made = costs.Model(*({"policy_gradient": pair} for pair in ((1, 0, 0), (1, 1), (5, 1), (3, 1), (2, 1))))
    assert STAGES["policy_gradient"].blocks(Config()) == 2 + 1
    told = costs.seconds(made, [cell(), cell(**same[1]), cell(**other[0]), cell(**other[1])], [two])
    # The first shares all but its scores with the stored cell; the third has two seeds where all others have four.
    assert told == [1 + 3 + 3, 1 + 2 + 3, 1 + 5 + 3, 1 + 2 + 3]


def test_what_was_compiled_ahead_and_what_a_worker_still_held():
    """Half of the first cells took 2 s and were spared 8; later ones shared a process, which nobody tells as spared."""
    rows = []
    for i in range(16):
        known = costs.COMPILED if i % 2 else costs.NEW
        compiling, spared = (1.0, 0.0) if i % 2 else (2.0, 8.0) if i % 4 else (10.0, 0.0)
        stored = costs.Stored("gold", replace(Config(), {"gold.steps": 100 * (i + 1)}))
        running = 2.0 + work(stored).flops / 1e10
        rows.append(costs.Measured(stored, running + compiling, compiling, spared, known, None))
    assert [m.met for m in rows[:4]] == [costs.NEW, costs.COMPILED, costs.COMPILED, costs.COMPILED]
    found, running = costs.fit(rows), rows[0].seconds - rows[0].compiling
    assert found.seconds(rows[0].cell, costs.NEW) == pytest.approx(running + 10, rel=0.05)
    assert found.seconds(rows[0].cell, costs.COMPILED) == pytest.approx(running + 1, rel=0.15)


def test_what_records_tell(tmp_path):
    """A program is known once its first cell has compiled it, before that cell ends; records tell wall seconds."""
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for began, name in ((0, "first"), (10, "beside"), (40, "later")):
        created = (start + datetime.timedelta(seconds=began + 100)).isoformat()
        record = dict(stage="gold", config=to_dict(Config()), device="cpu", created=created, cpu_seconds=80.0)
        record |= dict(wall_seconds=100.0, compile_seconds=30.0, compile_saved_seconds=5.0, peak_bytes=7)
        (tmp_path / "gold" / name).mkdir(parents=True)
        (tmp_path / "gold" / name / "record.json").write_text(json.dumps(record))
    (tmp_path / "gold" / "older").mkdir()
    (tmp_path / "gold" / "older" / "record.json").write_text(json.dumps(record | {"compile_seconds": None}))
    found = costs.measured(tmp_path)
    assert [m.known for m in found] == [costs.NEW, costs.NEW, costs.COMPILED]
    assert found[0] == costs.Measured(costs.Stored("gold", Config()), 80.0, 24.0, 4.0, costs.NEW, 7)


def test_compiling_is_counted_once_and_of_this_cell_alone():
    """Three functions that call one another are traced within the outermost; the clock starts anew with each cell."""
    inner = jax.jit(lambda x: jnp.sin(x) * 1.25)
    middle = jax.jit(lambda x: inner(x) + inner(x * 2))
    spent.COMPILING.clear()
    began = time.perf_counter()
    jax.jit(lambda x: middle(x) - 3.5)(jnp.ones(7)).block_until_ready()
    assert 0 < spent.COMPILING.seconds() <= time.perf_counter() - began
    heard = spent.COMPILING._listen
    spent.COMPILING.clear()
    assert spent.COMPILING.seconds() == 0
    time.sleep(0.02)
    heard("/jax/core/compile/inner", 0.004)
    heard("/jax/core/compile/outer", 0.016)  # began before the inner one: its time holds the other's
    heard("/jax/compilation_cache/compile_time_saved_sec", 2.0)
    assert spent.COMPILING.seconds() == pytest.approx(0.016) and spent.COMPILING.saved == 2.0


def test_rounds_and_rankings_are_counted():
    """Round 3 learns from 2,000 + 2 x 1,000 pairs, or the newest 1,000; a ranking of four is two pairs."""
    flops = lambda **changes: work(costs.Stored("reward_model", replace(Config(), changes))).flops
    held_out = {"preferences.num_pairs": 20_000, "reward_model.num_pairs": 2000, "rounds.num_pairs": 1000}
    plain = {n: flops(**held_out | {"reward_model.num_pairs": n}) for n in (1000, 2000, 4000)}
    third = held_out | {"rounds.count": 3}
    assert flops(**third) == plain[4000] and flops(**third | {"rounds.data": "replace"}) == plain[1000]
    ranked = {"preferences.annotator": "mallows", "preferences.keep": "ranking", "reward_model.loss": "plackett_luce"}
    assert flops(**held_out | ranked) == plain[4000]
    disjoint = {"reward_model.members": 2, "reward_model.diversity": "disjoint"}
    assert flops(**held_out | disjoint) == 2 * plain[1000]


def test_workers_beside_an_accelerator_are_few(monkeypatch):
    from experiments.engine import local

    monkeypatch.setattr(local, "cores", lambda: 32)
    assert local.usual(1) == 32
    monkeypatch.setattr(local, "accelerator", lambda: True)
    assert [local.usual(devices) for devices in (1, 2, 16)] == [4, 8, 32]
