"""Settings of optimisation: best-of-n and its rivals, policy optimisers, the frontier, direct alignment."""

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal

from gold_sim.config.fields import Count, LearningRate, Positive, Rate, Seed, Threshold
from gold_sim.settings import Between, Checked, Length, later


@dataclass(frozen=True)
class BestOfNConfig(Checked):
    """The pool: reference samples of held-out prompts, the same for every reward model."""

    seed: Seed = 0  # of the prompts and the samples
    num_prompts: Annotated[int, Between(2, 10**7)] = 64  # held-out prompts; standard errors are over them
    num_samples: Annotated[int, Between(2, 10**7)] = 4096  # samples of a prompt, and the largest n


@dataclass(frozen=True)
class SelectionConfig(Checked):
    """How one response is chosen from reference samples by their proxy scores (optimisation/selection_rules.py)."""

    rule: Literal["best_of_n", "soft", "poisson", "pessimism", "tilt"] = "best_of_n"
    coef: Positive = 0.3  # soft: temperature, on normal scores; pessimism: beta, s.d.


@dataclass(frozen=True)
class OptimiserConfig(Checked):
    """Policy optimisation against a proxy (optimisation/algorithms.py)."""

    name: Literal["ppo", "rloo", "grpo", "reinforce", "expert_iteration", "distillation", "online_dpo"] = "rloo"
    steps: Count = 300  # policy steps, each on a batch of fresh responses
    evaluations: Count = 30  # measurements after the one at step 0; must divide steps
    prompts: Count = 32  # prompts of a batch
    group_size: Count = 4  # responses to a prompt
    learning_rate: LearningRate = 1e-3  # constant after the warm-up
    warmup_steps: Annotated[int, Between(0, 10**9)] = 10  # in which the rate rises from 0
    max_grad_norm: Positive = 1.0  # a longer gradient is shortened to this
    clip: Positive = 0.2  # PPO and GRPO: how far a token's ratio may leave 1 (Schulman et al. 2017)
    epochs: Count = 2  # PPO and GRPO: passes over a batch
    minibatches: Count = 2  # PPO and GRPO: updates of a pass; must divide prompts
    gae_lambda: Rate = 0.95  # PPO: of its advantages (Schulman et al. 2016)
    value_coef: Annotated[float, Between(0.0, 1e6)] = 0.1  # PPO: weight of the value head's loss
    kl_loss: Literal["k2", "k3"] = "k3"  # GRPO: estimator of the KL term in its loss (Shao et al. 2024)
    eval_prompts: Annotated[int, Between(2, 10**7)] = 512  # held-out prompts of a seed, on which it is measured
    train_prompts: Annotated[int, Between(1, 10**9)] | None = later(None)  # a fixed set; None: fresh ones at every step
    length_share: bool = later(False)  # True: the part of the proxy that length explains is recorded as well
    divergence: Literal["kl", "chi2"] = later("kl")  # what kl_coefs penalise; chi2 as in Laidlaw et al. 2024
    constraint: Literal["none", "mu", "xi", "all", "sat", "adaptive_kl"] = later("none")  # optimisation/constrained.py
    thresholds: Annotated[tuple[Threshold, ...], Length(0, 64)] = later(())  # s.d.: one for each member
    kl_target: Positive = later(6.0)  # adaptive_kl: nats a response at which it aims
    # Steps in which the rate falls from learning_rate to 0, again and again; the KL coefficient falls from one such
    # plateau to the next (optimisation/plateaus.py). None: one coefficient, and a rate that stays. Set by `frontier`.
    plateau: Count | None = later(None)
    # Nats a response: a run ends at its last measurement below, or after `steps`. Not of the frontier.
    until_kl: Positive | None = later(None)
    # Nats a response: where a run's next measurement is beyond until_kl and its last one below this, the steps between
    # are taken again, and it is measured after each. None: never.
    retrace_below: Positive | None = later(None)
    update_rule: Literal["adam", "muon"] = later("adam")  # by which a gradient changes the policy (networks/muon.py)

    @property
    def updates(self) -> int:
        """Gradient steps on a batch."""
        return self.epochs * self.minibatches if self.name in ("ppo", "grpo") else 1

    def faults(self):
        name, group = self.name, self.group_size
        if self.steps % self.evaluations:
            yield f"evaluations={self.evaluations} must divide steps={self.steps}"
        if name in ("ppo", "grpo") and self.prompts % self.minibatches:
            yield f"minibatches={self.minibatches} must divide prompts={self.prompts}"
        if name not in ("ppo", "reinforce") and group < 2:
            yield f"group_size={group}: {name} compares at least 2 responses a prompt"
        if name == "reinforce" and group * self.prompts < 2:
            yield f"group_size={group}: with prompts=1, reinforce compares at least 2 responses a step"
        if name == "online_dpo" and group % 2:
            yield f"group_size={group}: online_dpo wants pairs, an even number"
        if self.divergence == "chi2" and name not in ("rloo", "reinforce"):
            yield f"divergence='chi2': allowed with rloo and reinforce, not {name}"
        if self.retrace_below is not None and (self.until_kl is None or self.retrace_below > self.until_kl):
            yield f"retrace_below={self.retrace_below}: at most until_kl={self.until_kl} is allowed"
        if self.constraint == "none" and self.thresholds:
            yield f"thresholds={self.thresholds}: constraint='none' takes none"
        if self.constraint != "none" and (name != "rloo" or self.divergence != "kl"):
            yield f"constraint={self.constraint!r}: allowed with name='rloo' and divergence='kl'"


