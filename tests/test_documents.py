"""The documents: their figures are those of the records, their links lead somewhere, the README is short."""

import re
import runpy
from pathlib import Path

import pytest

from experiments.catalogue import NAMES
from experiments.page import markdown
from gold_sim import laws, settings
from gold_sim.config import Config
from gold_sim.laws import saturation
from gold_sim.store import Store, archive

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "docs" / "records"
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)]
SAMPLED = ("rm_size", "ensembles", "inference_time")  # sections of the results that are made anew: all take a minute
GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))


def marked(page: str, part: str) -> str:
    """The text between a page's markers of that part."""
    return (ROOT / page).read_text().partition(f"<!-- begin {part} -->")[2].partition(f"<!-- end {part} -->")[0]


def rows(text: str) -> list[list[str]]:
    """Cells of the rows of Markdown tables whose first cell names an archive."""
    lines = [line.strip("| ") for line in text.splitlines() if re.match(r"\| `[\w/-]+\.tar\.xz`", line)]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def opened(name: str, tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("GOLD_SIM_CACHE", str(tmp_path))
    return Store(archive.unpack(RECORDS / Path(name).name))


def test_the_list_of_archives_is_what_they_hold(tmp_path, monkeypatch):
    listed = {row[0].strip("`"): row[1:] for row in rows((RECORDS / "README.md").read_text())}
    assert set(listed) == {path.name for path in RECORDS.glob(f"*{archive.SUFFIX}")}
    named = lambda cell: re.findall(r"`([\w+]+)`", cell)
    for name, (recorded, code, _, size, experiments) in listed.items():
        store = opened(name, tmp_path, monkeypatch)
        kept = [store.record(path.parent) for path in store.root.glob("*/*/record.json")]
        assert set(recorded.split(", ")) == {record["created"][:10] for record in kept}, name
        began = {}  # commit, "+" with uncommitted changes -> when it was first used
        for record in sorted(kept, key=lambda record: record["created"]):
            began.setdefault(record["commit"][:7] + "+" * bool(record["diff"]), record["created"])
        assert named(code) == list(began), name
        assert int(size.replace(",", "")) == (RECORDS / name).stat().st_size
        assert named(experiments) == sorted(p.stem.rpartition("-")[0] for p in store.root.glob("experiments/*.json"))
    drawn = {experiment.partition("+")[0] for row in listed.values() for experiment in named(row[-1])}
    assert set(GENERATE["drawn"]()) == drawn <= set(NAMES)
    missing = named(" ".join(marked("docs/results.md", "standing").split()).partition("not drawn yet")[2])
    assert set(missing) == set(NAMES) - drawn, "python docs/generate.py"


def test_every_experiment_drawn_has_its_section_once():
    page = (ROOT / "docs" / "results.md").read_text()
    assert GENERATE["with_sections"](page) == page, "python docs/generate.py"
    assert re.findall(r"<!-- begin found (\w+) -->", page) == GENERATE["drawn"]()


def test_the_records_are_small_enough_to_clone():
    assert sum(path.stat().st_size for path in RECORDS.glob(f"*{archive.SUFFIX}")) <= 10_000_000


def test_a_cell_of_many_intervals_is_a_row_for_each():
    """And what precedes them stands first; of a premise every row says so."""
    rows_of = GENERATE["rows_of"]
    few = "slopes: a 1 [0.5, 1.5]; b 2 [1, 3]"
    assert rows_of("few_of_them", "holds", few) == [("holds", "few of them", few)]
    rest = lambda found: [cells[2] for cells in rows_of("some_check", "open", found)]
    many = "all: a 1 [0, 2] (at 5; of 7: none); b 2 [1, 3]; c 3 [2, 4]"
    assert rest(many) == ["all:", "a 1 [0, 2] (at 5; of 7: none)", "b 2 [1, 3]", "c 3 [2, 4]"]
    hangs = "all: premise it: open, x 1 [0, 2] (of 3); y 2 [1, 3]. z 3 [2, 4]"
    assert rest(hangs) == ["all:", "premise it: open, x 1 [0, 2] (of 3)", "premise: y 2 [1, 3]", "z 3 [2, 4]"]
    assert rows_of("some_check", "open", many)[1][:2] == ("", "")


@pytest.mark.parametrize("page", GENERATE["PARTS"])
def test_generated_parts_are_what_the_script_writes(page):
    """All but the claims, which tests/test_archive.py computes anyway; of the results the first, a long and a short."""
    for part, written in GENERATE["PARTS"][page].items():
        slow = ("claims", "advice", "fresh worlds")
        if part not in slow and (not part.startswith("found") or part.split()[1] in SAMPLED):
            assert marked(page, part).strip() == written(), f"{page}, {part}: python docs/generate.py writes it anew"


def test_links_lead_somewhere_and_the_readme_names_every_page():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            target = (page.parent / link).resolve()
            assert target.exists(), f"{page.name}: {link}"
    named = ("results", "claims", "schema", "fitting", "trusting_fits", "how_far", "clusters", "speed", "extending")
    for page in (*named, "design"):
        assert f"(docs/{page}.md)" in PAGES[0].read_text()


def test_files_that_the_pages_name_are_there():
    for page in PAGES:
        for path in re.findall(r"`((?:gold_sim|experiments|analysis(?!/out)|tests)/[\w/.]*)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_settings_that_the_pages_set_can_be_set():
    given = {text for page in PAGES for text in re.findall(r"--set '?([a-z_]+\.[a-z_]+=[^\s'`\"]+)", page.read_text())}
    assert len(given) > 10
    for text in given:
        settings.replace(Config(), dict([settings.parse(text)]))


def test_the_forms_that_can_be_fitted_are_described():
    described = re.findall(r"^\| `(\w+)` \| (.+?) \|", (ROOT / "docs" / "fitting.md").read_text(), re.M)
    assert [pair for pair in described if pair[0] in laws.FORMS][: len(laws.FORMS)] == [
        (name, form.formula) for name, form in laws.FORMS.items()
    ]
    saturating = [pair for pair in described if pair[0] in saturation.FORMULAS]
    assert saturating[: len(saturation.FORMULAS)] == [*saturation.FORMULAS.items()]


def test_the_readme_takes_five_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    for page in PAGES:
        prose = [line for line in page.read_text().splitlines() if not line.startswith(("|", "    "))]
        assert max(map(len, prose)) < 120, page.name


def test_the_page_of_experiments_is_what_the_declarations_say():
    written = (ROOT / "docs" / "experiments.md").read_text()
    assert written == markdown(), "python -m experiments --markdown > docs/experiments.md"
    assert re.findall(r"^\| `(\w+)`", written, re.M) == [*NAMES, "throughput"]
