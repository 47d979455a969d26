"""python docs/generate.py: writes the parts of pages that come from code or records, between their markers.

tests/test_documents.py and tests/test_archive.py check that what is in the tree is what this writes.
"""

import json
import re
import sys
import tempfile
import textwrap
from functools import cache, partial
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from analysis import analyse, escaped, others, records  # noqa: E402
from analysis.claims import savings, verdicts  # noqa: E402
from analysis.claims.catalogue import CLAIMS  # noqa: E402
from analysis.drawing import figures, tables  # noqa: E402
from analysis.fit import advise, known_columns  # noqa: E402
from analysis.numbers import with_interval  # noqa: E402
from experiments import catalogue  # noqa: E402
from gold_sim.store import Store, archive  # noqa: E402
from gold_sim.store.columns import TABLES  # noqa: E402


def columns(kind: str) -> str:
    """Markdown table of the columns of one kind of stored table."""
    bars_kept = lambda text: text.replace("|", "\\|")
    rows = [f"| `{name}` | {of.unit} | {bars_kept(of.meaning)} |" for name, of in TABLES[kind].items()]
    return "\n".join(["| column | unit | meaning |", "|---|---|---|", *rows])


@cache
def stores() -> dict[str, Store]:
    """Path of every archive, from the root of the repository -> its records; the newest first, which counts."""
    paths = sorted((ROOT / "docs" / "records").glob(f"*{archive.SUFFIX}"), reverse=True)
    return {str(path.relative_to(ROOT)): Store(archive.unpack(path)) for path in paths}


PROCESSORS = {  # as noted when an archive was made; the records do not hold it
    "2026-11-30-a-world-with-room": "AMD EPYC, Zen 5",
    "2026-11-30-fresh-worlds": "AMD EPYC, Zen 5",
    "2026-11-30-labels-and-penalties": "AMD EPYC, Zen 4",
    "2026-12-01-golds-and-data": "AMD EPYC, Zen 4",
}


def manifests(store: Store) -> dict[str, dict]:
    """Experiment -> its manifest, of one archive; without those of other worlds or settings."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in store.root.glob("experiments/*.json")]
    own = [one for one in read if not one.get("settings")]
    return {one["experiment"]: one for one in sorted(own, key=lambda one: one["experiment"])}


def archives() -> str:
    """Where each archive comes from: day, code, processor, size, and the experiments in it."""
    columns = ("archive", "recorded", "code", "processor", "bytes", "experiments")
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    quoted = lambda names: ", ".join(f"`{name}`" for name in names)
    for path, store in sorted(stores().items()):
        cells = (store.record(record.parent) for record in store.root.glob("*/*/record.json"))
        kept = sorted(cells, key=lambda record: record["created"])
        code = quoted(dict.fromkeys(one["commit"][:7] + "+" * bool(one["diff"]) for one in kept))
        days = ", ".join(dict.fromkeys(one["created"][:10] for one in kept))
        name, size = Path(path).name, (ROOT / path).stat().st_size
        processor = PROCESSORS[name.removesuffix(archive.SUFFIX)]
        held = sorted(path.stem.rpartition("-")[0] for path in store.root.glob("experiments/*.json"))
        lines.append(f"| `{name}` | {days} | {code} | {processor} | {size:,} | {quoted(held)} |")
    return "\n".join(lines)


def hours() -> str:
    """CPU-hours that each experiment took in the newest archive that has it."""
    lines = ["| experiment | archive | seeds | cells | CPU-hours |", "|---|---|---|---|---|"]
    for name in drawn():
        path, read = newest(name)
        seeds = read.curves["seed"].nunique()
        cells = len(read.manifest["cells"]) + len(read.manifest["reward_models"])
        lines.append(f"| `{name}` | `{Path(path).name}` | {seeds} | {cells} | {verdicts.cpu_hours(read):.3f} |")
    return "\n".join(lines)


@cache
def entries() -> list[dict]:
    """The claims, from the records of all archives (10 s)."""
    return verdicts.entries(list(stores().values()))


TODAYS_LANGUAGE = "2026-11-30"  # day of the first archive in it
LONGEST = 20  # rows of a table of results; a longer one is left to the command


@cache
def newest(name: str) -> tuple[str, records.Data]:
    """The newest archive that has an experiment, and its records."""
    path, store = next((path, store) for path, store in stores().items() if name in manifests(store))
    return path, records.load(store, name)


MANY = 3  # intervals of a cell; with as many it is parted
SAYS = {claim.name: f"{claim.says} ({claim.source})" for claim in CLAIMS}
OUTSIDE = r"(?![^(]*\))"  # what precedes is not within round brackets


def rows_of(check: str, verdict: str, found: str) -> list[tuple[str, str, str]]:
    """Verdict, name and finding of a check or claim; a row for each comparison where one cell would have MANY."""
    name = check.replace("_", " ")
    if len(re.findall(r"\[[^\]]+, [^\]]+\]", found)) < MANY:
        return [(verdict, name, found)]
    says = SAYS.get(check, found.partition(": ")[0])
    *premise, own = re.split(rf"(?<=[)\]])\. {OUTSIDE}", found.removeprefix(f"{says}: "))
    of_premise, of_claim = (
        [part for text in texts for part in re.split(f"; {OUTSIDE}", text)] for texts in (premise, [own])
    )
    more = [f"premise: {part}" for part in of_premise[1:]]
    return [(verdict, name, f"{says}:"), *(("", "", part) for part in (*of_premise[:1], *more, *of_claim))]


def studied(read: records.Data):
    """What the records of an experiment say, without its figures, which would be drawn to be thrown away."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(figures, "FORMATS", {}):
        return analyse.study_named(read.manifest["study"])(read, Path(folder))


