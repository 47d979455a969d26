"""Proxy reward models: Bradley-Terry on preferences, validated, calibrated and centred.

Hard labels leave the logits miscalibrated, so after training each proxy is multiplied by the one
scalar that minimises the cross-entropy to gold's soft labels on held-out pairs, and shifted to mean 0
on reference samples (Gao, Schulman & Hilton 2023, section 2.2). Scale and shift are recorded:
raw = calibrated / scale + shift.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gold_sim import streams
from gold_sim.config import RewardModelConfig
from gold_sim.language import Language, sequences
from gold_sim.networks import pieces
from gold_sim.networks.adam import adam, schedule
from gold_sim.preferences import Preferences, difference
from gold_sim.rewards import calibration, convergence, reward_network
from gold_sim.rewards.losses import LOSSES, RANKING_LOSSES, bradley_terry, disentanglement
from gold_sim.rewards.reward_network import RewardNetwork, first_head, raw_scores
from gold_sim.rewards.sight import components_seen, hidden_tokens, written_words


class RewardModel(NamedTuple):
    params: dict
    scale: jax.Array  # calibrated = scale * (raw - shift), in gold standard deviations
    shift: jax.Array


def rewards(net: RewardNetwork, model: RewardModel, prompts, responses):
    """Calibrated rewards [P, N] in gold standard deviations, 0 = mean over reference samples."""
    return model.scale * (raw_scores(net, model.params, prompts, responses) - model.shift)


class Plan(NamedTuple):
    """The data that one proxy is trained on, step by step."""

    batches: jax.Array  # [steps, B] indices of training pairs
    rates: jax.Array  # [steps] shares of the learning rate; 0: a step that changes no parameter, to fill a chunk
    seen: jax.Array  # [V, 1]: 0 for the tokens to which it is blind


class TrainState(NamedTuple):
    params: dict
    opt_state: tuple


class Search(NamedTuple):
    """A run that is trained until the loss of other pairs no longer falls (convergence.py)."""

    course: convergence.Course
    state: TrainState
    mean: dict  # of the last parameters
    best: dict  # that mean at the best evaluation
    train_loss: jax.Array  # mean of the steps that led up to the best evaluation


def fit(
    language: Language, config: RewardModelConfig, train: Preferences, held_out: Preferences, seed, member=0, trunk=None
):
    """One trained proxy. `seed` draws its pairs; `seed` and `member` draw its initialisation and the pairs' order.

    The members of an ensemble see the same pairs and differ by config.diversity:
    init       initialisation and order; with a pretrained trunk in common only the head's, and so the same as order
    order      order and head alone, the rest initialised alike (Coste et al. 2023: one pretrained trunk)
    bootstrap  as init, and each draws its pairs again with replacement
    features   as init, and each is blind to a third of the words
    disjoint   as init, and each has its own part of the pairs, num_pairs / members of them
    components as init; member 0 is blind to manners (templates, hedges, stance, refusals), member 1 to topic words
    Member 0 of init is the single proxy of that seed. A model blind to an attribute sees a blank for its tokens.
    Where there are two heads (config.heads) both are trained, and the model that is returned has the first alone.
    trunk: parameters of a language model that it starts with; None: fresh ones.

    Returns (RewardModel, metrics: dict of floats; see columns.REWARD_MODEL_COLUMNS). It runs `plan`, `start`,
    `advance`, `finish` and `calibrated`. Of these only `plan` is a different program for a different number of pairs.
    With config.train_until == 'converged' it runs `order` and `seek` in place of `plan` and `advance`.
    """
    stopping, reported = shares(config, held_out)
    if config.train_until == "converged":
        params, raw, metrics = _sought(language, config, train, stopping, reported, seed, member, trunk)
    else:
        params, raw, losses = _fitted(language, config, train, reported, seed, member, trunk)
        metrics = of_epochs(config, losses)
    model, calibration = calibrated(params, raw, reported)
    return model, calibration | metrics


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fitted(language, config, train, held_out, seed, member, trunk=None):
    steps = plan(language, config, train.labels.shape[0], seed, member)
    state, losses = advance(language, config, train, steps, start(language, config, seed, member, trunk))
    return *finish(language, config, held_out, steps.seen, state.params), losses


def _sought(language, config, train, stopping, reported, seed, member, trunk):
    collected = train.labels.shape[0]
    space = spacing(config, collected)
    of_run = lambda f: jax.jit(functools.partial(f, language, config))
    seen, search = of_run(seen_by)(seed, member), begin_search(of_run(start)(seed, member, trunk))
    of_epoch, on = jax.jit(functools.partial(order, config, collected, seed, member)), of_run(seek)
    for batches in convergence.intervals(space, of_epoch):
        search = on(train, stopping, batches, seen, space.most, search)
        if search.course.done:
            break
    metrics = of_search(jax.tree.map(np.asarray, search), space)
    return *of_run(finish)(reported, seen, search.best), metrics


def of_epochs(config: RewardModelConfig, losses) -> dict:
    """Columns of columns.REWARD_MODEL_COLUMNS that training for so many epochs gives.  losses: [..., steps]."""
    losses = np.asarray(losses)
    steps = losses.shape[-1]
    last = losses[..., steps - max(1, steps // 10) :]
    return dict(train_loss=last.mean(-1), stop_loss=np.nan, steps=steps, epochs_run=config.epochs, converged=np.nan)


def plan(language: Language, config: RewardModelConfig, collected: int, seed, member=0) -> Plan:
    """The plan of one proxy's training.  collected: training pairs that exist, from which the seed chooses its own."""
    own = _own_key(seed, member)
    mine = pairs_of(config, collected, seed, own, member)
    num_pairs = len(mine)
    batch = min(config.batch, num_pairs)
    seen = seen_by(language, config, seed, member)
    per_epoch = num_pairs // batch
    steps = per_epoch * config.epochs
    k_order = jax.random.split(own, 3)[2]
    orders = jax.vmap(lambda k: jax.random.permutation(k, mine))(jax.random.split(k_order, config.epochs))
    batches = orders[:, : per_epoch * batch].reshape(steps, batch)
    rates = jax.lax.map(schedule(1.0, steps, 30), jnp.arange(steps))  # of any size: one program for all
    return Plan(batches, rates, seen)


