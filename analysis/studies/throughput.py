"""Speed: stages under the device's roofline, and completions a second against the runs mapped into one program."""

import json
from pathlib import Path

import numpy as np

from analysis.drawing import figures
from analysis.escaped import say
from gold_sim.store import StoreError
from gold_sim.typed import as_typed

HOW = "python -m experiments throughput --set part=stages"


def tell(records: Path, folder: Path) -> int:
    """Draw what was measured and say where the figures are; the status to exit with."""
    figures_of = study(records, folder)
    if figures_of:
        say(f"figures  {'  '.join(str(folder / f'{name}.png') for name in figures_of)}")
    else:
        say(f"throughput: nothing measured yet; this does: {as_typed(HOW)}")
    return 0


def study(records: Path, folder: Path) -> list[str]:
    """Figures of the newest record of each part, by name; none where nothing was measured.

    StoreError: a record that is no measurement.
    """
    made = []
    for part, draw in (("stages", roofline), ("mapped", mapped)):
        found = [path for path in sorted((records / part).glob("*.json")) if _measured(path)["preset"] != "smoke"]
        if found:
            made.append(figures.save(_drawn(draw, found[-1]), folder, part))
    return made


def _measured(path: Path) -> dict:
    try:
        record = json.loads(path.read_bytes())
        return {"preset": record["preset"], **record}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_measurement(path) from error


def _drawn(draw, path: Path):
    try:
        return draw(_measured(path))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _no_measurement(path) from error


def _no_measurement(path: Path) -> StoreError:
    how = f"python -m experiments throughput --set part={path.parent.name}"
    return StoreError(f"{path}: no measurement of speed, or a damaged one; remove it, and {how} makes one")


def roofline(record: dict):
    """Operations a second of each stage against its operations a byte, under what the device can do."""
    figure, (ax,) = figures.panels(1, 6.4, 4.2)
    rows = [row for row in record["rows"] if not row["stage"].startswith("step")]
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    tints = dict(zip(stages, figures.colours(len(stages)), strict=True))
    intensity = np.array([row["flops"] / row["bytes"] for row in rows])
    reach = np.geomspace(intensity.min() / 2, intensity.max() * 2)
    # Rates as the table judged them: a row's operations over its share of the matrix rate.
    rate = max(row["flops"] / row["seconds"] / row["matmul_fraction"] for row in rows)
    ax.plot(reach, np.minimum(rate, reach * record["bandwidth_gbytes"] * 1e9), color=figures.INK, lw=1.2)
    for i, stage in enumerate(stages):
        of = [j for j, row in enumerate(rows) if row["stage"] == stage]
        sizes = [6 + 3 * k for k in range(len(of))]  # larger networks, larger marks
        for j, size in zip(of, sizes, strict=True):
            marker = figures.MARKERS[i % len(figures.MARKERS)]
            label = stage if j == of[0] else None
            y = rows[j]["flops"] / rows[j]["seconds"]
            ax.plot(intensity[j], y, marker, ms=size, color=tints[stage], mec="white", mew=0.6, ls="", label=label)
    ax.set(xscale="log", yscale="log", xlabel="operations a byte that must be moved", ylabel="operations a second")
    ax.set_title(f"{record['device']}, preset {record['preset']}: larger marks, larger networks")
    figure.legend(loc="outside right upper", title="stage")
    return figure


def mapped(record: dict):
    """Completions a second of all runs together against their number, a line a policy size."""
    figure, (ax,) = figures.panels(1, 6.0, 4.0)
    sizes = list(dict.fromkeys(row["params"] for row in record["rows"]))
    for i, (size, tint) in enumerate(zip(sizes, figures.colours(len(sizes)), strict=True)):
        of = [row for row in record["rows"] if row["params"] == size]
        ax.plot([row["mapped_runs"] for row in of], [row["completions_per_second"] for row in of], color=tint,
                marker=figures.MARKERS[i], label=figures.short(size), **figures.MARKED)  # fmt: skip
    ax.set(xlabel="runs in one program", ylabel="completions a second, all runs")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_title(f"{record['device']}: mapping runs")
    figure.legend(loc="outside right upper", title="policy parameters")
    return figure
