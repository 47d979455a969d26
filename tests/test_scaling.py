"""Checks along sizes: whether gold falls, and which form RL's path follows, on curves that are made to a law."""

import numpy as np
import pandas as pd
import pytest

from analysis import curves
from analysis.templates import scaling
from gold_sim import laws
from tests.made_records import SEEDS, one_run


def groups_of(gold_at, noise=0.0, sizes=(100, 1000)):
    """RL groups of two sizes whose gold is gold_at(d) and noise of its own at every point and seed."""
    rng = np.random.default_rng(0)
    table = []
    for size in sizes:
        for seed in SEEDS:
            run = one_run("rl", seed, 1.0, 0.5, 5.0, rm_params=size).assign(cell="made", rm_params=size)
            gold = gold_at(run["d"].to_numpy()) + noise * rng.standard_normal(len(run))
            table.append(run.assign(gold=gold - gold[0], rubric=gold - gold[0]))
    return curves.groups(pd.concat(table), "rm_params")["rl"]


def test_gold_falls_from_the_peak_of_other_seeds():
    """d - 0.2 d^2 has its peak, 1.25, at d = 2.5; the curves end where all seeds have come."""
    gs = groups_of(lambda d: d - 0.2 * d**2, noise=0.05)
    found, end = scaling.falls(gs), np.mean([g.d[-1] for g in gs])
    assert found["holds"] is True and found["drop"] == pytest.approx(1.25 - end + 0.2 * end**2, abs=0.1)


def test_noise_on_a_rising_curve_is_no_fall():
    """The highest of noisy points lies above the end in every seed; the others' peak does not."""
    found = scaling.falls(groups_of(lambda d: np.minimum(d, 1.0), noise=0.3))
    assert found["holds"] is not True and abs(found["drop"]) < 0.3
    assert scaling.falls(groups_of(lambda d: d, noise=0.05))["holds"] is not True


def test_the_form_that_made_the_curves_is_named():
    """gamma = 3 is out of reach of the other forms; a law with a wiggle of 0.2 s.d. fits none within 0.05."""
    made = lambda d: laws.evaluate("power", d, 1.0, 0.01, 3.0)
    found = scaling.named_form(groups_of(made, noise=0.02))
    assert found["holds"] is True and found["form"] == "power" and found["rmse"] < 0.02 < found["rmse_rl"]
    wiggly = scaling.named_form(groups_of(lambda d: made(d) + 0.2 * np.sin(4 * d), noise=0.02))
    assert wiggly["holds"] is False and wiggly["rmse"] > 0.05
