"""The cores and memory that this process may use, given the limits of its container and the processes beside it."""

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS, PROC = Path("/sys/fs/cgroup"), Path("/proc")
UNLIMITED = 2**60  # bytes; cgroups of version 1 say "no limit" by a number about as large


def cores() -> int:
    """Cores that this process may use: the least of those of the machine, of its allocation and of its container."""
    allowed = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for folder in _groups("cpu"):
        with_period = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
        if len(with_period) == 2 and with_period[0].isdecimal() and int(with_period[1]):  # else "max", or -1
            allowed.append(max(1, int(with_period[0]) // int(with_period[1])))
    return min(allowed)


def memory() -> int | None:
    """Bytes that new processes may take together before the system ends some; None where no system says."""
    free = []
    for folder in _groups("memory"):
        limit = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        used = _words(folder / "memory.current") or _words(folder / "memory.usage_in_bytes")
        if limit and used and limit[0].isdecimal() and int(limit[0]) < UNLIMITED:
            kept = dict(line.split() for line in _lines(folder / "memory.stat"))
            files = kept.get("total_inactive_file") or kept.get("inactive_file", 0)  # given back when wanted
            free.append(max(0, int(limit[0]) - int(used[0]) + int(files)))
    of_machine = dict(line.split(":", 1) for line in _lines(PROC / "meminfo"))
    if "MemAvailable" in of_machine:
        free.append(int(of_machine["MemAvailable"].split()[0]) * 1024)
    return min(free, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that bind this process, its own first; of version 1 and of version 2."""
    for line in _lines(PROC / "self" / "cgroup"):
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        mount = GROUPS / controller if names else GROUPS
        own = mount / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(mount))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _words(*paths: Path) -> list[str]:
    """The words of all files together."""
    return [word for path in paths for line in _lines(path) for word in line.split()]
