"""Stages that train policies: policy optimisation against a proxy, and direct alignment on preferences.

Every stage is (cell, inputs, store, progress) -> (record, tables, arrays). Both advance states from one evaluation
point to the next and checkpoint in between; a killed run resumes to the same record, to the bit.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, rewards, streams
from gold_sim.config import OptimiserConfig
from gold_sim.language import Language
from gold_sim.networks import footprint
from gold_sim.networks.network import Network
from gold_sim.optimisation import constrained, measure, policy_gradient
from gold_sim.stages.checkpointed import drive
from gold_sim.stages.measurement import cycled, held_out_prompts, policy_key, trained_on, write
from gold_sim.stages.parallel import mapped, to_numpy
from gold_sim.stages.tables import curves_and_samples

REFERENCES = 8  # reference samples a held-out prompt, to learn what proxies give to length alone


@dataclass(frozen=True)
class Training:
    """The programs of policy optimisation that no reward model enters.

    Static: cells of one process that agree in these fields share them as they are, others read them from the
    compilation cache. Only `score` and `judged` below are compiled anew for another reward model.
    """

    language: Language
    net: Network
    config: OptimiserConfig
    penalised: bool  # whether some run's kl_coef is not 0

    @property
    def algorithm(self):
        return policy_gradient if self.config.constraint == "none" else constrained

    def mapped(self, f, xs):
        c, length = self.config, self.language.response_len
        tokens = c.prompts * (c.group_size * length + self.language.prompt_len)
        return mapped(f, footprint.at_once(footprint.of_training(self.net, tokens)))(xs)

    def task(self, seed, ref_params) -> policy_gradient.Task:
        draw = self.language.prompts
        if self.config.train_prompts is not None:
            fixed = trained_on(self.language, self.config.train_prompts, seed)
            draw = lambda key, num: fixed[jax.random.randint(key, (num,), 0, len(fixed))]
        length = self.language.response_len
        return policy_gradient.Task(self.net, ref_params, length, draw, None, self.penalised)

    @functools.partial(jax.jit, static_argnums=0)
    def begin(self, seeds, starts, ref_params):
        one = lambda both: self.algorithm.init(self.task(both[0], ref_params), self.config, both[1])
        return mapped(one)((seeds, starts))

    @functools.partial(jax.jit, static_argnums=0)
    def rollout(self, seeds, states, ref_params):
        def one(both):
            seed, state = both
            return self.algorithm.rollout(self.task(seed, ref_params), self.config, policy_key(seed), state)

        return self.mapped(one, (seeds, states))

    @functools.partial(jax.jit, static_argnums=0, donate_argnames="states")
    def update(self, seeds, kl_coefs, states, batch, ref_params):
        def one(run):
            seed, kl_coef, state, batch = run
            return self.algorithm.update(
                self.task(seed, ref_params), self.config, kl_coef, policy_key(seed), state, batch
            )

        return self.mapped(one, (seeds, kl_coefs, states, batch))


@functools.partial(jax.jit, static_argnums=(0, 1))
def score(training, reward, runs, prompts, responses, ref_params, judge):
    """What every run optimises, of its own responses."""

    def one(both):
        run, asked, written = both
        if training.config.thresholds:
            return reward.components(run, judge)(asked, written)
        return reward.optimised(run, judge, training.net, ref_params)(asked, written)

    return training.mapped(one, (runs, prompts, responses))


@functools.partial(jax.jit, static_argnums=(0, 1))
def judged(reward, train_prompts: int | None, runs, held_out, responses, judge):
    """What the proxy says of what `write` gave."""
    several = reward.config.reward_model.diversity == "components"  # then each component's score is recorded

    def one(both):
        run, (unseen, seen) = both
        proxy = lambda p, r: reward.proxy(run, judge, p, r)
        parts = (lambda p, r: reward.members(run, judge, p, r)) if several else None
        more = dict(left_out=reward.left_out(run), of_length=run.get("of_length"), components=parts)
        told = measure.of_proxy(held_out, unseen, proxy, **more)
        if seen is not None:
            again = cycled(trained_on(reward.language, train_prompts, run["seed"]), len(held_out))
            told |= dict(proxy_training=measure.of_proxy(again, seen, proxy)["proxy"])
        return told

    return mapped(one)((runs, responses))


def optimisation(cell, inputs, store, progress):
    """Runs are (seed, KL coefficient), the coefficient fastest."""
    language, config, o = inputs.language, cell.config, cell.config.optimiser
    started = inputs.cell("policy").config.reference
    net = policy.network(language, started, values=int(o.name == "ppo"))
    ref_params = _with_value_head(net, inputs.arrays("policy")["params"])
    gold_net, judge, _ = inputs.gold("gold")
    reward = rewards.load(cell, inputs, gold_net)
    held_out = held_out_prompts(language, config.world.seed, o.eval_prompts)
    training = Training(language, net, o, any(c > 0 for c in config.kl_coefs))

    num_coefs = len(config.kl_coefs)
    of_seed = np.repeat(np.arange(len(config.seeds)), num_coefs)
    runs = jax.tree.map(lambda a: np.asarray(a)[of_seed], reward.runs)  # by jax, each shape is a program to compile
    runs = jax.device_put(runs)
    seeds, kl_coefs = runs["seed"], jax.device_put(np.tile(np.asarray(config.kl_coefs, np.float32), len(config.seeds)))

    @jax.jit
    def of_references(runs, ref_params, judge):
        key = streams.key(config.world.seed, "evaluation.length")
        drawn = policy.sample(net, ref_params, held_out, REFERENCES, language.response_len, key)
        proxies = mapped(lambda run: reward.proxy(run, judge, held_out, drawn.responses)[0])(runs)
        return proxies, drawn.lengths

    measured = runs
    if o.length_share:
        proxies, lengths = of_references(reward.runs, ref_params, judge)
        by_length = [measure.by_length(each, lengths, language.response_len) for each in proxies]
        measured = dict(runs, of_length=jax.device_put(np.stack(by_length).astype(np.float32)[of_seed]))

    def advance(states):
        batch = training.rollout(seeds, states, ref_params)
        scored = score(training, reward, runs, batch.prompts, batch.responses, ref_params, judge)
        batch = batch._replace(rewards=scored)
        return training.update(seeds, kl_coefs, states, batch, ref_params)

    def record(states):
        own = dict(control=states.step, clip_fraction=states.clip_fraction)
        responses, point = write(
            language, net, gold_net, o.train_prompts, seeds, states.params, held_out, ref_params, judge
        )
        return point | judged(reward, o.train_prompts, measured, held_out, responses, judge) | own

    goes_on = config.rounds.count > 1 and config.rounds.start == "continue"  # one policy a seed
    starts = inputs.arrays("last")["policies"] if goes_on else None
    states, curve = drive(
        *(store, cell, progress, o.evaluations, training.begin(seeds, starts, ref_params)),
        advance=advance,
        times=o.steps // o.evaluations,
        record=record,
    )
    scale, shift = reward.affine()
    settings = []
    for i, s in enumerate(of_seed):
        raw = curve["proxy"][i] / scale[s] + shift[s]
        own = dict(train_prompts=float(o.train_prompts or np.nan))
        own |= dict(seed=config.seeds[s], kl_coef=config.kl_coefs[i % num_coefs], divergence=o.divergence)
        own |= dict(constraint=o.constraint)
        settings.append(dict(own, proxy_raw=raw, num_prompts=o.eval_prompts))
    tables = curves_and_samples(cell, language, held_out, o.name, curve, settings)
    return {}, tables, {"arrays": {"policies": to_numpy(states.params)}}


def _with_value_head(net, params):
    """The reference parameters, with a value head of zeros where the network has one."""
    if not net.values:
        return params
    return dict(params, value=dict(kernel=jnp.zeros((net.width, 1)), bias=jnp.zeros(1)))
