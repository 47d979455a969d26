"""From an experiment's name to everything that its analysis writes."""

import dataclasses
import json
import sys
from pathlib import Path

from analysis import records
from analysis.claims import catalogue
from analysis.drawing import report, tables, transcripts
from analysis.findings import Findings
from analysis.numbers import plain
from analysis.studies import (
    behaviours,
    bon_vs_rl,
    constrained,
    data_size,
    data_split,
    epochs,
    goodhart,
    grid,
    held_out_prompts,
    iterated,
    kl_penalty,
    length,
    negative_controls,
    policy_size,
    regret,
    rm_size,
    worlds,
)
from analysis.templates import variants
from gold_sim import laws

STUDIES = {
    "rm_size": rm_size.study,
    "data_size": data_size.study,
    "grid": grid.study,
    "epochs": epochs.study,
    "kl_penalty": kl_penalty.study,
    "ppo_penalty": kl_penalty.study,
    "bon_vs_rl": bon_vs_rl.study,
    "policy_size": policy_size.study,
    "policy_size_large_rm": policy_size.study,
    "worlds": worlds.study,
    "negative_controls": negative_controls.study,
    "behaviours": behaviours.study,
    "held_out_prompts": held_out_prompts.study,
    "regret": regret.study,
    "goodhart": goodhart.study,
    "data_split": data_split.study,
    "iterated": iterated.study,
    "omission_updates": iterated.study,
    "length": length.study,
    "constrained": constrained.study,
}  # of the others, and of experiments of the user's own: variants


def analyse(store, name: str, preset: str | None, folder: Path) -> tuple[records.Data, Findings]:
    """Read the records, write figures, tables, summary.json and report.html into folder."""
    read = records.load(store, name, preset)
    folder.mkdir(parents=True, exist_ok=True)
    findings = STUDIES.get(read.manifest["experiment"], variants.study)(read, folder)
    if checks := catalogue.checks_of(read) | findings.summary.get("checks", {}):
        findings = dataclasses.replace(findings, summary=findings.summary | {"checks": checks})
    findings.tables.extend(transcripts.tables(read))
    tables.write(folder, findings.tables)
    header = {"experiment": name, "preset": read.manifest["preset"], "interval": laws.LEVEL}
    warnings = [*read.warnings, *findings.warnings]
    content = header | findings.summary | {"warnings": warnings}
    if checks:
        content["checks"] = [{"name": check} | found for check, found in checks.items()]
    content = plain(content)
    (folder / "summary.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    controls = {} if name == "negative_controls" else negative_controls.beside(store, read.manifest["preset"])
    report.write(folder, read, findings, controls)
    return read, findings


def show(read: records.Data, findings: Findings, folder: Path) -> None:
    """To the terminal: tables of laws, what was found, where everything lies."""
    print(f"{read.manifest['title']} ({read.manifest['experiment']}, preset {read.manifest['preset']})\n")
    for table in findings.tables[:1]:
        print(tables.plain_text(table) + "\n")
    words = {True: "holds", False: "fails", None: "open"}
    for name, check in findings.summary.get("checks", {}).items():
        print(f"{words[check['holds']]:>8}  {name.replace('_', ' ')}: {check['found']}")
    for warning in [*read.warnings, *findings.warnings]:
        print(f"analysis: warning: {warning}", file=sys.stderr)
    print("\nfigures  " + "  ".join(str(folder / f"{f.name}.png") for f in findings.figures))
    print(f"summary  {folder / 'summary.json'}\nreport   {folder / 'report.html'}")
