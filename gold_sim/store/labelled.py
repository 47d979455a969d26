"""Tables with named axes: curves and score tables as xarray, any stored table as a Hugging Face data set."""

import typing
from collections.abc import Sequence

import numpy as np

from gold_sim.store.columns import CURVE_COLUMNS, SETTING_COLUMNS, TABLES, described
from gold_sim.store.needed import needed

if typing.TYPE_CHECKING:
    import pandas as pd

EXTRA = "datasets"  # of pyproject.toml
OF_POINT = ("control", "kl", "d")  # where on its curve a point lies: coordinates
ALONG = "kl_coef_along"  # a frontier's coefficient, which changes from point to point


def curves_to_xarray(table: "pd.DataFrame"):
    """Curves as an xarray.Dataset with dimensions cell, seed and point; units and meanings are attributes.

    table: as `Store.table()` gives it.
    Settings are coordinates of `cell`. A cell that has several coefficients is one entry for each of them. `control`,
    `kl` and `d` are coordinates of points. Points that a run lacks, and seeds that a cell lacks, are NaN.
    ValueError: xarray is not installed, or the table has no rows.
    """
    xarray = needed("xarray", EXTRA, "curves_to_xarray")
    if table.empty:
        raise ValueError("curves_to_xarray: the table has no rows; those of a store with curves are wanted")
    rows, frontier = table.sort_values("control", kind="stable", ignore_index=True), "frontier"
    rows[ALONG] = rows["kl_coef"].where(rows["stage"] == frontier)
    rows["kl_coef"] = rows["kl_coef"].where(rows["stage"] != frontier)
    cell = rows.groupby(["cell", "kl_coef", "dpo_beta"], dropna=False).ngroup().to_numpy()
    seeds, seed = np.unique(rows["seed"], return_inverse=True)
    point = rows.groupby([cell, seed]).cumcount().to_numpy()
    shape = (cell.max() + 1, len(seeds), point.max() + 1)

    def padded(name):
        full = np.full(shape, np.nan)
        full[cell, seed, point] = rows[name]
        return ("cell", "seed", "point"), full

    status = np.full(shape[:2], "", dtype=object)
    status[cell, seed] = rows["status"]
    settings = [name for name in SETTING_COLUMNS if name not in ("cell", "seed", "status")]
    first = rows.groupby(cell).first()
    coordinates = {"cell": first["cell"].to_numpy(object), "seed": seeds, "status": (("cell", "seed"), status)}
    coordinates |= {name: ("cell", first[name].to_numpy()) for name in settings}
    coordinates |= {name: padded(name) for name in OF_POINT}
    measured = [name for name in rows if name not in (*SETTING_COLUMNS, *OF_POINT)]
    made = xarray.Dataset({name: padded(name) for name in measured}, coordinates)
    for name in (*made.data_vars, *made.coords):
        column = CURVE_COLUMNS["kl_coef"] if name == ALONG else described("curves", name)
        made[name].attrs.update(units=column.unit, long_name=column.meaning)
    return made


def scores_to_xarray(table: "pd.DataFrame", dims: Sequence[str] = ("prompt", "sample")):
    """A table of scored samples as an xarray.Dataset, a dimension for each of `dims` and a variable for the rest.

    dims: columns that together name a row, as in ("reward_model", "prompt", "sample"). If `sample` is among them and
    the table has no such column, the samples of a prompt are numbered in the order of their rows.
    Rows that are not there are NaN.  ValueError: xarray is not installed, a column is missing, or rows share a name.
    """
    needed("xarray", EXTRA, "scores_to_xarray")
    dims = list(dims)
    if "sample" in dims and "sample" not in table:
        others = [name for name in dims if name != "sample" and name in table]
        table = table.assign(sample=table.groupby(others).cumcount() if others else range(len(table)))
    if missing := [name for name in dims if name not in table]:
        raise ValueError(f"scores_to_xarray: no column {missing[0]!r}; the table has {', '.join(map(str, table))}")
    if (twice := table.duplicated(dims)).any():
        names = ", ".join(f"{name}={table.loc[twice, name].iloc[0]}" for name in dims)
        raise ValueError(f"scores_to_xarray: {names} stands twice; columns that name a row are wanted as dims")
    return table.set_index(dims).to_xarray()


def to_dataset(table: "pd.DataFrame", kind: str | None = None):
    """A table as a Hugging Face `datasets.Dataset`, a feature for each column.

    kind: of a stored table, of TABLES; its columns are then described in `info.description`. None: any other table.
    ValueError: datasets is not installed, or there is no such kind.
    """
    datasets = needed("datasets", EXTRA, "to_dataset")
    if kind is not None and kind not in TABLES:
        raise ValueError(f"to_dataset: kind={kind!r}; allowed are {', '.join(TABLES)}, and None for other tables")
    made = datasets.Dataset.from_pandas(table, preserve_index=False)
    if kind is not None:
        made.info.description = "\n".join(f"{name}: {described(kind, name)}" for name in table)
        made.info.license = "Apache-2.0"
    return made
