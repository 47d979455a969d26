"""Provenance: the commit and changes of the code, and nothing where there is no git or the code is not of it."""

import importlib.util
import shutil
import subprocess
import sys

import numpy as np

from gold_sim.store import provenance


def load_copy(folder):
    """provenance.py as a module that lies in another folder."""
    folder.mkdir()
    shutil.copy(provenance.__file__, folder / "copied_provenance.py")
    spec = importlib.util.spec_from_file_location("copied_provenance", folder / "copied_provenance.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["copied_provenance"] = module
    spec.loader.exec_module(module)
    return module


def test_provenance_inside_and_outside_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    copy = load_copy(tmp_path / "code")
    found = copy.provenance({"a": 1})
    assert (found["commit"], found["diff"], found["config"]) == ("", "", {"a": 1})
    assert found["versions"]["numpy"] == np.__version__ and found["python"] in sys.version
    assert found["created"].endswith("+00:00")

    def git(*arguments):
        identity = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", "-C", copy.__file__ and str(tmp_path / "code"), *identity, *arguments], check=True
        )

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "someone else's")
    assert copy.provenance({})["commit"] == ""  # an untracked copy in another project
    git("add", "copied_provenance.py")
    git("commit", "-q", "-m", "ours")
    found = copy.provenance({})
    assert len(found["commit"]) == 40 and found["diff"] == ""
    with open(tmp_path / "code" / "copied_provenance.py", "a") as file:
        file.write("# édité\n" * 20_000)
    diff = copy.provenance({})["diff"]
    assert "+# édité" in diff and 60_000 < len(diff.encode()) <= 65_536 + 2
    monkeypatch.setenv("PATH", "")
    assert copy.provenance({})["commit"] == ""
