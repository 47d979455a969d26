"""A store in an object store: what is published comes back whole, half an upload does not count, damage is noticed."""

import types

import numpy as np
import pytest

from gold_sim.store import Store, StoreError
from gold_sim.store.remote import Remote, cache_of, is_url

CODE = "a" * 16
CELL = types.SimpleNamespace(stage="gold", name="made", fingerprint=CODE)


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path, monkeypatch):
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / "here"))
    return f"memory://{tmp_path.name}/bucket" if request.param == "memory" else f"file://{tmp_path}/bucket"


def write(store, value=1.0):
    return store.write("gold", "made", CODE, {"device": "cpu"}, arrays={"arrays": {"a": np.full(3, value)}})


def elsewhere(url, tmp_path, monkeypatch, name="there"):
    """The same address seen from another machine."""
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path / name))
    return Remote(url)


def test_what_is_published_comes_back_whole(url, tmp_path, monkeypatch):
    here = Remote(url)
    assert here.present() == {}
    here.publish(write(here.store))
    there = elsewhere(url, tmp_path, monkeypatch)
    assert there.store.root != here.store.root and set(there.present()) == {CODE}
    assert there.store.find("gold", CODE) is None
    there.fetch([CELL])
    path = there.store.find("gold", CODE)
    assert path.name == f"made-{CODE}" and np.array_equal(there.store.arrays(path, "arrays")["a"], np.ones(3))
    there.fetch([CELL])  # what is here stays


def test_an_upload_without_its_pointer_does_not_count(url, tmp_path, monkeypatch):
    here = Remote(url)
    put, pointer = here._put, []
    cut = lambda path, data: pointer.append(path) if path.endswith(f"{CODE}.json") else put(path, data)
    monkeypatch.setattr(here, "_put", cut)
    here.publish(write(here.store))
    assert len(pointer) == 1 and Remote(url).present() == {}
    monkeypatch.setattr(here, "_put", put)
    here.publish(here.store.find("gold", CODE))  # again, as after a kill: under another name
    there = elsewhere(url, tmp_path, monkeypatch)
    there.fetch([CELL])
    assert there.store.find("gold", CODE)


def test_of_two_writers_one_counts_whole(url, tmp_path, monkeypatch):
    one, other = Remote(url), elsewhere(url, tmp_path, monkeypatch, "other")
    one.publish(write(one.store, 1.0))
    other.publish(write(other.store, 2.0))
    there = elsewhere(url, tmp_path, monkeypatch)
    there.fetch([CELL])
    assert there.store.arrays(there.store.find("gold", CODE), "arrays")["a"].tolist() in ([1.0] * 3, [2.0] * 3)


def test_damage_is_one_line(url, tmp_path, monkeypatch):
    here = Remote(url)
    here.publish(write(here.store))
    victim = next(p for p in here._fs.find(here._base) if p.endswith("arrays.safetensors"))
    data = bytearray(here._fs.cat_file(victim))
    data[-1] ^= 1
    here._fs.pipe_file(victim, bytes(data))
    there = elsewhere(url, tmp_path, monkeypatch)
    with pytest.raises(StoreError, match="corrupt"):
        there.fetch([CELL])
    assert there.store.find("gold", CODE) is None and not there.store.fingerprints()


def test_addresses():
    assert is_url("s3://bucket/runs") and not is_url("runs") and not is_url("/a/b")
    assert cache_of("s3://bucket/runs/") == cache_of("s3://bucket/runs") != cache_of("s3://bucket/other")
    with pytest.raises(StoreError, match="abacus"):
        Remote("abacus://beads")


def test_manifests_and_what_they_name(url, tmp_path, monkeypatch):
    here = Remote(url)
    here.publish(write(here.store))
    cells = [dict(stage="gold", fingerprint=CODE)]
    manifest = dict(experiment="made", preset="smoke", cells=cells, reward_models=[])
    here.publish_manifest(here.store.write_manifest("made-smoke", manifest))
    there = elsewhere(url, tmp_path, monkeypatch)
    there.fetch_experiments()
    assert there.store.manifest("made")["cells"] == cells and there.store.find("gold", CODE)
    assert isinstance(there.store, Store)
