"""Which mitigation helps against which kind of Goodhart's law?

    python -m experiments goodhart             18 min on two cores, after rm_size
    python -m analysis goodhart

Synthetic proxies of three members, gold plus an error of one kind of known size (gold_sim/goodhart.py).
"""

from experiments.experiment import Experiment
from experiments.presets import few

KINDS = {
    "smoke": ("adversarial",),
    "cpu": ("regressional", "heavy_tailed", "extremal", "causal", "adversarial"),
}
SEEDS = {"smoke": (200, 201), "cpu": (200, 201, 202)}
MEMBERS = 3
MITIGATIONS = {
    "none": {"ensemble.take": 1},
    "KL penalty 0.06": {"ensemble.take": 1, "kl_coefs": (0.06,)},
    "worst case of 3": {"ensemble.rule": "worst_case"},
    "PAR": {"ensemble.take": 1, "shaping.name": "par"},
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
        cost="18 min on two cores, after rm_size",
        axis="variant",
        stages=("policy_gradient",),
        base={"reward": "synthetic", "reward_model.members": MEMBERS, "seeds": SEEDS[preset]},
        grid={"error.kind": KINDS[preset]},
        variants=few(preset, MITIGATIONS),
        panels="error_kind",
    )
