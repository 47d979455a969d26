"""The reward of a cell: its proxies' scores, combined into one, and the reward that an optimiser sees.

`proxy` is recorded and `optimised` is optimised; they differ by shaping. `run` is one entry of `runs`, which are
stacked over seeds. Models are arrays, so that the pipeline can map them.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, streams
from gold_sim.config import Config
from gold_sim.language import Language, sequences
from gold_sim.rewards import ensemble, gold, reward_model, reward_network, shaping, synthetic_errors
from gold_sim.rewards.reward_network import RewardNetwork


@dataclass(frozen=True)
class Reward:
    """The scoring by one cell's proxies. `judge` holds gold's parameters, read only where the proxy is made from gold.

    It is static in programs, which take `runs` as an argument. Two are equal if all fields but `runs` are.
    """

    language: Language
    config: Config
    net: RewardNetwork | None  # of the reward models, if there are any
    gold_net: RewardNetwork
    runs: dict = field(compare=False)  # "seed" [S] and, if there are reward models, "models": RewardModel [S, M, ...]

    def members(self, run, judge, prompts, responses, take: int | None = None):
        """Calibrated scores of the first `take` members (None: of all), [M, P, N]."""
        if self.net is not None:
            models = jax.tree.map(lambda a: a[:take], run["models"])
            return jax.vmap(lambda m: reward_model.rewards(self.net, m, prompts, responses))(models)
        truth = gold.scores(self.gold_net, judge, prompts, responses)[None]
        if self.config.reward == "gold":
            return truth
        key = streams.key(run["seed"], "goodhart")
        count = take or self.config.reward_model.members
        return truth + synthetic_errors.errors(self.language, self.config.error, key, count, prompts, responses)

    def proxy(self, run, judge, prompts, responses):
        """(combined score, spread over members), [P, N] each."""
        return combine(self.config, self.members(run, judge, prompts, responses, self.config.ensemble.take))

    def left_out(self, run):
        """A function (prompts, responses) -> mean calibrated score [P, N] of the reward models left out of the proxy.

        These are the models that `ensemble.take` leaves out; None if there are none.
        """
        take = self.config.ensemble.take
        if self.net is None or take is None or take >= self.config.reward_model.members:
            return None
        models = jax.tree.map(lambda a: a[take:], run["models"])
        score = jax.vmap(reward_model.rewards, (None, 0, None, None))
        return lambda prompts, responses: jnp.mean(score(self.net, models, prompts, responses), 0)

    def components(self, run, judge):
        """A function (prompts, responses) -> scores of the members [C, P, N], for constraints and records."""
        return lambda prompts, responses: taken(self.config, self.members(run, judge, prompts, responses))

    def shape(self, scores, references, responses):
        """The reward of combined scores [P, N], given those of reference responses [P, K]."""
        share = sequences.lengths(responses) / responses.shape[-1]
        rule = self.config.shaping
        return shaping.find(rule.name)(scores, references, share, rule.coef)

    def optimised(self, run, judge, policy_net, ref_params):
        """A function (prompts, responses) -> reward [P, N], for an optimiser."""
        if self.config.shaping.name == "none":
            return lambda prompts, responses: self.proxy(run, judge, prompts, responses)[0]
        key, length = streams.key(run["seed"], "shaping"), self.language.response_len

        def reward(prompts, responses):
            # The same uniforms at every step: a prompt's references do not change along a run.
            drawn = policy.sample(policy_net, ref_params, prompts, self.config.shaping.references, length, key)
            references = self.proxy(run, judge, prompts, drawn.responses)[0]
            return self.shape(self.proxy(run, judge, prompts, responses)[0], references, responses)

        return reward

    def affine(self):
        """(scale, shift) [S] of calibrated = scale (raw - shift); NaN where the proxy is no single reward model."""
        seeds = len(self.runs["seed"])
        if self.net is None:
            return np.ones(seeds), np.zeros(seeds)
        models = self.runs["models"]
        if models.scale.shape[1] > 1:
            return np.full(seeds, np.nan), np.full(seeds, np.nan)
        return np.asarray(models.scale[:, 0]), np.asarray(models.shift[:, 0])


def combine(config: Config, scores):
    """(combined score, spread) [...] of members' scores [M, ...]."""
    rule, scores = config.ensemble, taken(config, scores)
    return ensemble.RULES[rule.rule](scores, rule.coef), ensemble.spread(scores)


def taken(config: Config, scores):
    """The scores [C, ...] that the ensemble takes out of all members' scores [M, ...]."""
    only = config.ensemble.only
    return scores[: config.ensemble.take] if only is None else scores[only : only + 1]


def averaged(config: Config) -> bool:
    """Whether the proxy is the one model whose parameters are the mean of the members'."""
    return config.reward_model.members > 1 and config.ensemble.rule == "weight_average"


def load(cell, inputs, gold_net, average: bool | None = None) -> Reward:
    """The reward of a cell, with its stored reward models.

    average: whether the average of the members' weights takes their place; None: as the cell's rule says.
    ValueError for a shaping rule that does not exist.
    """
    config = cell.config
    shaping.find(config.shaping.name)
    runs = dict(seed=jax.device_put(np.asarray(config.seeds, np.int32)))
    if config.reward != "proxy":
        return Reward(inputs.language, config, None, gold_net, runs)
    stored = inputs.arrays("proxy")
    mean = stored.pop("average", None)
    if averaged(config) if average is None else average:
        stored = mean
    models = reward_model.RewardModel(**stored)
    if models.scale.ndim == 1:  # one model a seed
        models = jax.device_put(jax.tree.map(lambda a: np.asarray(a)[:, None], models))
    net = reward_network.make(inputs.language, config.reward_model)
    return Reward(inputs.language, config, net, gold_net, dict(runs, models=models))
