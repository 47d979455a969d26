"""The house: a file imports only from lower floors; laws, records, config and analysis never import jax."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = (
    ("config", "columns", "streams", "device", "calibration", "typed"),
    ("cells", "forms", "attention", "products", "adam"),
    ("intervals", "cache"),
    ("world", "transformer", "laws", "records"),
    ("memory",),
    ("policy", "gold", "crosschecks", "hierarchy", "selection"),
    ("rankings",),
    ("preferences", "reward_model", "ensemble", "goodhart", "shaping", "measure", "remote"),
    ("best_of_n", "policy_gradient", "direct_alignment", "exact", "archive"),
    ("constrained", "inference", "rewards", "rows", "inputs"),
    ("rounds",),
    ("models", "pools", "runs"),
    ("pipeline",),
    ("rehearsal",),
)
# Within a floor, only these may be read by their neighbours.
NEIGHBOURS = {("gold", "policy"), ("reward_model", "preferences")}

# What reads and fits, and may be used where jax is not installed.
WITHOUT_JAX = {
    *("laws", "forms", "intervals", "crosschecks", "hierarchy", "selection"),
    *("records", "remote", "archive", "columns", "config", "typed"),
}


def imported(path: Path) -> set[str]:
    """Names of gold_sim modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "gold_sim":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gold_sim."):
            found.add(node.module.split(".")[1])
    return found


def test_no_import_goes_up_a_floor():
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    for path in (ROOT / "gold_sim").glob("*.py"):
        if path.stem == "__init__":
            continue
        assert path.stem in floor, f"{path.name} has no floor"
        for name in imported(path):
            below = floor[name] < floor[path.stem]
            assert below or (path.stem, name) in NEIGHBOURS, f"{path.name} imports {name}, which is not below it"


def test_only_known_roofs_use_the_pipeline():
    for path in (ROOT / "analysis").glob("*.py"):
        assert imported(path) <= WITHOUT_JAX, path.name


def test_figures_need_no_jax():
    code = "import sys, analysis.studies, analysis.paper, analysis.advise, analysis.fit, analysis.calibration; "
    code += f"import {', '.join('gold_sim.' + name for name in sorted(WITHOUT_JAX))}; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
