"""Declarations of the stages that optimise policies: by RL, along the frontier, and by direct alignment."""

import dataclasses
import math

from gold_sim.config import Config, OptimiserConfig
from gold_sim.networks import footprint
from gold_sim.stages import sizes
from gold_sim.stages.declared.shared import REWARD, of_error, of_proxy, picked, rewarded, started
from gold_sim.stages.names import listed, name_of_reward
from gold_sim.stages.sizes import judged, written
from gold_sim.stages.stage import Stage, Work

# --- policy_gradient --------------------------------------------------------------------------


def _optimised(c: Config) -> str:
    o = c.optimiser
    if o.constraint != "none":
        return f"{o.constraint}-{name_of_reward(c)}"
    return f"{o.name}-{name_of_reward(c)}-kl{listed(c.kl_coefs)}"


def _optimised_from(c: Config) -> dict:
    """The cells that optimisation starts from: a round that continues starts with the last round's final policies."""
    goes_on = c.rounds.count > 1 and c.rounds.start == "continue"
    last = {"last": ("policy_gradient", c.round_before)} if goes_on else {}
    return {"policy": ("reference", started(c)), "gold": ("gold", c)} | of_proxy(c) | last


RATE_STEPS_A_NAT = 0.0029  # sum of learning rates; mean of 101 cells of preset cpu that end at 30 nats


def _optimising(c: Config) -> Work:
    o, write = c.optimiser, written(c, sizes.policy(c))
    passes = 3 * o.epochs if o.name in ("ppo", "grpo") else 3
    passes += 1 + any(coef > 0 for coef in c.kl_coefs)
    train = o.steps * o.prompts * o.group_size * (passes * write + sizes.scored(c))
    points = 1 + (2 * o.steps // o.plateau if o.plateau else o.evaluations)
    measured = points * o.eval_prompts * (2 * write + judged(c, sizes.gold(c)) + sizes.scored(c))
    taken = lambda coef: 1.0 if coef or o.constraint != "none" else _taken(o)  # both hold a run near the reference
    return len(c.seeds) * sum(map(taken, c.kl_coefs)) * (train + measured)


def _taken(o: OptimiserConfig) -> float:
    """Expected share of its steps that a run that nothing holds takes, until it ends at `until_kl`."""
    if o.until_kl is None:
        return 1.0
    needed, rising = RATE_STEPS_A_NAT * o.until_kl / o.learning_rate, o.warmup_steps  # steps at the full rate
    steps = math.sqrt(2 * rising * needed) if needed < rising / 2 else needed + rising / 2
    return min(1.0, steps / o.steps)


def _optimising_holds(c: Config) -> float:
    o, net = c.optimiser, sizes.policy(c)
    step = max(o.prompts * o.group_size, o.eval_prompts / 2) * sizes.tokens(c)
    return footprint.of_training(net, step) + sizes.of_states(net, len(c.seeds) * len(c.kl_coefs))


def _optimising_shared(c: Config) -> tuple:
    """The key of the programs that cells share: all but the one that scores, as the reward enters no other."""
    runs = (len(c.seeds), len(c.kl_coefs), any(c.kl_coefs))
    return (sizes.policy(c), sizes.gold(c), c.optimiser, *runs)


POLICY_GRADIENT = Stage(
    name="policy_gradient",
    version=5,
    function="gold_sim.stages.policy_gradient:optimisation",
    label=_optimised,
    reads=lambda c: picked(c, "optimiser", *REWARD, "seeds", "kl_coefs") | of_error(c),
    parents=_optimised_from,
    work=_optimising,
    holds=_optimising_holds,
    networks=lambda c: (sizes.policy(c), *sizes.scorers(c)),
    program=lambda c: (*_optimising_shared(c), rewarded(c)),
    shared=_optimising_shared,
    tables=("curves", "samples"),
    stepwise=True,
)

# --- frontier ---------------------------------------------------------------------------------

PENALISED = ("rloo", "reinforce", "ppo", "grpo", "online_dpo")  # optimisers that a KL penalty brings to an equilibrium


def _no_frontier(c: Config):
    o = c.optimiser
    if o.name not in PENALISED or o.constraint != "none":
        named = f"name={o.name!r}" if o.constraint == "none" else f"constraint={o.constraint!r}"
        yield f"optimiser.{named}: a frontier is of {', '.join(PENALISED)} with constraint='none'"
    if c.rounds.count > 1:
        yield f"rounds.count={c.rounds.count}: a frontier has one round"


def _plateaus_hold(c: Config) -> float:
    return _optimising_holds(dataclasses.replace(c.on_plateaus, kl_coefs=c.frontier.kl_coefs[:1]))


FRONTIER = Stage(
    name="frontier",
    version=3,
    function="gold_sim.stages.policy_gradient:frontier",
    label=lambda c: f"{c.optimiser.name}-{name_of_reward(c)}-kl{c.frontier.kl_coefs[0]:g}to{c.frontier.kl_coefs[-1]:g}",
    reads=lambda c: picked(c.on_plateaus, "optimiser", *REWARD, "seeds", "kl_coefs") | of_error(c),
    parents=_optimised_from,
    work=lambda c: _optimising(c.on_plateaus) * (1 / len(c.frontier.kl_coefs)),
    holds=_plateaus_hold,
    networks=POLICY_GRADIENT.networks,
    program=lambda c: (*_optimising_shared(c.on_plateaus), rewarded(c)),
    faults=_no_frontier,
    shared=lambda c: _optimising_shared(c.on_plateaus),
    tables=("curves", "samples"),
    stepwise=True,
)

# --- direct_alignment -------------------------------------------------------------------------


def _aligning(c: Config) -> Work:
    d, write = c.direct, written(c, sizes.policy(c))
    train = d.epochs * d.num_pairs * 2 * 4 * write
    measured = (d.evaluations + 1) * d.eval_prompts * (2 * write + judged(c, sizes.gold(c)))
    return len(c.seeds) * len(c.dpo_betas) * (train + measured)


def _aligning_holds(c: Config) -> float:
    net, step = sizes.policy(c), 2 * c.direct.batch * sizes.tokens(c)
    return footprint.of_training(net, step) + sizes.of_states(net, len(c.seeds) * len(c.dpo_betas)) + sizes.of_pairs(c)


def _not_aligned(c: Config):
    wanted, collected = c.direct.num_pairs, c.preferences.num_training
    if wanted > collected:
        yield f"direct.num_pairs={wanted}: allowed up to the {collected} training pairs collected"
    if c.rounds.count > 1:
        yield f"rounds.count={c.rounds.count}: direct alignment has one round"
    if c.preferences.labelled_anew:
        yield "preferences.labelled_anew=True: labels of direct alignment are of all seeds"


DIRECT_ALIGNMENT = Stage(
    name="direct_alignment",
    version=4,
    function="gold_sim.stages.direct_alignment:alignment",
    label=lambda c: f"{c.direct.loss}-D{c.direct.num_pairs}-{listed(c.dpo_betas)}",
    reads=lambda c: picked(c, "direct", "seeds", "dpo_betas"),
    parents=lambda c: {"preferences": ("preferences", c), "policy": ("reference", started(c))},
    work=_aligning,
    holds=_aligning_holds,
    networks=lambda c: (sizes.policy(c),),
    program=lambda c: (
        *(sizes.policy(c), sizes.gold(c), c.direct, c.preferences.num_pairs, len(c.seeds), len(c.dpo_betas)),
    ),
    faults=_not_aligned,
    tables=("curves", "samples"),
    stepwise=True,
)