def seen_by(language: Language, config: RewardModelConfig, seed, member=0):
    """[V, 1]: 0 for the tokens to which one proxy is blind, else 1."""
    own = _own_key(seed, member)
    seen = jnp.ones((language.vocab_size, 1)).at[hidden_tokens(language, config.blind)].set(0.0)
    if config.diversity == "features":
        words = jnp.asarray(written_words(language))
        hidden = words & (jax.random.uniform(jax.random.fold_in(own, 2), words.shape) < 1 / 3)
        seen = seen * (1.0 - hidden[:, None])
    if config.diversity == "components":
        seen = seen * jnp.asarray(components_seen(language))[member][:, None]
    return seen


def start(language: Language, config: RewardModelConfig, seed, member=0, trunk=None) -> TrainState:
    """Fresh parameters, or those of a language model under a fresh head.

    trunk: its parameters by name; what reads off tokens (`head`, `value`) is not taken. None: fresh parameters.
    """
    init = functools.partial(reward_network.make(language, config).init, heads=2 if config.heads == "odin" else 1)
    params = init(jax.random.split(_own_key(seed, member), 3)[0])
    if config.diversity == "order":
        k_init = jax.random.split(streams.key(seed, "reward_model"), 3)[0]
        params = dict(init(k_init), head=params["head"])
    if trunk is not None:
        params = {name: params[name] if name == "head" else trunk[name] for name in params}
    return TrainState(params, _optimiser(config).init(params))


def _own_key(seed, member):
    key = streams.key(seed, "reward_model")
    return jnp.where(member == 0, key, jax.random.fold_in(key, member))


def _optimiser(config: RewardModelConfig):
    """AdamW, but for the learning rate, which comes with the plan."""
    return adam(weight_decay=config.weight_decay)


def advance(language: Language, config: RewardModelConfig, train: Preferences, plan: Plan, state: TrainState):
    """(TrainState, losses [steps]) after the steps of a plan, or of a chunk of one."""
    step = _step(language, config, train, plan.seen, plan.batches.shape[-1])
    return jax.lax.scan(step, state, (plan.batches, plan.rates))


def _step(language: Language, config: RewardModelConfig, train: Preferences, seen, batch: int):
    """The function (TrainState, (indices [B], share of the rate)) -> (TrainState, loss) of one gradient step."""
    net, objective = reward_network.make(language, config), _objective(config)
    most = _rows_at_once(config, train, batch, pieces.A_GRADIENT)

    def step(state, at):
        index, rate = at
        pairs = jax.tree.map(lambda a: a[index], train)
        loss_of = lambda p, pairs: objective(net, config, net.hide(p, seen), pairs)
        gradient = functools.partial(jax.value_and_grad(loss_of), state.params)
        loss, grads = pieces.mean_in_pieces(gradient, pairs, most=most)
        updates, opt_state = _optimiser(config).update(grads, state.opt_state, state.params)
        updates = jax.tree.map(lambda u: -config.learning_rate * rate * u, updates)
        return TrainState(optax.apply_updates(state.params, updates), opt_state), loss

    return step


