"""Declarations: where they are listed, what a variant is, what a manifest says of them. Nothing here needs jax."""

import subprocess
import sys

import pytest

from analysis import analyse
from experiments import catalogue, plan, studies
from experiments.experiment import Experiment, Variant, digits
from experiments.presets import PRESETS
from gold_sim.config import Config
from tests.test_documents import ROOT

DECLARED = {"title": "", "question": "", "figure": "", "expected": "", "cost": "", "axis": "variant", "base": {}}
DECLARED |= {"name": "own", "stages": ("best_of_n",), "grid": {}}


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_a_declaration_is_named_as_its_file_and_its_study_is_there(name):
    for preset in PRESETS:
        experiment = catalogue.find(name, preset)
        assert experiment.name == name
        assert callable(analyse.study_named(experiment.study))


def test_experiments_are_in_the_order_of_their_declarations():
    orders = [catalogue.find(name, "cpu").order for name in catalogue.NAMES]
    assert len(orders) > 30 and orders == sorted(set(orders)) and catalogue.NAMES[0] == "rm_size"


def test_a_new_file_is_an_experiment_without_being_listed(tmp_path, monkeypatch):
    source = (ROOT / "experiments" / "studies" / "kl_penalty.py").read_text()
    (tmp_path / "brand_new.py").write_text(source.replace('name="kl_penalty"', 'name="brand_new"'))
    monkeypatch.setattr(studies, "__path__", [*studies.__path__, str(tmp_path)])
    found = list(catalogue._declared())
    assert set(found) == {*catalogue.NAMES, "brand_new"}
    assert found.index("brand_new") == found.index("kl_penalty") - 1  # the same order: by name
    del sys.modules["experiments.studies.brand_new"]


def test_an_unknown_study_is_told():
    with pytest.raises(ValueError, match=r"study 'proxy_points': allowed are variants, behaviours, .*worlds"):
        analyse.study_named("proxy_points")  # a module, but no study
    with pytest.raises(ValueError, match="study '../x'"):
        analyse.study_named("../x")


def test_plain_overrides_are_a_variant_labelled_by_its_key():
    with_rl = {"seeds": (7,), "stages": ("policy_gradient",)}
    made = Experiment(**DECLARED, variants={"plain": {}, "tempered": with_rl, "best": Variant("The best")})
    assert made.variants == {
        "plain": Variant("plain"),
        "tempered": Variant("tempered", {"seeds": (7,)}, ("policy_gradient",)),
        "best": Variant("The best"),
    }
    assert "stages" in with_rl  # a declaration is not changed
    assert made.points({}, {}) == [
        ("plain", ("best_of_n",), Config()),
        ("tempered", ("policy_gradient",), Config(seeds=(7,))),
        ("best", ("best_of_n",), Config()),
    ]


def test_keys_are_words_and_labels_differ():
    with pytest.raises(ValueError, match=r"own: variant 'best-of-n': keys are of letters.*Variant\('best-of-n'"):
        Experiment(**DECLARED, variants={"best-of-n": {}})
    with pytest.raises(ValueError, match="own: two variants are labelled 'same'"):
        Experiment(**DECLARED, variants={"one": Variant("same"), "other": Variant("same", {"seeds": (7,)})})
    assert [digits(x) for x in (0.03, 2.0, 1e-4)] == ["0_03", "2", "0_0001"]


def test_a_manifest_has_keys_and_labels_and_the_study():
    experiment, curves, _ = plan.plan("optimisers", "smoke", {})
    made = plan.manifest(experiment, "smoke", {}, curves)
    assert made["variants"] == {"rloo": "RLOO", "best_of_n": "best-of-n"} and made["study"] == "variants"
    assert {cell["stage"]: cell["variant"] for cell in made["cells"]} == {
        "policy_gradient": "rloo",
        "best_of_n": "best_of_n",
    }


def test_declarations_need_no_jax():
    modules = "experiments.catalogue, experiments.page, analysis.claims.verdicts"
    code = f"import sys, {modules}; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
