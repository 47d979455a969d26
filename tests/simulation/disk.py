"""A simulated file system: what processes see of it, and what is left of it when its power is cut.

A file's bytes are safe after `sync` of the file; that it was made, renamed or removed is safe after `sync` of its
folder. Of what is not safe, a power cut leaves anything: each change of a name by itself or not, each file whole, cut
short, filled with zeros or empty. So it is harsher than the journals of common file systems, and as POSIX allows.
"""

import errno
import fnmatch
import functools
import os
import random
import re
from pathlib import Path


class File:
    __slots__ = ("data", "safe", "modified")

    def __init__(self):
        self.data, self.safe, self.modified = b"", None, 0.0  # safe: bytes after the last sync; None before the first


class Folder:
    __slots__ = ("names", "safe", "modified")

    def __init__(self):
        self.names, self.safe, self.modified = {}, {}, 0.0  # name -> File or Folder; safe: as after the last sync


def fault(number: int, path) -> OSError:
    return OSError(number, os.strerror(number), str(path))


@functools.cache
def _pattern(glob: str) -> re.Pattern:
    return re.compile(fnmatch.translate(glob))


class Disk:
    """The files of one host, or of all hosts that mount it.  now: its clock, which may jump."""

    def __init__(self, now):
        self.now, self.root = now, Folder()
        self._unsafe = []  # changes of names in order: (node, (folder, name) before or None, the same after or None)

    # --- paths ---

    def find(self, path) -> File | Folder | None:
        at = self.root
        for name in filter(None, str(path).split("/")):
            if not isinstance(at, Folder) or (at := at.names.get(name)) is None:
                return None
        return at

    def get(self, path, kind: type | tuple = (File, Folder)) -> File | Folder:
        if (node := self.find(path)) is None:
            raise fault(errno.ENOENT, path)
        if not isinstance(node, kind):
            raise fault(errno.ENOTDIR if kind is Folder else errno.EISDIR, path)
        return node

    def _parent(self, path) -> tuple[Folder, str]:
        folder, _, name = str(path).rpartition("/")
        return (self.get(folder, Folder) if folder else self.root), name

    def glob(self, folder: Path, pattern: str, names) -> list[Path]:
        """Paths below `folder` that match.  names: of a Folder, its {name: node} as the process sees it."""
        found = [(folder, self.find(folder))]
        for part in pattern.split("/"):
            fits = _pattern(part).match
            inside = [(at, names(node)) for at, node in found if isinstance(node, Folder)]
            # A pattern that does not begin with a dot matches names that do, as that of pathlib.
            found = [(at / name, node) for at, named in inside for name, node in named.items() if fits(name)]
        return [at for at, _ in found]

    # --- changes ---

    def write(self, path, data: bytes):
        folder, name = self._parent(path)
        node = folder.names.get(name)
        if isinstance(node, Folder):
            raise fault(errno.EISDIR, path)
        if node is None:
            node = File()
            self._change(node, None, (folder, name))
        node.data, node.modified = data, self.now()

    def make(self, path, parents: bool, exist_ok: bool):
        if (there := self.find(path)) is not None:
            if exist_ok and isinstance(there, Folder):
                return
            raise fault(errno.EEXIST, path)
        above = str(path).rpartition("/")[0]
        if parents and above and self.find(above) is None:
            self.make(above, True, True)
        node = Folder()
        node.modified = self.now()
        self._change(node, None, self._parent(path))

    def rename(self, path, to):
        node, before, after = self.get(path), self._parent(path), self._parent(to)
        there = after[0].names.get(after[1])
        if isinstance(there, Folder) and there.names:
            raise fault(errno.ENOTEMPTY, to)
        if there is not None and type(there) is not type(node):
            raise fault(errno.ENOTDIR if isinstance(node, Folder) else errno.EISDIR, to)
        self._change(node, before, after)

    def unlink(self, path):
        folder, name = self._parent(path)
        self.drop(folder, name, path)

    def drop(self, folder: Folder, name: str, path):
        """Remove a file or an empty folder from a folder that is open, whatever its path is by now."""
        if (node := folder.names.get(name)) is None:
            raise fault(errno.ENOENT, path)
        if isinstance(node, Folder) and node.names:
            raise fault(errno.ENOTEMPTY, path)
        self._change(node, (folder, name), None)

    def _change(self, node, before, after):
        self._unsafe.append((node, before, after))
        _apply(node, before, after, "names")
        for place in filter(None, (before, after)):
            place[0].modified = self.now()

    # --- safety ---

    def sync(self, path):
        node = self.get(path)
        if isinstance(node, File):
            node.safe = node.data
            return
        left = []
        for change in self._unsafe:
            if node in (place[0] for place in change[1:] if place):
                _apply(*change, "safe")
                left = [other for other in left if other[0] is not change[0]]  # an older name of it can no more come
            else:
                left.append(change)
        self._unsafe = left

    def cut(self, rng: random.Random):
        """A power cut: everything is as it was safe, and some of what was not."""
        share = rng.choice((0.0, 0.5, 0.5, 1.0))
        for change in self._unsafe:
            if rng.random() < share:
                _apply(*change, "safe")
        self._unsafe = []
        folders = [self.root]
        while folders:
            folder = folders.pop()
            folder.names = dict(folder.safe)
            for node in folder.names.values():
                if isinstance(node, Folder):
                    folders.append(node)
                elif node.data != node.safe:
                    cut_short = node.data[: rng.randrange(len(node.data) + 1)]
                    node.data = rng.choice((node.safe or b"", cut_short, bytes(len(node.data)), node.data))
                    node.safe = node.data


def _apply(node, before, after, which: str):
    if before and getattr(before[0], which).get(before[1]) is node:
        del getattr(before[0], which)[before[1]]
    if after:
        getattr(after[0], which)[after[1]] = node
