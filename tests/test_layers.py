"""The house: a package imports only from lower floors, nothing imports in a circle, and what reads needs no jax."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Packages and files of gold_sim, from the ground up. `laws` and `store` stand apart: they import nothing of it but, for
# the names of columns, the table of attributes, which imports nothing.
FLOORS = (
    ("attributes", "named"),
    ("settings", "streams", "device", "typed", "exits", "laws", "store"),
    ("config",),
    ("language", "networks"),
    ("policy",),
    ("preferences",),
    ("rewards",),
    ("optimisation",),
    ("stages",),
)
APART = ("laws", "store")
# What may be used where jax is not installed, and so by analysis; the faces of packages count as themselves.
WITHOUT_JAX = (
    *("gold_sim", "gold_sim.settings", "gold_sim.config", "gold_sim.attributes", "gold_sim.named", "gold_sim.typed"),
    "gold_sim.exits",
    *("gold_sim.laws", "gold_sim.store", "gold_sim.networks.network", "gold_sim.networks.footprint"),
    *("gold_sim.optimisation.best_of_n", "gold_sim.optimisation.selection_rules"),
    *("gold_sim.language.language", "gold_sim.language.topics.vocabulary"),
    *("gold_sim.stages.graph", "gold_sim.stages.declared"),
)
TREES = ("gold_sim", "experiments", "analysis")


def modules(tree: str) -> dict[str, Path]:
    """Dotted name -> file, of every module of a tree."""
    dotted = lambda path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return {dotted(path): path for path in (ROOT / tree).rglob("*.py")}


EVERY = {name: path for tree in TREES for name, path in modules(tree).items()}


def imported(path: Path, nested: bool = True) -> set[str]:
    """Modules of this project that a file imports.  nested: also those that it imports when a function is called."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if nested else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in EVERY else node.module for name in names}
    return found & EVERY.keys()


def room(module: str) -> str:
    """The package or file of gold_sim in which a module lies."""
    return module.split(".")[1]


def test_no_import_of_gold_sim_goes_up_a_floor():
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    for module, path in modules("gold_sim").items():
        if module == "gold_sim":
            continue
        assert room(module) in floor, f"{module} has no floor"
        for other in imported(path):
            assert other.split(".")[0] == "gold_sim", f"{module} imports {other}"
            if other == "gold_sim" or room(other) == room(module):
                continue
            assert floor[room(other)] < floor[room(module)], f"{module} imports {other}, which is not below it"
            apart = room(module) in APART and room(other) != "attributes"
            assert not apart, f"{module} imports {other}; it stands apart"


def test_a_language_is_known_by_its_protocol_alone():
    """Outside gold_sim/language nothing imports what belongs to one language: a package in it."""
    shared = {"gold_sim.language", "gold_sim.language.language", "gold_sim.language.sequences"}
    for module, path in EVERY.items():
        if not module.startswith("gold_sim.language"):
            own = {other for other in imported(path) if other.startswith("gold_sim.language")} - shared
            assert not own, f"{module} imports {', '.join(own)}"


@pytest.mark.parametrize("tree", TREES)
def test_nothing_imports_in_a_circle(tree):
    """Faces of packages apart: a face imports the files of its package, which import one another by their own names."""
    needs = {
        module: {other for other in imported(path, nested=False) if EVERY[other].name != "__init__.py"}
        for module, path in modules(tree).items()
        if path.name != "__init__.py"
    }
    assert list(graphlib.TopologicalSorter(needs).static_order())


def test_only_experiments_build_on_stages_and_analysis_needs_no_jax():
    for module, path in modules("analysis").items():
        for other in imported(path) - modules("analysis").keys():
            allowed = [known for known in WITHOUT_JAX[1:] if other == known or other.startswith(f"{known}.")]
            assert allowed or other == "gold_sim", f"{module} imports {other}"
    doors = ("experiments.command", "experiments.deciding")  # of both: the command line, and seeds until decided
    experiments = [path for name, path in modules("experiments").items() if name not in doors]
    assert not any(other.startswith("analysis") for path in experiments for other in imported(path))


OF_JAX = {"analysis.bayes.model"}  # the one module of analysis that may import jax; others import it in functions


def test_analysis_imports_jax_in_one_module_and_that_one_lazily():
    for module, path in modules("analysis").items():
        tree = ast.parse(path.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        heavy = {name for name in names if name.split(".")[0] in ("jax", "jaxlib", "numpyro")}
        assert not heavy or module in OF_JAX, f"{module} imports {', '.join(heavy)}"
        assert not imported(path, nested=False) & OF_JAX, f"{module} imports the model before it is asked for"


def test_figures_need_no_jax():
    wanted = "analysis.analyse, analysis.paper.venue, analysis.fit.advise, analysis.fit.scores, analysis.fit.coverage"
    wanted += ", analysis.bayes.command, analysis.bayes.calibration, analysis.drawing.posterior"
    known = [name for name in WITHOUT_JAX if name in EVERY]
    code = f"import sys, {wanted}, {', '.join(known)}; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
