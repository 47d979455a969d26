"""What is told of rounds and of disjoint halves, on made curves whose answers are known."""

import numpy as np
import pytest

from analysis import analyse, records
from analysis.claims import verdicts
from analysis.studies import data_split, iterated
from tests.made_records import Records, one_run


def declared(made, name, cells, variants):
    """The manifest of an experiment that compares variants, whose labels are their keys with spaces."""
    labels = {key: key.replace("_", " ") for key in variants}
    made.manifest(name, "variant", cells, variants=labels, panels=None, study=name)
    return made.store


def made_split(root, slopes, cut=lambda seed: slice(None)):
    """Proxy rises with 0.62 d; what the other half's model says of it with slope x d, so they part at 0.25 / gap.

    cut: seed -> which points its runs have.
    """
    made, cells = Records(root), []
    for i, (name, slope) in enumerate(slopes.items()):
        runs = [one_run("rl", s, 0.75, 0.4, 5.0, noise=0.0, spread=0.01, rm_params=500 * 10**i) for s in range(8)]
        for run in runs:
            run["proxy"], run["proxy_left_out"] = 0.62 * run["d"] + 3.0, slope * run["d"] - 1.0
        runs = [run[cut(seed)].reset_index(drop=True) for seed, run in enumerate(runs)]
        cells.append(made.cell(runs) | {"variant": name})
    return declared(made, "data_split", cells, slopes)


def test_where_two_reward_models_part_by_hand(tmp_path):
    """Both are told from their own start; gaps of 0.32 d and 0.12 d reach 0.25 at d = 0.78 and 2.08.

    Distances at parting do not differ between seeds, so the sign test decides: 2 of 2^8.
    """
    store = made_split(
        tmp_path / "later", {"proxy_small": 0.3, "proxy_large": 0.5, "proxy_same": 0.62, "policy_x": 0.3}
    )
    read = records.load(store, "data_split")
    found = {variant: run for (variant, _), run in data_split.parted(read).items()}
    for name, slope in (("proxy_small", 0.32), ("proxy_large", 0.12)):
        np.testing.assert_allclose(found[name]["d_last"], 0.25 / slope, rtol=1e-6)  # gaps are straight lines
        assert not found[name]["never"].any()
    assert found["proxy_same"]["never"].all()
    assert (found["proxy_same"]["d_last"] == found["proxy_same"]["d_end"]).all()
    found = verdicts.checks_of(read)
    assert found["larger_proxies_part_later"]["holds"] is True
    assert found["proxies_outrun_gold"]["holds"] is found["other_half_sees"]["holds"] is True  # gap 0.19 d on average
    store = made_split(tmp_path / "sooner", {"proxy_small": 0.5, "proxy_large": 0.3})
    assert verdicts.checks_of(records.load(store, "data_split"))["larger_proxies_part_later"]["holds"] is False
    store = made_split(tmp_path / "alike", {"proxy_x": 0.6, "policy_x": 0.6})  # gap 0.02 d
    assert verdicts.checks_of(records.load(store, "data_split"))["other_half_sees"]["holds"] is False


def test_runs_with_other_points_part_where_they_do(tmp_path):
    """Runs end at their own steps, and steps that were taken again are points of one run alone."""
    cut = lambda seed: slice(0, None, 2) if seed == 1 else slice(None, -6 if seed == 2 else None)
    store = made_split(tmp_path / "cut", {"proxy_small": 0.3, "proxy_same": 0.62, "policy_x": 0.3}, cut)
    read = records.load(store, "data_split")
    found = {variant: run for (variant, _), run in data_split.parted(read).items()}
    np.testing.assert_allclose(found["proxy_small"]["d_last"], 0.25 / 0.32, rtol=1e-6)
    ends = found["proxy_same"]["d_end"]
    assert (found["proxy_same"]["d_last"] == ends).all() and ends[2] < ends[0]
    assert found["proxy_small"]["gap"].shape == found["proxy_small"]["kl"].shape
    assert data_split.row("", "rl", found["proxy_same"])["up to"] == ends[2]


def made_rounds(root, peaks):
    """Ways share round 1, whose seeds are stored in another order; going on starts at d = 5 and stays low."""
    made, cells = Records(root), []
    rl = lambda alpha, number, **more: [
        one_run("rl", s, alpha, 0.4, 5.0, spread=0.005, noise=0.002, start=0.1, round=number, **more) for s in range(8)
    ]
    cells.append(made.cell(rl(peaks[0], 1)[::-1]) | {"variant": "concatenate_restart"})
    for k, alpha in enumerate(peaks[1:], 2):
        cells.append(made.cell(rl(alpha, k)) | {"variant": "concatenate_restart"})
        cells.append(made.cell(rl(alpha - 0.1, k)) | {"variant": "newest_as_long"})
        going_on = rl(alpha, k)
        for run in going_on:
            run["d"], run["kl"], run["gold"] = 5.0, 25.0, np.linspace(-1.0, -0.5, len(run))
        cells.append(made.cell(going_on) | {"variant": "concatenate_continue"})
    cells.append(made.cell(rl(0.7, 1, num_pairs=9999)) | {"variant": "as_many_labels_one_round"})
    ways = ("concatenate_restart", "newest_as_long", "concatenate_continue", "as_many_labels_one_round")
    return declared(made, "iterated", cells, ways)


def test_rounds_are_told_from_the_reference_policy(tmp_path):
    """Gold of a round that goes on is as recorded minus the first round's start, 0.1; ways share round 1."""
    read = records.load(made_rounds(tmp_path, (0.6, 0.8)), "iterated")
    found = iterated.rounds_of(read)
    assert [list(rounds) for rounds in found.values()] == [[1, 2], [1, 2], [1, 2], [1]]
    assert np.allclose(found["concatenate_restart"][1]["gold"][:, 0], 0)
    on = found["concatenate_continue"]
    assert np.allclose(on[2]["gold"][:, [0, -1]], [-1.1, -0.6], atol=0.002) and on[1] is found["newest_as_long"][1]
    assert found["as_many_labels_one_round"][1]["num_pairs"][0, 0] == 9999


@pytest.mark.parametrize(("peaks", "rise"), [((0.6, 0.75), True), ((0.8, 0.6), False)])
def test_claims_on_rounds_follow_the_records(tmp_path, peaks, rise):
    store = made_rounds(tmp_path / "runs", peaks)
    found = {name: c["holds"] for name, c in verdicts.checks_of(records.load(store, "iterated")).items()}
    wanted = dict(rounds=rise, old_pairs=True, no_recovery=True, where_labels_are=rise)
    assert found == wanted
    _, findings = analyse.analyse(store, "iterated", None, tmp_path / "out")
    assert len(findings.tables[0].frame) == 7 and (tmp_path / "out" / "rounds.png").exists()
