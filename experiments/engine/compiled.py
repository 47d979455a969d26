"""Compiled programs that a killed process left half written, removed before jax meets them.

jax writes an entry of its compilation cache in place, and never writes one that exists. So a torn entry would make
every later process warn and compile anew, for ever.
"""

import contextlib
import zlib
from pathlib import Path

ZSTD = b"\x28\xb5\x2f\xfd"  # how an entry begins where jax found zstandard, which checks the length itself
CHECKED = ".checked"  # names of entries that are whole, one a line


def remove_torn(folder: Path) -> int:
    """Remove the torn entries of a compilation cache; their number.  Whole ones are checked once."""
    known = folder / CHECKED
    seen = set(known.read_text().split()) if known.exists() else set()
    new = [entry for entry in folder.glob("*-cache") if _named(entry) not in seen] if folder.is_dir() else []
    torn = [entry for entry in new if _is_torn(entry)]
    for entry in torn:
        entry.unlink(missing_ok=True)
    if whole := sorted({_named(entry) for entry in new if entry not in torn}):
        with contextlib.suppress(OSError), open(known, "a") as file:
            file.write("\n".join(whole) + "\n")
    return len(torn)


def _named(entry: Path) -> str:
    """An entry by its name and size, as one that was cut afterwards is to be checked again."""
    return f"{entry.name}:{entry.stat().st_size}"


def _is_torn(entry: Path) -> bool:
    data = entry.read_bytes()
    if data.startswith(ZSTD):
        return False
    stream = zlib.decompressobj()
    try:
        stream.decompress(data)
    except zlib.error:
        return True
    return not stream.eof
