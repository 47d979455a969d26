"""The report of an experiment, one self-contained HTML page: question, expected, found, figures, tables, origin."""

import base64
from pathlib import Path

import jinja2

from analysis.drawing import interactive, tables
from analysis.findings import Findings
from analysis.records import Data
from gold_sim.store import outputs


def write(folder: Path, data: Data, findings: Findings, controls: dict) -> Path:
    """<folder>/report.html, with the PNGs of `findings.figures` (already in folder) inlined.

    controls: checks of the negative controls beside this experiment, empty if they were not run.
    """
    template = jinja2.PackageLoader("analysis.drawing", ".")
    environment = jinja2.Environment(loader=template, autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html.j2").render(
        manifest=data.manifest,
        provenance=data.provenance,
        warnings=[*data.warnings, *findings.warnings],
        controls=controls,
        chart=interactive.chart(data),
        checks=findings.summary.get("checks", {}),
        figures=[(figure, _inline(folder / f"{figure.name}.png")) for figure in findings.figures],
        tables=[(table, *tables.shown(table.frame)) for table in findings.tables],
    )
    path = folder / "report.html"
    outputs.write(path, page)
    return path


def _inline(png: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()
