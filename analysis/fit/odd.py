"""What is odd in points that can be read: each finding is a warning, with what was done about it."""

import numpy as np
import pandas as pd

from analysis.numbers import label
from gold_sim import laws

UNLIKE = 50.0  # times the median reach in KL; a group beyond it, either way, looks like another unit
NEAR = {"kl": 2e-3, "sqrt_kl": 0.045, "n": 1.0}  # what still counts as the reference policy
BACK = 0.9  # of the largest d: a run that ends nearer than this to the reference has come back
TWO_VALUES = 0.05  # of gold's range: two branches closer than this are one
EARLY = 0.8  # of the median reach in d of a group's runs
OFF_ZERO = 0.1  # of gold's range: an intercept beside the law beyond this is told of
SURE = 20.0  # F of the intercept, with points counted down for the correlation of neighbours
SHAPES = 9  # of a law that has one, on a grid of its logarithm; with one alone its misfit looks like an intercept
OUTLIER = 5.0  # robust standard deviations
LEAST_SCATTER = 0.01  # of gold's range; curves of rounded numbers scatter less
MATTERS = 0.05  # relative change of a coefficient that makes an outlying point worth a line
PAIRS = 60  # points of a run from which pairs are drawn for the robust fit


def oddities(points: pd.DataFrame, options) -> list[str]:
    """Warnings about a readable table: repeated distances, and groups whose KL looks like another unit."""
    found = []
    repeated = points.duplicated([*options.keys, "d"]).sum()
    if repeated:
        runs = f"one value of {', '.join(options.keys)}" if options.keys else "the table"
        what = "a distance" if options.is_distance else f"a value of {options.column}"
        found.append(f"{repeated} of {len(points)} points repeat {what} within {runs}: a fit averages them; "
                     "if they are different runs, name the column that tells them apart (--seed-column)")  # fmt: skip
    if options.by and options.is_distance and not (options.saturates and options.kind == "n"):
        power = 1 if options.saturates and options.kind == "kl" else 2  # a law that saturates has x itself for d
        reach = points.groupby(options.by, sort=True)["d"].max() ** power
        middle = reach.median()
        for key, kl in reach.items():
            if middle > 0 and kl > 0 and not 1 / UNLIKE < kl / middle < UNLIKE:
                ends = f"KL ends at {kl:.3g} where the median group ends at {middle:.3g} nats"
                found.append(f"{options.by}={label(key)}: {ends}; mixed units (a token, bits) would look like this")
    return found


# --- a policy that comes back ------------------------------------------------------------------------


def way_out(points: pd.DataFrame, of_run: list[str], in_time: bool) -> tuple[pd.DataFrame, list[str]]:
    """The points up to each run's turn, where its KL comes back with other gold than on the way out; and warnings.

    in_time: whether the points are known to be in the order of time (`turn`).
    """
    runs = list(points.groupby(of_run, sort=False)) if of_run else [(None, points)]
    warnings, gone = [], []
    for key, rows in runs:
        at = turn(rows["d"].to_numpy(), rows["gold"].to_numpy(), in_time)
        if at is None:
            continue
        name = "" if key is None else " of " + ", ".join(f"{n}={v}" for n, v in zip(of_run, key, strict=True))
        kl, back = rows["d"].to_numpy() ** 2, rows.iloc[at + 1 :]
        middle = len(rows) - 1 - (len(rows) - 1 - at) // 2
        out = float(np.interp(rows["d"].iloc[middle], *_rising(rows.iloc[: at + 1])))
        warnings.append(
            f"KL{name} turns at {_where(rows, at)}, {kl[at]:.3g} nats, and comes back to {kl[-1]:.3g}: gold at "
            f"{kl[middle]:.3g} nats is {out:.3g} on the way out and {rows['gold'].iloc[middle]:.3g} on the way back; "
            f"the {len(back)} points after the turn are left out"
        )
        gone.append(back.index)
    return (points.drop(index=np.concatenate(gone)) if gone else points), warnings


