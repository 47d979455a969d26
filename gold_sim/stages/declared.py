"""The declarations of all stages, in the order in which they are run; no jax.

To add a stage, write its function in a file of this folder and its declaration here. A cell is one stage of one
configuration. All code that plans, fingerprints, prices, orders, compiles ahead, runs or archives cells reads STAGES.
"""

import dataclasses

from gold_sim.config import Config
from gold_sim.networks import footprint
from gold_sim.networks.network import num_params
from gold_sim.settings import to_hashed
from gold_sim.stages import sizes
from gold_sim.stages.names import listed, name_of_model, name_of_proxy, name_of_reward
from gold_sim.stages.sizes import judged, written
from gold_sim.stages.stage import Stage, Work

FLOAT = footprint.FLOAT


def picked(c: Config, *names: str) -> dict:
    """Groups of settings as fingerprints see them: fields added later are left out while at their defaults."""
    values = to_hashed(c)
    return {name: values[name] for name in names if name in values}


# --- what several stages share ----------------------------------------------------------------

REWARD = ("reward", "ensemble", "error", "shaping")  # the groups that decide what is optimised
GENERATORS = {"adversarial": {"generator": 2}}  # version of an error's generator, raised when its numbers change


def started(c: Config) -> Config:
    """The settings whose reference policy is the start of optimisation."""
    return c if c.policy is None else dataclasses.replace(c, reference=c.policy)


def of_proxy(c: Config) -> dict:
    """The parent cell that the reward comes from, where the reward is a learned proxy."""
    return {"proxy": ("reward_model", c)} if c.reward == "proxy" else {}


def of_error(c: Config) -> dict:
    """The settings from which a synthetic proxy's error is drawn."""
    if c.reward != "synthetic":
        return {}
    return picked(c, "seeds") | {"members": c.reward_model.members} | GENERATORS.get(c.error.kind, {})


def pairs_of_round(c: Config) -> str:
    """The stage whose pairs a round's reward models learn from."""
    return "preferences" if c.rounds.count == 1 else "relabelled"


def rewarded(c: Config) -> tuple:
    """The settings of the reward that are written into programs."""
    rm = c.reward_model_of_round
    if c.reward == "proxy":
        return (c.reward, rm.network, sizes.proxy(c), rm.members, rm.heads, rm.blind, c.ensemble, c.shaping)
    return (c.reward, rm.members, c.ensemble, c.shaping, c.error)


# --- reference --------------------------------------------------------------------------------

REFERENCE = Stage(
    name="reference",
    version=6,
    function="gold_sim.stages.reference:reference",
    blank="gold_sim.stages.reference:blank",
    label=lambda c: f"{c.reference.width}x{c.reference.depth}-s{c.reference.seed}",
    reads=lambda c: picked(c, "world", "reference"),
    parents=lambda c: {},
    work=lambda c: 3 * c.reference.steps * c.reference.batch * written(c, sizes.reference(c)),
    holds=lambda c: (
        footprint.of_training(sizes.reference(c), c.reference.batch * sizes.tokens(c))
        + sizes.of_demonstrations(c, c.reference)
    ),
    networks=lambda c: (sizes.reference(c),),
    program=lambda c: (c.reference,),
)

# --- gold -------------------------------------------------------------------------------------

RAISED_ON = 16_384  # reference responses that gold is trained on: NUM_REFERENCE prompts x GROUP in rewards/gold.py

GOLD_TRUNK = Stage(
    name="gold_trunk",
    version=1,
    function="gold_sim.stages.gold_trunk:gold_trunk",
    blank="gold_sim.stages.gold_trunk:blank",
    label=lambda c: f"{c.gold.width}x{c.gold.depth}-s{c.gold.seed}",
    reads=lambda c: picked(c, "world") | {"trunk": to_hashed(c.gold_trunk)},
    parents=lambda c: {},
    work=lambda c: 3 * c.gold_trunk.steps * c.gold_trunk.batch * written(c, sizes.gold(c)),
    holds=lambda c: (
        footprint.of_training(sizes.gold(c), c.gold_trunk.batch * sizes.tokens(c))
        + sizes.of_demonstrations(c, c.gold_trunk)
    ),
    networks=lambda c: (sizes.gold(c),),
    program=lambda c: (c.gold_trunk,),
)

