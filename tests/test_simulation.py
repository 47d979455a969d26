"""The store and the engine on a simulated machine: every single fault, random schedules, and stores broken by hand."""

import os

import pytest

from gold_sim.store import Store
from gold_sim.store.system import _Real
from tests.simulation import broken, command, schedule


@pytest.fixture(autouse=True)
def simulated():
    with command.in_place():
        yield


def broken_promises(seed: int) -> list[str]:
    return [f"--seed {seed}: {violation}" for violation in schedule.run(schedule.drawn(seed)).violations]


def test_every_call_that_changes_files_may_fail_once_in_every_way():
    """Of two cells, which make every kind of call."""
    base = schedule.Plan(seed=0, number=2, slots=1)
    singles = schedule.singles(base)
    assert {"write", "sync", "make", "rename", "unlink", "remove"} == set(schedule.run(base).calls)
    assert len(singles) > 300
    assert [f"{one}: {v}" for one in singles for v in schedule.run(base, one).violations] == []


@pytest.mark.parametrize("first", [0, schedule.CONTENDED])
def test_random_schedules_keep_every_promise(first):
    """`python -m tests.simulation` runs 10,000; one that fails is run again by --seed."""
    number = 80 if first == 0 else 20
    assert [told for seed in range(first, first + number) for told in broken_promises(seed)] == []


def test_a_schedule_follows_from_its_seed():
    one, other = (schedule.run(schedule.drawn(9)) for _ in range(2))
    assert sum(one.injected.values()) > 0
    assert (one.injected, one.calls, one.checked) == (other.injected, other.calls, other.checked)


@pytest.mark.parametrize(
    ("how", "promise"),
    [
        (broken.writes_in_place, "half-read"),
        (broken.renames_before_it_syncs, "corrupt"),
        (broken.counts_twice, "holds the same cell"),
    ],
)
def test_the_simulation_finds_a_store_that_is_broken_by_hand(how, promise):
    """Within the first seeds, which an unbroken store passes above; `BROKEN` has more."""
    with how():
        assert any(promise in told for seed in range(60) for told in broken_promises(seed))


def test_a_folder_that_is_swept_while_its_writer_lives_never_counts(tmp_path):
    """As where the file system's clock has jumped by days: half of it is removed when the writer renames it."""
    writer, cells = tmp_path / f".tmp-1-{0:08x}1", tmp_path / "gold"

    class Slow(_Real):
        def remove(self, folder):
            if (folder / "a").exists():
                (folder / "a").unlink()
                if writer.exists():
                    writer.rename(cells / "made")
            super().remove(folder)

    cells.mkdir()
    writer.mkdir()
    for name in "ab":
        (writer / name).touch()
    os.utime(writer, (1e9, 1e9))
    assert Store(tmp_path, Slow()).sweep() == [writer]
    assert list(cells.iterdir()) == [] and not list(tmp_path.glob(".tmp-*"))
