"""python -m experiments [NAME ..] [--preset P] [--set path=value ...] [--world N] [--seeds N] [--until-decided] ..."""

import sys

from gold_sim import exits


def main(argv=None) -> int:
    """Run or list experiments; the status to exit with."""
    return exits.run("experiments", lambda: _work(argv), "finished cells are stored, the same command resumes")


def _work(argv) -> int:
    from experiments import running  # here, as it takes a second: a Ctrl-C meanwhile is one line as well

    return running.main(argv)


if __name__ == "__main__":
    sys.exit(main())