def found(name: str) -> str:
    """What one experiment asked and found, with the command that prints it, in the newest archive that has it."""
    path, read = newest(name)
    findings = studied(read)
    seeds, worlds = (sorted(read.curves[column].unique()) for column in ("seed", "world_seed"))
    draw = f"{len(seeds)} seeds, world {', '.join(map(str, worlds))}."
    if Path(path).name < TODAYS_LANGUAGE:
        draw += f" In the language before {TODAYS_LANGUAGE}, with a poorer gold; not drawn anew yet."
    prose = (f"*{read.manifest['question']}*", f"Expected: {read.manifest['expected']}", draw)
    question, expected, draw = (textwrap.fill(escaped.markdown(text), 118) for text in prose)
    lines = [question, "", expected, "", f"    python -m analysis {name} --runs {path}", "", draw, ""]
    lines += [tables.markdown(table) for table in findings.tables[:1] if len(table.frame) <= LONGEST]
    checks = verdicts.checks_of(read) | findings.summary.get("checks", {})
    lines += ["| verdict | check or claim | found |", "|---|---|---|"] if checks else []
    for check, one in checks.items():
        for cells in rows_of(check, one["verdict"], one["found"]):
            lines.append("| " + " | ".join(map(escaped.markdown, cells)) + " |")
    return "\n".join(lines).strip()


ADVISED = ("rm_size", "data_size", "policy_size", "policy_size_large_rm", "worlds")


def advice() -> str:
    """How many peaks the intervals of `python -m analysis advise` hold, each predicted from the other runs."""
    lines = ["| experiment | archive | peaks within the 90 % interval |", "|---|---|---|"]
    covered = runs = 0
    for name in ADVISED:
        path, read = newest(name)
        tested = advise.backtest([(form, ds, golds) for form, _, ds, golds, _ in advise.parts(read)])
        covered, runs = covered + tested["covered"], runs + tested["runs"]
        lines.append(f"| `{name}` | `{path}` | {tested['covered']} of {tested['runs']} |")
    return "\n".join([*lines, "", f"Together these are {covered} of {runs}, or {covered / runs:.0%}."])


def claims() -> str:
    """What `python -m analysis claims` writes."""
    counts = verdicts.counted(entries()).replace("; ", ";\n")
    return f"{counts}.\n\n{tables.markdown(verdicts.table(entries()))}"


def claims_in_short() -> str:
    """The claims by verdict, without checks and premises."""
    lines = ["The claims of the literature by verdict; [claims.md](claims.md) has what was measured and found.", ""]
    lines += ["    python -m analysis claims --runs docs/records/*.tar.xz", ""]
    lines += ["| verdict | claim | source | experiment |", "|---|---|---|---|"]
    judged = [one for one in entries() if one["kind"] == "claim"]
    for word in (*verdicts.VERDICTS, verdicts.NOT_TESTED, verdicts.NOT_RUN):
        each = [one for one in judged if one["verdict"] == word]
        cells = [(word, one["says"], one["source"], one["experiment"]) for one in each]
        lines += ["| " + " | ".join(map(escaped.markdown, row)) + " |" for row in cells]
    return "\n".join(lines)


