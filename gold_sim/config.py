"""Every knob of a run, as frozen dataclasses: checked when made, hashable, and fingerprinted.

Singular fields are static (one compile each); plural fields (`seeds`, `kl_coefs`) are axes that the
pipeline maps. A value outside its range raises ValueError naming field, value and what is allowed.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

from gold_sim import named
from gold_sim.attributes import ATTRIBUTES, LIKED, WITH_TOKENS
from gold_sim.settings import Between, Checked, later

Count = Annotated[int, Between(1, 2**31 - 1)]
Seed = Annotated[int, Between(0, 2**31 - 1)]
Rate = Annotated[float, Between(0.0, 1.0)]
Positive = Annotated[float, Between(1e-12, 1e12)]
Precision = Literal["float32", "bfloat16"]  # of the products within blocks (transformer.Network)


@dataclass(frozen=True)
class WorldConfig(Checked):
    """The synthetic language; all but `seed` and `response_len` are of the language of topics."""

    seed: Seed = 0  # draws grammar and facts
    topics: Annotated[int, Between(1, 64)] = 4
    words_per_topic: Annotated[int, Between(2, 256)] = 8
    function_words: Annotated[int, Between(1, 256)] = 8  # words of no topic
    classes: Annotated[int, Between(2, 64)] = 6  # grammatical classes
    values: Annotated[int, Between(2, 64)] = 6  # what a claim may state of a topic
    hazards: Annotated[int, Between(1, 16)] = 2  # hazard words
    contexts: Annotated[int, Between(1, 16)] = 4  # harmful context words, and as many harmless
    response_len: Annotated[int, Between(2, 1024)] = 16  # tokens, EOS included
    kinds: tuple[Rate, ...] = (0.35, 0.25, 0.1, 0.15, 0.15)  # plain, right claim, wrong claim, harmful, harmless
    weights: tuple[float, ...] = tuple(a.weight for a in ATTRIBUTES.values())  # of the rubric, in the table's order
    language: str = later("topics")  # of named.LANGUAGES, or module:function of yours


@dataclass(frozen=True)
class PolicyConfig(Checked):
    """A policy network and its supervised fine-tuning on demonstrations."""

    width: Annotated[int, Between(4, 16384)] = 48  # model width
    depth: Annotated[int, Between(1, 256)] = 2  # blocks
    seed: Seed = 0  # initialisation, demonstrations, order
    steps: Count = 500  # gradient steps
    batch: Count = 256  # demonstrations a step
    learning_rate: Positive = 3e-3  # peak of a warm-up and cosine schedule
    precision: Precision = later("float32")


@dataclass(frozen=True)
class GoldConfig(Checked):
    """The gold reward model: the largest network, raised on the rubric, then frozen and standardised."""

    kind: Literal["rubric", "random"] = "rubric"  # random: a frozen random network (a control)
    width: Annotated[int, Between(4, 16384)] = 64
    depth: Annotated[int, Between(1, 256)] = 3
    seed: Seed = 0
    steps: Count = 500
    batch: Count = 256  # responses a step, over all sources
    learning_rate: Positive = 2e-3
    off_reference: Rate = 0.6  # share of training responses that the reference policy did not write
    precision: Precision = later("float32")


@dataclass(frozen=True)
class PreferencesConfig(Checked):
    """Pairs of reference samples on one prompt, labelled by gold."""

    seed: Seed = 0
    num_pairs: Annotated[int, Between(20, 10**9)] = 16_000  # collected, held-out ones included
    held_out: Annotated[float, Between(0.01, 0.9)] = 0.1  # share for validation
    annotator: Literal[
        "deterministic", "bradley_terry", "biased", "offsets", "ties", "implicit", "plackett_luce", "mallows"
    ] = "deterministic"  # preferences.ANNOTATORS
    temperature: Positive = 1.0  # of bradley_terry, implicit, plackett_luce; gold standard deviations
    label_noise: Annotated[float, Between(0.0, 0.5)] = 0.0  # uniform flips; 0.5 is shuffled labels
    bias_on: str = later("length")  # of biased: length, or one of the language's features
    bias: Annotated[float, Between(-1e3, 1e3)] = later(1.0)  # of biased: gold s.d. a unit of preferences.features
    people: Annotated[int, Between(1, 10**6)] = later(10)  # of offsets: annotators, each with tastes of their own
    spread: Annotated[float, Between(0.0, 1e3)] = later(1.0)  # of offsets: s.d. of a taste; of ties: half-width
    ranked: Annotated[int, Between(2, 64)] = later(4)  # of plackett_luce and mallows: responses ranked at once
    phi: Annotated[float, Between(1e-6, 1.0)] = later(0.3)  # of mallows: 0 never errs, 1 ranks at random
    # Of a ranking of `ranked` responses: two at random, or beside these the whole (num_pairs then counts prompts).
    # Held-out validation, calibration and direct alignment read the two alone.
    keep: Literal["pair", "ranking"] = later("pair")

    def __post_init__(self):
        super().__post_init__()
        if self.keep == "ranking" and self.annotator not in ("plackett_luce", "mallows"):
            raise ValueError(f"preferences.keep='ranking': allowed of plackett_luce and mallows, not {self.annotator}")
        if self.keep == "ranking" and self.label_noise:
            raise ValueError(f"preferences.label_noise={self.label_noise:g}: flips are of pairs, 0 with keep='ranking'")


@dataclass(frozen=True)
class RewardModelConfig(Checked):
    """A proxy reward model: Bradley-Terry on preferences (one epoch, as Gao et al. 2023)."""

    width: Annotated[int, Between(4, 16384)] = 16
    depth: Annotated[int, Between(1, 256)] = 1
    num_pairs: Annotated[int, Between(1, 10**9)] | None = None  # training pairs a seed; None takes all collected
    epochs: Annotated[int, Between(1, 1000)] = 1
    batch: Count = 64  # pairs a step (Gao et al. 2023, table 1)
    learning_rate: Positive = 3e-3
    weight_decay: Annotated[float, Between(0.0, 1e3)] = 0.01
    members: Annotated[int, Between(1, 64)] = later(1)  # of an ensemble, for each seed
    loss: Literal[
        *("bradley_terry", "margin", "smoothed", "unbiased", "known_channel", "huberised", "squared", "hinge"),
        *("all_pairs", "plackett_luce"),  # of whole rankings: preferences.keep
    ] = later("bradley_terry")
    loss_coef: Annotated[float, Between(0.0, 1e3)] = later(0.25)  # flip rate or margin: reward_model.LOSSES
    blind: tuple[str, ...] = later(())  # attributes of the language whose tokens are not seen
    diversity: Literal["init", "order", "bootstrap", "features", "disjoint", "components"] = later("init")  # see fit
    heads: Literal["one", "odin"] = later("one")  # odin: another takes up length and is dropped (Chen et al. 2024)
    precision: Precision = later("float32")
    network: str = later("transformer")  # of named.REWARD_NETWORKS, or module:function of yours


@dataclass(frozen=True)
class EnsembleConfig(Checked):
    """How the scores of an ensemble's members become one reward (ensemble.py); a single member needs no rule."""

    rule: Literal[
        "mean", "median", "worst_case", "uncertainty_weighted", "mean_minus_std", "robust", "weight_average"
    ] = "mean"
    take: Annotated[int, Between(1, 64)] | None = None  # of the members, from the first; None: all
    coef: Annotated[float, Between(0.0, 1e6)] = 0.5  # of uncertainty_weighted (Coste et al. 2023) and the two after it
    only: Annotated[int, Between(0, 63)] | None = later(None)  # the one member that is optimised, from 0; None: take


