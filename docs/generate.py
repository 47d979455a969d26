"""python docs/generate.py: writes the parts of pages that come from code or records, between their markers.

tests/test_documents.py and tests/test_archive.py check that what is in the tree is what this writes.
"""

import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from analysis.claims import catalogue  # noqa: E402
from analysis.drawing import tables  # noqa: E402
from gold_sim.store import Store, archive  # noqa: E402
from gold_sim.store.columns import TABLES  # noqa: E402


def columns(kind: str) -> str:
    """Markdown table of the columns of one kind of stored table."""
    bars_kept = lambda text: text.replace("|", "\\|")
    rows = [f"| `{name}` | {of.unit} | {bars_kept(of.meaning)} |" for name, of in TABLES[kind].items()]
    return "\n".join(["| column | unit | meaning |", "|---|---|---|", *rows])


def claims() -> str:
    """What `python -m analysis claims` writes of the four archives that together have every experiment (11 s)."""
    paths = sorted((ROOT / "docs" / "records").glob(f"2026-11-26-*{archive.SUFFIX}"))
    return tables.markdown(catalogue.table([Store(archive.unpack(path)) for path in paths]))


PARTS = {  # page -> marker -> what stands there
    "docs/schema.md": {f"columns {kind}": partial(columns, kind) for kind in TABLES},
    "docs/claims.md": {"claims": claims},
}


def replaced(page: str, marker: str, text: str) -> str:
    """The page with this text between its markers.  ValueError: the page has no such markers."""
    begin, end = f"<!-- begin {marker} -->", f"<!-- end {marker} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"{begin} and {end}: each is wanted once")
    return f"{page.partition(begin)[0]}{begin}\n{text.strip()}\n{end}{page.partition(end)[2]}"


def main() -> None:
    for name, parts in PARTS.items():
        path = ROOT / name
        page = path.read_text(encoding="utf-8")
        for marker, written in parts.items():
            page = replaced(page, marker, written())
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