@dataclass(frozen=True)
class FrontierConfig(Checked):
    """The frontier of gold against KL: equilibria of penalised runs (optimisation/plateaus.py).

    One run a seed. Its KL coefficient falls from plateau to plateau, each of which starts where the last one ended.
    Batches and all else are of `optimiser`.
    """

    kl_coefs: Annotated[tuple[Positive, ...], Length(1, 1000)] = (  # s.d. a nat; five a decade
        *(0.25, 0.16, 0.1, 0.063, 0.04),
        *(0.025, 0.016, 0.01, 0.0063, 0.004),
    )
    steps: Count = 60  # policy steps of a plateau
    evaluations: Annotated[int, Between(2, 10**6)] = 3  # equal parts of a plateau; it is measured after the last two
    learning_rate: LearningRate = 3e-3  # at the start of a plateau, from where it falls to 0
    update_rule: Literal["adam", "muon"] = "adam"  # muon: learning_rate is that of matrices (networks/muon.py)

    def faults(self):
        if any(later >= first for first, later in itertools.pairwise(self.kl_coefs)):
            yield f"kl_coefs={self.kl_coefs}: s.d. a nat, each below the one before it"
        if self.steps % self.evaluations:
            yield f"evaluations={self.evaluations} must divide steps={self.steps}"


@dataclass(frozen=True)
class DirectConfig(Checked):
    """Direct alignment: a policy fitted to preferences without a reward model (optimisation/direct_alignment.py)."""

    loss: Literal["dpo", "ipo", "slic", "rpo", "chipo", "length_dpo"] = "dpo"
    num_pairs: Annotated[int, Between(1, 10**9)] = 8_000  # training pairs
    epochs: Annotated[int, Between(1, 1000)] = 2  # passes over the pairs
    evaluations: Count = 25  # measurements after the one at step 0; must divide the steps
    batch: Count = 64  # pairs a step
    learning_rate: LearningRate = 1e-3  # at the peak of a warm-up and cosine schedule
    warmup_steps: Annotated[int, Between(0, 10**9)] = 10  # in which the rate rises from 0
    max_grad_norm: Positive = 1.0  # a longer gradient is shortened to this
    coef: Annotated[float, Between(0.0, 1e6)] = 0.02  # rpo: weight of a nat of the chosen; length_dpo: of a token
    eval_prompts: Annotated[int, Between(2, 10**7)] = 512  # held-out prompts of a seed, on which it is measured

    @property
    def steps(self) -> int:
        """Gradient steps: pairs that fill no batch are left out."""
        return self.num_pairs // self.batch * self.epochs

    def faults(self):
        if self.batch > self.num_pairs:
            yield f"batch={self.batch}: allowed up to num_pairs={self.num_pairs}"
        elif self.steps % self.evaluations:
            yield f"evaluations={self.evaluations} must divide the {self.steps} steps, num_pairs // batch * epochs"