MAIN_JOB = f"docs/records/2026-12-01-golds-and-data{archive.SUFFIX}"  # the draw that the README shows


@cache
def main_job() -> dict:
    """What `python -m analysis rm_size` writes to summary.json of the README's draw."""
    return studied(records.load(Store(archive.unpack(ROOT / MAIN_JOB)), "rm_size")).summary


def sizes() -> str:
    """Laws, peaks and ends of the README's draw, a row a size of reward model."""
    columns = ("RM parameters", "accuracy", "alpha_bon", "beta_bon", "R2", "best-of-n peak", "alpha_rl", "beta_rl")
    columns += ("R2", "path's peak", "path's end", "KL there", "frontier's peak")
    rows = []
    for size in main_job()["sizes"]:
        bon, rl = size["bon"], size["rl"]
        low, high = rl["gold_final_ci"]
        cells = [f"{size['rm_params']:,}", f"{size['val_accuracy']:.3f}"]
        for law in (bon, rl):
            cells += [f"{law['alpha']:.2f}", f"{law['beta']:.3f}", f"{law['r2']:.3f}", f"{law['gold_peak']:.2f}"]
        cells += [f"{rl['gold_final']:.2f} [{low:.2f}, {high:.2f}]", f"{rl['d_final'] ** 2:.1f}"]
        cells.append(f"{size['frontier']['gold_peak']:.2f}")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *rows])


def slopes() -> str:
    """How the coefficients of the README's draw change with size, in words."""
    trends = main_job()["trends"]
    change = lambda name: with_interval(trends[name].slope, trends[name].slope_ci)
    gaps = [size["frontier_minus_path"]["mean"] for size in main_job()["sizes"]]
    least, most = (with_interval(gap["gold"], gap["gold_ci"]) for gap in (gaps[0], gaps[-1]))
    return "\n".join(
        [
            f"A tenfold larger proxy changes alpha_bon by {change('bon_alpha')} and beta_rl by {change('rl_beta')}.",
            f"At equal KL the path has less gold than the frontier: {least} under the smallest proxy,",
            f"and {most} under the largest. These are means over d, from 0.3 to where the shorter curve ends.",
            "The table and these numbers are printed by",
            f"`python -m analysis rm_size --runs {MAIN_JOB}`.",
        ]
    )


RESULTS = "docs/results.md"


def fresh_worlds() -> str:
    """What the main job found in every world that it was drawn in with the presets' settings, a row a world."""
    columns = ("world", "checks", "slope of alpha_bon", "slope of beta_rl", "gold lost on the path", "which failed")
    rows = {}
    for store in stores().values():
        for name in others.worlds(store, "rm_size", "cpu"):
            read = records.load(store, name, "cpu")
            if Path(read.manifest["created"]).name < TODAYS_LANGUAGE or read.manifest["world"] in rows:
                continue
            checks = studied(read).summary["checks"]
            failed = [check for check, one in checks.items() if not one["holds"]]
            told = [checks[check]["found"] for check in ("bon_alpha_slope", "rl_beta_slope", "rl_falls")]
            values = [re.search(r"-?[\d.]+ \[[^]]*\]", text)[0] for text in told]
            named = "; ".join(f"{check.replace('_', ' ')}: {checks[check]['found']}" for check in failed)
            cells = (read.manifest["world"], f"{len(checks) - len(failed)} of {len(checks)}", *values, named)
            rows[read.manifest["world"]] = "| " + " | ".join(escaped.markdown(str(cell)) for cell in cells) + " |"
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(rows[world] for world in sorted(rows))])