GOLD = Stage(
    name="gold",
    version=7,
    function="gold_sim.stages.gold:gold_model",
    blank="gold_sim.stages.gold:blank",
    label=lambda c: f"{c.gold.kind}-{c.gold.width}x{c.gold.depth}-s{c.gold.seed}",
    reads=lambda c: picked(c, "gold"),
    parents=lambda c: {"reference": ("reference", c)} | ({"trunk": ("gold_trunk", c)} if c.gold.pretraining else {}),
    work=lambda c: (
        3 * c.gold.steps * c.gold.batch * judged(c, sizes.gold(c)) + RAISED_ON * written(c, sizes.reference(c))
    ),
    holds=lambda c: (
        footprint.of_training(sizes.gold(c), c.gold.batch * sizes.tokens(c))
        + FLOAT * RAISED_ON * sizes.tokens(c) * sizes.reference(c).outputs
    ),
    networks=lambda c: (sizes.reference(c), sizes.gold(c)),
    program=lambda c: (sizes.reference(c), c.gold),
)

# --- candidates and preferences ---------------------------------------------------------------

CANDIDATES = Stage(
    name="candidates",
    version=1,
    function="gold_sim.stages.candidates:candidates",
    blank="gold_sim.stages.candidates:blank",
    label=lambda c: f"{c.preferences.num_pairs}x{c.preferences.drawn}-s{c.preferences.seed}",
    reads=lambda c: {name: getattr(c.preferences, name) for name in ("seed", "num_pairs", "drawn")},
    parents=lambda c: {"reference": ("reference", c)},
    work=lambda c: c.preferences.num_pairs * c.preferences.drawn * written(c, sizes.reference(c)),
    holds=sizes.of_pairs,
    networks=lambda c: (sizes.reference(c),),
    program=lambda c: (sizes.reference(c), c.preferences.drawn),
)

PREFERENCES = Stage(
    name="preferences",
    version=2,
    function="gold_sim.stages.preferences:preference_data",
    blank="gold_sim.stages.preferences:blank",
    label=lambda c: f"{c.preferences.num_pairs}-{c.preferences.annotator}-flip{c.preferences.label_noise:g}",
    reads=lambda c: picked(c, "preferences"),
    parents=lambda c: {"candidates": ("candidates", c), "gold": ("gold", c)},
    work=lambda c: c.preferences.num_pairs * c.preferences.drawn * judged(c, sizes.gold(c)),
    holds=sizes.of_pairs,
    networks=lambda c: (sizes.gold(c),),
    program=lambda c: (sizes.gold(c), dataclasses.replace(c.preferences, seed=0)),
)

# --- pretrained -------------------------------------------------------------------------------


def _pretraining(c: Config) -> Work:
    return 3 * len(c.draws_of_trunks) * c.trunks.steps * c.trunks.batch * written(c, sizes.trunk(c))


PRETRAINED = Stage(
    name="pretrained",
    version=2,
    function="gold_sim.stages.pretrained:pretrained",
    blank="gold_sim.stages.pretrained:blank",
    label=lambda c: f"{c.trunks.width}x{c.trunks.depth}-{c.reward_model.trunk}",
    reads=lambda c: picked(c, "world") | {"trunks": to_hashed(c.trunks), "draws": c.draws_of_trunks},
    parents=lambda c: {},
    work=_pretraining,
    holds=lambda c: (
        footprint.of_training(sizes.trunk(c), c.trunks.batch * sizes.tokens(c))
        + len(c.draws_of_trunks) * (FLOAT * num_params(sizes.trunk(c)) + sizes.of_demonstrations(c, c.trunks))
    ),
    networks=lambda c: (sizes.trunk(c),),
    program=lambda c: (c.trunks, len(c.draws_of_trunks)),
)

# --- reward_model -----------------------------------------------------------------------------


def _trunk(c: Config) -> dict:
    """The cell whose parameters reward models start with."""
    parent = {"fresh": None, "reference": ("reference", c), "pretrained": ("pretrained", c)}[c.reward_model.start]
    return {} if parent is None else {"trunk": parent}


PASSES = 15  # that training until convergence takes, about: 11 to 24 over 43,200 pairs in world 3


