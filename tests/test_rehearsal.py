"""Compiling ahead: a cell's first step on zeros leaves its programs in the cache, and nothing in the store."""

import zlib
from collections import Counter

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from experiments.engine import compiled, worker
from experiments.plan import plan
from gold_sim.named import imported
from gold_sim.stages import pipeline, rehearsal, training
from gold_sim.store import Store

SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


def cells_of(name: str) -> list:
    return plan(name, "smoke", {})[2]


@pytest.fixture
def cache(tmp_path):
    """A compilation cache of the test's own: () -> how often each function was compiled."""
    old = {name: getattr(jax.config, name) for name in SETTINGS}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()
    jax.clear_caches()
    yield lambda: Counter(path.name.split("-")[0] for path in (tmp_path / "compiled").glob("jit_*-cache"))
    for name, value in old.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def same_shapes(one, other):
    of = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), tree)
    assert of(one) == of(other)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("name", ["rm_size", "ensembles", "rankings"])
def test_zeros_have_the_shapes_of_what_is_stored_later(store, name):
    """Of everything that cells compiled ahead read."""
    for cell in cells_of(name):
        if cell.declared.blank is None:
            continue
        path = pipeline.run(store, cell)
        language = pipeline.Inputs(store, cell).language
        stored, blank = store.arrays(path, "arrays"), imported(cell.declared.blank)(language, cell.config)
        same_shapes({k: stored[k] for k in blank}, blank)
        assert cell.stage == "pool" or stored.keys() == blank.keys()


def test_a_rehearsed_cell_finds_the_programs_of_its_steps_compiled(tmp_path, cache):
    """In an empty store, where nothing is left. What comes before or after all steps is compiled later."""
    rehearsed, stored = Store(tmp_path / "rehearsed"), Store(tmp_path / "stored")
    first = {cell.stage: cell for cell in reversed(cells_of("rm_size"))}
    cells = [*reversed(first.values()), cells_of("direct_alignment")[-1]]
    for cell in (c for c in cells if c.can_be_rehearsed):
        rehearsal.rehearse(rehearsed, cell)
    assert not rehearsed.root.exists()
    ahead = cache()
    jax.clear_caches()
    for cell in cells:
        pipeline.run(stored, cell)
    steps = ("rollout", "score", "update", "write", "judged", "_of_prompt", "_scored", "implicit_accuracy")
    assert all(ahead[f"jit_{name}"] == cache()[f"jit_{name}"] > 0 for name in steps), (ahead, cache())
    assert {"jit_fitted", "jit_train"} <= cache().keys() - ahead.keys()


def test_a_rehearsal_ends_after_one_step(tmp_path, monkeypatch):
    """And not after an evaluation interval, which has two."""
    taken, update = [], training.update
    monkeypatch.setattr(training, "update", lambda *given: taken.append(1) or update(*given))
    rehearsal.rehearse(Store(tmp_path), next(c for c in cells_of("rm_size") if c.stage == "policy_gradient"))
    assert len(taken) == 1


def test_a_worker_keeps_its_programs_for_so_many_cells_and_then_forgets_them(monkeypatch):
    cleared = []
    monkeypatch.setattr(worker, "_kept", 0)
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(worker._kept))
    for _ in range(2 * worker.MOST_KEPT + 1):
        worker._forget_programs()
    assert cleared == [worker.MOST_KEPT] * 2


def test_torn_entries_of_the_compilation_cache_are_removed_and_whole_ones_checked_once(tmp_path):
    """jax never writes over an entry that exists, so that a torn one would be compiled anew by every process."""
    whole, torn = tmp_path / "jit_a-1-cache", tmp_path / "jit_b-2-cache"
    packed = zlib.compress(bytes(range(256)) * 40)
    whole.write_bytes(packed)
    torn.write_bytes(packed[: len(packed) // 2])
    assert compiled.remove_torn(tmp_path) == 1 and whole.exists() and not torn.exists()
    whole.write_bytes(b"?" * len(packed))  # of the same size: not read again
    assert compiled.remove_torn(tmp_path) == 0 and compiled.remove_torn(tmp_path / "none") == 0
    whole.write_bytes(packed[:-5])
    assert compiled.remove_torn(tmp_path) == 1
