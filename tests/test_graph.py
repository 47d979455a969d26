"""Stages are declared once: what cells read, when they run anew, in which order, and what a new stage takes."""

import dataclasses
import itertools
import pickle
import sys
import types

import numpy as np
import pytest

from experiments import plan
from experiments.__main__ import main
from experiments.experiment import Experiment
from gold_sim.config import Config
from gold_sim.named import imported
from gold_sim.settings import replace
from gold_sim.stages import graph, pipeline
from gold_sim.stages.declared import STAGES
from gold_sim.stages.stage import Stage, Work
from gold_sim.store import Store
from gold_sim.store.columns import CURVE_COLUMNS

ROUND = {"rounds.count": 2}
SYNTHETIC = {"reward": "synthetic"}
# (config, stage) -> the stages that lead to it, by hand from what its function reads.
LABELLED = {"reference", "gold", "candidates", "preferences"}
LEARNED = LABELLED | {"reward_model"}
SELECTED = {"reference", "gold", "pool", "gold_scores"}
ANCESTORS = [
    ({}, "reference", set()),
    ({}, "gold", {"reference"}),
    ({"gold.pretraining": 5}, "gold", {"reference", "gold_trunk"}),
    ({}, "candidates", {"reference"}),
    ({}, "preferences", LABELLED - {"preferences"}),
    ({}, "reward_model", LABELLED),
    ({"reward_model.start": "pretrained"}, "reward_model", LABELLED | {"pretrained"}),
    ({}, "pool", {"reference"}),
    ({}, "gold_scores", {"reference", "gold", "pool"}),
    ({}, "scores", LEARNED | {"pool"}),
    ({}, "best_of_n", LEARNED | SELECTED | {"scores"}),
    ({}, "policy_gradient", LEARNED),
    ({}, "direct_alignment", LABELLED),
    ({"policy.width": 32}, "best_of_n", LEARNED | SELECTED | {"scores"}),
    (SYNTHETIC, "scores", {"reference", "gold", "pool"}),
    (SYNTHETIC, "best_of_n", SELECTED | {"scores"}),
    (SYNTHETIC, "policy_gradient", {"reference", "gold"}),
    ({"reward": "gold"}, "best_of_n", SELECTED),
    ({"reward": "gold"}, "policy_gradient", {"reference", "gold"}),
    (ROUND, "relabelled", LEARNED | {"policy_gradient"}),
    (ROUND, "reward_model", LEARNED | {"policy_gradient", "relabelled"}),
    (ROUND, "scores", LEARNED | {"policy_gradient", "relabelled", "pool"}),
    (ROUND, "best_of_n", LEARNED | {"policy_gradient", "relabelled", "scores"} | SELECTED),
    (ROUND, "policy_gradient", LEARNED | {"policy_gradient", "relabelled"}),
    (ROUND | {"rounds.start": "continue"}, "policy_gradient", LEARNED | {"policy_gradient", "relabelled"}),
]


@pytest.mark.parametrize(("changes", "stage", "ancestors"), ANCESTORS)
def test_a_stage_whose_version_is_raised_runs_anew_with_all_that_reads_it_and_nothing_else(
    changes, stage, ancestors, monkeypatch
):
    """Else a store would hand out what older code computed, or throw away what is as it was."""
    code = lambda: graph.cell(stage, replace(Config(), changes)).fingerprint
    before, moved = code(), set()
    for name, declared in list(STAGES.items()):
        monkeypatch.setitem(STAGES, name, dataclasses.replace(declared, version=declared.version + 1))
        moved |= {name} if code() != before else set()
        monkeypatch.setitem(STAGES, name, declared)
    assert moved == ancestors | {stage} and code() == before


