"""Files that commands write for their users: each is written whole or not at all, and never over a file that is read.

Everything outside the store is written by `write`: results, tables, figures, reports, archives, measurements.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from gold_sim.store.files import StoreError, writing


def write(path: Path | str, content: bytes | str) -> None:
    """Write a file under another name and rename it, so that the old file stays until the new one is whole.

    A device or a pipe cannot be replaced by renaming, so it is written to. StoreError: one line that names the file.
    """
    path, data = Path(path), content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
    with writing(path):
        if _is_stream(path):
            with open(path, "ab") as file:
                file.write(data)
            return
        place = path.resolve()  # of a link the file behind it is replaced
        if place.exists() and not os.access(place, os.W_OK):  # renaming would replace it all the same
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        aside = place.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with open(aside, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                aside.chmod(place.stat().st_mode & 0o777)
            os.replace(aside, place)
        finally:
            aside.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe, or one of the command's own streams (even one that leads to a file)."""
    own = path.parts[:2] == ("/", "proc") or path.parts[:3] in [("/", "dev", n) for n in ("stdout", "stderr", "fd")]
    return path.exists() and not path.is_dir() and (own or not path.is_file())


def check_file(path: Path, inputs: Iterable[Path | str] = ()) -> None:
    """Check, before work is spent, that a file can be written at `path` and that it is none of the inputs."""
    for given in inputs:
        if path.exists() and Path(given).exists() and path.samefile(given):
            raise StoreError(f"{path}: is what is read; another name is wanted for what is written")
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; the name of a file is wanted")
    if _is_stream(path):
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise StoreError(f"{path}: may not be written; another name is wanted")
    _check_writable(path.resolve().parent, path)


def check_folder(folder: Path) -> None:
    """Check, before work is spent, that files can be written in `folder`. Writing them will make it and its parents.

    StoreError: it is a file, or nothing can be written in its nearest parent that exists.
    """
    nearest = folder.resolve()
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    _check_writable(nearest, folder)


def _check_writable(nearest: Path, path: Path) -> None:
    if not nearest.exists():
        raise StoreError(f"{path}: there is no folder {nearest}; one that there is, is wanted")
    if not nearest.is_dir():
        raise StoreError(f"{path}: {nearest} is no folder; a place that can be written to is wanted")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StoreError(f"{path}: nothing may be written in {nearest}; a place that can be written to is wanted")
