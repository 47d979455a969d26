"""The cost model: operations by hand, rates and peaks recovered from made ones, unaffected by resumed cells."""

import dataclasses

import numpy as np
import pytest

from experiments import costs
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
    cell = lambda **changes: costs.Measured("policy_gradient", replace(Config(), changes))
    base = costs.work(cell())
    twice = costs.work(cell(**{"optimiser.steps": 600, "optimiser.evaluations": 30}))
    more = costs.work(cell(**{"kl_coefs": (0.0, 0.1)}))
    assert base.flops < twice.flops < 2 * base.flops  # measuring is not doubled
    assert more.flops > 2 * base.flops  # two runs a seed, and the reference policy is read
    rm = lambda **changes: costs.work(costs.Measured("reward_model", replace(Config(), changes)))
    assert rm(**{"reward_model.members": 5}).flops == pytest.approx(5 * rm().flops)


def test_rates_are_recovered_and_resumed_cells_do_not_matter():
    rng, rows = np.random.default_rng(0), []
    for width in (4, 8, 16, 32, 64):
        for steps in (30, 150, 600):
            config = replace(Config(), {"policy.width": width, "optimiser.steps": steps})
            cell = costs.Measured("policy_gradient", config)
            w = costs.work(cell)
            seconds = 12 + 0.03 * w.flops / 1e9 + 0.5 * w.tokens / 1e6
            rows.append((cell, seconds * rng.uniform(0.9, 1.1), 1e9 + 2 * costs.holds(cell)))
    truth, peaks = ([row[i] for row in rows] for i in (1, 2))
    rows[3] = (rows[3][0], 1.0, None)  # its record tells of the last seconds only
    found = costs.fit(rows)
    ratio = np.array([found.seconds(c) for c, _, _ in rows]) / truth
    assert np.all(np.abs(np.log(ratio)) < np.log(1.3)), ratio
    assert np.allclose([found.bytes(c) for c, _, _ in rows], peaks, rtol=0.05)
    held_out = costs.left_out(rows)["policy_gradient"]
    assert len(held_out) == 15 and held_out[3] > 2 and np.mean(np.abs(held_out - 1) < 0.3) > 0.9  # all but that one
    assert costs.fit(rows[:2]) == costs.Model({}, {})  # too few to tell
