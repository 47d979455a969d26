"""The figures of Gao, Schulman & Hilton 2023 from our records, sized and lettered for a venue.

    python -m analysis paper gao2023 [--venue neurips|icml|...] [--preset cpu] [--out FOLDER]

Numbers are those of the ICML version where the two differ (arXiv 2210.10760 has 1 for 2, 2 for 1, 5 for 7, 7 for 5).
Each caption says what is seen here and, where the paper saw something else, that. Figure 1 is a diagram.
"""

from pathlib import Path

from tueplots import bundles

from analysis import records
from analysis.drawing import figures, tables
from analysis.paper.gao2023 import PLATES, Book
from analysis.templates import scaling
from gold_sim.store import NotStored, Store, outputs

VENUES = {  # name -> text width and font sizes, without LaTeX: STIX letters are in matplotlib
    "neurips": lambda: bundles.neurips2024(usetex=False),
    "icml": lambda: bundles.icml2024(usetex=False, column="full"),
    "iclr": lambda: bundles.iclr2024(usetex=False),
    "aistats": lambda: bundles.aistats2025(usetex=False, column="full"),
    "tmlr": lambda: bundles.tmlr2023(usetex=False),
    "jmlr": lambda: bundles.jmlr2001(usetex=False),
    "colm": lambda: bundles.colm2026(usetex=False),
}


def check(venue: str) -> None:
    if venue not in VENUES:
        raise ValueError(f"--venue {venue!r}: allowed are {', '.join(VENUES)}")


def make(store: Store, out: Path, venue: str = "neurips", preset: str | None = None) -> tuple[list, list]:
    """Draw every plate whose records exist -> ([(plate, what is seen)], [(plate, why it is missing)]).

    ValueError if the venue is unknown; StoreError if records are damaged.
    """
    check(venue)
    style = VENUES[venue]()
    letters = {k: v for k, v in style.items() if k.endswith("size") and k != "figure.figsize"}
    letters |= {"font.family": "STIXGeneral", "mathtext.fontset": "stix", "savefig.dpi": 200, "lines.linewidth": 1.2}
    letters |= {"axes.titleweight": "normal", "legend.title_fontsize": letters["legend.fontsize"]}
    book = Book(store, preset, style["figure.figsize"][0])
    made, missing, files = [], [], {}
    with figures.plt.rc_context(letters):
        for plate in PLATES:
            try:
                figure, seen = plate.draw(book)
            except (NotStored, records.NoPoints) as error:
                missing.append((plate, str(error)))
                continue
            files |= figures.rendered(figure, f"figure_{plate.number}")
            made.append((plate, seen))
    if made:  # and only now, when all records are read; else what an earlier run wrote stays
        out.mkdir(parents=True, exist_ok=True)
        for filename, drawn in files.items():
            outputs.write(out / filename, drawn)
        write_captions(out, made, missing)
        write_tables(out, book)
    return made, missing


def write_captions(out: Path, made, missing):
    lines = ["# Figures of Gao, Schulman & Hilton 2023, from our records", ""]
    for plate, seen in made:
        lines += [f"**Figure {int(plate.number)}. {plate.title}.** {seen}", "", f"![](figure_{plate.number}.png)", ""]
    for plate, why in missing:
        lines += [f"**Figure {int(plate.number)}. {plate.title}.** Not drawn: {why}", ""]
    outputs.write(out / "captions.md", "\n".join(lines))


def write_tables(out: Path, book: Book):
    """Laws and reward models by size, as Markdown, CSV and LaTeX."""
    try:
        data = book.read("rm_size")
    except (NotStored, records.NoPoints):
        return
    _, _, rows = scaling.laws_of(data)
    made = [tables.laws_table(data.axis, rows)]
    if len(data.reward_models):
        made.append(tables.reward_models_table(data.axis, data.reward_models))
    tables.write(out, made)
    for table in made:
        outputs.write(out / f"{table.name}.tex", tables.latex(table))
