"""The runs of one variant, by seed: in order, each told from its own start."""

import types

import numpy as np
import pandas as pd
import pytest

from analysis import runs
from gold_sim import laws
from tests.made_records import one_run


def read_of(tables):
    """Runs as a table of curves has them, in no order."""
    rows = pd.concat([table.assign(stage="policy_gradient", variant="own", cell="x") for table in tables])
    return types.SimpleNamespace(curves=rows.sample(frac=1, random_state=0, ignore_index=True), axis="variant")


def test_each_run_is_in_order_and_told_from_its_own_start_where_it_has_one():
    """Seeds start at gold 1, 2 and 3; the last has no point at the reference, and stays as it is."""
    tables = [one_run("rl", seed, 0.7, 0.3, start=1.0 + seed) for seed in range(3)]
    tables[2] = tables[2].iloc[1:]
    assert tables[2]["d"].iloc[0] > laws.AT_REFERENCE
    found = runs.by_seed(read_of(tables), "own", "rl", ("gold", "proxy", "attr_length"))
    assert [label[-1] for label in found] == [0, 1, 2]
    for seed, (own, run) in enumerate(zip(tables, found.values(), strict=True)):
        assert run["control"].tolist() == own["control"].tolist() and run.index.tolist() == list(range(len(own)))
        for name in ("gold", "proxy"):
            np.testing.assert_array_equal(run[name], own[name] - (own[name].iloc[0] if seed < 2 else 0.0))
        np.testing.assert_array_equal(run["attr_length"], own["attr_length"])  # is no score


def test_runs_that_are_not_there_or_are_several_a_seed_are_told():
    read = read_of([one_run("rl", 0, 0.7, 0.3)])
    with pytest.raises(runs.Missing, match="other"):
        runs.by_seed(read, "other", "rl")
    read.curves = pd.concat([read.curves, read.curves.assign(optimiser="another")])
    with pytest.raises(ValueError, match="several"):
        runs.by_seed(read, "own", "rl")
