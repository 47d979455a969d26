"""Declarations of the stages of best-of-n: the pool, its scores and selection."""

from gold_sim.config import Config
from gold_sim.stages import sizes
from gold_sim.stages.declared.shared import FLOAT, REWARD, of_error, of_proxy, picked, rewarded, started
from gold_sim.stages.names import name_of_proxy, name_of_reward
from gold_sim.stages.sizes import judged, written
from gold_sim.stages.stage import Stage, Work

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
