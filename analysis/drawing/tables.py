"""Tables as Markdown and CSV: CSV holds every number, Markdown and the report show numbers with their intervals."""

from pathlib import Path

import pandas as pd

from analysis import curves, escaped
from analysis.findings import Table
from analysis.numbers import number, with_interval
from gold_sim.store import outputs

HEADINGS = {
    "": "verdict",
    "rm_params": "RM parameters",
    "num_pairs": "training pairs",
    "policy_params": "policy parameters",
    "kl_coef": "KL penalty",
    "r2": "R²",
    "kl_peak": "peak at KL (nats)",
    "gold_peak": "peak gold",
    "kl_final": "final KL (nats)",
    "gold_final": "final gold",
    "final_gain": "final gold minus first",
    "gain_at_kl": "the same at equal KL",
    "drop": "fall",
    "proxy_final": "final proxy",
    "kl_peak_fit": "law's peak at KL",
    "gold_peak_fit": "law's peak gold",
    "val_accuracy": "accuracy",
    "val_loss": "validation loss",
    "ece": "calibration error",
    "rank_correlation": "rank correlation",
}


def shown(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """(headings, rows of text), intervals folded into their column."""
    names = [c for c in frame.columns if not c.endswith(("_low", "_high"))]
    headings = [HEADINGS.get(c, c.replace("_", " ")) for c in names]
    rows = [[_cell(row, name) for name in names] for row in frame.to_dict("records")]
    return headings, rows


def _cell(row, name):
    if f"{name}_low" in row:
        return with_interval(row[name], (row[f"{name}_low"], row[f"{name}_high"]))
    return f"{row[name]:.3f}" if name == "r2" and row[name] == row[name] else number(row[name])


def markdown(table: Table) -> str:
    headings, rows = shown(table.frame)
    lines = [headings, ["---"] * len(headings), *rows]
    of_cells = (" | ".join(map(escaped.markdown, line)) for line in lines)
    return f"**{escaped.markdown(table.title)}**\n\n" + "\n".join(f"| {line} |" for line in of_cells) + "\n"


def write(folder: Path, tables: list[Table]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        outputs.write(folder / f"{table.name}.csv", table.frame.to_csv(index=False, lineterminator="\n"))
        outputs.write(folder / f"{table.name}.md", markdown(table))


def latex(table: Table) -> str:
    """A tabular with booktabs rules (\\usepackage{booktabs}), intervals in their cells."""
    headings, rows = shown(table.frame)
    line = lambda cells: " & ".join(map(escaped.latex, cells)) + r" \\"
    begin = rf"\begin{{tabular}}{{{'r' * len(headings)}}}"
    body = [rf"% {escaped.plain(table.title)}", begin, r"\toprule", line(headings), r"\midrule"]
    return "\n".join([*body, *map(line, rows), r"\bottomrule", r"\end{tabular}", ""])


def plain_text(table: Table) -> list[str]:
    """Lines for a terminal: columns aligned by spaces."""
    headings, rows = shown(table.frame)
    lines = [[escaped.plain(cell) for cell in line] for line in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ["  ".join(f"{cell:>{w}}" for cell, w in zip(line, widths, strict=True)) for line in lines]
    return [table.title, aligned[0], "  ".join("-" * w for w in widths), *aligned[1:]]


def laws_table(axis: str, rows: list[dict], title: str = "Fitted laws and observed peaks") -> Table:
    """rows: {axis: key, **law_and_peak(..)} as `laws_of` makes them."""
    out = []
    for row in rows:
        out.append(
            {axis: row[axis], "method": curves.METHOD_NAMES[row["method"]], "law": row["form"]}
            | spread(row, "alpha")
            | spread(row, "beta")
            | {"r2": row["r2"], "kl_peak": row["d_peak"] ** 2}
            | spread(row, "gold_peak")
            | {"kl_peak_fit": row["d_peak_fit"] ** 2}
            | spread(row, "gold_peak_fit")
            | {"kl_final": row["d_final"] ** 2}
            | spread(row, "gold_final")
            | {"proxy_final": row["proxy_final"]}
        )
    return Table("laws", title, pd.DataFrame(out))


def spread(row: dict, name: str) -> dict:
    low, high = row[f"{name}_ci"]
    return {name: row[name], f"{name}_low": low, f"{name}_high": high}


def ledger_table(axis: str, groups, title: str) -> Table:
    """Means of the rubric's attributes at the reference policy, at the peak of gold and at the end."""
    rows, names = [], curves.attributes(groups)
    for g in groups:
        at = {"start": 0, "peak": int(g.mean("gold").argmax()), "end": -1}
        for where, i in at.items():
            row = {axis: g.label, "at": where, "KL": float(g.kl[i]), "gold": float(g.mean("gold")[i])}
            rows.append(row | {n.removeprefix("attr_"): float(g.mean(n)[i]) for n in names})
    return Table("attributes", title, pd.DataFrame(rows))


def reward_models_table(axis: str, frame: pd.DataFrame) -> Table:
    """Seed means, with intervals, of what the reward models reach on held-out pairs."""
    rows = []
    for key, part in frame.groupby(axis, sort=True):
        row = {axis: key, "seeds": len(part)}
        for name in ("val_accuracy", "val_loss", "ece", "rank_correlation"):
            row |= spread({name: part[name].mean(), f"{name}_ci": curves.interval(part[name])}, name)
        rows.append(row)
    return Table("reward_models", "Reward models on held-out pairs", pd.DataFrame(rows))
