"""A simulated object store behind fsspec: puts are whole or absent, acknowledgements get lost, listings are stale."""

import fsspec
from fsspec.spec import AbstractFileSystem

from tests.simulation.world import CURRENT, Killed, Process

URL = "simulated://bucket/runs"
FAULTS = ("error", "lost", "killed before", "killed after")  # of a change; "lost": done, and an error is said


class Objects(AbstractFileSystem):
    """One bucket for a world: {path: (bytes, from when on it is listed)}, in `world.objects`."""

    protocol = "simulated"
    cachable = False

    @property
    def _process(self) -> Process:
        return CURRENT.process

    def _found(self) -> dict:
        """The objects that a listing shows; one put a moment ago may not be among them."""
        world = self._process.world
        world.point(self._process)
        shown = {}
        for path, (data, listed) in world.objects.items():
            if world.clock < listed and world.listing_age and self._process.role != "user":
                world.injected["stale listings"] += 1
            else:
                shown[path] = data
        return shown

    def ls(self, path, detail=True, **_):
        path, found = self._strip_protocol(path), {}
        for name, data in self._found().items():
            if name == path:
                found[name] = dict(name=name, size=len(data), type="file")
            elif name.startswith(f"{path}/"):
                inside = name[len(path) + 1 :].split("/")
                at = f"{path}/{inside[0]}"
                found[at] = dict(name=at, size=len(data), type="file" if len(inside) == 1 else "directory")
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else list(found)

    def cat_file(self, path, start=None, end=None, **_):
        self._process.world.point(self._process)
        path = self._strip_protocol(path)
        if path not in self._process.world.objects:
            raise FileNotFoundError(path)
        return self._process.world.objects[path][0][start:end]

    def pipe_file(self, path, value, mode="overwrite", **_):
        world = self._process.world
        listed = world.clock + world.listing_age * max(0.0, world.rng.uniform(-1, 1))
        self._change("put", path, lambda: world.objects.__setitem__(self._strip_protocol(path), (value, listed)))

    def mv(self, path1, path2, **_):
        objects, clock = self._process.world.objects, self._process.world.clock
        from_, to = self._strip_protocol(path1), self._strip_protocol(path2)
        self._change("move", path2, lambda: objects.__setitem__(to, (objects.pop(from_)[0], clock)))

    def rm_file(self, path):
        objects = self._process.world.objects
        self._change("delete", path, lambda: objects.pop(self._strip_protocol(path), None))

    def makedirs(self, path, exist_ok=False):
        pass

    def invalidate_cache(self, path=None):
        pass

    def _change(self, kind: str, path, change):
        process = self._process
        process.world.point(process)
        fault = process.world.faults(process, kind, path)
        if fault == "error":
            raise OSError(f"503 for {path}")
        if fault != "killed before":
            change()
        if fault == "lost":
            raise TimeoutError(f"no answer for {path}")
        if fault in ("killed before", "killed after"):
            process.world.kill(process)
            raise Killed


fsspec.register_implementation("simulated", Objects, clobber=True)
