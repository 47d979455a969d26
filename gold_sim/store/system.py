"""Files, clock and processes as the store and the engine use them, so that tests can put a simulated machine in place.

A System is what one process sees. REAL is this process on this machine. UNHURRIED is the same, but does not wait for
the disk. tests/simulation has another: its disk can be full or lose power, its clock can jump, and its processes can be
killed between any two calls.
Texts for the user that are made before work is spent (`Store.check`) ask the real system themselves.
"""

import os
import platform
import secrets
import shutil
import time
import zlib
from pathlib import Path
from typing import Protocol


class System(Protocol):
    """One process with the files that it sees.  Calls on files raise OSError, as those of `os` and `pathlib` do."""

    @property
    def process(self) -> int: ...

    @property
    def host(self) -> str:
        """The host's name."""

    def is_alive(self, process: int) -> bool:
        """Whether a process of this host runs."""

    def token(self, size: int) -> str:
        """Random hex digits, two a byte, that no other process draws."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""

    def sleep(self, seconds: float) -> None: ...

    def read(self, path: Path) -> bytes: ...

    def write(self, path: Path, data: bytes) -> None:
        """Write a file in place.  Neither it nor its name is on the disk before `sync` of each."""

    def sync(self, path: Path) -> None:
        """Wait until a file, or a folder's list of names, is on the disk."""

    def make(self, folder: Path, parents: bool = False, exist_ok: bool = False) -> None: ...

    def rename(self, path: Path, to: Path) -> None:
        """Rename a file or a folder.  A file or an empty folder at `to` is replaced."""

    def unlink(self, path: Path) -> None:
        """Remove a file, if it is there."""

    def remove(self, folder: Path) -> None:
        """Remove a folder with all that is in it."""

    def names(self, folder: Path) -> list[str]: ...

    def glob(self, folder: Path, pattern: str) -> list[Path]:
        """Paths below a folder that match, in no order; none where there is no folder."""

    def exists(self, path: Path) -> bool: ...

    def is_folder(self, path: Path) -> bool: ...

    def modified(self, path: Path) -> float:
        """Seconds since the epoch, by the clock of the file system."""


class _Real:
    """This process on this machine."""

    @property
    def process(self) -> int:
        return os.getpid()

    @property
    def host(self) -> str:
        return platform.node()

    def is_alive(self, process: int) -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # someone else's
            pass
        return True

    def token(self, size: int) -> str:
        return secrets.token_hex(size)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)

    def sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make(self, folder: Path, parents: bool = False, exist_ok: bool = False) -> None:
        folder.mkdir(parents=parents, exist_ok=exist_ok)

    def rename(self, path: Path, to: Path) -> None:
        os.replace(path, to)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove(self, folder: Path) -> None:
        shutil.rmtree(folder)

    def names(self, folder: Path) -> list[str]:
        return os.listdir(folder)

    def glob(self, folder: Path, pattern: str) -> list[Path]:
        return list(folder.glob(pattern))

    def exists(self, path: Path) -> bool:
        return path.exists()

    def is_folder(self, path: Path) -> bool:
        return path.is_dir()

    def modified(self, path: Path) -> float:
        return path.stat().st_mtime


class _Unhurried(_Real):
    """The same, but nothing waits for the disk: for files that are checked when they are read and can be made again."""

    def sync(self, path: Path) -> None:
        pass


REAL: System = _Real()
UNHURRIED: System = _Unhurried()


def host_code(system: System) -> str:
    """Eight hex digits for the host: a process id means something only on the host that gave it."""
    return f"{zlib.crc32(system.host.encode()):08x}"
