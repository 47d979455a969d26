"""The store with damaged files: flipped bytes, cut, foreign and incomplete folders, each told in one line."""

import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import records
from gold_sim.store import Store, StoreError
from gold_sim.store.columns import CURVE_COLUMNS, TABLES
from tests.made_cells import A, B, C, write


@pytest.mark.parametrize("filename", ["curves.parquet", "pool.safetensors", "record.json"])
def test_one_flipped_byte_is_noticed(tmp_path, filename):
    store = Store(tmp_path)
    path = write(store)
    content = (path / filename).read_bytes()
    read = {
        "curves.parquet": store.table,
        "pool.safetensors": lambda: store.arrays(path, "pool"),
        "record.json": lambda: store.find("best_of_n", A),
    }[filename]
    read()
    for at in random.Random(0).sample(range(len(content)), 60):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        (path / filename).write_bytes(damaged)
        with pytest.raises(StoreError, match=f"{path}/{filename}: corrupt") as caught:
            read()
        assert "\n" not in str(caught.value) and "expected" in str(caught.value)
    for size in (0, 7, len(content) // 2, len(content) - 1):
        (path / filename).write_bytes(content[:size])
        with pytest.raises(StoreError, match=f"{filename}: corrupt.* {size} bytes"):
            read()
    (path / filename).write_bytes(content)
    read()


def test_parquet_pages_carry_checksums_for_other_readers(tmp_path):
    path = write(Store(tmp_path)) / "curves.parquet"
    content, group = path.read_bytes(), pq.read_metadata(path).row_group(0)
    for i in range(group.num_columns):
        chunk = group.column(i)
        assert chunk.compression == "ZSTD"
        damaged = bytearray(content)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        damaged[start + chunk.total_compressed_size - 1] ^= 1  # the last byte of the chunk's last page
        with pytest.raises(OSError, match="(?i)crc|checksum"):
            pq.read_table(pa.BufferReader(bytes(damaged)), page_checksum_verification=True)


def test_foreign_and_incomplete_folders(tmp_path):
    store = Store(tmp_path)
    path = write(store)
    for hidden in (path.with_name(".notebook"), tmp_path / ".cache" / "x"):
        hidden.mkdir(parents=True)
    assert len(store.table()) == 3  # hidden folders are nobody's business
    (tmp_path / "gold").mkdir()

    shutil.copytree(path, tmp_path / "gold" / path.name)  # of another stage
    with pytest.raises(StoreError, match=f"gold/tiny-{A}: foreign.*best_of_n/tiny-{A}"):
        store.find("gold", A)
    with pytest.raises(StoreError, match="same cell"):
        store.table()
    shutil.rmtree(tmp_path / "gold" / path.name)

    shutil.copytree(path, path.with_name(f"tiny-{B}"))  # of another fingerprint
    with pytest.raises(StoreError, match=f"tiny-{B}: foreign"):
        store.find("best_of_n", B)
    with pytest.raises(StoreError, match=f"tiny-{B}: foreign"):
        write(store, B)
    with pytest.raises(StoreError, match=f"tiny-{B}: foreign"):
        store.table()
    shutil.rmtree(path.with_name(f"tiny-{B}"))

    shutil.copytree(path, path.with_name(f"renamed-{A}"))
    with pytest.raises(StoreError, match="same cell"):
        store.find("best_of_n", A)
    shutil.rmtree(path.with_name(f"renamed-{A}"))

    path.with_name(f"tiny-{B}").mkdir()  # no record.json
    with pytest.raises(StoreError, match=f"tiny-{B}/record.json: cannot be read"):
        store.table()
    path.with_name(f"tiny-{B}").rmdir()

    (path / "extra.parquet").touch()
    with pytest.raises(StoreError, match="foreign: extra.parquet"):
        store.find("best_of_n", A)
    (path / "extra.parquet").unlink()
    (path / "curves.parquet").unlink()
    with pytest.raises(StoreError, match=r"missing or foreign: curves.parquet"):
        store.table()
    with pytest.raises(StoreError, match="nothing.safetensors: not there"):
        store.arrays(write(store, C), "nothing")


def test_tables_of_another_version_are_refused(tmp_path, monkeypatch):
    store = Store(tmp_path)
    write(store)
    fewer = {name: column for name, column in CURVE_COLUMNS.items() if name != "d"}
    monkeypatch.setitem(TABLES, "curves", fewer)
    with pytest.raises(StoreError, match=r"curves.parquet: columns differ.*d: double"):
        store.table()


def test_many_cells_are_found_as_one_is(tmp_path):
    store = Store(tmp_path)
    paths = {("best_of_n", A): write(store), ("gold", B): write(store, B, "gold")}
    assert store.finished([*paths, ("gold", C), ("absent", A)]) == paths
    record = paths["best_of_n", A] / "record.json"
    record.write_bytes(record.read_bytes().replace(b"tiny", b"huge"))
    with pytest.raises(StoreError, match=f"{record}: corrupt"):
        store.finished(paths)


def test_an_analysis_refuses_a_table_that_it_does_not_draw(tmp_path):
    """As that of samples, which `records.load` does not read."""
    store = Store(tmp_path)
    path = write(store)
    assert records._records(store, [("best_of_n", A)])["best_of_n", A]["note"] == "é"
    (path / "curves.parquet").write_bytes(b"of another run")
    with pytest.raises(StoreError, match="curves.parquet: corrupt"):
        records._records(store, [("best_of_n", A)])