def turn(d, gold, in_time: bool) -> int | None:
    """Number of the point at which a run turns back towards the reference with other gold, if it does.

    in_time: whether the points are known to be in the order of time; if not, d must first rise and then fall.
    """
    if len(d) < 8:
        return None
    smooth = np.median(np.stack([d[:-2], d[1:-1], d[2:]]), axis=0)  # of three, so that a spike is no turn
    near = int(np.argmax(smooth)) + 1
    at = near - 1 + int(np.argmax(d[near - 1 : near + 2])) if d[near] < smooth.max() else near
    before, after = np.diff(d[: at + 1]), np.diff(d[at:])
    if len(before) < 3 or len(after) < 3 or np.median(d[-3:]) > BACK * d[at]:
        return None
    if not in_time and (np.mean(before > 0) < 0.8 or np.mean(after < 0) < 0.8):
        return None
    known = pd.DataFrame({"d": d[: at + 1], "gold": gold[: at + 1]})
    inside = d[at + 1 :] >= d[: at + 1].min()
    if not inside.any():
        return None
    gap = np.abs(gold[at + 1 :] - np.interp(d[at + 1 :], *_rising(known)))[inside]
    scatter = np.median(np.abs(np.diff(gold[: at + 1], 2))) if at > 3 else 0.0
    return at if np.median(gap) > max(TWO_VALUES * np.ptp(gold), 2 * scatter) else None


def _rising(rows):
    """d and gold in ascending order of d."""
    order = np.argsort(rows["d"].to_numpy(), kind="stable")
    return rows["d"].to_numpy()[order], rows["gold"].to_numpy()[order]


def _where(rows: pd.DataFrame, at: int) -> str:
    """A point by its step, if there are steps, and its row in the file."""
    row = f"data row {rows.index[at] + 1}"
    return f"step {rows['step'].iloc[at]:g} ({row})" if "step" in rows else row


# --- gold's zero -------------------------------------------------------------------------------------


def off_zero(where: str, form: str, ds, golds, least: float) -> str | None:
    """A line if a group's gold does not start at 0, as the laws do: seen at KL 0, or else by an intercept."""
    at_zero = np.concatenate([gold[d < laws.AT_REFERENCE] for d, gold in zip(ds, golds, strict=True)])
    if len(at_zero):
        worst = max(at_zero, key=abs)
        how = f"subtract it (--reference first, or --reference {worst:.6g})"
        return f"{where}: gold is {worst:.3g} at KL 0 but the laws start at 0; {how}" if abs(worst) > 1e-9 else None
    found = [one for d, gold in zip(ds, golds, strict=True) if (one := intercept(form, d, gold, least)) is not None]
    if not found or not all(sure for *_, sure in found):
        return None
    level, alpha, beta = np.mean([one[:3] for one in found], axis=0)
    law = f"alpha = {alpha:.3g}, beta = {beta:.3g}" if laws.FORMS[form].num_linear == 2 else f"alpha = {alpha:.3g}"
    return (
        f"{where}: gold does not seem to start at 0, and no row is at KL 0: with an intercept beside the law it starts "
        f"at {level:.4g} ({law}); if gold is not centred, --reference {level:.4g}, or first if the first row is the "
        "reference; else another form may be wanted"
    )


def intercept(form: str, d, gold, least: float) -> tuple[float, float, float, bool] | None:
    """(intercept, alpha, beta, whether it is far from 0) of one run; None if too few points tell."""
    keep = d >= least
    d, gold = d[keep], gold[keep]
    law = laws.FORMS[form]
    if len(np.unique(d)) < 3 + law.num_linear:
        return None
    shapes = np.geomspace(*law.shapes, SHAPES) if law.shape else [None]
    designs = [np.stack([np.ones(len(d)), *law.basis(d, shape)[: law.num_linear]], -1) for shape in shapes]
    without = min(float(np.sum(_residual(design[:, 1:], gold)[0] ** 2)) for design in designs)
    residual, found = min((_residual(design, gold) for design in designs), key=lambda of: of[0] @ of[0])
    residual = residual[np.argsort(d, kind="stable")]
    within = float(residual @ residual)
    along = float(np.clip(residual[1:] @ residual[:-1] / max(within, 1e-300), 0.0, 0.99))  # correlation of neighbours
    spare = (len(d) - 1 - law.num_linear) * (1 - along) / (1 + along)
    sure = abs(found[0]) > OFF_ZERO * np.ptp(gold) and (without - within) * spare > SURE * within
    return float(found[0]), float(found[1]), float(found[2]) if law.num_linear == 2 else 0.0, bool(sure)


