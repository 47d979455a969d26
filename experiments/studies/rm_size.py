"""The main job: how does over-optimization depend on the size of the reward model?

    python -m experiments rm_size
    python -m analysis rm_size

Gold first rises, then falls; it peaks later and higher for larger proxies (Gao, Schulman & Hilton 2023). RL has two
curves: the path of runs without penalty, and the frontier of penalised runs at their equilibria.
"""

from experiments.experiment import Experiment
from experiments.presets import RM_FIELDS, RM_SIZES, of


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="rm_size",
        title="Over-optimization by reward-model size",
        question="How far can a policy be optimised against proxies of five sizes before gold falls?",
        figure="Gao et al. 2023, Fig. 1 (arXiv) / 2 (ICML) and Fig. 3",
        expected="Gold rises, peaks and falls while the proxy keeps rising; larger reward models peak later and "
        "higher; alpha_bon rises and beta_bon, beta_rl fall with log parameters.",
        cost="20 min on two cores",
        axis="rm_params",
        stages=("best_of_n", "policy_gradient", "frontier"),
        base={},
        grid={RM_FIELDS: of(RM_SIZES, preset)},
        study="rm_size",
        order=10,
    )
