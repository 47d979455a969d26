"""Which mitigation helps against which kind of Goodhart's law?

    python -m experiments goodhart
    python -m analysis goodhart

Synthetic proxies of three members, gold plus an error of one kind of known size
(gold_sim/rewards/synthetic_errors.py). At 1 s.d. gold hardly falls in RL for any kind
(experiments/log/2026-11-27-goodhart-errors.md); SCALE was chosen on a development world.
"""

from experiments.experiment import Experiment, Variant
from experiments.presets import SHORTER, few, of

KINDS = {
    "smoke": ("adversarial",),
    "cpu": ("regressional", "heavy_tailed", "extremal", "causal", "adversarial"),
}
SCALE = 3.0  # gold s.d.
MEMBERS = 3
ONE = {"ensemble.take": 1}
BOTH, BON = ("best_of_n", "policy_gradient"), ("best_of_n",)
MITIGATIONS = {
    "none": Variant("none", ONE, BOTH),
    "worst_case_of_3": Variant("worst case of 3", {"ensemble.rule": "worst_case"}, BOTH),
    "mean_minus_0_5_variance": Variant("mean - 0.5 variance", {"ensemble.rule": "uncertainty_weighted"}, BOTH),
    "par": Variant("PAR", ONE | {"shaping.name": "par"}),
    "kl_penalty_0_3": Variant("KL penalty 0.3", ONE | {"kl_coefs": (0.3,)}),
    "chi2_penalty_0_003": Variant("chi2 penalty 0.003", ONE | {"kl_coefs": (0.003,), "optimiser.divergence": "chi2"}),
    "pessimism_0_3": Variant("pessimism 0.3", ONE | {"selection.rule": "pessimism", "selection.coef": 0.3}, BON),
    "soft_temperature_0_5": Variant(
        "soft, temperature 0.5", ONE | {"selection.rule": "soft", "selection.coef": 0.5}, BON
    ),
}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="goodhart",
        title="Goodhart's kinds and mitigations",
        question="For every kind of proxy error, which mitigation keeps gold?",
        figure="none: the matrix is ours; kinds from Manheim & Garrabrant 2018, Kwa et al. 2024",
        expected="Ensembles help against errors that members do not share (regressional, heavy-tailed, adversarial) "
        "and not against those that they do (extremal, causal); bounded rewards against heavy tails; a KL "
        "penalty against extremal errors.",
        cost="20 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base={"reward": "synthetic", "reward_model.members": MEMBERS, "error.scale": SCALE} | of(SHORTER, preset),
        grid={"error.kind": of(KINDS, preset)},
        variants=few(preset, MITIGATIONS),
        panels="error_kind",
        study="goodhart",
        order=250,
    )
