"""Does best-of-n over-optimise by itself, or only where the proxy's error has heavy tails?

    python -m experiments heavy_tails
    python -m analysis heavy_tails

Synthetic proxies: gold plus normal errors, or errors of Student's t with 3 degrees of freedom. Several rules choose
among n samples.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import few


def rule(label: str, name: str, coef: float) -> Variant:
    """The variant that chooses among n samples by one rule."""
    return Variant(label, {"selection.rule": name, "selection.coef": coef})


RULES = {
    "best_of_n": rule("best-of-n", "best_of_n", 1.0),
    "best_of_poisson": rule("best-of-Poisson", "poisson", 1.0),
    "soft_temperature_0_5": rule("soft, temperature 0.5", "soft", 0.5),
    "pessimism_0_3": rule("pessimism 0.3", "pessimism", 0.3),
    "pessimism_0_1": rule("pessimism 0.1", "pessimism", 0.1),
    "exact_tilt": rule("exact tilt", "tilt", 1.0),
}
KINDS = ("regressional", "heavy_tailed")


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="heavy_tails",
        title="Tails of the proxy's error",
        question="When does best-of-n fall, and does pessimism at inference keep it?",
        figure="Kwa et al. 2024, Fig. 3; Huang et al. 2025, Fig. 1; Khalaf et al. 2025",
        expected="Normal errors: gold rises to the largest n. Student t with 3 degrees of freedom: best-of-n peaks by "
        "n = 64 and loses more than half; pessimism ends within 5 % of its maximum.",
        cost="1 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base={"reward": "synthetic"},
        grid={"error.kind": KINDS},
        variants=few(preset, RULES),
        panels="error_kind",
        order=240,
    )
