"""What every stage must compute and move, what the device can do, and what share of that is reached.

    python -m experiments throughput --set part=stages      stages by policy size, then optimisers
    python -m experiments throughput --set part=mapped      a whole step of 1 to 512 runs in one program

Operations are those that must be done (2 a multiply-add, products alone). Bytes are those that must pass through
memory if all else stays on the chip: parameters wherever they are read or written, the key-value cache at every token,
and what the backward pass keeps of the forward one. least_seconds = max(operations / rate, bytes / bandwidth), both
measured on the device in the same process; `bound` names the greater.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable

GROUP, PROMPT, COMPLETION, VOCABULARY = 4, 8, 16, 64
LENGTH = PROMPT + COMPLETION
KEPT = 14  # activations that the backward pass reads, in widths a token and block: norms, q, k, v, mixed, 2 x MLP
FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class Work:
    """Of one call: operations, bytes, and completions that it serves."""

    flops: float
    bytes: float
    completions: int

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.bytes * times, int(self.completions * times))

    def __add__(self, other: "Work") -> "Work":
        """Both, for the same completions."""
        return Work(self.flops + other.flops, self.bytes + other.bytes, self.completions)


def forward_flops(width: int, depth: int, outputs: int, tokens: int, heads: int) -> float:
    """Products of one completion's forward pass, prompt shared by its group: 2 a multiply-add.

    A token costs 12 width^2 multiply-adds a block and 2 width times the positions that it attends to;
    `tokens` of the completion are read, and the head is applied at `heads` states.
    """
    attended = sum(PROMPT + t + 1 for t in range(tokens)) + sum(t + 1 for t in range(PROMPT)) / GROUP
    tokens += PROMPT / GROUP
    return 2.0 * (12 * width**2 * depth * tokens + 2 * width * depth * attended + width * outputs * heads)


def judged_flops(width: int, depth: int) -> float:
    """Products of one completion's reward: the last block needs keys and values of all tokens, the rest of the last."""
    before = forward_flops(width, depth - 1, 1, COMPLETION, heads=1)
    return before + 2.0 * (2 * width**2 * (COMPLETION + PROMPT / GROUP) + 10 * width**2 + 2 * width * LENGTH)


def _params(net) -> int:
    from gold_sim import transformer

    return transformer.num_params(net)


def sampling(net, completions: int) -> Work:
    """A token a time, with a cache: every token reads the parameters and all that was cached before it."""
    flops = completions * forward_flops(net.width, net.depth, net.outputs, COMPLETION - 1, COMPLETION)
    cached = sum(PROMPT / GROUP + t + 1 for t in range(COMPLETION - 1)) * 2 * net.width * net.depth
    return Work(flops, FLOAT * (COMPLETION * _params(net) + completions * cached), completions)


def forward(net, completions: int) -> Work:
    """All tokens at once, as for log-probs of a policy or scores of a reward model (one output)."""
    if net.outputs == 1:
        flops = judged_flops(net.width, net.depth)
    else:
        flops = forward_flops(net.width, net.depth, net.outputs, COMPLETION - 1, heads=COMPLETION)
    return Work(completions * flops, FLOAT * _params(net), completions)


def update(net, completions: int) -> Work:
    """A gradient step: a forward pass, a backward one of twice its products, Adam's moments."""
    once = forward(net, completions)
    tokens = completions * (COMPLETION + PROMPT / GROUP)
    activations = 2 * KEPT * net.width * net.depth * tokens
    return Work(3 * once.flops, FLOAT * (10 * _params(net) + activations), completions)


def device_limits() -> dict:
    """Measured: matrix rate (GFLOP/s, as this precision multiplies float32) and bandwidth (GB/s, read and written)."""
    import jax
    import jax.numpy as jnp

    cpu = jax.default_backend() == "cpu"
    size, length = (1024, 2**25) if cpu else (8192, 2**30)
    matrix, vector = jnp.ones((size, size)), jnp.ones(length)
    product, scaled = jax.jit(lambda a: a @ a), jax.jit(lambda a: a * 1.0001)
    bf16 = matrix.astype(jnp.bfloat16)
    fastest = lambda f, x: min(seconds_of(lambda: jax.block_until_ready(f(x))) for _ in range(10))
    found = dict(
        matmul_gflops=2 * size**3 / fastest(product, matrix) / 1e9,
        bandwidth_gbytes=2 * FLOAT * length / fastest(scaled, vector) / 1e9,
    )
    if not cpu:
        found |= dict(matmul_bf16_gflops=2 * size**3 / fastest(product, bf16) / 1e9)
    return found


def seconds_of(f: Callable) -> float:
    """CPU seconds of one thread on a CPU (on a shared core the wall clock understates the rate), wall seconds else."""
    import jax

    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    began = clock()
    f()
    return clock() - began


