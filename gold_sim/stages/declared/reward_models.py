"""Declarations of the stages that train reward models, and the trunks that these start with."""

from gold_sim.config import Config
from gold_sim.networks import footprint
from gold_sim.networks.network import num_params
from gold_sim.settings import to_hashed
from gold_sim.stages import sizes
from gold_sim.stages.declared.shared import FLOAT, pairs_of_round, picked
from gold_sim.stages.names import name_of_model
from gold_sim.stages.sizes import written
from gold_sim.stages.stage import Stage, Work

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
