"""The analysis of an experiment: from its name to all the files that are written."""

import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path

from analysis import records, studies
from analysis.claims import verdicts
from analysis.drawing import report, tables, transcripts
from analysis.escaped import say, warn
from analysis.findings import Findings
from analysis.numbers import plain
from analysis.studies import negative_controls
from analysis.templates import variants
from gold_sim import laws
from gold_sim.store import outputs


def study_named(name: str) -> Callable:
    """The function (data, folder) -> Findings of a module of analysis/studies; "variants" is the template of that name.

    ValueError if there is none, saying which there are.
    """
    if name == "variants":
        return variants.study
    known = [module.name for module in pkgutil.iter_modules(studies.__path__)]
    module = importlib.import_module(f"{studies.__name__}.{name}") if name in known else None
    if not hasattr(module, "study"):
        raise ValueError(f"study {name!r}: allowed are variants, {', '.join(known)}")
    return module.study


def analyse(
    store, name: str, preset: str | None, folder: Path, seeds: int | None = None
) -> tuple[records.Data, Findings]:
    """Read the records, write figures, tables, summary.json and report.html into folder."""
    read = records.load(store, name, preset, seeds)
    study = study_named(read.manifest["study"])
    controls = {} if name == "negative_controls" else negative_controls.beside(store, read.manifest["preset"])
    folder.mkdir(parents=True, exist_ok=True)
    findings = study(read, folder)
    if checks := verdicts.checks_of(read) | findings.summary.get("checks", {}):
        findings = dataclasses.replace(findings, summary=findings.summary | {"checks": checks})
    findings.warnings.extend(read.alike())
    findings.tables.extend(transcripts.tables(read))
    tables.write(folder, findings.tables)
    header = {"experiment": name, "preset": read.manifest["preset"], "interval": laws.LEVEL}
    warnings = [*read.warnings, *findings.warnings]
    content = header | findings.summary | {"warnings": warnings}
    if checks:
        content["checks"] = [{"name": check} | found for check, found in checks.items()]
    content = plain(content)
    outputs.write(folder / "summary.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    report.write(folder, read, findings, controls)
    return read, findings


def show(read: records.Data, findings: Findings, folder: Path) -> None:
    """Print the tables of laws, the findings, and where the files are."""
    say(f"{read.manifest['title']} ({read.manifest['experiment']}, preset {read.manifest['preset']})")
    for table in findings.tables[:1]:
        for line in ("", *tables.plain_text(table)):
            say(line)
    say()
    for name, check in findings.summary.get("checks", {}).items():
        say(f"{check['verdict']:>8}  {name.replace('_', ' ')}: {check['found']}")
    for warning in [*read.warnings, *findings.warnings]:
        warn(f"analysis: warning: {warning}")
    say()
    say("figures  " + "  ".join(str(folder / f"{f.name}.png") for f in findings.figures))
    say(f"summary  {folder / 'summary.json'}")
    say(f"report   {folder / 'report.html'}")