SECTIONS = {  # of the page of results
    "The main job": ("rm_size", "worlds", "gold_quality", "negative_controls"),
    "What drives over-optimisation": (
        *("data_size", "grid", "epochs", "rm_start", "annotators", "preference_losses", "rankings"),
        *("policy_size", "policy_size_large_rm", "behaviours", "length", "held_out_prompts"),
    ),
    "The path, the frontier and the optimiser": (
        *("bon_vs_rl", "frontier", "kl_penalty", "ppo_penalty", "optimisers", "divergence", "regret"),
        "inference_time",
    ),
    "Mitigations": (
        *("ensembles", "ensembles_noise", "ensembles_kl", "ensemble_size", "diversity", "shared_errors"),
        *("reward_shaping", "constrained", "data_split"),
    ),
    "What a proxy sees, and rounds of labels": ("omission", "omission_updates", "iterated"),
    "Kinds of error": ("goodhart", "heavy_tails"),
    "Direct alignment": ("direct_alignment", "direct_alignment_pessimism"),
}
FIGURES = {
    "rm_size": "![Gold (solid), proxy (dashed), rubric (dotted) and laws against KL](rm_size.png)",
    "gold_quality": "![Gold, proxy and rubric against KL, by how gold was trained](gold_quality_curves.png)\n\n"
    "![The fall by gold and by the rubric, by how well gold follows the rubric](gold_quality.png)",
}


@cache
def drawn() -> list[str]:
    """The experiments that some archive has, in the order of the page of results."""
    listed = [name for names in SECTIONS.values() for name in names]
    if set(listed) != set(catalogue.NAMES):
        raise ValueError(f"SECTIONS: an experiment is missing or unknown: {set(listed) ^ set(catalogue.NAMES)}")
    there = {name for store in stores().values() for name in manifests(store)}
    return [name for name in listed if name in there]


def standing() -> str:
    """How much of the page is of today's language."""
    older = [name for name in drawn() if Path(newest(name)[0]).name < TODAYS_LANGUAGE]
    missing = [name for name in catalogue.NAMES if name not in drawn()]
    told = f"Of {len(catalogue.NAMES)} experiments {len(drawn()) - len(older)} are drawn in today's language"
    listed = lambda names: ", ".join(f"`{name}`" for name in names)
    told += f"; {len(older)} stand here as they were in the language before {TODAYS_LANGUAGE}" if older else ""
    told += f"; not drawn yet: {listed(missing)}" if missing else ""
    return textwrap.fill(f"{told}.", 118, break_on_hyphens=False)


def with_sections(page: str) -> str:
    """The page of results with a section for every experiment drawn; what stands between markers is kept."""
    begin, end = "<!-- begin sections -->", "<!-- end sections -->"
    before, _, rest = page.partition(begin)
    old, _, after = rest.partition(end)
    lines = []
    for title, names in SECTIONS.items():
        here = [name for name in names if name in drawn()]
        lines += [f"## {title}", ""] if here else []
        for name in here:
            marks = f"<!-- begin found {name} -->", f"<!-- end found {name} -->"
            kept = old.partition(marks[0])[2].partition(marks[1])[0].strip()
            lines += [f"### {newest(name)[1].manifest['title']}", ""]
            lines += [FIGURES[name], ""] if name in FIGURES else []
            lines += [*filter(None, (marks[0], kept, marks[1])), ""]
    return f"{before}{begin}\n" + "\n".join(lines) + f"{end}{after}"


SAVED = ("ensembles", "optimisers")  # where runs seldom, and often, share one reward model a seed


def saved() -> str:
    """What each way to do less work saves in two experiments, from the newest archive that has them."""
    out = []
    for name in SAVED:
        store = next(store for store in stores().values() if name in manifests(store))
        of = {table.name: table for table in savings.tables(records.load(store, name))}
        out += [f"`{name}`:", *(tables.markdown(of[part]) for part in ("savings", "notes", "wanted"))]
    return "\n\n".join(map(str.strip, out))


PARTS = {  # page -> marker -> what stands there
    "docs/schema.md": {f"columns {kind}": partial(columns, kind) for kind in TABLES},
    "docs/claims.md": {"claims": claims},
    "docs/decisions.md": {"savings": saved},
    "docs/fitting.md": {"known columns": known_columns.markdown},
    RESULTS: {"standing": standing, "fresh worlds": fresh_worlds, "claims": claims_in_short, "advice": advice}
    | {f"found {name}": partial(found, name) for name in drawn()},
    "docs/records/README.md": {"archives": archives, "hours": hours},
    "README.md": {"rm_size table": sizes, "rm_size prose": slopes},
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
        page = with_sections(page) if name == RESULTS else page
        for marker, written in parts.items():
            page = replaced(page, marker, written())
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