def _objective(config: RewardModelConfig):
    return _odin if config.heads == "odin" else _ranking if config.loss in RANKING_LOSSES else _mean_loss


def _rows_at_once(config, pairs: Preferences, batch: int, responses: int) -> int:
    """Rows of a piece.  ODIN's correlations are of a whole batch, all else is a mean over pairs or rankings."""
    return batch if config.heads == "odin" else responses // _responses_a_row(pairs)


# --- until the loss of other pairs no longer falls ------------------------------------------------


def shares(config: RewardModelConfig, held_out: Preferences) -> tuple[Preferences, Preferences]:
    """(held-out pairs that stop training, held-out pairs by which a proxy is measured and calibrated).

    Where epochs end training, all are of the second kind and none of the first. Else the first half stops training and
    the second half measures, so that no number is of pairs that chose the parameters.
    """
    count = len(held_out.labels)
    first = count // 2 if config.train_until == "converged" else 0
    return jax.tree.map(lambda a: a[:first], held_out), jax.tree.map(lambda a: a[first:], held_out)


def order(config: RewardModelConfig, collected: int, seed, member, epoch):
    """The batches of one pass, [steps, B] indices of training pairs; another order in every pass."""
    own = _own_key(seed, member)
    mine = pairs_of(config, collected, seed, own, member)
    batch = min(config.batch, len(mine))
    k_order = jax.random.fold_in(jax.random.split(own, 3)[2], epoch)
    return jax.random.permutation(k_order, mine)[: len(mine) // batch * batch].reshape(-1, batch)


def spacing(config: RewardModelConfig, collected: int) -> convergence.Spacing:
    """Where the evaluations of one proxy lie.  collected: training pairs that exist."""
    pairs = min(config.num_pairs or collected, collected) // (config.members if config.diversity == "disjoint" else 1)
    a_pass = pairs // min(config.batch, pairs)
    steps = min(config.evaluate_every, a_pass)
    return convergence.Spacing(a_pass, steps, config.epochs * a_pass // steps)


def begin_search(state: TrainState) -> Search:
    """A search that starts with these parameters."""
    return Search(convergence.begin(), state, state.params, state.params, jnp.float32(jnp.nan))


def seek(language: Language, config: RewardModelConfig, train, stopping, batches, seen, most, search: Search) -> Search:
    """The search after the steps of `batches` [steps, B] and an evaluation; a search that is done stays as it is.

    stopping: the pairs whose loss decides.  most: evaluations that the passes allow.
    """
    steps = len(batches)
    step = _step(language, config, train, seen, batches.shape[-1])

    def one(carry, at):
        (state, mean), (batch, rate, number) = carry, at
        state, loss = step(state, (batch, rate))
        return (state, convergence.averaged(mean, state.params, number)), loss

    def on(search):
        first = search.course.taken * steps
        rates = convergence.rates(first, steps)
        (state, mean), losses = jax.lax.scan(
            one, (search.state, search.mean), (batches, rates, first + jnp.arange(steps))
        )
        loss = evaluated(language, config, stopping, seen, mean)
        course = convergence.after(search.course, loss, config.patience, config.least_fall, most)
        better = course.best == course.taken
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), mean, search.best)
        return Search(course, state, mean, best, jnp.where(better, jnp.mean(losses), search.train_loss))

    return jax.lax.cond(search.course.done, lambda search: search, on, search)


def evaluated(language: Language, config: RewardModelConfig, pairs: Preferences, seen, params):
    """The training objective on pairs that are not trained on, nats a pair."""
    net = reward_network.make(language, config)
    loss = functools.partial(_objective(config), net, config, net.hide(params, seen))
    most = _rows_at_once(config, pairs, len(pairs.labels), pieces.A_PIECE)
    return pieces.mean_in_pieces(loss, pairs, most=most)