def _fitting(c: Config) -> Work:
    rm, p = c.reward_model, c.preferences
    pairs = c.training_pairs // (rm.members if rm.diversity == "disjoint" else 1)
    ranked = p.ranked if p.keep == "ranking" else 2
    passes, evaluations = rm.epochs, 0.0
    if rm.train_until == "converged":
        passes = min(rm.epochs, PASSES)
        evaluations = passes * max(1.0, pairs / rm.batch / rm.evaluate_every)
    responses = 3 * passes * pairs * ranked + (2 + evaluations) * p.num_held_out
    return len(c.seeds) * rm.members * responses * sizes.of_proxy(c).judged


def _fitting_holds(c: Config) -> float:
    """Bytes that the fitting of reward models holds: held-out pairs are scored at once, a block at a time."""
    rm, proxy = c.reward_model, sizes.of_proxy(c)
    held_out = 2 * c.preferences.num_pairs * c.preferences.held_out * sizes.tokens(c)
    step = max(proxy.training(2 * rm.batch * sizes.tokens(c)), proxy.forward(held_out))
    return step + sizes.of_pairs(c) + FLOAT * len(c.seeds) * rm.members * proxy.num_params


def _fitting_shared(c: Config) -> tuple:
    """The key of the programs that cells share: all but the ones that plan training steps."""
    p, rm = c.preferences, c.reward_model_of_round
    settings = (rm.network, sizes.proxy(c), rm.heads, rm.loss, rm.loss_coef, rm.weight_decay, rm.train_until)
    data = (p.num_pairs, p.held_out, p.keep, p.ranked, c.rounds.count > 1 or p.labelled_anew)
    return (settings, data, min(rm.batch, c.training_pairs), rm.members * len(c.seeds))


REWARD_MODEL = Stage(
    name="reward_model",
    version=4,
    function="gold_sim.stages.reward_model:reward_models",
    blank="gold_sim.stages.reward_model:blank",
    label=name_of_model,
    reads=lambda c: {"reward_model": to_hashed(c.reward_model_of_round)} | picked(c, "seeds"),
    parents=lambda c: {"preferences": (pairs_of_round(c), c)} | _trunk(c),
    work=_fitting,
    holds=_fitting_holds,
    networks=lambda c: sizes.of_proxy(c).networks,
    program=lambda c: (
        *(c.reward_model_of_round, c.training_pairs, c.preferences.num_pairs * c.preferences.held_out),
        *(c.preferences.keep, c.preferences.ranked, c.preferences.labelled_anew, len(c.seeds)),
    ),
    shared=_fitting_shared,
    tables=("reward_models",),
    stepwise=True,
)

# --- pool, gold_scores, scores and best_of_n --------------------------------------------------

A_SAMPLE = 16  # numbers held for each response of the pool: gold, rubric, their products, length, attributes

POOL = Stage(
    name="pool",
    version=4,
    function="gold_sim.stages.pool:pool",
    blank="gold_sim.stages.pool:blank",
    label=lambda c: f"{c.best_of_n.num_prompts}x{c.best_of_n.num_samples}",
    reads=lambda c: picked(c, "best_of_n"),
    parents=lambda c: {"policy": ("reference", started(c))},
    work=lambda c: sizes.pool(c) * written(c, sizes.policy(c)),
    holds=lambda c: sizes.pool(c) * (2 * c.world.response_len + FLOAT * A_SAMPLE),
    networks=lambda c: (sizes.policy(c),),
    program=lambda c: (sizes.policy(c), c.best_of_n),
    stepwise=True,
)

GOLD_SCORES = Stage(
    name="gold_scores",
    version=1,
    function="gold_sim.stages.gold_scores:gold_scores",
    label=lambda c: f"{c.best_of_n.num_prompts}x{c.best_of_n.num_samples}",
    reads=lambda c: {},
    parents=lambda c: {"pool": ("pool", c), "gold": ("gold", c)},
    work=lambda c: sizes.pool(c) * judged(c, sizes.gold(c)),
    holds=lambda c: sizes.pool(c) * (2 * c.world.response_len + FLOAT * A_SAMPLE),
    networks=lambda c: (sizes.gold(c),),
    program=lambda c: (sizes.gold(c), c.best_of_n.num_prompts, c.best_of_n.num_samples),
    stepwise=True,
)