KNOWN = {  # of Config() (relabelled: of its second round). Whoever changes one makes all stores compute it anew.
    "reference": "7b9f98fe9df3a678",
    "gold_trunk": "3f544f526b35801a",
    "gold": "c627bff90123df31",
    "candidates": "927af57be3540aa0",
    "preferences": "fef589f0a2fdd3a8",
    "pretrained": "71d564432109d583",
    "reward_model": "45abae1385f4deb5",
    "pool": "16fccca2a14efb26",
    "gold_scores": "336152c6d0a2ca51",
    "scores": "3d484e2617ed3299",
    "best_of_n": "2c36a4ba399496c6",
    "policy_gradient": "11d4d7f94b23f39b",
    "frontier": "c6a18c3669b38cd4",
    "direct_alignment": "9346eb5b7c654424",
    "relabelled": "4061f77c88c99e4a",
}


def test_fingerprints_are_those_of_stored_cells():
    of = lambda stage: graph.cell(stage, replace(Config(), ROUND if stage == "relabelled" else {})).fingerprint
    assert {stage: of(stage) for stage in STAGES} == KNOWN


def test_every_function_named_is_there():
    for stage in STAGES.values():
        assert all(map(callable, map(imported, filter(None, (stage.function, stage.blank))))), stage.name


@pytest.mark.parametrize("name", ["rm_size", "iterated", "direct_alignment", "goodhart", "gold_quality"])
def test_cells_come_after_what_they_read(name):
    _, curves, every = plan.plan(name, "cpu", {})
    done = set()
    for cell in every:
        assert all(up.fingerprint in done for _, up in cell.upstream), cell.name
        assert cell.fingerprint not in done
        done.add(cell.fingerprint)
    assert {c.fingerprint for c in curves} <= done


def test_order_by_hand():
    """By chains, then together by stage: a and b need nothing, c needs a, d needs b and c."""
    cell = lambda name, stage, *ups: graph.Cell(stage, name, name, None, tuple((up.name, up) for up in ups))
    a, b = cell("a", "gold"), cell("b", "pool")
    c = cell("c", "gold", a)
    d = cell("d", "pool", b, c)
    e = cell("e", "gold", b, b)
    assert graph.in_order([d, e]) == [b, a, c, e, d] and d.all_upstream() == [b, a, c] and graph.in_order([]) == []


def test_planning_takes_as_many_steps_as_there_are_cells(monkeypatch):
    """64 rounds of three cells each, reference, gold and candidates: each made once for its settings."""
    calls, fingerprint = itertools.count(1), graph.fingerprint

    def counted(*given):  # two more a round: its own settings lead to the reference and gold that all share
        assert next(calls) <= 5 * 64 + 1
        return fingerprint(*given)

    monkeypatch.setattr(graph, "fingerprint", counted)
    config = replace(Config(), {"rounds.count": 64, "rounds.start": "continue"})
    upstream = graph.cell("policy_gradient", config).all_upstream()
    assert len(upstream) + 1 == 3 * 64 + 3
    order = [c.stage for c in upstream]
    assert order[:4] == ["reference", "gold", "candidates", "preferences"] and order.count("relabelled") == 63


def test_walking_up_takes_as_many_steps_as_there_are_edges():
    """A ladder of 200 cells, each of which reads the two before it: some 1e41 ways lead up."""
    read = itertools.count(1)

    class Counted(tuple):
        def __iter__(self):
            assert next(read) <= 3 * 200
            return super().__iter__()

    cells = []
    for i in range(200):
        ups = Counted((f"up{up.name}", up) for up in cells[-2:])
        cells.append(graph.Cell("gold", f"{i}", f"{i:016x}", None, ups))
    assert graph.in_order(cells[-1:]) == cells


def test_a_cell_of_many_rounds_reaches_a_worker():
    """Nested pickles of so many fail; what comes out is the same graph, each cell once."""
    cell = graph.cell("policy_gradient", replace(Config(), {"rounds.count": 64, "rounds.start": "continue"}))
    again = pickle.loads(pickle.dumps(cell))
    assert again == cell and [c.fingerprint for c in again.all_upstream()] == [
        c.fingerprint for c in cell.all_upstream()
    ]
    assert dict(again.upstream)["gold"] is dict(dict(again.upstream)["last"].upstream)["gold"]


