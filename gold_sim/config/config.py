"""The whole configuration of a cell, and the rules between its groups of settings."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

from gold_sim.attributes import LIKED, WITH_TOKENS
from gold_sim.config.fields import AXIS, KlCoef, Positive, Seed
from gold_sim.config.language import WorldConfig
from gold_sim.config.optimisation import BestOfNConfig, DirectConfig, FrontierConfig, OptimiserConfig, SelectionConfig
from gold_sim.config.policy import PolicyConfig
from gold_sim.config.preferences import PreferencesConfig, RoundsConfig
from gold_sim.config.rewards import EnsembleConfig, ErrorConfig, GoldConfig, RewardModelConfig, ShapingConfig
from gold_sim.settings import Checked, later

# Rules between groups: each yields a message for every rule that is broken.


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
    seeds: Annotated[tuple[Seed, ...], *AXIS] = (0, 1, 2, 3)  # of reward models and policies
    kl_coefs: Annotated[tuple[KlCoef, ...], *AXIS] = (0.0,)  # weights of the KL penalty, s.d. a nat
    rounds: RoundsConfig = later(RoundsConfig)
    direct: DirectConfig = later(DirectConfig)
    dpo_betas: Annotated[tuple[Positive, ...], *AXIS] = later((0.1,))  # beta of direct alignment, without unit
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
        descent = dict(update_rule=f.update_rule, learning_rate=f.learning_rate, warmup_steps=0)
        never_ends = dict(until_kl=None, retrace_below=None)
        optimiser = dataclasses.replace(self.optimiser, **of_plateaus, **descent, **never_ends)
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
