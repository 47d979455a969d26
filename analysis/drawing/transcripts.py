"""Transcripts: the text that a policy writes at the start, at the peak of gold and at the end of optimisation."""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.findings import Table
from analysis.numbers import slug

KINDS = 5  # prompts shown a run, one of each kind


def tables(data) -> list[Table]:
    """One table for the smallest and one for the largest value of the compared column; none without responses."""
    samples = data.samples()
    trained = data.curves[~data.curves["stage"].isin(("best_of_n", "frontier"))]
    if samples.empty or trained.empty:
        return []
    keys = sorted(trained[data.axis].unique()) if data.axis != "variant" else data.variants
    keys = [key for key in keys if (trained[data.axis] == key).any()]
    return [
        _table(data, key, trained[trained[data.axis] == key], samples) for key in dict.fromkeys([keys[0], keys[-1]])
    ]


def _table(data, key, runs, samples) -> Table:
    """The table of transcripts of the first run with this key."""
    first = runs.sort_values(curves.RUN).iloc[0]
    same = lambda frame, name: (frame[name] == first[name]) | (frame[name].isna() & pd.isna(first[name]))
    of_run = lambda frame: frame[np.logical_and.reduce([same(frame, name) for name in curves.RUN])]
    run, said = of_run(runs).sort_values("control"), of_run(samples)
    moments = {"start": run["control"].iloc[0], "peak": run.loc[run["gold"].idxmax(), "control"]}
    moments |= {"end": run["control"].iloc[-1]}
    rows = []
    for prompt_id in said.drop_duplicates("kind")["prompt_id"].head(KINDS):
        for moment, control in moments.items():
            line = said[(said["prompt_id"] == prompt_id) & (said["control"] == control)].iloc[0]
            shown = {name: line[name] if moment == "start" else "" for name in ("prompt", "kind")}
            scores = {name: float(line[name]) for name in ("proxy", "gold")}
            rows.append(shown | {"at": moment, "response": line["response"] or "(nothing)"} | scores)
    at = f"{data.axis.replace('_', ' ')} {data.label(key)}"
    title = f"Responses at {at}, seed {first['seed']} (peak of gold: step {moments['peak']})"
    return Table(f"transcripts_{slug(key)}", title, pd.DataFrame(rows), of_words=True)
