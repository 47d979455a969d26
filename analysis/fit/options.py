"""What `python -m analysis fit` and `advise` ask about a file of curves."""

from pathlib import Path

from gold_sim import laws
from gold_sim.laws import saturation


def add(parser, form_required: bool) -> None:
    """Add the arguments to an argparse parser."""
    files = "CSV, TSV, Parquet, JSON (lines), trainer_state.json, TensorBoard events"
    parser.add_argument("file", type=Path, help=files)
    xs, marks = "distance from the reference: kl, sqrt_kl, n", "kl|sqrt_kl|n[=COLUMN]"
    if form_required:
        xs += "; or, for laws that saturate, also steps, tokens, flops, samples"
        marks = "kl|steps|..[=COLUMN]"
    parser.add_argument("--x", required=not form_required, metavar=marks, help=xs)
    parser.add_argument("--y", default="gold", metavar="COLUMN", help="gold minus its value at the reference (gold)")
    about = "gold at the reference policy, which is subtracted: a number, or first for that of each run's first row"
    about += "; sigmoid, and laws of --trials, start there instead" if form_required else ""
    parser.add_argument("--reference", metavar="VALUE|first", help=about)
    parser.add_argument("--by", metavar="COLUMN", help="one law for each value of it; default: one law for all rows")
    forms = "\n".join(f"{name}: {law.formula}" for name, law in laws.FORMS.items())
    if form_required:
        forms += "".join(f"\n{name}: {formula}" for name, formula in saturation.FORMULAS.items())
    parser.add_argument("--form", default=None if form_required else "rl", metavar="FORM", help=forms)
    parser.add_argument("--seed-column", metavar="COLUMN[,...]", help="tells runs apart, outermost first (world,seed)")
    parser.add_argument("--se", metavar="COLUMN", help="standard errors of y: points are weighted by 1 / se^2")
    if form_required:
        about = "y is a share of successes, from 0 to 1, of so many trials: fitted by binomial likelihood"
        parser.add_argument("--trials", metavar="COLUMN|N", help=about)
        parser.add_argument("--x-min", type=float, metavar="X", help="leave out points below this x (sigmoid, hill)")
    parser.add_argument("--d-min", type=float, help="leave out points nearer than this, nats^0.5 (rl 0.3, others 0)")
    parser.add_argument("--kl-unit", metavar="response|token", help="of KL, in nats; to be stated for a trainer's log")
    parser.add_argument("--length", metavar="COLUMN", help="mean tokens a response, for --kl-unit token")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result here")
    if form_required:
        parser.add_argument("--share", metavar="alpha|beta", help="one alpha (or beta) for all groups")
        parser.add_argument("--compare", action="store_true", help="also say which of the forms each group follows")
        about = "also say whether the first half of x predicts the second"
        parser.add_argument("--halves", action="store_true", help=about)
        about = (
            "y, or with --x and --form the law's coefficients, as a sum of terms: log10 of a column, or a power of it"
        )
        parser.add_argument("--surface", metavar="COLUMN:log|power,..", help=about)


def chosen(args, share: str | None = None):
    """The `points.Options` of parsed arguments.  ValueError for a value that is not allowed."""
    from analysis.fit import points

    saturates = args.form in saturation.FORMULAS
    if not saturates and args.form not in laws.FORMS:
        raise ValueError(f"form={args.form!r}: allowed are {', '.join((*laws.FORMS, *saturation.FORMULAS))}")
    trials, x_min = getattr(args, "trials", None), getattr(args, "x_min", None)
    if trials is not None and args.se is not None:
        raise ValueError("--trials with --se: trials have standard errors of their own; leave one out")
    _check_of_distance(share, getattr(args, "compare", False), trials, args)
    if saturates and args.d_min is not None:
        raise ValueError(f"--d-min {args.d_min:g} is a distance: --x-min leaves out points below an x, for {args.form}")
    if not saturates and x_min is not None:
        raise ValueError(f"--x-min {x_min:g} goes with {', '.join(saturation.FORMULAS)}: --d-min is for {args.form}")
    if x_min is not None and not x_min >= 0:
        raise ValueError(f"--x-min {x_min:g}: allowed from 0")
    if args.form == "hill" and args.reference is not None:
        raise ValueError(f"--reference {args.reference} with hill, which starts at 0: --form sigmoid starts there")
    if args.d_min is not None and not args.d_min >= 0:
        raise ValueError(f"--d-min {args.d_min}: allowed from 0")
    return points.Options(
        x=args.x,
        form=args.form,
        y=args.y,
        by=args.by,
        seeds=tuple(args.seed_column.split(",")) if args.seed_column else (),
        se=args.se,
        share=share,
        d_min=args.d_min,
        kl_unit=args.kl_unit,
        length=args.length,
        reference=reference(args.reference),
        trials=_trials(trials),
        x_min=x_min,
    )


def of_budget(args):
    """`chosen` for `advise`.  ValueError for a law or an x of which it has nothing to say."""
    options = chosen(args)
    if options.saturates:
        raise ValueError(f"--form {args.form} never turns, so it sets no budget; allowed are {', '.join(laws.FORMS)}")
    if not options.is_distance:
        raise ValueError(f"--x {args.x} is no distance; allowed are kl, sqrt_kl, n, or one of them with =COLUMN")
    return options


def _check_of_distance(share, compare: bool, trials, args) -> None:
    """ValueError for options that laws of distance alone have."""
    if share not in (None, "alpha", "beta"):
        raise ValueError(f"--share {share}: allowed are alpha, beta")
    if share and args.se:
        raise ValueError("--share with --se: a shared coefficient is fitted with equal weights; leave one out")
    if (share or compare) and (trials is not None or args.form in saturation.FORMULAS):
        of = f"--form {args.form}" if trials is None else f"--trials {trials}"
        raise ValueError(f"{'--share' if share else '--compare'} with {of}: goes with laws of distance alone")
    shaped = args.form in laws.FORMS and laws.FORMS[args.form].shape
    if trials is not None and shaped:
        plain = ", ".join(name for name, law in laws.FORMS.items() if not law.shape)
        raise ValueError(f"--trials with --form {args.form}: allowed are {plain}, {', '.join(saturation.FORMULAS)}")


def _trials(given: str | None) -> float | str | None:
    try:
        value = float(given) if given is not None else None
    except ValueError:
        return given
    if value is not None and not 1 <= value < float("inf"):
        raise ValueError(f"--trials {given}: allowed are a column, and numbers from 1")
    return value


def reference(given: str | None) -> float | str | None:
    """The value of --reference: a number, "first", or None.  ValueError for anything else."""
    if given in (None, "first"):
        return given
    try:
        value = float(given)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise ValueError(f"--reference {given}: allowed are a number, gold at the reference policy, and first")
    return value
