"""One row a step of a log: rows that share a step are joined, and what a resumed run wrote again counts once.

A trainer logs KL every few steps and evaluates gold every so many more, in rows of their own. After a crash it goes on
from a checkpoint, and writes steps anew that are in the log already. The rows before the restart then lie on a branch
that was given up, from the step of the restart on, even where the new branch has not got as far yet.
"""

import bisect
import re

import numpy as np
import pandas as pd

from analysis.fit.trainers import WORDS

STEPS = ("step", "global_step", "_step", "train/global_step", "trainer/global_step", "training_step", "train_step",
         "steps", "iteration", "iter", "update")  # fmt: skip
UNORDERED = 0.2  # of all rows; with more steps back than that a table is not in the order of time
CLOCKS = re.compile(r"time|date|epoch|attempt|restart|resum|session|job|pid|host|_runtime|walltime", re.IGNORECASE)


def step_column(table: pd.DataFrame, used) -> str | None:
    """The column of steps, if there is one that differs between rows and has no other use."""
    by_lower = {str(name).strip().lower(): name for name in table.columns}
    for name in (by_lower[known] for known in STEPS if known in by_lower):
        values = pd.to_numeric(table[name], errors="coerce") if table[name].dtype.kind not in "bMm" else None
        if name not in used and values is not None and values.notna().any() and values.nunique() > 1:
            return name
    return None


def one_row_a_step(table: pd.DataFrame, step: str, keys: list[str], columns: list[str]):
    """(a row a step and run, in the order of steps, with step, keys and columns; warnings; labels that were not named).

    columns: already numbers, NaN where a row has none. The index is that of the last row joined, and so names a row of
    the file. Labels are columns which plainly tell runs apart, although `keys` lacks them.
    """
    kept = table[[step, *dict.fromkeys([*keys, *columns])]].copy()
    kept[step] = pd.to_numeric(table[step], errors="coerce").to_numpy(float)
    kept = kept[kept[step].notna()]
    labels = labels_not_named(table.loc[kept.index], kept, step, keys, columns)
    of_run = [*keys, *labels]
    kept = kept.assign(**{label: table.loc[kept.index, label] for label in labels})
    groups = kept.groupby(of_run, sort=False).indices.values() if of_run else [np.arange(len(kept))]
    keep, orders, rewritten, restarts = np.ones(len(kept), bool), [], 0, []
    steps = kept[step].to_numpy()
    present = kept[columns].notna().to_numpy()
    for rows in groups:
        rows = np.sort(rows)
        if _is_unordered(steps[rows], present[rows]):
            rows = rows[np.argsort(steps[rows], kind="stable")]
        alive, back = last_branch(steps[rows], present[rows])
        keep[rows[~alive]] = False
        restarts += [(steps[rows[at]], int(lost)) for at, lost in back]
        rewritten += _written_twice(steps[rows][alive], present[rows][alive])
        orders.append(rows[alive][np.argsort(steps[rows][alive], kind="stable")])
    kept = kept.iloc[np.concatenate(orders)]
    return _joined(kept, of_run, step), _said(restarts, rewritten), labels


def _joined(kept, of_run, step):
    """The last value of every column in the rows that share a run and a step, under the index of the last of them."""
    by = [*of_run, step]
    if not kept.duplicated(by).any():
        return kept
    index = kept.index.to_series().groupby([kept[name] for name in by], sort=False).last()
    joined = kept.groupby(by, sort=False, as_index=False).last()
    return joined.set_axis(index.to_numpy(), axis=0)


def last_branch(steps: np.ndarray, present: np.ndarray):
    """Which rows lie on the branch that was not given up [N], and the restarts: (row, number of rows given up).

    steps: [N] in the order of writing.  present: [N, C] whether a row has a value of each column. A restart is a row
    that logs a column at a smaller step than it was logged before; all rows from that step on are then given up.
    Where no step was logged twice, the rows are merely in another order.
    """
    alive, back = np.ones(len(steps), bool), []
    latest = np.full(present.shape[1], -np.inf)
    if _rises(steps, present) or not _written_twice(steps, present):
        return alive, back
    seen_steps, seen_rows = [], []
    for row, (at, has) in enumerate(zip(steps, present, strict=True)):
        if (latest[has] > at).any():
            first = bisect.bisect_left(seen_steps, at)
            alive[seen_rows[first:]] = False
            back.append((row, int(present[seen_rows[first:]].any(1).sum())))
            del seen_steps[first:], seen_rows[first:]
            latest = np.minimum(latest, np.nextafter(at, -np.inf))
        place = bisect.bisect_right(seen_steps, at)
        seen_steps.insert(place, at)
        seen_rows.insert(place, row)
        latest[has] = np.maximum(latest[has], at)
    return alive, back


def _rises(steps, present) -> bool:
    """Whether no column is ever logged at a smaller step than before."""
    return all((np.diff(steps[has]) >= 0).all() for has in present.T)


def _is_unordered(steps, present) -> bool:
    """Whether the rows are in some other order than that of time."""
    back = [np.diff(steps[has]) < 0 for has in present.T]
    return any(part.sum() > max(1, UNORDERED * len(part)) for part in back)


def _written_twice(steps, present) -> int:
    """Number of rows whose values another row of the same step replaces."""
    repeats = [len(steps[has]) - len(np.unique(steps[has])) for has in present.T]
    return max(repeats, default=0)


def _said(restarts, rewritten) -> list[str]:
    if lost := sum(count for _, count in restarts):
        from_steps = ", ".join(f"{at:g}" for at, _ in restarts[:3]) + (", .." if len(restarts) > 3 else "")
        rewritten += lost
        return [f"the log goes back to step {from_steps} (a resumed run): {rewritten} rows from that step on that were "
                "written before are left out; if these are different runs, name the column that tells them apart "
                "(--seed-column)"]  # fmt: skip
    if rewritten:
        return [f"{rewritten} rows repeat a step and were written again: the last row of a step counts; if these are "
                "different runs, name the column that tells them apart (--seed-column)"]  # fmt: skip
    return []


def labels_not_named(table, kept, step, keys, columns) -> list[str]:
    """Columns that tell runs apart which share steps, although nobody named them: one value a run, several runs.

    Metrics of a trainer, clocks and counters of restarts are none.
    """
    by, logged = [*keys, step], [kept[name].notna() for name in columns[:2]]
    if not any(kept[has].duplicated(by).any() for has in logged):
        return []
    found = []
    for name in table.columns.difference([step, *keys, *columns], sort=False):
        if WORDS.search(str(name)) or CLOCKS.search(str(name)) or table[name].isna().any():
            continue
        try:
            many = table[name].nunique()
        except TypeError:  # lists
            continue
        if 1 < many <= len(table) / 2 and table.groupby(name)[step].nunique().min() > 1:
            found.append(name)
    for chosen in ([[name] for name in found] + [found]) if found else []:
        if not any(table[has].duplicated([*by, *chosen]).any() for has in logged):
            return chosen
    return []
