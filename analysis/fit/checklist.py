"""What a fit states of the checklist for scaling laws, and what a log leaves open.

After Li, Kudugunta & Zettlemoyer 2025 ("(Mis)Fitting: A survey of scaling laws", arXiv 2502.18969), in our words. The
questions are the columns of the sheet with which they surveyed papers (sheet.csv of github.com/hadasah/scaling_laws):
the law, the training, the data taken from it, the fit. The checklist as the paper prints it was not at hand.
"""

from analysis.fit import fits
from gold_sim import laws
from gold_sim.laws import saturation

OPEN = {  # what no table of curves says; the sheet's columns that are not in `of_fit`
    "largest run": "its FLOPs, parameters and data",
    "training data": "what they are, and whether they are repeated",
    "hyperparameters": "of training, and whether they change with size",
    "how parameters are counted": "with embeddings or without, total or active",
    "code and checkpoints": "of training and analysis, and whether they are public",
    "smoothing": "whether scores were smoothed, interpolated or averaged before",
}
IN_RECORDS = "settings, seeds, code version and every measured point are in the records (docs/schema.md)"
NO_START = "closed form: no start, no settings"


def of_fit(options, result: dict, compared: bool) -> dict:
    """{stated: {question: answer}, not_stated: {question: detail}} of `analysis fit`.  result: as `fits.fit` has it."""
    groups, shared = result["groups"], result["share"]
    by = f" by {options.by}" if options.by else ""
    seeds = f", told apart by {', '.join(options.seeds)}" if options.seeds else ""
    runs = sum(group["runs"] for group in groups)
    ends = f"intervals: {laws.LEVEL:.0%} between runs, Student t" if runs > len(groups) else "no intervals"
    least = options.x_min if options.saturates else options.least
    from_where = "" if least is None else f" from {'x' if options.saturates else 'd'} = {least:g} on"
    unasked = "" if options.has_own_start else "; --compare leaves runs out"
    stated = {
        "law": f"{fits.title(result)}; a group has {', '.join(_parameters(options, shared))}",
        "runs": f"{runs} in {len(groups)} groups{by}{seeds}",
        "metric": _variables(options),
        "points": f"{result['n_points']}{from_where}, those of one run not independent; left out: see warnings",
        "fit": f"{_objective(options)}; {_start(options)}",
        "checked": f"{ends}; {'left-out runs' if compared else f'no left-out runs{unasked}'}",
    }
    return {"stated": stated, "not_stated": dict(OPEN)}


def _parameters(options, shared) -> list[str]:
    """Names of what is fitted in each group."""
    if options.saturates:
        return [name for name in saturation.NAMES if not (options.form == "hill" and name == "R0")]
    form = laws.form_named(options.form)
    names = ["alpha", "beta"][: form.num_linear] + ([form.shape] if form.shape else [])
    return (["p0"] if options.trials is not None else []) + [name for name in names if name != shared]


def _objective(options) -> str:
    if options.trials is not None:
        return "binomial likelihood"
    return f"squared error{', weighted by 1 / se^2' if options.se else ''}"


def _start(options) -> str:
    if options.saturates:
        return "started at a grid of C_mid and B, settings in gold_sim/laws/saturation.py"
    if options.trials is not None:
        return "settings in gold_sim/laws/shares.py"
    shape = laws.form_named(options.form).shape
    return f"a grid of {shape}, then closed form" if shape else NO_START


def of_bayes(form: str, by: str, design, effort, compared: bool, options=None) -> dict:
    """The same of a hierarchical fit.  options: of a file; None for records, which say how they were made."""
    sizes = f", slopes over log {', '.join(design.names)}" if design.names else ""
    chains = f"{effort.chains} chains from random starts, warm-up {effort.warmup}, seed {effort.seed}"
    checked = "left-out runs" if compared else "no left-out runs; --compare-forms leaves them out"
    stated = {
        "law": f"R(d) = {laws.form_named(form).formula}; alpha, beta of groups and runs{sizes}",
        "runs": f"{len(design.runs)} in {len(design.keys)} groups by {by}, {len(design.units)} independent draws",
        "metric": "d = sqrt(KL), nats a response; gold in s.d." if options is None else _variables(options),
        "points": f"{design.n_points} from d = {design.least:g} on, those that fit takes",
        "fit": f"posterior under normal errors; NUTS, {chains}; priors: docs/fitting.md",
        "checked": f"{laws.LEVEL:.0%} intervals by python -m analysis calibration --part bayes; {checked}",
    }
    if options is None:
        return {"stated": stated | {"training": IN_RECORDS}, "not_stated": {}}
    return {"stated": stated, "not_stated": dict(OPEN)}


def _variables(options) -> str:
    unit = {"kl": "sqrt of KL in nats", "sqrt_kl": "in nats^0.5", "n": "from n of best-of-n"}.get(options.kind)
    said = f"x {options.kind}, column {options.column}" if unit is None else f"d {unit}, column {options.column}"
    said += f", KL a {options.kl_unit}" if options.kl_unit else ""
    zero = "as it stands" if options.reference is None else f"minus {options.reference}"
    return f"{said}; gold {zero}, column {options.y}"


def added(result: dict, options, compared: bool) -> list[str]:
    """The lines of `of_fit`, which is put into the result as "checklist"."""
    result["checklist"] = of_fit(options, result, compared)
    return lines(result["checklist"])


def lines(found: dict) -> list[str]:
    """The checklist for a terminal, a line for each thing stated and one for all that is not."""
    out = ["checklist for scaling-law fits (after Li et al. 2025):"]
    out += [f"  {question:<10} {answer}" for question, answer in found["stated"].items()]
    if found["not_stated"]:
        out.append(f"  {'not stated':<10} {'; '.join(found['not_stated'])}")
    return out
