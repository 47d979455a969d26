"""The installed command `gold-sim`: experiments, analysis and fits, from any folder.

Each word starts a command that `python -m experiments` or `python -m analysis` also runs. A command's code is imported
when its word is given, so that help is quick and analysis needs no jax.
"""

import argparse
import sys
from pathlib import Path

import gold_sim
from gold_sim import exits

HELP = """gold-sim: the testbed in which reward-model over-optimization can be seen, measured and fitted

  gold-sim run [NAME ...] [OPTIONS]   run experiments, or list them; the same command resumes (python -m experiments)
  gold-sim analyse [NAME] [OPTIONS]   figures, tables and report of an experiment, or a list (python -m analysis)
{commands}
  gold-sim where [--runs STORE]       folders of records, results and code
  gold-sim COMMAND --help             options of a command
  gold-sim --version

First steps:  gold-sim run rm_size --preset smoke && gold-sim analyse rm_size --preset smoke
Records go to runs/ and results to analysis/out/ in the current folder; --runs and --out name others."""


def main(argv=None) -> int:
    """Run what the first word names; the status to exit with."""
    return exits.run("gold-sim", lambda: _main(argv))


def _main(argv) -> int:
    word, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if word in ("--help", "-h", "help"):
        print(_help())
    elif word in ("--version", "-V"):
        print(f"gold-sim {gold_sim.__version__}")
    elif word == "where":
        return _where(rest)
    elif word == "run":
        from experiments.__main__ import main as run

        return run(rest)
    else:
        return _analysis(word, rest)
    return 0


def _analysis(word: str, rest: list[str]) -> int:
    """`analyse`, or one of the commands of analysis: these come from its own table."""
    from analysis.__main__ import COMMANDS
    from analysis.__main__ import main as analyse

    if word == "analyse":
        return analyse(rest)
    if word in COMMANDS:
        return analyse([word, *rest])
    allowed = ", ".join(("run", "analyse", *COMMANDS, "where", "--help", "--version"))
    raise ValueError(f"{word!r}: allowed are {allowed}")


def _help() -> str:
    from analysis.__main__ import COMMANDS

    says = lambda work: (work.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    return HELP.format(commands="\n".join(f"  gold-sim {name:<26} {says(work)}" for name, work in COMMANDS.items()))


def _where(argv) -> int:
    """Print the absolute folders of the store, the results and the code."""
    from gold_sim.store.remote import cache_of, is_url

    parser = argparse.ArgumentParser(prog="gold-sim where", description="Folders of records, results and code.")
    parser.add_argument("--runs", default="runs", help="the store: a folder (default runs), or an address")
    runs = parser.parse_args(argv).runs
    local = cache_of(runs) if is_url(runs) else Path(runs).absolute()
    done = len(list(local.glob("experiments/*.json")))
    print(f"store    {f'{runs}, here ' if is_url(runs) else ''}{local} ({done or 'no'} experiments with records)")
    print(f"results  {Path('analysis/out').absolute()}")
    print(f"code     {Path(gold_sim.__file__).resolve().parent.parent} (gold_sim {gold_sim.__version__})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
