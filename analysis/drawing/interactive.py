"""An interactive chart of every recorded point of an experiment, for a report, with plotly inlined."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.colors import to_hex

from analysis import curves
from analysis.drawing import figures

HOVER = "cell %{customdata[0]}<br>seed %{customdata[1]}<br>control %{customdata[2]}<br>KL %{customdata[3]:.3f} nats"
HOVER += "<br>proxy %{customdata[4]:.3f}<br>gold %{y:.3f}<extra>%{fullData.name}</extra>"
NAMES = {"bon": "best-of-n", "frontier": "{optimiser} frontier"}  # method -> what the legend says, if not the optimiser
DASHES = {"bon": "dash", "frontier": "dot"}
DETAILS = ["cell", "seed", "control", "kl", "proxy"]


def chart(data) -> str:
    """HTML of gold against sqrt(KL), a line a run, a colour a value of the compared column; proxies on demand.

    The lines of one legend entry are one trace with gaps, as a browser is slow with thousands of traces.
    """
    figure = go.Figure()
    by = data.curves[data.axis]
    keys = list(by.cat.categories) if hasattr(by, "cat") else sorted(by.unique(), key=lambda v: (isinstance(v, str), v))
    tints = dict(zip(keys, map(to_hex, figures.colours(len(keys))), strict=True))
    for method, of_method in curves.methods(data.curves).items():
        by_entry = of_method.groupby([data.axis, "optimiser"], sort=True, observed=True, dropna=False)
        for (key, optimiser), rows in by_entry:
            name = NAMES.get(method, "{optimiser}").format(optimiser=optimiser)
            points = _with_gaps(rows, curves.of_a_run(method))
            figure.add_scatter(x=points["d"], y=points["gold"], mode="lines+markers", marker=dict(size=4),
                               name=f"{name} {figures.short(data.label(key))}",
                               line=dict(color=tints[key], width=1.3, dash=DASHES.get(method, "solid")),
                               customdata=points[DETAILS].to_numpy(), hovertemplate=HOVER, showlegend=True)  # fmt: skip
    figure.update_layout(
        template="simple_white",
        height=480,
        margin=dict(l=60, r=20, t=20, b=50),
        xaxis_title="d = sqrt(KL), nats^0.5",
        yaxis_title="gold (gold s.d.)",
        legend_title=data.axis.replace("_", " "),
    )
    options = {"displaylogo": False, "responsive": True}
    return figure.to_html(full_html=False, include_plotlyjs=True, div_id="points", config=options)


def _with_gaps(rows: pd.DataFrame, of_a_run: list[str]) -> pd.DataFrame:
    """Points in order of their runs, with an empty row after each run, where its line ends."""
    rows = rows.sort_values([*of_a_run, "control"])
    run = rows.groupby(of_a_run, sort=False, dropna=False).ngroup().to_numpy()
    points = rows[["d", "gold", *DETAILS]].astype({"seed": object})
    order = np.arange(len(points)) + run  # every run moves the rows after it by one
    return points.set_index(order).reindex(range(len(points) + run[-1] + 1))
