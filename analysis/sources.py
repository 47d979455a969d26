"""The stores that a command reads: folders, addresses and archives, opened before anything is written."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gold_sim.store import Store, StoreError, archive
from gold_sim.store.files import Damaged
from gold_sim.store.remote import Remote, is_url


@dataclass(frozen=True)
class Source:
    """A store together with the place that its user named: the store of an archive or an address lies in a cache."""

    where: str
    store: Store

    def names(self) -> dict[str, list[str]]:
        """Experiments that have records here, each with its presets."""
        stored = {}
        for path in sorted(self.store.root.glob("experiments/*.json")):
            name, _, preset = path.stem.rpartition("-")
            stored.setdefault(name, []).append(preset)
        return stored

    def question(self, name: str) -> str:
        """The question of an experiment, as its records say, or a note that they are damaged."""
        try:
            return str(self.store.manifest(name).get("question", ""))
        except StoreError as error:
            return self.named(str(error))

    def named(self, text: str) -> str:
        """A text in which the store's path is replaced by the place as the user named it."""
        return text.replace(str(self.store.root), self.where)


def open_source(where: str, makes: str = "NAME") -> Source:
    """The store at `where`; what is at an address is fetched first, an archive unpacked.  StoreError if there is none.

    makes: the experiment whose records are wanted, for the message.
    """
    if archive.is_archive(where):
        return Source(where, Store(archive.unpack(Path(where))))
    if is_url(where):
        remote = Remote(where)
        remote.fetch_experiments()
        return Source(where, remote.store)
    if not (folder := Path(where)).is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise StoreError(f"--runs {where}: {what}; {FORMS} is wanted; this makes one: python -m experiments {makes}")
    return Source(where, Store(folder))


FORMS = f"a folder, an address, or an archive ({archive.SUFFIX})"


@contextlib.contextmanager
def opened(*places: str, makes: str = "NAME") -> Iterator[list[Source]]:
    """The stores at these places; messages raised within name the places and not their caches."""
    sources = []
    try:
        for where in places:
            sources.append(open_source(where, makes))
        yield sources
    except Damaged as error:
        raise Damaged(named(sources, error.what), named(sources, error.remedy)) from error
    except StoreError as error:
        raise StoreError(named(sources, str(error))) from error


def named(sources: list[Source], text: str) -> str:
    """A text in which every store is named as the user named it."""
    for source in sources:
        text = source.named(text)
    return text


def check_preset(sources: list[Source], preset: str | None) -> None:
    """Raise StoreError, before results are replaced, unless some experiment has records (of `preset`, if given)."""
    presets = sorted({preset for source in sources for of_one in source.names().values() for preset in of_one})
    places = ", ".join(source.where for source in sources)
    if not presets:
        raise StoreError(
            f"--runs {places}: no experiment has records there; this makes some: python -m experiments NAME"
        )
    if preset is not None and preset not in presets:
        raise StoreError(f"--preset {preset}: no records of it in {places}; there are some of {', '.join(presets)}")