def test_a_stage_is_its_function_and_its_declaration(tmp_path, monkeypatch, capsys):
    """A toy stage enters the public table, and is planned, fingerprinted, priced, ordered, run and listed as any."""

    def mean_gold(cell, inputs, store, progress):
        found = inputs.arrays("gold_scores")["gold"]
        progress(1, 1)
        nothing = {"string": "", "int64": 0, "float64": 0.0}
        curves = {name: np.array([nothing[column.dtype]]) for name, column in CURVE_COLUMNS.items()}
        record = dict(mean=float(np.mean(np.asarray(found))))
        return record, {"curves": curves}, {"arrays": dict(means=np.asarray(found).mean(1))}

    module = types.ModuleType("toy_stage")
    module.mean_gold = mean_gold
    module.experiment = lambda preset: Experiment(
        *("toy", "Toy", "How good is a pool?", "none", "0", "1 s", "rm_params", ("toy",)),
        grid={"best_of_n.seed": (1, 2)},
        base={},
    )
    monkeypatch.setitem(sys.modules, "toy_stage", module)
    toy = Stage(
        name="toy",
        version=1,
        function="toy_stage:mean_gold",
        label=lambda c: f"of-{c.best_of_n.num_samples}",
        reads=lambda c: {},
        parents=lambda c: {"gold_scores": ("gold_scores", c)},
        work=lambda c: Work(0.0, c.best_of_n.num_samples),
        holds=lambda c: 8.0 * c.best_of_n.num_samples,
        networks=lambda c: (),
        program=lambda c: (c.best_of_n.num_samples,),
        tables=("curves",),
    )
    monkeypatch.setitem(STAGES, "toy", toy)
    _, curves, every = plan.plan("toy_stage", "smoke", {})
    twice = (2 * [stage] for stage in ("gold_scores", "toy"))
    assert [c.stage for c in every] == ["reference", "pool", "pool", "gold", *itertools.chain(*twice)]
    assert len({c.fingerprint for c in curves}) == 2 and curves[0].name == "of-64"
    assert main(["toy_stage", "--preset", "smoke", "--dry-run", "--runs", str(tmp_path)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "of-64" in line]
    assert len(told) == 2 and all(line.split()[:2] == ["to", "do"] for line in told)
    store = Store(tmp_path)
    for cell in plan.missing(store, curves, every):
        pipeline.run(store, cell)
    scores = store.arrays(store.find("gold_scores", every[4].fingerprint), "arrays")["gold"]
    record = store.record(store.find("toy", curves[0].fingerprint))
    assert record["mean"] == pytest.approx(float(scores.mean()), abs=1e-6)
    monkeypatch.setitem(STAGES, "toy", dataclasses.replace(toy, version=2))
    assert len(plan.missing(store, *plan.plan("toy_stage", "smoke", {})[1:])) == 2


def test_a_stage_that_writes_other_tables_than_it_declares_is_refused(tmp_path, monkeypatch):
    module = types.ModuleType("odd_stage")
    module.odd = lambda cell, inputs, store, progress: ({}, {"curves": {}}, {})
    monkeypatch.setitem(sys.modules, "odd_stage", module)
    odd = dataclasses.replace(STAGES["reference"], name="odd", function="odd_stage:odd")
    monkeypatch.setitem(STAGES, "odd", odd)
    with pytest.raises(ValueError, match=r"odd: wrote tables \['curves'\]; it declares \[\]"):
        pipeline.run(Store(tmp_path), graph.cell("odd", Config()))


def test_unknown_stages_are_refused_in_one_line():
    with pytest.raises(ValueError, match="'pear': allowed are reference, gold"):
        graph.cell("pear", Config())
    with pytest.raises(ValueError, match="rounds.count=1: pairs are relabelled from round 2 on"):
        graph.cell("relabelled", Config())
