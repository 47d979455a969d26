"""Settings of rewards: gold, reward models, their ensembles, synthetic errors and shaping."""

from dataclasses import dataclass
from typing import Annotated, Literal

from gold_sim import named
from gold_sim.config.fields import ONCE, Count, Depth, LearningRate, Precision, Rate, Seed, Width, named_in
from gold_sim.settings import Between, Checked, later


@dataclass(frozen=True)
class GoldConfig(Checked):
    """The gold reward model: the largest network, trained on the rubric, then frozen and standardised."""

    kind: Literal["rubric", "random"] = "rubric"  # random: a network that is never trained, as a control
    width: Width = 64  # of the residual stream
    depth: Depth = 3  # transformer blocks
    seed: Seed = 0  # of the initialisation and of the training responses
    steps: Count = 500  # gradient steps
    batch: Count = 256  # responses a step, of all sources together
    learning_rate: LearningRate = 2e-3  # at the peak of a warm-up and cosine schedule
    off_reference: Rate = 0.6  # share of training responses that the reference policy did not write
    precision: Precision = later("float32")
    # Steps in which its trunk is first trained as a language model of demonstrations, as reference policies are.
    pretraining: Annotated[int, Between(0, 10**9)] = later(0)
    # Weight of the language's criteria, all together, as targets beside the rubric; their heads are then dropped.
    criteria: Annotated[float, Between(0.0, 1e3)] = later(0.0)
    # Weight of the language's marks of single tokens, all together, as targets of the block before the last.
    marks: Annotated[float, Between(0.0, 1e3)] = later(0.0)
    outgrown: bool = later(False)  # True: reward models may be larger than gold, which then shares their errors


@dataclass(frozen=True)
class RewardModelConfig(Checked):
    """A proxy reward model: Bradley-Terry on preferences (one epoch, as Gao et al. 2023)."""

    width: Width = 16  # of the residual stream
    depth: Depth = 1  # transformer blocks
    num_pairs: Annotated[int, Between(1, 10**9)] | None = (
        None  # training pairs of a seed; None: all that were collected
    )
    epochs: Annotated[int, Between(1, 1000)] = 1  # passes over the pairs (Gao et al. 2023); converged: the most passes
    batch: Count = 64  # pairs a step (Gao et al. 2023, table 1); all, where there are fewer
    learning_rate: LearningRate = 3e-3  # at the peak of a warm-up and cosine schedule
    weight_decay: Annotated[float, Between(0.0, 1e3)] = 0.01  # AdamW: share of a parameter lost a step, over the rate
    members: Annotated[int, Between(1, 64)] = later(1)  # reward models of an ensemble, for each seed
    loss: Literal[
        *("bradley_terry", "margin", "smoothed", "unbiased", "known_channel", "huberised", "squared", "hinge"),
        *("all_pairs", "plackett_luce"),  # of whole rankings: preferences.keep
    ] = later("bradley_terry")
    loss_coef: Annotated[float, Between(0.0, 1e3)] = later(0.25)  # rate of flips or margin: rewards/losses.py
    blind: Annotated[tuple[str, ...], ONCE] = later(())  # attributes of the language whose tokens are hidden
    # How the members of an ensemble differ: reward_model.fit says it of each.
    diversity: Literal["init", "order", "bootstrap", "features", "disjoint", "components"] = later("init")
    heads: Literal["one", "odin"] = later("one")  # odin: a second takes up length (Chen et al. 2024)
    precision: Precision = later("float32")
    network: Annotated[str, named_in(named.REWARD_NETWORKS)] = later("transformer")  # a function of (language, config)
    # What ends training: so many epochs, or that the loss of other pairs no longer falls (rewards/convergence.py).
    train_until: Literal["epochs", "converged"] = later("epochs")
    patience: Annotated[int, Between(1, 10**6)] = later(8)  # converged: evaluations without a fall that end it
    least_fall: Annotated[float, Between(0.0, 1.0)] = later(
        1e-3
    )  # converged: nats a pair; less within patience is none
    evaluate_every: Count = later(100)  # converged: steps between evaluations; a pass over the pairs, if that is fewer
    # What parameters start as, but for the head: fresh, those of the reference policy, or of a language model of this
    # size that is trained on demonstrations as the reference policy is (stages/pretrained.py).
    start: Literal["fresh", "reference", "pretrained"] = later("fresh")
    # Who has the same pretrained trunk: all seeds and members, the members of a seed, or none (Eisenstein et al. 2023).
    trunk: Literal["shared", "by_seed", "own"] = later("shared")

    @property
    def ranks(self) -> bool:
        """Whether the loss is of whole rankings, not of pairs."""
        return self.loss in ("all_pairs", "plackett_luce")

    def faults(self):
        if self.loss in ("smoothed", "unbiased", "known_channel") and self.loss_coef >= 0.5:
            yield f"loss_coef={self.loss_coef:g}: loss={self.loss!r} wants a rate of flips below 0.5"
        if self.loss == "huberised" and not 1e-6 <= self.loss_coef <= 0.999:
            yield f"loss_coef={self.loss_coef:g}: loss='huberised' wants one from 1e-6 to 0.999"
        if self.heads == "odin" and self.ranks:
            yield f"heads='odin': allowed with losses of pairs, not {self.loss}"
        if self.learning_rate * self.weight_decay > 1:
            yield f"weight_decay={self.weight_decay:g}: allowed up to 1 / learning_rate, {1 / self.learning_rate:g}"
        if self.diversity == "disjoint" and self.members < 2:
            yield f"members={self.members}: diversity='disjoint' wants 2 or more"
        if self.diversity == "components" and self.members != 2:
            yield f"members={self.members}: diversity='components' has 2"
        if self.train_until == "converged" and self.epochs < 2:
            yield f"epochs={self.epochs}: with train_until='converged' the most passes, 2 or more (100, for instance)"
        if self.trunk != "shared" and self.start != "pretrained":
            yield f"trunk={self.trunk!r}: allowed with start='pretrained', not {self.start!r}"
        if self.start != "fresh" and self.network != "transformer":
            yield f"start={self.start!r}: allowed with network='transformer', as policies are"


