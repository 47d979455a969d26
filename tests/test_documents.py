"""The documents: their figures are those of the records, their links lead somewhere, the README is short."""

import re
from pathlib import Path

import pytest

from analysis import curves, records
from analysis.numbers import with_interval
from analysis.templates import scaling
from experiments.catalogue import NAMES
from experiments.page import markdown
from gold_sim import laws
from gold_sim.store import Store, archive

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "docs" / "records"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Made by a command, or merged later: leave out of here what has come.
TO_COME = {"docs/claims.md", "docs/schema.md", "gold_sim/attributes.py"}


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


DRAWS = {row[0].strip("`"): row[1:] for row in rows(marked("docs/results.md", "draws"))}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_those_of_their_archives(name, tmp_path, monkeypatch):
    data = records.load(opened(name, tmp_path, monkeypatch), "rm_size")
    groups = curves.groups(data.curves, data.axis)
    trends = {name: found.trend for name, found in scaling.coefficients(groups).items()}
    smallest = curves.observed(groups["rl"][0])
    r2 = scaling.fits_well("rl", [curves.law(g) for g in groups["rl"]])["median_r2"]
    assert DRAWS[name] == [
        *(with_interval(trends[name].slope, trends[name].slope_ci) for name in ("bon_alpha", "rl_beta")),
        f"{r2:.3f}",
        f"{smallest['gold_peak']:.3f}",
        with_interval(smallest["gold_final"], smallest["gold_final_ci"]),
    ]


def test_every_experiment_has_records_where_the_results_say(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "results.md").read_text().partition("## The archives")[2].partition("\n## ")[0]
    told = {Path(row[0].strip("`")).name: set(re.findall(r"`(\w+)`", row[-1])) for row in rows(text)}
    assert set(told) == {path.name for path in RECORDS.glob(f"*{archive.SUFFIX}")}
    for name, experiments in told.items():
        kept = opened(name, tmp_path, monkeypatch).root.glob("experiments/*.json")
        assert experiments == {path.stem.rpartition("-")[0] for path in kept}, name
    assert set.union(*told.values()) == set(NAMES)


def test_links_lead_somewhere_and_the_readme_names_every_page():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            target = (page.parent / link).resolve()
            assert target.exists() or str(target.relative_to(ROOT)) in TO_COME, f"{page.name}: {link}"
    for page in ("results", "fitting", "clusters", "speed", "extending", "design"):
        assert f"(docs/{page}.md)" in PAGES[0].read_text()


def test_files_that_the_pages_name_are_there():
    for page in PAGES:
        for path in re.findall(r"`((?:gold_sim|experiments|analysis(?!/out)|tests)/[\w/.]*)`", page.read_text()):
            assert (ROOT / path).exists() or path in TO_COME, f"{page.name}: {path}"


def test_the_forms_that_can_be_fitted_are_described():
    described = re.findall(r"^\| `(\w+)` \| (.+?) \|", (ROOT / "docs" / "fitting.md").read_text(), re.M)
    assert [pair for pair in described if pair[0] in laws.FORMS][: len(laws.FORMS)] == [
        (name, form.formula) for name, form in laws.FORMS.items()
    ]


def test_the_readme_takes_five_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    for page in PAGES:
        prose = [line for line in page.read_text().splitlines() if not line.startswith(("|", "    "))]
        assert max(map(len, prose)) < 120, page.name


def test_the_page_of_experiments_is_what_the_declarations_say():
    written = (ROOT / "docs" / "experiments.md").read_text()
    assert written == markdown(), "python -m experiments --markdown > docs/experiments.md"
    assert re.findall(r"^\| `(\w+)`", written, re.M) == [*NAMES, "throughput"]
