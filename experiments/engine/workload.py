"""What a cell must compute and hold: operations, tokens, bytes and programs, counted from its settings."""

import dataclasses
from dataclasses import dataclass

PROMPT = 8  # tokens, about: prompts of the language are 6 to 9


@dataclass(frozen=True)
class Work:
    """What must be computed: operations (2 a multiply-add) and tokens that pass through some network."""

    flops: float
    tokens: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.tokens + other.tokens)

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.tokens * times)

    __rmul__ = __mul__


NOTHING = Work(0.0, 0.0)


def forward(network, length: int, outputs: int = 0) -> Work:
    """One response of `length` tokens through a network (width, depth), its share of the prompt included.

    outputs: of a policy's head. 0 is a reward model, whose last block needs keys and values, and the rest of one token.
    """
    tokens, width, depth = length + PROMPT / 4, network.width, network.depth
    attended = (PROMPT + length / 2) * 2 * width
    if outputs:
        return Work(2 * tokens * (depth * (12 * width**2 + attended) + width * outputs), tokens * depth)
    before = Work(2 * tokens * (depth - 1) * (12 * width**2 + attended), tokens * (depth - 1))
    return before + Work(2 * (tokens * 2 * width**2 + 10 * width**2 + (PROMPT + length) * 2 * width), tokens / 6)


def work(cell) -> Work:
    """Of one cell with all its seeds, coefficients and members."""
    c = cell.config
    length, seeds, words = c.world.response_len, len(c.seeds), 64
    policy, rm, o = c.policy or c.reference, c.reward_model_of_round, c.optimiser
    write, judge, score = forward(policy, length, words), forward(c.gold, length), forward(rm, length)
    score = {"proxy": score * (c.ensemble.take or rm.members), "gold": judge, "synthetic": judge}[c.reward]
    if cell.stage == "reference":
        return 3 * c.reference.steps * c.reference.batch * forward(c.reference, length, words)
    if cell.stage == "gold":
        return 3 * c.gold.steps * c.gold.batch * judge + 16_384 * write
    if cell.stage == "preferences":
        ranked = c.preferences.ranked if c.preferences.annotator in ("plackett_luce", "mallows") else 2
        return c.preferences.num_pairs * ranked * (write + judge)
    if cell.stage == "relabelled":
        return seeds * c.rounds.num_pairs * 2 * (write + judge)
    if cell.stage == "reward_model":
        pairs = c.training_pairs // (rm.members if rm.diversity == "disjoint" else 1)
        held_out = c.preferences.num_held_out
        ranked = c.preferences.ranked if c.preferences.keep == "ranking" else 2
        return seeds * rm.members * (3 * rm.epochs * pairs * ranked + held_out * 2) * forward(rm, length)
    pool = c.best_of_n.num_prompts * c.best_of_n.num_samples
    if cell.stage == "pool":
        return pool * (write + judge)
    if cell.stage == "scores":
        return pool * (seeds * rm.members * forward(rm, length) if c.reward == "proxy" else judge)
    if cell.stage == "best_of_n":
        return Work(0.0, seeds * pool)
    if cell.stage == "direct_alignment":
        d = c.direct
        train = d.epochs * d.num_pairs * 2 * 4 * write
        return seeds * len(c.dpo_betas) * (train + (d.evaluations + 1) * d.eval_prompts * (2 * write + judge))
    passes = 3 * o.epochs if o.name in ("ppo", "grpo") else 3
    passes += 1 + any(k > 0 for k in c.kl_coefs)
    train = o.steps * o.prompts * o.group_size * (passes * write + score)
    measured = (o.evaluations + 1) * o.eval_prompts * (2 * write + judge + score)
    return seeds * len(c.kl_coefs) * (train + measured)


def holds(cell) -> float:
    """Bytes that a cell must have at once on a CPU, where runs follow one another: its largest step, and its arrays."""
    c = cell.config
    tokens, seeds = c.world.response_len + PROMPT, len(c.seeds)
    policy, rm, o = c.policy or c.reference, c.reward_model_of_round, c.optimiser
    pool = c.best_of_n.num_prompts * c.best_of_n.num_samples
    pairs = c.preferences.num_pairs * 2
    held_out = pairs * c.preferences.held_out
    if cell.stage == "reference":
        return _training(policy, c.reference.batch * tokens)
    if cell.stage == "gold":
        return _training(c.gold, c.gold.batch * tokens) + 4 * 16_384 * tokens * 64
    if cell.stage in ("preferences", "relabelled"):
        return 4 * pairs * tokens
    if cell.stage == "reward_model":  # held-out pairs are scored at once, a block at a time
        runs = seeds * rm.members
        step = max(_training(rm, 2 * rm.batch * tokens), 4 * held_out * tokens * 20 * rm.width)
        return step + 4 * (pairs * tokens + runs * _params(rm))
    if cell.stage == "pool":
        return pool * (2 * c.world.response_len + 4 * 12)
    if cell.stage in ("scores", "best_of_n"):
        return pool * (2 * c.world.response_len + 8 * (12 + seeds * rm.members))
    if cell.stage == "direct_alignment":
        runs, step = seeds * len(c.dpo_betas), 2 * c.direct.batch * tokens
        return _training(policy, step) + runs * 4 * 3 * _params(policy) + 4 * pairs * tokens
    runs, step = seeds * len(c.kl_coefs), max(o.prompts * o.group_size, o.eval_prompts / 2) * tokens
    return _training(policy, step) + runs * 4 * 3 * _params(policy)


