"""What a fit states of the checklist for scaling laws, and what a log leaves open.

The questions are those of Li, Kudugunta & Zettlemoyer 2025 ("(Mis)Fitting: A survey of scaling laws", arXiv 2502.18969)
by its four parts - the law, the training, the data taken from it, the fit - in our words and as far as they fit here.
"""

from gold_sim import laws

OPEN = {  # what no table of curves says
    "how sizes are counted": "with embeddings or without, total or active",
    "training": "data and whether it is repeated, hyperparameters and whether they change with size",
    "checkpoints": "how many there were, and whether curves were smoothed or averaged before",
    "code": "of training and of measuring gold",
}
IN_RECORDS = "settings, seeds, code version and every measured point are in the records (docs/schema.md)"


def of_fit(options, result: dict, compared: bool) -> dict:
    """{stated: {question: answer}, not_stated: {question: detail}} of `analysis fit`.  result: as `fits.fit` has it."""
    form, shared, groups = laws.form_named(options.form), result["share"], result["groups"]
    names = ["alpha", "beta"][: form.num_linear] + ([form.shape] if form.shape else [])
    start = f"a grid of {form.shape}, then closed form" if form.shape else "closed form, so no start and no settings"
    by = f" by {options.by}" if options.by else ""
    seeds = f" by {', '.join(options.seeds)}" if options.seeds else ""
    stated = {
        "form": f"R(d) = {form.formula}; fitted: {', '.join(names)} a group" + (f", one {shared}" if shared else ""),
        "variables": _variables(options),
        "models": f"{len(groups)} groups{by}, {sum(group['runs'] for group in groups)} runs{seeds}",
        "points": f"{result['n_points']}, many of one run each; from d = {options.least:g} on; what else was left out "
        f"stands in {len(result['warnings'])} warnings",
        "objective": f"squared error{', weighted by 1 / se^2' if options.se else ''}; {start}",
        "uncertainty": f"{laws.LEVEL:.0%} between runs, Student t" if seeds else "none: one run a group",
        "validation": "left-out runs" if compared else "R² of the same points alone; --compare leaves runs out",
    }
    return {"stated": stated, "not_stated": dict(OPEN)}


def of_bayes(form: str, by: str, design, effort, compared: bool, options=None) -> dict:
    """The same of a hierarchical fit.  options: of a file; None for records, which say how they were made."""
    sizes = f", slopes over log {', '.join(design.names)}" if design.names else ""
    stated = {
        "form": f"R(d) = {laws.form_named(form).formula}; fitted: alpha, beta of groups and runs{sizes}",
        "variables": "d = sqrt(KL), nats a response; gold in s.d." if options is None else _variables(options),
        "models": f"{len(design.keys)} groups by {by}, {len(design.runs)} runs, {len(design.units)} independent draws",
        "points": f"{design.n_points}, on which fit's least squares are done too; from d = {design.least:g} on",
        "objective": f"posterior, normal errors; NUTS, {effort.chains} chains from random starts, warm-up "
        f"{effort.warmup}, seed {effort.seed}; priors: docs/fitting.md",
        "uncertainty": f"{laws.LEVEL:.0%} central intervals; python -m analysis calibration --part bayes",
        "validation": "left-out runs" if compared else "none on left-out runs; --compare-forms does it",
    }
    if options is None:
        return {"stated": stated | {"training": IN_RECORDS}, "not_stated": {}}
    return {"stated": stated, "not_stated": dict(OPEN)}


def _variables(options) -> str:
    unit = {"kl": "sqrt of KL in nats", "sqrt_kl": "in nats^0.5", "n": "from n of best-of-n"}[options.kind]
    said = f"d {unit}, column {options.column}" + (f", KL a {options.kl_unit}" if options.kl_unit else "")
    zero = "as it stands" if options.reference is None else f"minus {options.reference}"
    return f"{said}; gold {zero}, column {options.y}"


def added(result: dict, options, compared: bool) -> list[str]:
    """The lines of `of_fit`, which is put into the result as "checklist"."""
    result["checklist"] = of_fit(options, result, compared)
    return lines(result["checklist"])


def lines(found: dict) -> list[str]:
    """The checklist for a terminal, a line for each thing stated and one for all that is not."""
    out = ["checklist for scaling-law fits (Li et al. 2025):"]
    out += [f"  {question:<12} {answer}" for question, answer in found["stated"].items()]
    if found["not_stated"]:
        out.append(f"  {'not stated':<12} {'; '.join(found['not_stated'])}")
    return out
