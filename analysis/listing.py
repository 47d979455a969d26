"""What `python -m analysis` says without a name, and where a name has no records."""

import shlex

from analysis import others, sources
from analysis.escaped import say
from gold_sim.typed import meant

COMMANDS = {  # command -> what it does, after the experiments that have records
    "python -m experiments": "every experiment there is, those without records too",
    "python -m analysis fit FILE --x kl --y gold --by COLUMN --form FORM": "the laws, fitted to any log",
    "python -m analysis bayes NAME, or FILE and the options of fit": "the laws as a hierarchy: a second opinion",
    "python -m analysis scores TABLE --prompt C --proxy C --gold C": "best-of-n, law and tails of scored samples",
    "python -m analysis calibration": "how good intervals and verdicts are, on made data",
    "python -m analysis claims": "what the literature says, and what the records say of it",
    "python -m analysis power NAME [--savings]": "how many seeds would decide each of its claims, and their cost",
    "python -m analysis pack FILE.tar.xz": "all records in one file, which --runs then takes",
    "python -m analysis export NAME --to tensorboard=DIR": "curves as event files, or wandb=DIR as offline runs",
    "python -m analysis paper gao2023 [--venue icml]": "the figures of the paper, from all records",
    "python -m analysis stopping NAME, or FILE and columns": "rules for when to stop, and the gold that they lose",
    "python -m analysis advise NAME, or FILE and the options of fit": "how far may one optimise?",
}


def experiments(runs: str) -> None:
    """Print the experiments that have records in a store, each with its question and presets."""
    with sources.opened(runs) as [source]:
        for name, presets in source.names().items():
            say(f"  {name:<22} {source.question(name)}  [records: {', '.join(presets)}]")


def no_records(source: sources.Source, args, commands) -> str:
    """The line for a name that has no records in a store, with those that have some and the command to run.

    commands: words of `python -m analysis`, which may have been meant.
    """
    how = f"python -m experiments {args.name}" + (f" --preset {args.preset}" if args.preset else "")
    how += "".join(f" --set {shlex.quote(text)}" for text in args.set)
    how += "".join(f" --{n} {v}" for n, v in (("world", args.world), ("seeds", args.seeds)) if v is not None)
    have = f"{source.where} has those of {', '.join(source.names()) or 'no experiment'}"
    if own := others.commands(source.store, args.name.partition("+")[0]):
        have += f"; with other settings: python -m analysis {', python -m analysis '.join(own)}"
    hint = meant(args.name, (*source.names(), *commands))
    return f"experiment {args.name!r}: no records; {have}{hint or f'; {how} makes them'}"