def _residual(design, gold):
    """What least squares leave of gold, and their coefficients."""
    found = np.linalg.lstsq(design, gold, rcond=None)[0]
    return gold - design @ found, found


def at_reference(where: str, ds, so: str = "nothing is fitted") -> str | None:
    """A line if most points of a group lie at the reference policy, where nothing can be fitted.  so: what follows."""
    d = np.concatenate(ds)
    at = int((d < laws.AT_REFERENCE).sum())
    if at < len(d) and (len(d) < 4 or at <= len(d) / 2):
        return None
    return f"{where}: {at} of {len(d)} points lie at KL 0: this KL tells no distance, and {so}"


# --- runs that ended early ---------------------------------------------------------------------------


def ended_early(ds) -> np.ndarray:
    """Which of a group's runs end far before the others [S]; none where they share their distances."""
    reach = np.array([np.max(d) for d in ds])
    return reach < max(EARLY * np.median(reach), laws.AT_REFERENCE)


# --- points with all the weight ----------------------------------------------------------------------


def outlying(form: str, d, gold, least: float) -> np.ndarray:
    """Which points of one run [T] lie far off a fit that one in four of them cannot bend, and bend the least squares.

    The fit is least trimmed squares over three quarters of the points (Rousseeuw 1984), found from pairs of points,
    then one step of least squares on those within OUTLIER robust standard deviations. Where more than one in ten would
    be named, the form is wrong and not the points: none is.
    """
    none = np.zeros(len(d), bool)
    law = laws.FORMS[form]
    use = np.flatnonzero(d >= least)
    if law.shape or len(use) < 6 or not np.ptp(gold[use]) > 0:
        return none
    design = np.stack(law.basis(d[use], None)[: law.num_linear], -1)
    y = gold[use]
    if not _suspicious(design, y):
        return none
    start = _least_trimmed(design, y)
    scale = _scale(y - design @ start, y)
    inside = np.abs(y - design @ start) <= OUTLIER * scale
    if inside.sum() < design.shape[1] + 2:
        return none
    refined = np.linalg.lstsq(design[inside], y[inside], rcond=None)[0]
    far = np.abs(y - design @ refined) > OUTLIER * _scale((y - design @ refined)[inside], y)
    plain = np.linalg.lstsq(design, y, rcond=None)[0]
    bent = (np.abs(plain - refined) > MATTERS * np.abs(refined)).any()
    if not bent or not 1 <= far.sum() <= max(1, len(use) // 10):
        return none
    none[use[far]] = True
    return none


def _suspicious(design, y) -> bool:
    """Whether one point has nearly all the leverage, or lies far off the least squares without it."""
    inverse = np.linalg.pinv(design.T @ design)
    leverage = np.einsum("ti,ij,tj->t", design, inverse, design)
    residual = y - design @ (inverse @ design.T @ y)
    spare = max(len(y) - design.shape[1], 1)
    scale = max(np.sqrt(np.sum(residual**2) / spare), LEAST_SCATTER * np.ptp(y))
    off = np.abs(residual) > 2.5 * scale * np.sqrt(np.maximum(1 - leverage, 1e-9))
    return bool((leverage > 0.9).any() or off.any())


def _least_trimmed(design, y):
    """Coefficients through the pair of points (one point, for one coefficient) with the least trimmed squares."""
    some = np.unique(np.linspace(0, len(y) - 1, min(len(y), PAIRS)).round().astype(int))
    if design.shape[1] == 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            tried = (y[some] / design[some, 0])[:, None]
    else:
        i, j = (some[index] for index in np.triu_indices(len(some), 1))
        (a, b), (c, e) = design[i].T, design[j].T
        det = a * e - b * c
        with np.errstate(divide="ignore", invalid="ignore"):
            tried = np.stack([(y[i] * e - y[j] * b) / det, (a * y[j] - c * y[i]) / det], -1)
    tried = tried[np.isfinite(tried).all(-1)]
    most = int(np.ceil(0.75 * len(y)))
    squares = np.sort((y - tried @ design.T) ** 2, axis=-1)[:, :most].sum(-1)
    return tried[np.argmin(squares)]


def _scale(residual, y) -> float:
    return max(1.4826 * float(np.median(np.abs(residual))), LEAST_SCATTER * float(np.ptp(np.quantile(y, [0.1, 0.9]))))
