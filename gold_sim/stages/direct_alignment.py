"""The stage `direct_alignment`: policies are fitted to preferences without a reward model.

It loads what its runs read, drives them, and tabulates their curves.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, preferences, streams
from gold_sim.config import DirectConfig
from gold_sim.language import Language
from gold_sim.networks.network import Network
from gold_sim.optimisation import algorithms, direct_alignment, driver
from gold_sim.optimisation.measure import OfProxy, Point
from gold_sim.stages import training
from gold_sim.stages.checkpointed import Checkpointed
from gold_sim.stages.measurement import held_out_prompts, write
from gold_sim.stages.parallel import mapped, to_numpy
from gold_sim.stages.tables import curves_and_samples


@dataclass(frozen=True)
class Training:
    """The settings of training policies on pairs (a training.Training)."""

    language: Language
    net: Network
    config: DirectConfig

    @property
    def algorithm(self) -> driver.Algorithm:
        return algorithms.find(self.config)

    @property
    def tokens(self) -> int:
        return 2 * self.config.batch * (self.language.response_len + self.language.prompt_len)

    def task(self, run, common) -> direct_alignment.Task:
        (ref_params, pairs), (batches, beta) = common, run
        return direct_alignment.Task(self.config, self.net, ref_params, pairs, batches, beta)


@functools.partial(jax.jit, static_argnums=(0, 1))
def orders(config: DirectConfig, num: int, seeds):
    """Which pairs every run sees, in which order: [R, steps, batch] indices of pairs."""
    return mapped(lambda seed: direct_alignment.order(config, num, streams.key(seed, "direct_alignment")))(seeds)


@functools.partial(jax.jit, static_argnums=0)
def implicit_accuracy(net, params, ref_params, compared):
    """Share of held-out pairs that the implicit reward orders as gold does, [R]."""

    def one(params):
        right = direct_alignment.log_ratios(net, params, ref_params, compared)
        return jnp.mean((right[:, 1] > right[:, 0]) == (compared.margin > 0))

    return mapped(one)(params)


@dataclass(frozen=True)
class Loaded:
    """The data that the runs of a cell read.

    A run is a (seed, beta); beta varies fastest. The seed chooses the pairs and their order.
    """

    training: Training
    gold_net: Network
    judge: tuple  # gold's parameters, mean and standard deviation
    ref_params: dict
    pairs: direct_alignment.Pairs  # [D]
    compared: preferences.Preferences  # held-out pairs, with their gold
    held_out: jax.Array  # [R, P, Lp] prompts of every measurement
    seeds: np.ndarray  # [R]
    betas: np.ndarray  # [R]


def load(cell, inputs) -> Loaded:
    language, config, d = inputs.language, cell.config, cell.config.direct
    gold_net, judge, _ = inputs.gold("preferences", "gold")
    collected = preferences.Preferences(**inputs.arrays("preferences"))
    train, held_out_pairs = preferences.split(config.preferences, collected)
    seeds = np.repeat(np.asarray(config.seeds, np.int32), len(config.dpo_betas))
    return Loaded(
        Training(language, policy.network(language, inputs.cell("policy").config.reference), d),
        *(gold_net, judge, inputs.arrays("policy")["params"]),
        direct_alignment.Pairs(train.prompts, train.responses, train.labels),
        jax.tree.map(lambda a: a[: d.eval_prompts], held_out_pairs),
        held_out_prompts(language, config.world.seed, seeds, d.eval_prompts),
        seeds,
        np.tile(np.asarray(config.dpo_betas, np.float32), len(config.seeds)),
    )


def alignment(cell, inputs, store, progress):
    """Policies of all runs, driven from the reference policy through their pairs, and their curves."""
    at, d = load(cell, inputs), cell.config.direct
    runs = orders(d, len(at.pairs.labels), at.seeds), jax.device_put(at.betas)
    of_runs = at.training, runs, (at.ref_params, at.pairs)
    states, curve = driver.drive(
        training.programs(*of_runs),
        training.begin(*of_runs),
        functools.partial(measured, at),
        *(d.steps, d.evaluations, progress, Checkpointed(store, cell)),
    )
    columns = settings(cell.config, curve)
    tables = curves_and_samples(cell, inputs.language, at.held_out, d.loss, curve, columns, num_pairs=d.num_pairs)
    return {}, tables, {"arrays": {"policies": to_numpy(states.params)}}


def measured(at: Loaded, states) -> Point:
    """One point of all runs, on the host.

    The implicit reward is beta log(pi / ref_policy), and its mean over the policy's samples beta KL.
    """
    own = at.training
    _, of_policy, _ = write(
        *(own.language, own.net, at.gold_net, None, at.seeds, states.params, at.held_out, at.ref_params, at.judge)
    )
    accuracy = implicit_accuracy(own.net, states.params, at.ref_params, at.compared)
    of_policy, step, accuracy = to_numpy((of_policy, states.step, accuracy))
    unknown = np.full_like(of_policy.kept.gold, np.nan)
    implicit = OfProxy(at.betas * of_policy.kl, at.betas * of_policy.kl_se, np.zeros_like(at.betas), unknown)
    nothing_clips = np.full_like(at.betas, np.nan)
    return Point(step, nothing_clips, of_policy, implicit, implicit_accuracy=accuracy)


def settings(config, curve: Point) -> list[dict]:
    """The columns that each run's settings decide, one dict a run."""
    runs = [(seed, beta) for seed in config.seeds for beta in config.dpo_betas]
    common = dict(kl_coef=0.0, num_prompts=config.direct.eval_prompts)
    return [
        dict(common, seed=seed, dpo_beta=beta, proxy_raw=curve.proxy.proxy[:, i]) for i, (seed, beta) in enumerate(runs)
    ]
