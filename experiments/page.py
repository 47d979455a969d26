"""docs/experiments.md: every experiment in one table, written from the declarations."""

from experiments import catalogue

HEAD = """# Experiments

`python -m experiments --markdown` writes this page from the declarations in `experiments/studies/`.
`python -m experiments NAME` runs an experiment, and `python -m analysis NAME` draws its figures and tables.

Costs are at preset `cpu`, on two AVX2 cores, as the cost model foretells them.
Experiments share cells, so a cost holds once what it names "after" is stored.

"""
COLUMNS = ("experiment", "question", "source figure", "expected", "cost")
BENCHMARK = "How many completions a second does one core make, at what fraction of its peak?"
BENCHMARK_COST = "2 min on one core"
THROUGHPUT = ("`throughput`", BENCHMARK, "none: a benchmark", "[speed.md](speed.md) has it", BENCHMARK_COST)


def markdown() -> str:
    """The page, its experiments in the order of the catalogue."""
    declared = [catalogue.find(name, "cpu") for name in catalogue.NAMES]
    rows = [(f"`{e.name}`", e.question, e.figure, e.expected, e.cost) for e in declared]
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows, THROUGHPUT]
    return HEAD + "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
