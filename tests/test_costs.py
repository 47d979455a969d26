"""The cost model: operations by hand, rates and peaks recovered from made ones, unaffected by resumed cells."""

import dataclasses

import numpy as np
import pytest

from experiments import costs
from gold_sim import cells, transformer
from gold_sim.config import Config, replace


def test_forward_by_hand():
    """Width 4, 16 + 2 tokens.

    A block: 18 (12 * 16 + (8 + 8) * 8) multiply-adds, 18 tokens; a head of 3: 18 * 12. A reward model's last block:
    18 * 2 * 16 for keys and values, 10 * 16 for the last token, which attends to 24 (2 * 4 each).
    """
    network = lambda depth: dataclasses.replace(Config().reward_model, width=4, depth=depth)
    found = costs.forward(network(1), 16, outputs=3)
    assert found.flops == 2 * 18 * (192 + 128 + 12) and found.tokens == 18
    found = costs.forward(network(2), 16)
    assert found.flops == 2 * 18 * (192 + 128) + 2 * (576 + 160 + 192) and found.tokens == 18 + 6


def test_work_follows_what_is_run():
    cell = lambda **changes: costs.Stored("policy_gradient", replace(Config(), changes))
    base = costs.work(cell())
    twice = costs.work(cell(**{"optimiser.steps": 600, "optimiser.evaluations": 30}))
    more = costs.work(cell(**{"kl_coefs": (0.0, 0.1)}))
    assert base.flops < twice.flops < 2 * base.flops  # measuring is not doubled
    assert more.flops > 2 * base.flops  # two runs a seed, and the reference policy is read
    rm = lambda **changes: costs.work(costs.Stored("reward_model", replace(Config(), changes)))
    assert rm(**{"reward_model.members": 5}).flops == pytest.approx(5 * rm().flops)


def test_rates_are_recovered_and_resumed_cells_do_not_matter():
    """New programs take 4 s and 3 s a block to compile, others 1 s and 1 s a block; what is spared is told."""
    rng, rows = np.random.default_rng(0), []
    for width in (4, 8, 16, 32, 64):
        for steps in (30, 150, 600):
            for compiled in (False, True):
                changes = {"policy.width": width, "policy.depth": 1 + steps % 4, "optimiser.steps": steps}
                cell = costs.Stored("policy_gradient", replace(Config(), changes))
                w, n = costs.work(cell), costs.blocks(cell)
                new, known = 4 + 3 * n, 1 + n
                compiling = (known if compiled else new) * rng.uniform(0.95, 1.05)
                running = (2 + 0.03 * w.flops / 1e9 + 0.5 * w.tokens / 1e6) * rng.uniform(0.95, 1.05)
                held, spared = 1e9 + 2 * costs.holds(cell), (new - known) * compiled
                rows.append(costs.Measured(cell, running + compiling, compiling, spared, compiled, held))
    truth = np.array([m.seconds for m in rows])
    rows[6] = dataclasses.replace(rows[6], seconds=1.0, compiling=0.5, peak_bytes=None)  # tells of its last seconds
    found = costs.fit(rows)
    ratio = np.array([found.seconds(m.cell, m.compiled) for m in rows]) / truth
    assert np.all(np.abs(np.log(ratio)) < np.log(1.3)), ratio
    assert found.seconds(rows[0].cell) - found.seconds(rows[0].cell, True) == pytest.approx(3 + 2 * 4, rel=0.3)
    peaks = [m.peak_bytes for m in rows if m.peak_bytes]
    assert np.allclose([found.bytes(m.cell) for m in rows if m.peak_bytes], peaks, rtol=0.05)
    held_out = costs.left_out(rows)["policy_gradient"]
    off = np.abs(held_out - 1) > 0.3
    assert len(held_out) == 30 and off[6] and off.sum() == 1
    assert costs.fit(rows[:2]) == costs.Model({}, {}, {}, {})  # too few to tell


def test_a_program_is_compiled_once():
    """Seeds, weights and coefficients are arguments; shapes, counts and constants are not."""
    cell = lambda stage="policy_gradient", **changes: costs.Stored(stage, replace(Config(), changes))
    same = [{}, {"seeds": (7, 8, 9, 10)}, {"preferences.label_noise": 0.2}, {"reward_model.learning_rate": 0.1}]
    other = [{"seeds": (1, 2)}, {"reward_model.width": 8}, {"kl_coefs": (0.1,)}, {"optimiser.learning_rate": 0.1}]
    assert len({costs.program(cell(**changes)) for changes in same}) == 1
    assert len({costs.program(cell(**changes)) for changes in other}) == 4
    assert len({costs.program(cell(stage)) for stage in cells.VERSIONS}) == len(cells.VERSIONS)
    one, two = (costs.Measured(cell(**changes), 9.0, 1.0, 0.0, False, None) for changes in (same[0], other[1]))
    made = costs.Model(*({"policy_gradient": pair} for pair in ((1, 0, 0), (1, 1), (5, 1), (2, 1))))
    assert costs.blocks(cell()) == 2 + 1
    told = costs.seconds(made, [cell(), cell(**same[1]), cell(**other[0]), cell(**other[1])], [two])
    assert told == [1 + 5 + 3, 1 + 2 + 3, 1 + 5 + 3, 1 + 2 + 3]


def test_blocks_written_out_are_the_transformers():
    assert costs.WRITTEN_OUT == transformer.UNROLLED
