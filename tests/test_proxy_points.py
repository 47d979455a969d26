"""Proxy points of surfaces that are known; claims on constraints that hold, and that fail."""

import numpy as np
import pandas as pd
import pytest

from analysis import records
from analysis.claims import catalogue, verdicts
from analysis.drawing import figures
from analysis.studies import constrained, proxy_points
from gold_sim.store import columns
from tests.made_records import Records, one_run


def made(points, peak=(1.0, 0.5), correlated=0.6):
    """gold = 2 - (a^2 + b^2 + 2 correlated a b) with a, b from the peak."""
    a, b = (points - np.asarray(peak)).T
    return 2 - (a * a + b * b + 2 * correlated * a * b)


@pytest.fixture
def fan():
    """Points of three runs from the origin: along each component, and along both."""
    t = np.linspace(0, 2, 30)[:, None]
    return np.concatenate([t * [1.0, 0.3], t * [0.4, 1.0], t * [0.9, 0.8]])


def test_joint_point_is_the_peak_of_the_surface_and_independent_ones_are_not(fan):
    """Along r = t (1, 0.3) gold is 2 - (t-1)^2 - (0.3t-0.5)^2 - 1.2 (t-1)(0.3t-0.5), highest at t = 3.26 / 2.9."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=len(fan))
    found = proxy_points.surface(fan, made(fan) + noise)
    assert found.r2 > 0.99
    assert np.allclose(proxy_points.joint(found), (1.0, 0.5), atol=0.05)
    alone = fan[:30]
    at = proxy_points.independent(np.stack([alone[:, 0]] * 2), np.stack([made(alone)] * 2))
    slope = 2 + 2 * 0.09 + 2 * 1.2 * 0.3
    assert at == pytest.approx((2 + 0.3 + 1.2 * 0.8) / slope, abs=0.04) and abs(at - 1.0) > 0.05


def test_joint_point_does_not_leave_what_was_visited(fan):
    """A surface that rises to (9, 9): the point is on the hull's edge, not beyond."""
    found = proxy_points.surface(fan, made(fan, (9.0, 9.0), 0.0))
    at = proxy_points.joint(found)
    assert found.inside(at[None] * 0.99)[0] and at.max() <= fan.max() + 1e-9
    assert not found.inside([[9.0, 9.0]])[0]


@pytest.mark.parametrize("count, words", [(30, "one line"), (5, "6 coefficients")])
def test_points_that_span_no_surface_are_refused(count, words):
    t = np.linspace(0, 1, count)
    with pytest.raises(ValueError, match=words):
        proxy_points.surface(np.stack([t, t], 1), t)


# --- claims and study, on made records -----------------------------------------------------------

JOINT = (0.8, 0.6)
ENDS = {  # variant -> constraint, thresholds, components at the end, beta of its RL law (the larger, the more it falls)
    "composite": ("none", (), (1.6, 1.4), 0.45),
    "words_alone": ("none", (), (1.5, 0.4), 0.45),
    "manners_alone": ("none", (), (0.5, 1.3), 0.45),
    "mu_joint": ("mu", JOINT, (0.82, 0.62), 0.25),
    "xi_joint": ("xi", JOINT, (0.81, 0.6), 0.25),
    "all_joint": ("all", JOINT, (0.7, 0.6), 0.25),
    "xi_independent": ("xi", (1.2, 1.0), (1.2, 1.0), 0.35),
    "kl_penalty": ("none", (), (1.0, 1.0), 0.30),
    "adaptive_kl": ("adaptive_kl", (), (1.0, 1.0), 0.31),
}


def made_constrained(root, ends=ENDS):
    made, cells = Records(root), []
    for i, (label, (constraint, thresholds, components, beta)) in enumerate(ends.items()):
        runs = [one_run("rl", s, 0.75, beta, 5.0, spread=0.01, constraint=constraint) for s in range(8)]
        for run in runs:
            for name, last in zip(("component_0", "component_1"), components, strict=True):
                end = last + 0.002 * (run["seed"].iloc[0] - 3.5)
                run[name] = end * np.minimum(1.0, 1.3 * run["control"] / run["control"].max())
        frame = pd.concat(runs).assign(cell=f"{i:016x}", rm_cell="")
        table = {name: frame[name].to_numpy() for name in columns.CURVE_COLUMNS}
        record = {"wall_seconds": 1.0, "device": "cpu", "config": {"optimiser": {"thresholds": list(thresholds)}}}
        made.store.write("policy_gradient", "made", f"{i:016x}", record, {"curves": table})
        cells.append({"stage": "policy_gradient", "fingerprint": f"{i:016x}", "name": "made", "variant": label})
    made.manifest("constrained", "variant", cells, variants={key: key.replace("_", " ") for key in ends})
    return records.load(made.store, "constrained")


def test_claims_follow_the_records_and_the_points_are_drawn(tmp_path):
    read = made_constrained(tmp_path / "runs")
    found = verdicts.checks_of(read)
    assert {name: c["holds"] for name, c in found.items()} == dict.fromkeys(
        [claim.name for claim in catalogue.CLAIMS if claim.experiment == "constrained"], True
    ), found
    points, surface, warnings = constrained.of_runs(read)
    assert set(points) == {"independent", "joint"} and not warnings
    held = constrained.held_at(read, "mu_joint")
    assert [h["threshold"] for h in held] == [0.8, 0.6] and held[0]["end"] == pytest.approx(0.82)
    assert constrained.held_at(read, "composite") == []
    with figures.plt.rc_context({"savefig.dpi": 40}):
        constrained.draw(read, tmp_path / "out", points, surface)
    assert (tmp_path / "out" / "proxy_points.png").exists()


def test_a_constraint_that_is_missed_and_runs_that_are_missing_are_told(tmp_path):
    missed = ENDS | {"xi_joint": ("xi", JOINT, (0.7, 0.6), 0.45)}
    missed = {name: value for name, value in missed.items() if name != "manners_alone"}
    read = made_constrained(tmp_path / "runs", missed)
    checks = verdicts.checks_of(read)
    assert checks["constraints_met"]["holds"] is False and "xi at 0.8 -0.125" in checks["constraints_met"]["found"]
    assert checks["joint_points"]["holds"] is False and checks["constrained_fall_less"]["holds"] is not True
    without = {name: value for name, value in missed.items() if name != "mu_joint"}
    found = verdicts.checks_of(made_constrained(tmp_path / "fewer", without))["constraints_met"]
    assert found["verdict"] == "not tested" and "no variant mu_joint" in found["found"]
    points, _, warnings = constrained.of_runs(read)
    assert points == {} and "manners_alone" in warnings[0]