@dataclass(frozen=True)
class ErrorConfig(Checked):
    """The error of a synthetic proxy = gold + error (goodhart.py), for reward='synthetic'."""

    kind: Literal["regressional", "heavy_tailed", "extremal", "causal", "adversarial"] = "regressional"
    scale: Annotated[float, Between(0.0, 1e6)] = 1.0  # gold standard deviations
    shared: Rate = 0.0  # share of its variance that all members of an ensemble have in common
    df: Annotated[int, Between(1, 100)] = 3  # degrees of freedom of heavy_tailed (Student's t)


@dataclass(frozen=True)
class ShapingConfig(Checked):
    """A transform of the reward before optimisation (shaping.py)."""

    name: str = "none"  # a rule of shaping.py, or module:function of yours
    coef: Annotated[float, Between(0.0, 1e6)] = 1.0  # of par (slope), length_penalty (gold s.d. a full length)
    references: Annotated[int, Between(1, 64)] = 4  # reference responses a prompt, for rules that compare with them


@dataclass(frozen=True)
class RoundsConfig(Checked):
    """Iterated RLHF: policies of one round write the pairs that the next round's reward models learn from."""

    count: Annotated[int, Between(1, 64)] = 1  # the round of this cell; 1 is ordinary RLHF
    num_pairs: Annotated[int, Between(1, 10**7)] = 2000  # new pairs a round and seed, labelled as the first
    data: Literal["concatenate", "replace"] = "concatenate"  # learn from all pairs so far, or from the newest
    start: Literal["restart", "continue"] = "restart"  # policies begin at the reference, or where the last round ended
    sight: Literal["fixed", "alternating"] = "fixed"  # alternating: even rounds see what odd ones are blind to


