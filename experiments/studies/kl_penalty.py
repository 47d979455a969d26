"""Does a KL penalty change the gold reached at a given KL, or only stop early?

    python -m experiments kl_penalty
    python -m analysis kl_penalty

One proxy, RLOO, and a penalty of five sizes.
"""

from experiments.experiment import Experiment
from experiments.presets import MIDDLE_RM, of

COEFFICIENTS = {"smoke": (0.0, 0.1), "cpu": (0.0, 0.01, 0.03, 0.06, 0.12)}


def experiment(preset: str) -> Experiment:
    return Experiment(
        name="kl_penalty",
        title="The KL penalty",
        question="Does a KL penalty move the gold-KL frontier, or is it early stopping?",
        figure="Gao et al. 2023, Fig. 9 and 14",
        expected="Gold depends on the KL reached, whatever the coefficient; the proxy at a given KL is higher with a "
        "penalty. The paper warns that this may depend on hyperparameters.",
        cost="4 min on two cores, after rm_size",
        axis="kl_coef",
        stages=("policy_gradient",),
        base=of(MIDDLE_RM, preset),
        grid={"kl_coefs": tuple((c,) for c in of(COEFFICIENTS, preset))},
        study="kl_penalty",
        order=50,
    )