WRITTEN_OUT = 8  # blocks of a network in its program (transformer.UNROLLED): deeper ones loop


def blocks(cell) -> int:
    """Of the networks that a cell's program runs: what it takes to compile follows them."""
    c = cell.config
    policy, rm = c.policy or c.reference, c.reward_model_of_round
    scored = rm if c.reward == "proxy" else c.gold
    networks = dict(
        reference=[c.reference],
        gold=[c.reference, c.gold],
        preferences=[c.reference, c.gold],
        relabelled=[policy, c.gold],
        reward_model=[rm],
        pool=[policy, c.gold],
        scores=[scored],
        policy_gradient=[policy, scored],
        direct_alignment=[policy],
    )
    return sum(min(network.depth, WRITTEN_OUT) for network in networks.get(cell.stage, ()))


def program(cell) -> tuple:
    """What of a cell's settings is written into its programs: cells that share it compile them once.

    Shapes and constants. Weights, labels, seeds and coefficients are arguments.
    """
    c = cell.config
    size = lambda network: (network.width, network.depth, network.precision)
    policy, rm, p, seeds = size(c.policy or c.reference), c.reward_model_of_round, c.preferences, len(c.seeds)
    rewarded = (c.reward, size(rm), rm.members, rm.heads, rm.blind, c.ensemble, c.shaping)
    if c.reward != "proxy":
        rewarded = (c.reward, rm.members, c.ensemble, c.shaping, c.error)
    pool = (c.best_of_n.num_prompts, c.best_of_n.num_samples)
    written = dict(
        reference=(c.reference,),
        gold=(size(c.reference), c.gold),
        preferences=(size(c.reference), size(c.gold), dataclasses.replace(p, seed=0)),
        relabelled=(policy, size(c.gold), c.rounds, seeds),
        reward_model=(rm, c.training_pairs, p.num_pairs * p.held_out, p.keep, p.ranked, seeds),
        pool=(policy, size(c.gold), c.best_of_n),
        scores=(rewarded, pool, seeds),
        best_of_n=(c.reward, c.ensemble, c.shaping, c.selection, rm.members, pool, seeds),
        policy_gradient=(policy, size(c.gold), rewarded, c.optimiser, seeds, len(c.kl_coefs), any(c.kl_coefs)),
        direct_alignment=(policy, size(c.gold), c.direct, p.num_pairs, seeds, len(c.dpo_betas)),
    )
    return (cell.stage, c.world, *written[cell.stage])


def shared(cell) -> tuple | None:
    """What is written into those of its programs that other cells have too; None: it has none of these.

    Policies: what does not depend on the reward (runs.py). Reward models: all but the plan of their steps (models.py).
    """
    c = cell.config
    if cell.stage == "reward_model":
        p, rm = c.preferences, c.reward_model_of_round
        network = (rm.width, rm.depth, rm.precision, rm.heads, rm.loss, rm.loss_coef, rm.weight_decay)
        data = (p.num_pairs, p.held_out, p.keep, p.ranked, c.rounds.count > 1)
        return (cell.stage, c.world, network, data, min(rm.batch, c.training_pairs), rm.members * len(c.seeds))
    if cell.stage != "policy_gradient":
        return None
    sizes = [(n.width, n.depth, n.precision) for n in (c.policy or c.reference, c.gold)]
    return (cell.stage, c.world, *sizes, c.optimiser, len(c.seeds), len(c.kl_coefs), any(c.kl_coefs))


def _params(network) -> float:
    """About: blocks, embeddings, head."""
    return network.width * (12 * network.width * network.depth + 160)


def _training(network, tokens: float) -> float:
    """Bytes of one gradient step, as gold_sim/memory.py counts them for networks that keep all their activations."""
    return 4 * (5 * _params(network) + tokens * (network.depth * 20 * network.width + 4 * 64))