@dataclass(frozen=True)
class DirectConfig(Checked):
    """Direct alignment: a policy fit to preferences without a reward model (direct_alignment.py)."""

    loss: Literal["dpo", "ipo", "slic", "rpo", "chipo", "length_dpo"] = "dpo"
    num_pairs: Annotated[int, Between(1, 10**9)] = 8_000  # training pairs
    epochs: Annotated[int, Between(1, 1000)] = 2
    evaluations: Count = 25  # measurements after the one at step 0; must divide the steps
    batch: Count = 64  # pairs a step
    learning_rate: Positive = 1e-3
    warmup_steps: Annotated[int, Between(0, 10**9)] = 10
    max_grad_norm: Positive = 1.0
    coef: Annotated[float, Between(0.0, 1e6)] = 0.02  # of rpo (a nat of the chosen), length_dpo (a token)
    eval_prompts: Annotated[int, Between(2, 10**7)] = 512  # held-out prompts a measurement

    @property
    def steps(self) -> int:
        return self.num_pairs // self.batch * self.epochs


@dataclass(frozen=True)
class BestOfNConfig(Checked):
    """One pool of reference samples a held-out prompt, shared by every reward model."""

    seed: Seed = 0
    num_prompts: Count = 64
    num_samples: Annotated[int, Between(2, 10**7)] = 4096  # per prompt; the largest n


@dataclass(frozen=True)
class SelectionConfig(Checked):
    """How one response is chosen from reference samples by their proxy scores (selection rules of best_of_n.py)."""

    rule: Literal["best_of_n", "soft", "poisson", "pessimism", "tilt"] = "best_of_n"
    coef: Positive = 0.3  # of soft (temperature, on normal scores) and pessimism (beta, gold s.d.)


@dataclass(frozen=True)
class OptimiserConfig(Checked):
    """Policy optimisation against a proxy (policy_gradient.py)."""

    name: Literal["ppo", "rloo", "grpo", "reinforce", "expert_iteration", "distillation", "online_dpo"] = "rloo"
    steps: Count = 300  # policy steps: one batch of samples each
    evaluations: Count = 30  # measurements after the one at step 0; must divide steps
    prompts: Count = 32  # prompts a step
    group_size: Count = 4  # responses a prompt
    learning_rate: Positive = 1e-3
    warmup_steps: Annotated[int, Between(0, 10**9)] = 10
    max_grad_norm: Positive = 1.0
    clip: Positive = 0.2  # PPO and GRPO ratio clip
    epochs: Count = 2  # PPO and GRPO passes over a batch
    minibatches: Count = 2  # PPO and GRPO updates a pass; must divide prompts
    gae_lambda: Rate = 0.95  # PPO
    value_coef: Annotated[float, Between(0.0, 1e6)] = 0.1  # PPO
    kl_loss: Literal["k2", "k3"] = "k3"  # GRPO: estimator of its KL term in the loss
    eval_prompts: Annotated[int, Between(2, 10**7)] = 512  # held-out prompts a measurement
    train_prompts: Annotated[int, Between(1, 10**9)] | None = later(None)  # a fixed set; None: all but held-out ones
    length_share: bool = later(False)  # also record proxy_of_length
    divergence: Literal["kl", "chi2"] = later("kl")  # what kl_coefs penalise: chi2 as Laidlaw et al. 2024
    constraint: Literal["none", "mu", "xi", "all", "sat", "adaptive_kl"] = later("none")  # constrained.py; rloo only
    thresholds: tuple[Annotated[float, Between(-1e6, 1e6)], ...] = later(())  # gold s.d., one a member
    kl_target: Positive = later(6.0)  # of adaptive_kl, nats a response