def _scores_hold(c: Config) -> float:
    members = len(c.seeds) * c.reward_model.members
    return sizes.pool(c) * (2 * c.world.response_len + 2 * FLOAT * (A_SAMPLE + members))


SCORES = Stage(
    name="scores",
    version=1,
    function="gold_sim.stages.scores:scores",
    label=name_of_proxy,
    reads=lambda c: picked(c, "reward", "error") | of_error(c),
    parents=lambda c: {"pool": ("pool", c)} | (of_proxy(c) or {"gold": ("gold", c)}),
    work=lambda c: (
        sizes.pool(c) * (len(c.seeds) * c.reward_model.members if c.reward == "proxy" else 1) * sizes.scored_once(c)
    ),
    holds=_scores_hold,
    networks=sizes.scorers,
    program=lambda c: (rewarded(c), c.best_of_n.num_prompts, c.best_of_n.num_samples, len(c.seeds)),
    stepwise=True,
)


def _selected(c: Config) -> dict:
    """The cells that selection reads. Selection by gold needs no scores but gold's own."""
    scores = {} if c.reward == "gold" else {"scores": ("scores", c)}
    return {"pool": ("pool", c), "gold_scores": ("gold_scores", c)} | of_proxy(c) | scores


BEST_OF_N = Stage(
    name="best_of_n",
    version=2,
    function="gold_sim.stages.best_of_n:selection",
    label=lambda c: ("" if c.selection.rule == "best_of_n" else f"{c.selection.rule}-") + name_of_reward(c),
    reads=lambda c: picked(c, *REWARD, "selection") | of_error(c),
    parents=_selected,
    work=lambda c: Work(0.0, len(c.seeds) * sizes.pool(c)),
    holds=_scores_hold,
    networks=lambda c: (),
    program=lambda c: (
        *(c.reward, c.ensemble, c.shaping, c.selection, c.reward_model.members),
        *(c.best_of_n.num_prompts, c.best_of_n.num_samples, len(c.seeds)),
    ),
    tables=("curves",),
)

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


def _optimising(c: Config) -> Work:
    o, write = c.optimiser, written(c, sizes.policy(c))
    passes = 3 * o.epochs if o.name in ("ppo", "grpo") else 3
    passes += 1 + any(coef > 0 for coef in c.kl_coefs)
    train = o.steps * o.prompts * o.group_size * (passes * write + sizes.scored(c))
    measured = (o.evaluations + 1) * o.eval_prompts * (2 * write + judged(c, sizes.gold(c)) + sizes.scored(c))
    return len(c.seeds) * len(c.kl_coefs) * (train + measured)


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
    version=2,
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

# --- relabelled -------------------------------------------------------------------------------


def _relabelled_from(c: Config) -> dict:
    last = c.round_before
    policies, pairs = ("policy_gradient", last), (pairs_of_round(last), last)
    return {"policies": policies, "preferences": pairs, "gold": ("gold", c)}


RELABELLED = Stage(
    name="relabelled",
    version=1,
    function="gold_sim.stages.relabelled:relabelled",
    label=lambda c: f"round{c.rounds.count}-{c.rounds.data}{c.rounds.num_pairs}",
    reads=lambda c: picked(c, "preferences", "seeds") | {"data": c.rounds.data, "num_pairs": c.rounds.num_pairs},
    parents=_relabelled_from,
    work=lambda c: len(c.seeds) * c.rounds.num_pairs * 2 * (written(c, sizes.policy(c)) + judged(c, sizes.gold(c))),
    holds=sizes.of_pairs,
    networks=lambda c: (sizes.policy(c), sizes.gold(c)),
    program=lambda c: (sizes.policy(c), sizes.gold(c), c.rounds, len(c.seeds)),
    faults=lambda c: ("rounds.count=1: pairs are relabelled from round 2 on",) if c.rounds.count == 1 else (),
)

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        *(REFERENCE, GOLD_TRUNK, GOLD, CANDIDATES, PREFERENCES, PRETRAINED, REWARD_MODEL, POOL, GOLD_SCORES, SCORES),
        *(BEST_OF_N, POLICY_GRADIENT, FRONTIER, DIRECT_ALIGNMENT, RELABELLED),
    )
}