@dataclass(frozen=True)
class EnsembleConfig(Checked):
    """How the scores of an ensemble's members become one reward (rewards/ensemble.py); one member needs no rule."""

    rule: Literal[
        "mean", "median", "worst_case", "uncertainty_weighted", "mean_minus_std", "robust", "weight_average"
    ] = "mean"
    take: Annotated[int, Between(1, 64)] | None = None  # how many members count, from the first; None: all
    coef: Annotated[float, Between(0.0, 1e6)] = (
        0.5  # of uncertainty_weighted (Coste et al. 2023) and the next two rules
    )
    only: Annotated[int, Between(0, 63)] | None = later(None)  # the one member that counts, from 0; None: as take says

    def faults(self):
        if self.rule == "robust" and self.coef < 1e-6:
            yield f"coef={self.coef:g}: rule='robust' divides by it, allowed from 1e-6"
        if self.only is not None and (self.take is not None or self.rule == "weight_average"):
            yield f"only={self.only}: one of the members, without take or weight_average"
        if self.take is not None and self.rule == "weight_average":
            yield f"take={self.take}: rule='weight_average' is of all members"


@dataclass(frozen=True)
class ErrorConfig(Checked):
    """The error of a synthetic proxy = gold + error (rewards/synthetic_errors.py), for reward='synthetic'."""

    kind: Literal["regressional", "heavy_tailed", "extremal", "causal", "adversarial"] = "regressional"
    scale: Annotated[float, Between(0.0, 1e6)] = 1.0  # s.d.
    shared: Rate = 0.0  # share of the error's variance that all members of an ensemble have in common
    df: Annotated[int, Between(1, 100)] = 3  # degrees of freedom of heavy_tailed, which is Student's t


@dataclass(frozen=True)
class ShapingConfig(Checked):
    """A transform of the reward before optimisation (rewards/shaping.py)."""

    name: Annotated[str, named_in(named.SHAPINGS)] = (
        "none"  # a function of yours is imported when an experiment is planned
    )
    coef: Annotated[float, Between(0.0, 1e6)] = (
        1.0  # slope of par, s.d. that length_penalty takes from the longest response
    )
    references: Annotated[int, Between(1, 64)] = 4  # reference responses a prompt that rules compare with
