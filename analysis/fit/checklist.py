"""What a fit states of the checklist for scaling laws, and what a log leaves open.

After Li, Kudugunta & Zettlemoyer 2025 ("(Mis)Fitting: A survey of scaling laws", arXiv 2502.18969), in our words. The
questions are the columns of the sheet with which they surveyed papers (sheet.csv of github.com/hadasah/scaling_laws):
the law, the training, the data taken from it, the fit. The checklist as the paper prints it was not at hand.
"""

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


def of_fit(options, result: dict, compared: bool) -> dict:
    """{stated: {question: answer}, not_stated: {question: detail}} of `analysis fit`.  result: as `fits.fit` has it."""
    law, names, objective = (_bounded if options.has_own_start else _of_distance)(options, result)
    shared, groups = result["share"], result["groups"]
    by = f" by {options.by}" if options.by else ""
    seeds = f" by {', '.join(options.seeds)}" if options.seeds else ""
    of = options.column if options.saturates else "d"
    stated = {
        "form": f"{law}; fitted: {', '.join(names)} a group" + (f", one {shared}" if shared else ""),
        "variables": _variables(options),
        "models": f"{_counted(len(groups), 'group')}{by}, {_counted(sum(g['runs'] for g in groups), 'run')}{seeds}",
        "points": f"{result['n_points']}, from {of} = {options.least:g} on; what else was left out, warnings say",
        "objective": objective,
        "uncertainty": _uncertainty(options),
        "validation": _validation(options, groups, compared),
    }
    return {"stated": stated, "not_stated": dict(OPEN)}


def _of_distance(options, result: dict) -> tuple[str, list[str], str]:
    """(law, coefficients, what was minimised and from where) of a law of distance by least squares."""
    form = laws.form_named(options.form)
    start = f"a grid of {form.shape}, then closed form" if form.shape else "closed form, so no start and no settings"
    weights = ", weighted by 1 / se^2" if options.se else ""
    return f"R(d) = {form.formula}", _coefficients(form), f"squared error{weights}; {start}"


def _bounded(options, result: dict) -> tuple[str, list[str], str]:
    """The same of a law that saturates, or of shares of successes."""
    held = options.reference is not None
    trials = "binomial likelihood" if options.trials is not None else "squared error"
    trials += ", weighted by 1 / se^2" if options.se else ""
    if options.saturates:
        names = [name for name in saturation.NAMES if name != "R0" or not (held or options.form == "hill")]
        start = "a grid of log C_mid and log B, the best of each quarter refined"
        return f"R(x) = {saturation.FORMULAS[options.form]}", names, f"{trials}; {start}"
    form = laws.form_named(options.form)
    law = f"logit p = logit p0 + R(d), R(d) = {form.formula}"
    return law, [*([] if held else ["p0"]), *_coefficients(form)], f"{trials}; concave, so no start matters"


def _coefficients(form) -> list[str]:
    return ["alpha", "beta"][: form.num_linear] + ([form.shape] if form.shape else [])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _uncertainty(options) -> str:
    if options.seeds:
        return f"{laws.LEVEL:.0%} between runs, Student t"
    return "none: one run a group" if options.trials is None else "of that run alone, by its binomial likelihood"


def _validation(options, groups, compared: bool) -> str:
    done = ["left-out runs"] if compared else []
    done += ["the second half, by the law of the first"] if any("second_half" in group for group in groups) else []
    if done:
        return "; ".join(done)
    how = "--halves predicts the second half" if options.has_own_start else "--compare leaves runs out"
    return f"R² of the same points alone; {how}"


def of_bayes(form: str, by: str, design, effort, compared: bool, options=None) -> dict:
    """The same of a hierarchical fit.  options: of a file; None for records, which say how they were made."""
    sizes = f", slopes over log {', '.join(design.names)}" if design.names else ""
    stated = {
        "form": f"R(d) = {laws.form_named(form).formula}; fitted: alpha, beta of groups and runs{sizes}",
        "variables": "d = sqrt(KL), nats a response; gold in s.d." if options is None else _variables(options),
        "models": f"{len(design.keys)} groups by {by}, {len(design.runs)} runs, {len(design.units)} independent draws",
        "points": f"{design.n_points}, on which fit's least squares are done too; from d = {design.least:g} on",
        "objective": f"posterior, normal errors; NUTS, {effort.chains} chains from random starts, warm-up "
        f"{effort.warmup}, seed {effort.seed}; priors: docs/trusting_fits.md",
        "uncertainty": f"{laws.LEVEL:.0%} central intervals; python -m analysis calibration --part bayes",
        "validation": "left-out runs" if compared else "none on left-out runs; --compare-forms does it",
    }
    if options is None:
        return {"stated": stated | {"training": IN_RECORDS}, "not_stated": {}}
    return {"stated": stated, "not_stated": dict(OPEN)}


def _variables(options) -> str:
    units = {"kl": "sqrt of KL in nats", "sqrt_kl": "in nats^0.5", "n": "from n of best-of-n"}
    x = f"x in {options.unit}" if options.saturates else f"d {units[options.kind]}"
    said = f"{x}, column {options.column}" + (f", KL a {options.kl_unit}" if options.kl_unit else "")
    if options.trials is not None:
        of = f"{options.trials:g}" if isinstance(options.trials, float) else f"column {options.trials}"
        return f"{said}; share of successes, column {options.y}, of trials: {of}"
    held = "starts at" if options.has_own_start else "minus"
    zero = "as it stands" if options.reference is None else f"{held} {options.reference}"
    return f"{said}; {'score' if options.saturates else 'gold'} {zero}, column {options.y}"


def added(result: dict, options, compared: bool) -> list[str]:
    """The lines of `of_fit`, which is put into the result as "checklist"."""
    result["checklist"] = of_fit(options, result, compared)
    return lines(result["checklist"])


def lines(found: dict) -> list[str]:
    """The checklist for a terminal, a line for each thing stated and one for all that is not."""
    checked = ("uncertainty", "validation")  # one line together
    shown = {question: answer for question, answer in found["stated"].items() if question not in checked}
    shown["checked"] = "; ".join(f"{question} {found['stated'][question]}" for question in checked)
    out = ["checklist for scaling-law fits (after Li et al. 2025):"]
    out += [f"  {question:<10} {answer}" for question, answer in shown.items()]
    if found["not_stated"]:
        out.append(f"  {'not stated':<10} {'; '.join(found['not_stated'])}")
    return out
