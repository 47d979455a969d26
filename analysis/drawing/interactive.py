"""An interactive chart of every recorded point of an experiment, for a report, with plotly inlined."""

import plotly.graph_objects as go
from matplotlib.colors import to_hex

from analysis import curves
from analysis.drawing import figures

HOVER = "cell %{customdata[0]}<br>seed %{customdata[1]}<br>control %{customdata[2]}<br>KL %{customdata[3]:.3f} nats"
HOVER += "<br>proxy %{customdata[4]:.3f}<br>gold %{y:.3f}<extra>%{fullData.name}</extra>"


def chart(data) -> str:
    """HTML of gold against sqrt(KL), a line a run, a colour a value of the compared column; proxies on demand."""
    figure = go.Figure()
    by = data.curves[data.axis]
    keys = list(by.cat.categories) if hasattr(by, "cat") else sorted(by.unique(), key=lambda v: (isinstance(v, str), v))
    tints = dict(zip(keys, map(to_hex, figures.colours(len(keys))), strict=True))
    shown = set()
    for (key, *_), run in data.curves.groupby(
        [data.axis, "optimiser", *curves.RUN], sort=True, observed=True, dropna=False
    ):
        run = run.sort_values("control")
        method = "best-of-n" if run["optimiser"].iloc[0] == "best_of_n" else run["optimiser"].iloc[0]
        name = f"{method} {figures.short(data.label(key))}"
        line = dict(color=tints[key], width=1.3, dash="dash" if method == "best-of-n" else "solid")
        details = run[["cell", "seed", "control", "kl", "proxy"]].to_numpy()
        figure.add_scatter(x=run["d"], y=run["gold"], mode="lines+markers", name=name, legendgroup=name, line=line,
                           marker=dict(size=4), customdata=details, hovertemplate=HOVER,
                           showlegend=name not in shown)  # fmt: skip
        shown.add(name)
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
