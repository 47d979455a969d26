"""The stages `policy_gradient` and `frontier`: policies are optimised against a reward and measured on the way.

A run of policy_gradient has one KL coefficient all along. A run of the frontier has a smaller one on each plateau, and
ends every plateau at an equilibrium. A stage loads what its runs read, drives them, and tabulates their curves. It is a
function (cell, inputs, store, progress) -> (record, tables, arrays).
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, rewards, streams
from gold_sim.config import Config, FrontierConfig, OptimiserConfig
from gold_sim.language import Language
from gold_sim.networks.network import Network
from gold_sim.optimisation import algorithms, driver, measure, policy_gradient
from gold_sim.optimisation.measure import Point
from gold_sim.stages import training
from gold_sim.stages.checkpointed import Checkpointed
from gold_sim.stages.measurement import cycled, held_out_prompts, policy_key, trained_on, write
from gold_sim.stages.parallel import mapped, to_numpy, unless_ended
from gold_sim.stages.tables import curves_and_samples

REFERENCES = 8  # reference samples a held-out prompt, to measure what proxies give for length alone


@dataclass(frozen=True)
class Training:
    """The settings of training policies against a reward (a training.Training).

    Of the programs in this file only `score`, `judged` and `of_references` depend on the reward model.
    """

    language: Language
    net: Network
    config: OptimiserConfig
    penalised: bool  # whether some run's kl_coef is not 0

    @property
    def algorithm(self) -> driver.Algorithm:
        return algorithms.find(self.config)

    @property
    def tokens(self) -> int:
        return self.config.prompts * (self.config.group_size * self.language.response_len + self.language.prompt_len)

    def task(self, run, ref_params) -> policy_gradient.Task:
        seed, kl_coef = run
        draw = self.language.prompts
        if self.config.train_prompts is not None:
            fixed = trained_on(self.language, self.config.train_prompts, seed)
            draw = lambda key, num: fixed[jax.random.randint(key, (num,), 0, len(fixed))]
        length, key = self.language.response_len, policy_key(seed)
        return policy_gradient.Task(
            self.config, self.net, ref_params, length, draw, key, kl_coef, penalised=self.penalised
        )


@functools.partial(jax.jit, static_argnums=(0, 1))
def score(own: Training, reward, runs, ref_params, judge, ended, prompts, responses):
    """The reward that every run optimises, of the run's own responses.  ended: as for training.rollout."""

    def one(each):
        run, prompts, responses = each
        if own.config.thresholds:
            return reward.components(run, judge)(prompts, responses)
        return reward.optimised(run, judge, own.net, ref_params)(prompts, responses)

    return training.side_by_side(own, one)((ended, (runs, prompts, responses)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def judged(reward, train_prompts: int | None, runs, judge, held_out, responses, ended=None):
    """Scores by the proxy of the responses that measurement.write returned: (OfProxy, proxy_training)."""
    several = reward.config.reward_model.diversity == "components"  # then each component's score is recorded

    def one(each):
        run, held_out, (unseen, seen) = each
        proxy = lambda p, r: reward.proxy(run, judge, p, r)
        parts = (lambda p, r: reward.members(run, judge, p, r)) if several else None
        more = dict(left_out=reward.left_out(run), of_length=run.get("of_length"), components=parts)
        point, proxy_training = measure.of_proxy(held_out, unseen, proxy, **more), None
        if seen is not None:
            again = cycled(trained_on(reward.language, train_prompts, run["seed"]), len(held_out))
            proxy_training = measure.of_proxy(again, seen, proxy).proxy
        return point, proxy_training

    return unless_ended(one)((ended, (runs, held_out, responses)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def of_references(reward, net, runs, ref_params, judge, prompts, key):
    """(proxy scores of each run, lengths) of reference samples that all runs share."""
    drawn = policy.sample(net, ref_params, prompts, REFERENCES, reward.language.response_len, key)
    proxies = mapped(lambda run: reward.proxy(run, judge, prompts, drawn.responses)[0])(runs)
    return proxies, drawn.lengths


@dataclass(frozen=True)
class Loaded:
    """The data that the runs of a cell read.

    A run of policy_gradient is a (seed, KL coefficient); the coefficient varies fastest. One of the frontier is a seed.
    """

    training: Training
    reward: rewards.Reward
    gold_net: Network
    judge: tuple  # gold's parameters, mean and standard deviation
    ref_params: dict
    held_out: jax.Array  # [R, P, Lp] prompts of every measurement
    runs: tuple  # seeds [R], KL coefficients [R]; of the frontier [R, K]
    rewarded: dict  # each run's entry of reward.runs and, where length's share is recorded, "of_length" [R, L]
    starts: dict | None  # parameters [R, ...] where runs start; None: at the reference policy
    policy_loss: float  # nats a token of demonstrations, of the policy before it is optimised; NaN if not recorded


def load(cell, inputs, config: Config, coefs: np.ndarray) -> Loaded:
    """The data of a cell's runs.  config: of the runs.  coefs: KL coefficients of a seed's runs, [K] or [1, K]."""
    language, o = inputs.language, config.optimiser
    net = policy.network(language, inputs.cell("policy").config.reference, algorithms.find(o).values)
    ref_params = _with_value_head(net, inputs.arrays("policy")["params"])
    gold_net, judge, _ = inputs.gold("gold")
    reward = rewards.load(cell, inputs, gold_net)
    by_run = lambda a: np.repeat(np.asarray(a), len(coefs), 0)  # by jax, each shape is a program to compile
    rewarded = jax.device_put(jax.tree.map(by_run, reward.runs))
    kl_coefs = jax.device_put(np.concatenate([coefs] * len(config.seeds)))
    held_out = held_out_prompts(language, config.world.seed, rewarded["seed"], o.eval_prompts)
    if o.length_share:
        k_prompt, key = jax.random.split(streams.key(config.world.seed, "evaluation.length"))
        prompts = language.prompts(k_prompt, o.eval_prompts, held_out=True)
        proxies, lengths = of_references(reward, net, reward.runs, ref_params, judge, prompts, key)
        by_length = [measure.by_length(each, lengths, language.response_len) for each in proxies]
        rewarded["of_length"] = jax.device_put(by_run(np.stack(by_length).astype(np.float32)))
    return Loaded(
        Training(language, net, o, bool(np.any(coefs > 0))),
        *(reward, gold_net, judge, ref_params, held_out, (rewarded["seed"], kl_coefs), rewarded),
        starts=inputs.arrays("last")["policies"] if "last" in dict(cell.upstream) else None,  # one policy a seed
        policy_loss=inputs.record("policy").get("held_out_loss", np.nan),
    )


def optimisation(cell, inputs, store, progress):
    """Policies of all runs, driven from the reference policy to the last step, and their curves."""
    config = cell.config
    at = load(cell, inputs, config, np.asarray(config.kl_coefs, np.float32))
    states, curve = driven(at, cell, store, progress)
    coefs = [dict(kl_coef=coef) for _ in config.seeds for coef in config.kl_coefs]
    return finished(at, cell, states, curve, coefs)


def frontier(cell, inputs, store, progress):
    """Policies of all seeds, driven from plateau to plateau of the KL coefficient, and the equilibria they pass."""
    config = cell.config.on_plateaus
    at = load(cell, inputs, config, np.asarray([config.kl_coefs], np.float32))
    states, curve = driven(at, cell, store, progress)
    return finished(at, cell, states, curve, equilibria(config.frontier, curve.policy.kl))


def driven(at: Loaded, cell, store, progress):
    """(states, curve) of all runs at their last step."""
    o = at.training.config
    programs, measure = going_on(at, None)
    return driver.drive(
        programs,
        training.begin(at.training, at.runs, at.ref_params, at.starts),
        measure,
        *(o.steps, o.evaluations, progress, Checkpointed(store, cell)),
        enough=lambda point: bool(np.all(beyond(o, point.policy.kl) | ~np.isfinite(point.policy.kl))),
        leaped=o.retrace_below and (lambda before, after: bool(leaps(o, before.policy.kl, after.policy.kl).any())),
        going_on=functools.partial(going_on, at),
        wanted=functools.partial(tells, o),
    )


def tells(config: OptimiserConfig, number: int) -> bool:
    """Whether a measurement of this number, from 1, is read: of a plateau, those that tell its end and its drift."""
    if config.plateau is None:
        return True
    of_plateau = max(1, config.evaluations * config.plateau // config.steps)
    return number % of_plateau in (0, of_plateau - 1)


def going_on(at: Loaded, last: Point | None):
    """(programs, measure) of the runs that have not ended at their last point; the others keep their state and point.

    last: None before the first point.  Where no KL ends a run, no program asks whether one has ended.
    """
    o, ended = at.training.config, None
    if o.until_kl is not None:
        ended = np.zeros(len(at.runs[0]), bool) if last is None else beyond(o, last.policy.kl)
    scored = functools.partial(score, at.training, at.reward, at.rewarded, at.ref_params, at.judge, ended)
    programs = training.programs(at.training, at.runs, at.ref_params, scored, ended)
    if last is None or ended is None:
        return programs, lambda states: measured(at, states, ended)
    kept = lambda new, old: np.where(ended.reshape(-1, *[1] * (new.ndim - 1)), old, new)
    return programs, lambda states: jax.tree.map(kept, measured(at, states, ended), last)


def beyond(config: OptimiserConfig, kl):
    """Whether runs have ended before a measurement with this KL, [...]; KL that is no number is not judged."""
    return np.zeros(np.shape(kl), bool) if config.until_kl is None else np.asarray(kl) >= config.until_kl


def leaps(config: OptimiserConfig, before, after):
    """Whether runs pass until_kl from below retrace_below, [...].  before, after: KL of two measurements, [...]."""
    none = config.retrace_below is None
    return np.zeros(np.shape(after), bool) if none else (before < config.retrace_below) & beyond(config, after)


def points_of(config: OptimiserConfig, control, kl):
    """Which points are a run's own, [T, R].  control, kl: [T, R]; control is steps taken.

    A run ends before its first measurement beyond until_kl. That point is repeated while others of its cell go on.
    Points of steps that were taken again are of the runs that leaped over those steps, so that all others have the same
    points as without them.
    """
    control, kl = np.asarray(control).max(1), np.asarray(kl)  # runs that have ended take no more steps
    interval = config.steps // config.evaluations
    even = control % interval == 0
    leaped = leaps(config, kl[even][:-1], kl[even][1:])
    between = leaped[(control[~even] - 1) // interval]
    own = np.ones(kl.shape, bool)
    own[~even] = between
    own &= ~np.logical_or.accumulate(own & beyond(config, kl))
    own[0] = True  # of a later round, that goes on from a policy beyond until_kl, it is the only one
    return own


def finished(at: Loaded, cell, states, curve: Point, coefs: list[dict]):
    """What a stage returns.  coefs: columns of a run that tell of its KL coefficients, one dict a run."""
    columns = settings(cell.config, at.reward, curve, coefs)
    o = at.training.config
    described = dict(own=points_of(o, curve.control, curve.policy.kl), policy_loss=at.policy_loss)
    tables = curves_and_samples(cell, at.training.language, at.held_out, o.name, curve, columns, **described)
    return {}, tables, {"arrays": {"policies": to_numpy(states.params)}}


def equilibria(config: FrontierConfig, kl) -> list[dict]:
    """Columns kl_coef and kl_drift [T] of each run of the frontier.  kl: [T, R], from the reference policy on.

    kl_drift is finite at the equilibria, the last measurements of the plateaus: (KL - KL at the measurement before) /
    KL. At the reference policy, the equilibrium of an infinite coefficient, it is 0.
    """
    kl, last = np.asarray(kl, float), np.arange(2, len(kl), 2)  # fewer where all runs diverged
    drift = np.full(kl.shape, np.nan)
    drift[0], drift[last] = 0.0, 1 - kl[last - 1] / kl[last]
    in_force = np.concatenate([config.kl_coefs[:1], np.repeat(config.kl_coefs, 2)])
    return [dict(kl_coef=in_force[: len(kl)], kl_drift=of_run) for of_run in drift.T]


def measured(at: Loaded, states, ended=None) -> Point:
    """One point of all runs, on the host.  ended: bool [R], runs that are not measured; None: all are."""
    own, fixed = at.training, at.training.config.train_prompts
    net, at_seeds = (own.language, own.net, at.gold_net, fixed), (at.runs[0], states.params)
    responses, of_policy, gold_training = write(*net, *at_seeds, at.held_out, at.ref_params, at.judge, ended)
    of_proxy, proxy_training = judged(at.reward, fixed, at.rewarded, at.judge, at.held_out, responses, ended)
    point = Point(states.step, states.clip_fraction, of_policy, of_proxy, gold_training, proxy_training)
    return to_numpy(point)


def settings(config, reward, curve: Point, coefs: list[dict]) -> list[dict]:
    """The columns that each run's settings decide, one dict a run."""
    o, (scale, shift) = config.optimiser, reward.affine()
    common = dict(train_prompts=float(o.train_prompts or np.nan), divergence=o.divergence, constraint=o.constraint)
    of_seed = np.repeat(np.arange(len(config.seeds)), len(coefs) // len(config.seeds))
    return [
        dict(
            common,
            **coefs[i],
            seed=config.seeds[s],
            num_prompts=o.eval_prompts,
            proxy_raw=curve.proxy.proxy[:, i] / scale[s] + shift[s],
        )
        for i, s in enumerate(of_seed)
    ]


def _with_value_head(net, params):
    """The reference parameters, with a value head of zeros where the network has one."""
    if not net.values:
        return params
    return dict(params, value=dict(kernel=jnp.zeros((net.width, 1)), bias=jnp.zeros(1)))
