"""Which rule makes most of n samples when the proxy is learned?

    python -m experiments inference_time
    python -m analysis inference_time

The rules of `heavy_tails`, with a small and a middle proxy of `rm_size`.
"""

from experiments.experiment import Experiment
from experiments.presets import RM_FIELDS, RM_SIZES, few, of
from experiments.studies.heavy_tails import RULES

SIZES = {"smoke": RM_SIZES["smoke"], "cpu": RM_SIZES["cpu"][::3]}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="inference_time",
        title="Optimisation at inference time",
        question="With learned proxies, which rule of choosing among n samples keeps most gold?",
        figure="Khalaf et al. 2025, Fig. 2; Huang et al. 2025, Fig. 2",
        expected="Best-of-Poisson follows best-of-n; pessimism keeps the small proxy from falling; HedgeTune finds n "
        "near the best.",
        cost="1 min on two cores, after rm_size",
        axis="variant",
        stages=("best_of_n",),
        base={},
        grid={RM_FIELDS: of(SIZES, preset)},
        variants=few(preset, RULES),
        panels="rm_params",
        order=130,
    )