def timed(f: Callable, params, repeats: int, rounds: int) -> tuple[float, float]:
    """(median seconds, compile seconds) of f(params, i) -> anything, called `repeats` times in one compiled loop.

    A loop and not single calls: memory is then touched for the first time once, as in training. Each turn's parameters
    depend on what the last one returned, so that nothing can be moved out of the loop.
    """
    import jax
    import jax.numpy as jnp

    def turn(params, i):
        total = sum(jnp.sum(jnp.nan_to_num(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(f(params, i)))
        return jax.tree.map(lambda p: p + 1e-30 * total if jnp.issubdtype(p.dtype, jnp.floating) else p, params), None

    began = time.perf_counter()
    loop = jax.jit(lambda p: jax.lax.scan(turn, p, jnp.arange(repeats))[0]).lower(params).compile()
    compiling = time.perf_counter() - began
    jax.block_until_ready(loop(params))
    found = [seconds_of(lambda: jax.block_until_ready(loop(params))) for _ in range(rounds)]
    return statistics.median(found) / repeats, compiling


def row(stage: str, net, runs: int, work: Work, spent: tuple[float, float], limits: dict) -> dict:
    """One line of the table.  work: of all the runs of one call."""
    seconds, compiling = spent
    rate, bandwidth = 1e9 * _rate(net, limits), 1e9 * limits["bandwidth_gbytes"]
    computing, moving = work.flops / rate, work.bytes / bandwidth
    return dict(
        stage=stage,
        params=_params(net),
        mapped_runs=runs,
        completions=work.completions,
        flops=work.flops,
        bytes=work.bytes,
        seconds=seconds,
        compile_seconds=compiling,
        completions_per_second=work.completions / seconds,
        matmul_fraction=computing / seconds,
        bandwidth_fraction=moving / seconds,
        least_seconds=max(computing, moving),
        bound="matrix rate" if computing > moving else "bandwidth",
        roofline_fraction=max(computing, moving) / seconds,
    )


def _rate(net, limits: dict) -> float:
    half = getattr(net, "precision", "float32") == "bfloat16"
    return limits.get("matmul_bf16_gflops", limits["matmul_gflops"]) if half else limits["matmul_gflops"]


OPTIMISERS = {  # name -> forward passes beside reference and reward model, gradient steps over the whole batch
    "rloo": (0, 1),
    "reinforce": (0, 1),
    "expert_iteration": (0, 1),
    "online_dpo": (0, 1),
    "grpo": (0, 2),
    "ppo": (1, 2),  # and values
}


# --- measurements ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scale:
    """What is measured: (width, depth) of policies, prompts a step, repeats of one loop and rounds of it."""

    policies: tuple[tuple[int, int], ...]
    reward_model: tuple[int, int] = (64, 2)
    prompts: int = 64
    repeats: int = 10
    rounds: int = 3
    most_runs: int = 512
    most_seconds: float = 4.0  # of one step: mapped runs are doubled until it takes longer
    precision: str = "float32"
    optimisers: tuple[str, ...] = tuple(OPTIMISERS)


SCALES = {
    "smoke": Scale(((8, 1),), reward_model=(8, 1), prompts=4, repeats=2, rounds=1, most_runs=2, optimisers=("rloo",)),
    "cpu": Scale(((32, 1), (64, 2), (128, 4))),
    "gpu": Scale(((64, 2), (192, 2), (512, 3), (1024, 8)), prompts=256, precision="bfloat16"),
}


def networks(scale: Scale, width: int, depth: int):
    """(policy, reward model)."""
    from gold_sim.transformer import Network

    of = lambda size, outputs: Network(*size, VOCABULARY, outputs, LENGTH, precision=scale.precision)
    return of((width, depth), VOCABULARY), of(scale.reward_model, 1)


def stages(scale: Scale, report: Callable) -> dict:
    """Each stage of a step by policy size, reward models in training, the pool of best-of-n, then whole steps."""
    import jax
    import jax.numpy as jnp

    from gold_sim import policy, transformer, world

    limits, rows = device_limits(), []
    key, num = jax.random.key(0), scale.prompts * GROUP
    prompts = jax.random.randint(key, (scale.prompts, PROMPT), 1, VOCABULARY)

    def add(stage, net, work, f, params):
        rows.append(row(stage, net, 1, work, timed(f, params, scale.repeats, scale.rounds), limits))
        report(rows[-1])

    for size in scale.policies:
        net, rm_net = networks(scale, *size)
        params = jax.jit(lambda k, net=net: transformer.init(net, k))(key)
        rm = jax.jit(lambda k, net=rm_net: transformer.init(net, k))(key)
        draw = lambda p, i, net=net: policy.sample(net, p, prompts, GROUP, COMPLETION, jax.random.fold_in(key, i))
        responses = jax.jit(draw)(params, 0).responses
        log_probs = lambda p, i, net=net, r=responses: policy.log_probs(transformer.logits(net, p, prompts, r), r)
        score = lambda p, i, net=rm_net, r=responses: transformer.rewards(net, p, prompts, r, world.lengths(r))
        add("sampling", net, sampling(net, num), draw, params)
        add("reference log-probs", net, forward(net, num), log_probs, params)
        if size == scale.policies[0]:  # these do not depend on the policy
            add("reward model scores", rm_net, forward(rm_net, num), score, rm)

            def loss(p, prompts, r, net=rm_net):
                scores = transformer.rewards(net, p, prompts, r, world.lengths(r))
                return jnp.mean(jax.nn.softplus(scores[:, 0] - scores[:, 1]))

            add("reward model training", rm_net, update(rm_net, num), *_training(loss, rm, prompts, responses))
        loss = lambda p, prompts, r, net=net: -jnp.mean(policy.log_probs(transformer.logits(net, p, prompts, r), r))
        add("policy update", net, update(net, num), *_training(loss, params, prompts, responses))
        judged = lambda p, i, net=net, rm_net=rm_net, rm=rm: _pool(net, p, rm_net, rm, prompts[:1], num, i)
        add("best-of-n pool", net, sampling(net, num) + forward(rm_net, num), judged, params)
    net, rm_net = networks(scale, *scale.policies[min(1, len(scale.policies) - 1)])
    for name in scale.optimisers:
        f, state = whole_step(scale, net, rm_net, name)
        add(f"step: {name}", net, step_work(net, rm_net, num, name), f, state)
    return dict(limits, rows=rows)


def _pool(net, params, rm_net, rm, prompts, num: int, i):
    """Scores [num] of as many responses to one prompt, as gold_sim/pools.py draws and scores them."""
    import jax

    from gold_sim import memory, policy, transformer, world

    def some(uniforms):
        r = policy.written(net, params, prompts, uniforms.T[:, None]).responses
        return transformer.rewards(rm_net, rm, prompts, r, world.lengths(r))[0]

    return memory.in_pieces(some, policy.uniforms(jax.random.fold_in(jax.random.key(0), i), 1, num, COMPLETION)[:, 0].T)


def _training(loss, params, prompts, responses):
    """(one step of Adam on loss(params, prompts, responses), a mean over prompts; its first state)."""
    import jax
    import optax

    from gold_sim import memory

    adam = optax.adam(1e-4, b2=0.99)

    def f(state, i):
        gradient = lambda p, r: jax.grad(loss)(state[0], p, r)
        grads = memory.mean_in_pieces(gradient, prompts, responses, most=memory.A_GRADIENT // GROUP)
        updates, opt_state = adam.update(grads, state[1])
        return optax.apply_updates(state[0], updates), opt_state

    return f, (params, adam.init(params))


def step_work(net, rm_net, completions: int, name: str) -> Work:
    """A whole penalised step."""
    passes, gradients = OPTIMISERS[name]
    found = sampling(net, completions) + forward(rm_net, completions)
    for _ in range(1 + passes):
        found = found + forward(net, completions)
    for _ in range(gradients):
        found = found + update(net, completions)
    return found


def whole_step(scale: Scale, net, rm_net, name: str):
    """(step(state, i) -> state, first state) of `gold_sim.policy_gradient` with a KL penalty."""
    import jax

    from gold_sim import policy_gradient, transformer, world
    from gold_sim.config import OptimiserConfig

    net = dataclasses.replace(net, values=int(name == "ppo"))
    config, key = OptimiserConfig(name=name, prompts=scale.prompts, group_size=GROUP), jax.random.key(0)
    start = jax.jit(lambda k: transformer.init(net, k))(key)
    rm = jax.jit(lambda k: transformer.init(rm_net, k))(key)

    def task(ref_params, rm):
        reward = lambda p, r: transformer.rewards(rm_net, rm, p, r, world.lengths(r))
        draw = lambda key, num: jax.random.randint(key, (num, PROMPT), 1, VOCABULARY)
        return policy_gradient.Task(net, ref_params, COMPLETION, draw, reward, penalised=True)

    def step(state, i):
        train, ref_params, rm = state
        return policy_gradient.step(task(ref_params, rm), config, 0.05, key, train)

    return step, (policy_gradient.init(task(start, rm), config), start, rm)


def mapped(scale: Scale, report: Callable) -> dict:
    """A whole RLOO step of 1, 2, 4, ... runs mapped into one program: where does adding runs stop to pay?"""
    import jax
    import jax.numpy as jnp

    limits, rows = device_limits(), []
    num = scale.prompts * GROUP
    for size in scale.policies:
        net, rm_net = networks(scale, *size)
        step, state = whole_step(scale, net, rm_net, "rloo")
        work, runs = step_work(net, rm_net, num, "rloo"), 1
        while runs <= scale.most_runs:
            many = jax.tree.map(lambda a, runs=runs: jnp.broadcast_to(a, (runs, *a.shape)), state)
            try:
                spent = timed(jax.vmap(step, in_axes=(0, None)), many, 1, scale.rounds)
            except jax.errors.JaxRuntimeError as error:  # out of memory: the ceiling
                report(f"{runs} runs of {_params(net):,} parameters: {str(error).splitlines()[0][:100]}")
                break
            rows.append(row("step: rloo", net, runs, work * runs, spent, limits))
            report(rows[-1])
            if spent[0] * 2 > scale.most_seconds:
                break
            runs *= 2
    return dict(limits, rows=rows)


PARTS = dict(stages=stages, mapped=mapped)
