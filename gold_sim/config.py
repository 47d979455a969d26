"""The settings of a run, as frozen dataclasses that are checked when made, hashable and fingerprinted.

Singular fields are static: each value is compiled for. Plural fields (`seeds`, `kl_coefs`) are axes that the pipeline
maps. A comment gives a field's unit, its meaning and the source of its default. Defaults without a source were chosen
on worlds 0 to 99 (experiments/log/README.md). "s.d." are standard deviations of gold's scores over samples of the
reference policy.

A bad value raises ValueError with its name, the value and what is allowed. A range or a length belongs to the type of
its field. Rules between the fields of a group are in its `faults`. Rules between groups are in functions above
`Config`.
"""

import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

from gold_sim import named
from gold_sim.attributes import ATTRIBUTES, LIKED, WITH_TOKENS
from gold_sim.settings import Between, Checked, Length, Where, later

HEAD_WIDTH = 16  # of an attention head; a narrower network has one head
WIDE, WIDE_HEAD = 512, 64  # a network from width 512 on has wider heads, which matrix units want


def heads(width: int) -> int:
    """Attention heads of a network of this width."""
    return max(1, width // (HEAD_WIDTH if width < WIDE else WIDE_HEAD))


Count = Annotated[int, Between(1, 2**31 - 1)]
Seed = Annotated[int, Between(0, 2**31 - 1)]
Rate = Annotated[float, Between(0.0, 1.0)]
Positive = Annotated[float, Between(1e-12, 1e12)]
_WHOLE_HEADS = Where(
    lambda width: width % heads(width) == 0,
    f"allowed are multiples of the number of heads, width // {HEAD_WIDTH} (from {WIDE} on width // {WIDE_HEAD})",
)
Width = Annotated[int, Between(4, 16384), _WHOLE_HEADS]
Depth = Annotated[int, Between(1, 256)]
# Adam moves a parameter by about the rate at every step, and fresh parameters have a standard deviation of 0.02 to 0.2:
# above 0.1 a network learns nothing, and at 1e12 all is NaN.
LearningRate = Annotated[float, Between(1e-12, 0.1)]
KlCoef = Annotated[float, Between(0.0, 1e6)]
Weight = Annotated[float, Between(-100.0, 100.0)]
Threshold = Annotated[float, Between(-1e6, 1e6)]
_ONCE = Where(lambda values: len(set(values)) == len(values), "allowed is every value once")
_AXIS = (Length(1, 1000), _ONCE)  # of a field that the pipeline maps
RANKERS = ("plackett_luce", "mallows")  # annotators that rank several responses at once
Precision = Literal["float32", "bfloat16"]  # of the products within blocks (networks/network.py)


def _named(known: Iterable[str]) -> Where:
    """The rule that a name is a known one, or `module:function` of yours, imported when an experiment is planned."""
    return Where(lambda name: named.is_allowed(name, known), named.allowed(known))


@dataclass(frozen=True)
class WorldConfig(Checked):
    """The synthetic language (language/). All but seed, response_len and language are of the language of topics."""

    seed: Seed = 0  # of the grammar and the facts
    topics: Annotated[int, Between(1, 64)] = 4  # what a prompt may be about
    words_per_topic: Annotated[int, Between(2, 256)] = 8
    function_words: Annotated[int, Between(1, 256)] = 8  # words that belong to no topic
    classes: Annotated[int, Between(2, 64)] = (
        6  # of words in the grammar, where a class is followed by itself or the next
    )
    values: Annotated[int, Between(2, 64)] = 6  # that a claim may state of a topic, of which one is true
    hazards: Annotated[int, Between(1, 16)] = 2  # words that name a danger
    contexts: Annotated[int, Between(1, 16)] = 4  # words that make a hazard harmful, and as many that make it harmless
    response_len: Annotated[int, Between(2, 1024)] = 16  # tokens of the longest response, EOS included
    # Shares of prompts, up to a factor: plain, with a right claim, with a wrong one, harmful, harmless with a hazard.
    kinds: Annotated[tuple[Rate, ...], Length(5)] = (0.35, 0.25, 0.1, 0.15, 0.15)
    # Of the utilities in the rubric, in the order of the table of attributes.
    weights: Annotated[tuple[Weight, ...], Length(len(ATTRIBUTES))] = tuple(a.weight for a in ATTRIBUTES.values())
    language: Annotated[str, _named(named.LANGUAGES)] = later("topics")  # a function of WorldConfig

    def faults(self):
        if max(self.kinds) < 1e-3:
            yield f"kinds={self.kinds}: at least one share of 0.001 or more is wanted"
        if max(map(abs, self.weights)) < 1e-3:
            yield f"weights={self.weights}: at least one of 0.001 or more in size is wanted, else gold says nothing"


@dataclass(frozen=True)
class PolicyConfig(Checked):
    """A policy network and its supervised fine-tuning on demonstrations."""

    width: Width = 48  # of the residual stream
    depth: Depth = 2  # transformer blocks
    seed: Seed = 0  # of the initialisation and of the demonstrations
    steps: Count = 500  # gradient steps
    batch: Count = 256  # fresh demonstrations a step
    learning_rate: LearningRate = 3e-3  # at the peak of a warm-up and cosine schedule
    precision: Precision = later("float32")


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
class PreferencesConfig(Checked):
    """Pairs of reference samples on one prompt, labelled from gold by an annotator (preferences/annotators.py)."""

    seed: Seed = 0  # of the prompts, the samples and the annotator
    num_pairs: Annotated[int, Between(20, 10**9)] = 16_000  # pairs collected, the held-out ones among them
    held_out: Annotated[float, Between(0.01, 0.9)] = 0.1  # share of the pairs kept for validation and calibration
    annotator: Literal[
        "deterministic", "bradley_terry", "biased", "offsets", "ties", "implicit", "plackett_luce", "mallows"
    ] = "deterministic"  # the default is that of Gao et al. 2023
    temperature: Positive = 1.0  # s.d.; read by bradley_terry, implicit and plackett_luce
    label_noise: Annotated[float, Between(0.0, 0.5)] = (
        0.0  # share of labels flipped at random; at 0.5 none says a thing
    )
    bias_on: str = later("length")  # what a biased annotator likes: length, or one of the language's features
    bias: Annotated[float, Between(-1e3, 1e3)] = later(1.0)  # how much: s.d. for a unit of annotators.features
    people: Annotated[int, Between(1, 10**6)] = later(10)  # annotators of `offsets`, each with tastes of their own
    spread: Annotated[float, Between(0.0, 1e3)] = later(1.0)  # s.d. of a taste in `offsets`, or widest tie in `ties`
    ranked: Annotated[int, Between(2, 64)] = later(4)  # responses that plackett_luce and mallows rank at once
    phi: Annotated[float, Between(1e-6, 1.0)] = later(0.3)  # of mallows: near 0 it never errs, at 1 it ranks at random
    # What is kept of a ranking: two of its responses, drawn at random, or the whole beside these two. num_pairs then
    # counts prompts. Validation, calibration and direct alignment read the two alone.
    keep: Literal["pair", "ranking"] = later("pair")
    labelled_anew: bool = later(False)  # True: each seed's reward models learn from labels drawn for that seed

    @property
    def drawn(self) -> int:
        """Responses drawn for a prompt: two, or all that are ranked."""
        return self.ranked if self.annotator in RANKERS else 2

    @property
    def num_held_out(self) -> int:
        """Pairs of validation and calibration."""
        return int(self.num_pairs * self.held_out)

    @property
    def num_training(self) -> int:
        """Pairs that a reward model or a directly aligned policy may learn from."""
        return self.num_pairs - self.num_held_out

    def faults(self):
        if (held_out := self.num_held_out) < 2:
            yield f"held_out={self.held_out:g}: of num_pairs={self.num_pairs} that is {held_out}, calibration wants 2"
        if self.keep == "ranking" and self.annotator not in RANKERS:
            yield f"keep='ranking': allowed of plackett_luce and mallows, not {self.annotator}"
        if self.labelled_anew and self.annotator in RANKERS:
            yield f"labelled_anew=True: allowed of annotators of pairs, not {self.annotator}"
        if self.keep == "ranking" and self.label_noise:
            yield f"label_noise={self.label_noise:g}: flips are of pairs, 0 with keep='ranking'"


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
    blind: Annotated[tuple[str, ...], _ONCE] = later(())  # attributes of the language whose tokens are hidden
    # How the members of an ensemble differ: reward_model.fit says it of each.
    diversity: Literal["init", "order", "bootstrap", "features", "disjoint", "components"] = later("init")
    heads: Literal["one", "odin"] = later("one")  # odin: a second takes up length (Chen et al. 2024)
    precision: Precision = later("float32")
    network: Annotated[str, _named(named.REWARD_NETWORKS)] = later("transformer")  # a function of (language, config)
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

    name: Annotated[str, _named(named.SHAPINGS)] = (
        "none"  # a function of yours is imported when an experiment is planned
    )
    coef: Annotated[float, Between(0.0, 1e6)] = (
        1.0  # slope of par, s.d. that length_penalty takes from the longest response
    )
    references: Annotated[int, Between(1, 64)] = 4  # reference responses a prompt that rules compare with


@dataclass(frozen=True)
class RoundsConfig(Checked):
    """Iterated RLHF: policies of one round write the pairs that the next round's reward models learn from."""

    count: Annotated[int, Between(1, 64)] = 1  # the last round; 1 is ordinary RLHF
    num_pairs: Annotated[int, Between(1, 10**7)] = 2000  # new pairs of a round and seed, labelled as those of the first
    data: Literal["concatenate", "replace"] = "concatenate"  # reward models learn from all pairs, or from the newest
    start: Literal["restart", "continue"] = "restart"  # policies start at the reference, or where the last round ended
    sight: Literal["fixed", "alternating"] = "fixed"  # alternating: even rounds see what odd ones are blind to
    # True: round k passes over its pairs k times as often, so that with data="replace" it has about as many steps as
    # with all pairs so far.
    as_long: bool = later(False)


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
    eval_prompts: Annotated[int, Between(2, 10**7)] = 512  # held-out prompts of a measurement

    @property
    def steps(self) -> int:
        """Gradient steps: pairs that fill no batch are left out."""
        return self.num_pairs // self.batch * self.epochs

    def faults(self):
        if self.batch > self.num_pairs:
            yield f"batch={self.batch}: allowed up to num_pairs={self.num_pairs}"
        elif self.steps % self.evaluations:
            yield f"evaluations={self.evaluations} must divide the {self.steps} steps, num_pairs // batch * epochs"


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
    eval_prompts: Annotated[int, Between(2, 10**7)] = 512  # held-out prompts of a measurement
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
    evaluations: Annotated[int, Between(2, 10**6)] = 3  # measurements of a plateau; must divide its steps
    learning_rate: LearningRate = 3e-3  # at the start of a plateau, from where it falls to 0

    def faults(self):
        if any(later >= first for first, later in itertools.pairwise(self.kl_coefs)):
            yield f"kl_coefs={self.kl_coefs}: s.d. a nat, each below the one before it"
        if self.steps % self.evaluations:
            yield f"evaluations={self.evaluations} must divide steps={self.steps}"


# --- between groups: each yields a message for every rule that is broken ---------------------------


def _gold_is_not_largest(config: "Config"):
    gold, rm = config.gold, config.reward_model
    # Another architecture may have a use of its own for width and depth.
    smaller = gold.width * gold.depth < rm.width * rm.depth
    if rm.network == "transformer" and smaller and not gold.outgrown:
        shapes = f"{rm.width}x{rm.depth} is larger than gold {gold.width}x{gold.depth}"
        yield f"reward_model {shapes}: gold must be the largest, or gold.outgrown=true"


def _pairs_are_too_few(config: "Config"):
    rm, collected = config.reward_model, config.preferences.num_training
    if rm.num_pairs is not None and rm.num_pairs > collected:
        yield f"reward_model.num_pairs={rm.num_pairs}: allowed up to the {collected} training pairs collected"
    if rm.diversity == "disjoint" and rm.members > config.training_pairs:
        parted = f"diversity='disjoint' parts {config.training_pairs} training pairs among them"
        yield f"reward_model.members={rm.members}: {parted}"


def _no_pairs_are_left_to_stop_by(config: "Config"):
    if config.reward_model.train_until == "converged" and (held_out := config.preferences.num_held_out) < 4:
        yield f"preferences.held_out: {held_out} pairs, half of which stop training; train_until='converged' wants 4"


def _reference_is_of_another_size(config: "Config"):
    rm, ref = config.reward_model, config.reference
    if rm.start == "reference" and (rm.width, rm.depth) != (ref.width, ref.depth):
        size = f"{rm.width}x{rm.depth}, the reference policy is {ref.width}x{ref.depth}"
        yield f"reward_model.start='reference': width and depth must be the same; it is {size}"


def _rankings_are_not_kept(config: "Config"):
    if config.reward_model.ranks and config.preferences.keep != "ranking":
        yield f"reward_model.loss={config.reward_model.loss!r}: wants preferences.keep='ranking'"


def _members_make_no_reward(config: "Config"):
    rm, e, reward = config.reward_model, config.ensemble, config.reward
    if rm.diversity == "components" and reward != "proxy":
        yield f"reward={reward!r}: reward_model.diversity='components' wants 'proxy'"
    if e.rule == "weight_average" and reward == "synthetic":
        yield f"ensemble.rule={e.rule!r}: is of reward models, which reward={reward!r} has not"
    if e.take is not None and e.take > rm.members:
        yield f"ensemble.take={e.take}: allowed up to reward_model.members={rm.members}"
    if e.only is not None and e.only >= rm.members:
        yield f"ensemble.only={e.only}: one of the {rm.members} members, from 0"
    if e.only is not None and reward == "gold":
        yield f"ensemble.only={e.only}: reward='gold' has no members"


def _error_cannot_be_drawn(config: "Config"):
    adversarial = config.reward == "synthetic" and config.error.kind == "adversarial"
    if adversarial and config.world.language == "topics" and config.world.classes < 3:
        yield f"world.classes={config.world.classes}: ungrammatical words of error.kind='adversarial' want 3 or more"


def _attributes_are_not_the_languages(config: "Config"):
    """Check the attributes of the language of topics; those of other languages may need jax, so their readers check."""
    if config.world.language != "topics":
        if config.rounds.sight == "alternating":
            yield "rounds.sight='alternating': allowed with world.language='topics'"
        return
    for name in config.reward_model.blind:
        if name not in WITH_TOKENS:
            yield f"reward_model.blind={name!r}: allowed are {', '.join(WITH_TOKENS)}"
    if config.preferences.bias_on not in LIKED:
        yield f"preferences.bias_on={config.preferences.bias_on!r}: allowed are {', '.join(LIKED)}"


def _coefs_do_not_suit(config: "Config"):
    o, coefs = config.optimiser, config.kl_coefs
    if o.name == "online_dpo" and not all(coefs):
        yield "kl_coefs=0: betas of optimiser.name='online_dpo', above 0"
    if o.constraint != "none" and coefs != (0.0,):
        yield f"kl_coefs={max(coefs):g}: optimiser.constraint={o.constraint!r} allows kl_coefs=(0,)"


def _thresholds_do_not_suit(config: "Config"):
    o, e = config.optimiser, config.ensemble
    if o.constraint == "none":
        return
    members = 1 if config.reward == "gold" or e.only is not None else e.take or config.reward_model.members
    wanted = 0 if o.constraint == "adaptive_kl" else members
    if len(o.thresholds) != wanted:
        yield f"optimiser.thresholds={o.thresholds}: constraint={o.constraint!r} takes {wanted}, one a member"
    if wanted and (config.shaping.name != "none" or e.rule != "mean"):
        yield f"optimiser.constraint={o.constraint!r}: allowed with shaping.name='none' and ensemble.rule='mean'"


def _rounds_have_many_policies(config: "Config"):
    if config.rounds.count > 1 and (len(config.kl_coefs) > 1 or config.reward != "proxy"):
        yield f"rounds.count={config.rounds.count}: rounds want one kl_coef and reward='proxy'"
    if config.rounds.count > 1 and config.preferences.labelled_anew:
        yield f"rounds.count={config.rounds.count}: allowed is 1 with preferences.labelled_anew=True"


FAULTS = (
    *(_gold_is_not_largest, _pairs_are_too_few, _no_pairs_are_left_to_stop_by, _reference_is_of_another_size),
    *(_rankings_are_not_kept, _members_make_no_reward),
    *(_error_cannot_be_drawn, _coefs_do_not_suit, _thresholds_do_not_suit, _rounds_have_many_policies),
    _attributes_are_not_the_languages,
)


@dataclass(frozen=True)
class Config(Checked):
    """One cell: everything that decides its numbers."""

    world: WorldConfig = field(default_factory=WorldConfig)
    reference: PolicyConfig = field(
        default_factory=PolicyConfig
    )  # its samples are compared, and give gold's zero and unit
    gold: GoldConfig = field(default_factory=GoldConfig)
    preferences: PreferencesConfig = field(default_factory=PreferencesConfig)
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    reward: Literal["proxy", "gold", "synthetic"] = "proxy"  # what is optimised: a reward model, gold, gold + `error`
    ensemble: EnsembleConfig = later(EnsembleConfig)
    error: ErrorConfig = later(ErrorConfig)
    shaping: ShapingConfig = later(ShapingConfig)
    selection: SelectionConfig = later(SelectionConfig)
    policy: PolicyConfig | None = None  # where optimisation starts; None: at the reference policy
    best_of_n: BestOfNConfig = field(default_factory=BestOfNConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    seeds: Annotated[tuple[Seed, ...], *_AXIS] = (0, 1, 2, 3)  # of reward models and policies
    kl_coefs: Annotated[tuple[KlCoef, ...], *_AXIS] = (0.0,)  # weights of the KL penalty, s.d. a nat
    rounds: RoundsConfig = later(RoundsConfig)
    direct: DirectConfig = later(DirectConfig)
    dpo_betas: Annotated[tuple[Positive, ...], *_AXIS] = later((0.1,))  # beta of direct alignment, without unit
    frontier: FrontierConfig = later(FrontierConfig)

    def faults(self):
        for of_groups in FAULTS:
            yield from of_groups(self)

    @property
    def on_plateaus(self) -> "Config":
        """These settings with the schedule of the frontier's runs in `optimiser`, and their coefficients in kl_coefs.

        Such a run passes through all its coefficients. The policy's other runs have one each.
        """
        f, count = self.frontier, len(self.frontier.kl_coefs)
        of_plateaus = dict(steps=count * f.steps, evaluations=count * f.evaluations, plateau=f.steps)
        rate = dict(learning_rate=f.learning_rate, warmup_steps=0, until_kl=None, retrace_below=None)
        optimiser = dataclasses.replace(self.optimiser, **of_plateaus, **rate)
        return dataclasses.replace(self, optimiser=optimiser, kl_coefs=f.kl_coefs)

    @property
    def round_before(self) -> "Config":
        """The settings of the round before this one in iterated RLHF."""
        return dataclasses.replace(self, rounds=dataclasses.replace(self.rounds, count=self.rounds.count - 1))

    @property
    def reward_model_of_round(self) -> RewardModelConfig:
        """Settings of this round's reward models: later rounds take all pairs given, and may see other tokens."""
        if self.rounds.count == 1:
            return self.reward_model
        blind = self.reward_model.blind
        if self.rounds.sight == "alternating" and self.rounds.count % 2 == 0:
            blind = tuple(name for name in WITH_TOKENS if name not in blind)
        epochs = self.reward_model.epochs * (self.rounds.count if self.rounds.as_long else 1)
        return dataclasses.replace(self.reward_model, num_pairs=None, blind=blind, epochs=epochs)

    @property
    def gold_trunk(self) -> PolicyConfig:
        """Settings by which gold's trunk is first trained on demonstrations: the reference policy's, in gold's size."""
        gold, ref = self.gold, self.reference
        size = dict(width=gold.width, depth=gold.depth, precision=gold.precision)
        return dataclasses.replace(ref, **size, steps=max(1, gold.pretraining), seed=gold.seed)

    @property
    def trunks(self) -> PolicyConfig:
        """Settings of pretrained trunks: those of the reference policy, in the reward model's size and precision."""
        rm = self.reward_model
        return dataclasses.replace(self.reference, width=rm.width, depth=rm.depth, precision=rm.precision, seed=0)

    @property
    def draws_of_trunks(self) -> tuple[tuple[int, int], ...]:
        """(seed, member) by which each pretrained trunk is drawn."""
        rm = self.reward_model
        if rm.trunk == "shared":
            return ((self.reference.seed, 0),)
        return tuple((seed, m) for seed in self.seeds for m in range(rm.members if rm.trunk == "own" else 1))

    @property
    def training_pairs(self) -> int:
        """Number of pairs that the reward models of a seed learn from, all members together."""
        p, rounds = self.preferences, self.rounds
        first = self.reward_model.num_pairs or p.num_training
        if rounds.count == 1:
            return first
        return rounds.num_pairs + (first + (rounds.count - 2) * rounds.num_pairs) * (rounds.data == "concatenate")