@dataclass(frozen=True)
class Config(Checked):
    """One cell: everything that decides its numbers."""

    world: WorldConfig = field(default_factory=WorldConfig)
    reference: PolicyConfig = field(default_factory=PolicyConfig)  # writes the preference data; gold's zero
    gold: GoldConfig = field(default_factory=GoldConfig)
    preferences: PreferencesConfig = field(default_factory=PreferencesConfig)
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    reward: Literal["proxy", "gold", "synthetic"] = "proxy"  # what is optimised; gold is a control; see ErrorConfig
    ensemble: EnsembleConfig = later(EnsembleConfig)
    error: ErrorConfig = later(ErrorConfig)
    shaping: ShapingConfig = later(ShapingConfig)
    selection: SelectionConfig = later(SelectionConfig)
    policy: PolicyConfig | None = None  # what is optimised from; None: the reference policy
    best_of_n: BestOfNConfig = field(default_factory=BestOfNConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    seeds: tuple[Seed, ...] = (0, 1, 2, 3)  # reward-model and policy seeds, mapped
    kl_coefs: tuple[Annotated[float, Between(0.0, 1e6)], ...] = (0.0,)  # KL penalties, gold s.d. a nat, mapped
    rounds: RoundsConfig = later(RoundsConfig)
    direct: DirectConfig = later(DirectConfig)
    dpo_betas: tuple[Positive, ...] = later((0.1,))  # of direct alignment, mapped

    def __post_init__(self):
        super().__post_init__()
        o = self.optimiser
        if o.divergence == "chi2" and o.name not in ("rloo", "reinforce"):
            raise ValueError(f"optimiser.divergence='chi2': allowed with rloo and reinforce, not {o.name}")
        if o.name == "online_dpo" and (not all(self.kl_coefs) or o.group_size % 2):
            raise ValueError("optimiser.name='online_dpo': kl_coefs are its betas, above 0; group_size is even (pairs)")
        if o.steps % o.evaluations:
            raise ValueError(f"optimiser.evaluations={o.evaluations} must divide optimiser.steps={o.steps}")
        if o.name in ("ppo", "grpo") and o.prompts % o.minibatches:
            raise ValueError(f"optimiser.minibatches={o.minibatches} must divide optimiser.prompts={o.prompts}")
        if o.name in ("rloo", "grpo", "expert_iteration", "distillation", "online_dpo") and o.group_size < 2:
            raise ValueError(f"optimiser.group_size={o.group_size}: {o.name} compares at least 2 responses a prompt")
        _check_names(self)
        _check_constraint(self)
        if not self.seeds or not self.kl_coefs or not self.dpo_betas:
            raise ValueError("seeds, kl_coefs and dpo_betas need at least one value each")
        if self.rounds.count > 1 and (len(self.kl_coefs) > 1 or self.reward != "proxy"):
            raise ValueError(
                f"rounds.count={self.rounds.count}: rounds want one policy a seed (one kl_coef) and reward='proxy'"
            )
        if self.reward_model.diversity == "disjoint" and self.reward_model.members < 2:
            raise ValueError("reward_model.diversity='disjoint': reward_model.members must be 2 or more")
        d = self.direct
        if d.steps % d.evaluations:
            raise ValueError(f"direct.evaluations={d.evaluations} must divide the {d.steps} steps of direct")
        if self.reward_model.heads == "odin" and self.reward_model.loss in ("all_pairs", "plackett_luce"):
            raise ValueError(f"reward_model.heads='odin': allowed with losses of pairs, not {self.reward_model.loss}")
        if self.reward_model.loss in ("all_pairs", "plackett_luce") and self.preferences.keep != "ranking":
            raise ValueError(f"reward_model.loss={self.reward_model.loss!r}: wants preferences.keep='ranking'")
        rm = self.reward_model.num_pairs
        limit = self.preferences.num_pairs - int(self.preferences.num_pairs * self.preferences.held_out)
        if rm is not None and rm > limit:
            raise ValueError(f"reward_model.num_pairs={rm} is more than the {limit} training pairs collected")
        of_sizes = self.reward_model.network == "transformer"  # others may have a use of their own for width and depth
        if of_sizes and self.gold.width * self.gold.depth < self.reward_model.width * self.reward_model.depth:
            raise ValueError(
                f"reward_model {self.reward_model.width}x{self.reward_model.depth} is larger than gold "
                f"{self.gold.width}x{self.gold.depth}: gold must be the largest"
            )

    @property
    def round_before(self) -> "Config":
        """The settings of the last round of iterated RLHF."""
        return dataclasses.replace(self, rounds=dataclasses.replace(self.rounds, count=self.rounds.count - 1))

    @property
    def reward_model_of_round(self) -> RewardModelConfig:
        """Later rounds take all the pairs that they are given, and may see other tokens."""
        if self.rounds.count == 1:
            return self.reward_model
        blind = self.reward_model.blind
        if self.rounds.sight == "alternating" and self.rounds.count % 2 == 0:
            blind = tuple(name for name in WITH_TOKENS if name not in blind)
        return dataclasses.replace(self.reward_model, num_pairs=None, blind=blind)

    @property
    def training_pairs(self) -> int:
        """That the reward models of a seed learn from, all members together."""
        p, rounds = self.preferences, self.rounds
        first = self.reward_model.num_pairs or p.num_pairs - int(p.num_pairs * p.held_out)
        if rounds.count == 1:
            return first
        return rounds.num_pairs + (first + (rounds.count - 2) * rounds.num_pairs) * (rounds.data == "concatenate")


def _check_names(config: Config):
    """ValueError for a name that nothing has. Those of another language's attributes are checked where it is made."""
    named.checked("world.language", config.world.language, named.LANGUAGES)
    named.checked("reward_model.network", config.reward_model.network, named.REWARD_NETWORKS)
    if config.world.language != "topics":
        if config.rounds.sight == "alternating":
            raise ValueError("rounds.sight='alternating': allowed with world.language='topics'")
        return
    for setting, names, known in (
        ("reward_model.blind", config.reward_model.blind, WITH_TOKENS),
        ("preferences.bias_on", (config.preferences.bias_on,), LIKED),
    ):
        for name in names:
            if name not in known:
                raise ValueError(f"{setting}={name!r}: allowed are {', '.join(known)}")


def _check_constraint(config: Config):
    """ValueError unless members and constraints fit one another."""
    o, e, rm = config.optimiser, config.ensemble, config.reward_model
    if rm.diversity == "components" and (rm.members != 2 or config.reward != "proxy"):
        raise ValueError(f"reward_model.members={rm.members}: diversity='components' has 2, of reward='proxy'")
    if e.only is not None and (e.only >= rm.members or e.take is not None or e.rule == "weight_average"):
        raise ValueError(f"ensemble.only={e.only}: one of the {rm.members} members, without take or weight_average")
    if o.constraint == "none":
        if o.thresholds:
            raise ValueError(f"optimiser.thresholds={o.thresholds}: optimiser.constraint='none' takes none")
        return
    where = f"optimiser.constraint={o.constraint!r}"
    if o.name != "rloo" or o.divergence != "kl" or config.kl_coefs != (0.0,):
        raise ValueError(f"{where}: allowed with optimiser.name='rloo', divergence='kl' and kl_coefs=(0,)")
    members = (e.take or rm.members) if e.only is None else 1
    wanted = 0 if o.constraint == "adaptive_kl" else min(members, rm.members)
    if len(o.thresholds) != wanted:
        raise ValueError(f"optimiser.thresholds={o.thresholds}: {where} takes {wanted}, one a member")
    if wanted and (config.shaping.name != "none" or e.rule != "mean"):
        raise ValueError(f"{where}: allowed with shaping.name='none' and ensemble.rule='mean'")


# --- reading, overriding, hashing -------------------------------------------------------------
