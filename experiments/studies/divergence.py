"""Is a chi-squared penalty a better leash than a KL penalty?

    python -m experiments divergence
    python -m analysis divergence

The same proxy under both penalties, at as many coefficients each; the best of each kind, chosen on earlier seeds, are
compared.
"""

from experiments.experiment import Experiment, Variant, digits
from experiments.presets import MIDDLE_RM, few, of

KL = {"smoke": (0.1,), "cpu": (0.01, 0.03, 0.12)}
CHI2 = {"smoke": (0.01,), "cpu": (1e-4, 1e-3, 1e-2)}  # of 2 pi / ref_policy, in gold s.d.


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="divergence",
        title="Chi-squared and KL penalties",
        question="At equal KL, does a chi-squared penalty keep more gold than a KL penalty?",
        figure="Laidlaw et al. 2024, Fig. 3",
        expected="At the best coefficient chi-squared keeps at least as much gold as KL.",
        cost="3 min on two cores, after kl_penalty",
        axis="variant",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset),
        grid={},
        variants=few(
            preset,
            {"no_penalty": Variant("no penalty")}
            | {f"kl_{digits(c)}": Variant(f"KL {c:g}", {"kl_coefs": (c,)}) for c in of(KL, preset)}
            | {
                f"chi2_{digits(c)}": Variant(f"chi2 {c:g}", {"kl_coefs": (c,), "optimiser.divergence": "chi2"})
                for c in of(CHI2, preset)
            },
        ),
        order=220,
    )