def of_search(search: Search, space: convergence.Spacing) -> dict:
    """Columns of columns.REWARD_MODEL_COLUMNS that a search on the host gives; of many, if its arrays are of many."""
    course = search.course
    return dict(
        train_loss=search.train_loss,
        stop_loss=course.best_loss,
        steps=course.best * space.steps,
        epochs_run=course.taken * space.steps / space.a_pass,
        converged=course.converged.astype(float),
    )


# --- after training -------------------------------------------------------------------------------


def finish(language: Language, config: RewardModelConfig, held_out: Preferences, seen, params):
    """(parameters as they are kept, raw scores of the held-out pairs [D, 2])."""
    net = reward_network.make(language, config)
    if config.heads == "odin":
        params = _unit_heads(params)
        params = dict(params, head=jax.tree.map(lambda a: a[..., :1], params["head"]))
    params = net.hide(params, seen)
    return params, _of_pairs(net, params, held_out)


def weight_average(net: RewardNetwork, params, held_out: Preferences):
    """The result of `finish` for the mean of the members' parameters, leading axis M (WARM: Rame et al. 2024).

    It is meaningful where members began alike (diversity 'order'); otherwise they lie in different basins.
    """
    params = jax.tree.map(lambda a: jnp.mean(a, 0), params)
    return params, _of_pairs(net, params, held_out)


def calibrated(params, raw, held_out: Preferences):
    """(RewardModel, metrics) from the results of `finish`, on the host; calibrated as the top of this file says."""
    pairs = jax.tree.map(np.asarray, held_out)
    metrics = calibration.calibrate(np.asarray(raw), pairs.labels, pairs.gold, sequences.lengths(pairs.responses))
    return RewardModel(params, np.float32(metrics["scale"]), np.float32(metrics["shift"])), metrics


def _responses_a_row(train: Preferences) -> int:
    return (train.responses if train.ranked is None else train.ranked).shape[1]


def pairs_of_seed(config: RewardModelConfig, collected: int, seed):
    """Indices of the pairs that a seed's reward models are trained on, all members together."""
    _, k_pairs, _ = jax.random.split(streams.key(seed, "reward_model"), 3)
    return jax.random.permutation(k_pairs, collected)[: config.num_pairs]


def pairs_of(config: RewardModelConfig, collected: int, seed, own, member):
    """Indices of one member's training pairs.  own: the member's key."""
    mine = pairs_of_seed(config, collected, seed)
    num_pairs = len(mine)
    if config.diversity == "bootstrap":
        return mine[jax.random.randint(jax.random.fold_in(own, 1), (num_pairs,), 0, num_pairs)]
    if config.diversity == "disjoint":
        part = num_pairs // config.members
        return jax.lax.dynamic_slice(mine, (member * part,), (part,))
    return mine


def _mean_loss(net, config, params, pairs):
    return jnp.mean(_loss(config, _margins(net, params, pairs), pairs))


def _ranking(net, config, params, pairs):
    """Mean over prompts of minus the log-probability of their whole rankings."""
    r = first_head(net, params, pairs.prompts, pairs.ranked)
    best_first = jnp.broadcast_to(jnp.arange(r.shape[-1]), r.shape)
    return -jnp.mean(RANKING_LOSSES[config.loss](r, best_first))


def _odin(net, config, params, pairs):
    """The loss of the summed heads, plus the term that keeps length out of the first head."""
    params = _unit_heads(params)
    lengths = sequences.lengths(pairs.responses)
    r = net.heads(params, pairs.prompts, pairs.responses, lengths)
    fit = _loss(config, difference(jnp.sum(r, -1)), pairs)
    return jnp.mean(fit) + disentanglement(r, lengths.astype(r.dtype), params["head"]["kernel"])


def _unit_heads(params):
    """Heads scaled to norm 1.

    A fresh head's rewards are so small that the correlations' gradient would drown the labels'. Share of pairs of
    `length` ordered as gold orders them after one pass in world 2: 0.59 without, 0.73 with.
    """
    kernel = params["head"]["kernel"]
    return dict(params, head=dict(params["head"], kernel=kernel / jnp.linalg.norm(kernel, axis=0)))


def _loss(config, margins, pairs):
    if config.loss == "bradley_terry":
        return bradley_terry(margins, pairs.labels)
    return LOSSES[config.loss](jnp.where(pairs.labels, margins, -margins), pairs.margin, config.loss_coef)


def _margins(net, params, pairs):
    return difference(_of_pairs(net, params, pairs))


def _of_pairs(net, params, pairs):
    """Raw scores [D, 2]."""
    return first_head(net, params, pairs.prompts, pairs.responses)
