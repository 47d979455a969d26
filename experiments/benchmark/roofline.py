"""The roofline of every stage: what it must compute and move, what the device can do, and the share that is reached.

    python -m experiments throughput --set part=stages      stages by policy size, then optimisers
    python -m experiments throughput --set part=mapped      a whole step of 1 to 512 runs in one program

Operations are those that must be done (2 a multiply-add, products alone). Bytes are those that must pass through
memory if all else stays on the chip: parameters wherever they are read or written, the key-value cache at every token,
and what the backward pass keeps of the forward one. All limits are measured on the device in the same process.

| field | what it is |
|---|---|
| matmul_fraction | share of the rate of large matrices: operations that must be done, over rate and seconds |
| width_seconds | the products that the stage does (products.py), each of its own shape at the core's fastest way |
| width_fraction | width_seconds over seconds: the share of the width-limited rate |
| bandwidth_fraction | bytes, over seconds and the bandwidth of the level of cache that holds what is passed over |
| least_seconds | the greater of width_seconds and bytes over bandwidth; `bound` names it |
| spent | seconds by kind of operation (spent.py); `between`: what no operation accounts for; empty on a busy core |
| call_seconds | calling a program with these arguments from Python, whatever it does; no part of seconds |

On an accelerator products count at the rate of large matrices, and nothing is said of `spent`.
"""

import dataclasses
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from experiments.benchmark import limits, products, spent
from experiments.benchmark.limits import FLOAT
from gold_sim.networks import network
from gold_sim.networks.network import Network, num_params

GROUP, PROMPT, COMPLETION, VOCABULARY = 4, 8, 16, 64  # sizes of the benchmark, near to those of the language
LENGTH = PROMPT + COMPLETION
COMPILING = max(1, os.cpu_count() or 1)  # programs at a time, beside an accelerator


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of one call: operations, bytes by what is passed over, and completions that it serves."""

    flops: float
    moved: tuple[tuple[float, float], ...]  # (bytes read and written, bytes of the working set that they lie in)
    completions: int

    @property
    def bytes(self) -> float:
        return sum(moved for moved, _ in self.moved)

    def __mul__(self, times: float) -> "Work":
        """As many calls side by side."""
        moved = tuple((bytes * times, held * times) for bytes, held in self.moved)
        return Work(self.flops * times, moved, int(self.completions * times))

    def in_turn(self, times: int) -> "Work":
        """As many calls one after another, each on completions of its own."""
        moved = tuple((bytes * times, held) for bytes, held in self.moved)
        return Work(self.flops * times, moved, self.completions * times)

    def __add__(self, other: "Work") -> "Work":
        """The sum of two pieces of work on the same completions."""
        return Work(self.flops + other.flops, self.moved + other.moved, self.completions)


def read(tokens: int) -> tuple[float, float]:
    """(tokens, positions that they attend to) of so many tokens of a completion, its group sharing the prompt."""
    attended = sum(PROMPT + t + 1 for t in range(tokens)) + sum(t + 1 for t in range(PROMPT)) / GROUP
    return tokens + PROMPT / GROUP, attended


def forward_flops(net: Network, tokens: int) -> float:
    """Products of a completion's forward pass: so many of its tokens are read, and the head is applied for each."""
    return network.forward_flops(net, *read(tokens), states=COMPLETION)


def reward_flops(net: Network) -> float:
    """Products of a completion's reward."""
    return network.reward_flops(net, *read(COMPLETION), length=LENGTH)


def _of_product(net) -> int:
    """Bytes of a number that a product within blocks reads."""
    return 2 if net.precision == "bfloat16" else FLOAT


def sampling(net, completions: int) -> Work:
    """The work of sampling token by token with a cache: every token reads the parameters and the cache so far."""
    flops = completions * forward_flops(net, COMPLETION - 1)
    a_token = 2 * net.width * net.depth  # numbers of the cache
    cached = sum(PROMPT / GROUP + t + 1 for t in range(COMPLETION - 1)) * a_token
    read = _of_product(net) * (COMPLETION * num_params(net) + completions * cached)
    held = _of_product(net) * (num_params(net) + completions * (COMPLETION + PROMPT / GROUP) * a_token)
    return Work(flops, ((read, held),), completions)


def forward(net, completions: int) -> Work:
    """The work of a pass over all tokens at once, for a policy's log-probs or a reward model's scores (one output)."""
    flops = reward_flops(net) if net.outputs == 1 else forward_flops(net, COMPLETION - 1)
    parameters = _of_product(net) * num_params(net)
    return Work(completions * flops, ((parameters, parameters),), completions)


def update(net, completions: int) -> Work:
    """The work of a gradient step: a forward pass, a backward pass of twice its products, and Adam's moments.

    On a CPU the backward pass finds in the cache what the forward pass of its piece left.
    """
    from gold_sim.networks import pieces  # needs jax

    state = FLOAT * num_params(net)
    activations = lambda completions: (
        _of_product(net) * network.ACTIVATIONS * net.width * net.depth * completions * (COMPLETION + PROMPT / GROUP)
    )
    of_piece = activations(min(completions, pieces.A_GRADIENT))
    moved = ((10 * state, 4 * state), (2 * activations(completions), of_piece))  # parameters, gradient, two moments
    return Work(3 * forward(net, completions).flops, moved, completions)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What is timed: f(params, i) -> anything, from the parameters that first() makes."""

    stage: str
    net: object  # Network
    work: Work  # of all the runs of one call
    f: Callable
    first: Callable
    runs: int = 1


def compiled(m: Measurement, repeats: int) -> tuple[Callable, float]:
    """(the program that calls f so many times in one loop, seconds of compiling it).

    A loop and not single calls: memory is then touched for the first time once, as in training. Each turn's parameters
    depend on what the last one returned, so that nothing can be moved out of the loop.
    """
    import jax
    import jax.numpy as jnp

    from gold_sim import device

    def turn(params, i):
        total = sum(jnp.sum(jnp.nan_to_num(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(m.f(params, i)))
        return jax.tree.map(lambda p: p + 1e-30 * total if jnp.issubdtype(p.dtype, jnp.floating) else p, params), None

    began = limits.clock()
    loop = jax.jit(lambda p: jax.lax.scan(turn, p, jnp.arange(repeats))[0])
    options = {} if device.accelerated() else spent.TRACED
    program = loop.lower(jax.eval_shape(m.first)).compile(compiler_options=options)
    return program, limits.clock() - began


def timed(m: Measurement, program: Callable, repeats: int, rounds: int) -> float:
    """Median seconds of one call of f."""
    import jax

    params = jax.jit(m.first)()
    jax.block_until_ready(program(params))
    took = [limits.seconds_of(lambda: jax.block_until_ready(program(params))) for _ in range(rounds)]
    return statistics.median(took) / repeats


def table(measurements: list[Measurement], scale: "Scale", repeats: int, report: Callable, apart=False) -> dict:
    """The device's limits and a line for every measurement, in order; report(line, all so far) as it goes.

    apart: whether a CPU's lines have what `spent.taken_apart` tells, which takes about as long again.

    On an accelerator programs are compiled beside one another, all before any is timed. Of a stage and network that
    come with more and more runs, those that would take longer than scale.most_seconds or do not fit are left out.
    """
    import jax

    from gold_sim import device

    rows, ended, ahead, rates = [], set(), [], products.Rates()
    device_limits = limits.measured()
    found = dict(device_limits, rows=rows)
    if device.accelerated():
        with ThreadPoolExecutor(COMPILING) as pool:
            ahead = [pool.submit(compiled, m, repeats) for m in measurements]
    for i, m in enumerate(measurements):
        if (m.stage, m.net) in ended:
            continue
        try:
            program, compiling = ahead[i].result() if ahead else compiled(m, repeats)
            seconds = timed(m, program, repeats, scale.rounds)
        except jax.errors.JaxRuntimeError as error:  # out of memory: the ceiling
            ended.add((m.stage, m.net))
            what = f"{m.stage}, {m.runs} runs of {num_params(m.net):,} parameters: {str(error).splitlines()[0][:100]}"
            report(what, found)
            continue
        more = {}
        if apart and not device.accelerated():
            more = spent.taken_apart(m.f, m.first, program, repeats, seconds, rates)
            found["products"] = rates.rows()
        rows.append(row(m, seconds, compiling, device_limits, more))
        report(rows[-1], found)
        if seconds * 2 > scale.most_seconds:
            ended.add((m.stage, m.net))
    return found


def row(m: Measurement, seconds: float, compiling: float, device_limits: dict, more: dict) -> dict:
    """One line of the table.  more: as `spent.taken_apart` gives it, or nothing."""
    work = m.work
    computing = work.flops / (1e9 * _rate(m.net, device_limits))
    moving = sum(moved / (1e9 * limits.bandwidth(device_limits, held)) for moved, held in work.moved)
    at_best = more.get("width_seconds", computing)
    return dict(
        stage=m.stage,
        params=num_params(m.net),
        mapped_runs=m.runs,
        completions=work.completions,
        flops=work.flops,
        bytes=work.bytes,
        seconds=seconds,
        compile_seconds=compiling,
        completions_per_second=work.completions / seconds,
        matmul_fraction=computing / seconds,
        bandwidth_fraction=moving / seconds,
        least_seconds=max(at_best, moving),
        bound="products" if at_best > moving else "bandwidth",
        roofline_fraction=max(at_best, moving) / seconds,
        **more,
    )


def _rate(net, device_limits: dict) -> float:
    half = net.precision == "bfloat16"
    rate = device_limits["matmul_gflops"]
    return device_limits.get("matmul_bf16_gflops", rate) if half else rate


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
    runs: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # mapped into one program
    most_seconds: float = 4.0  # of one step: no more runs are mapped than take so long
    precision: str = "float32"
    optimisers: tuple[str, ...] = tuple(OPTIMISERS)


SCALES = {
    "smoke": Scale(((8, 1),), reward_model=(8, 1), prompts=4, repeats=2, rounds=1, runs=(1, 2), optimisers=("rloo",)),
    "cpu": Scale(((32, 1), (64, 2), (128, 4))),
    "gpu": Scale(
        ((64, 2), (192, 2), (512, 3), (1024, 8)),  # 0.1M, 1M, 10M, 100M parameters
        prompts=256,
        runs=(1, 4, 16, 64, 256, 512),
        precision="bfloat16",
        optimisers=("rloo", "grpo", "ppo"),
    ),
}


def networks(scale: Scale, width: int, depth: int):
    """(policy, reward model)."""
    of = lambda size, outputs: Network(*size, VOCABULARY, outputs, LENGTH, precision=scale.precision)
    return of((width, depth), VOCABULARY), of(scale.reward_model, 1)


def stages(scale: Scale, report: Callable) -> dict:
    """Each stage of a step by policy size, reward models in training, the pool of best-of-n, and whole steps."""
    import jax
    import jax.numpy as jnp

    from gold_sim import device, policy
    from gold_sim.language import sequences
    from gold_sim.networks import pieces, transformer

    found, key, num = [], jax.random.key(0), scale.prompts * GROUP
    prompts = jax.random.randint(key, (scale.prompts, PROMPT), 1, VOCABULARY)
    responses = jax.random.randint(key, (scale.prompts, GROUP, COMPLETION), 1, VOCABULARY)

    def add(stage, net, work, f, first):
        found.append(Measurement(stage, net, work, f, first))

    for size in scale.policies:
        net, rm_net = networks(scale, *size)
        start, rm = (lambda net=net: transformer.init(net, key)), (lambda net=rm_net: transformer.init(net, key))
        draw = lambda p, i, net=net: policy.sample(net, p, prompts, GROUP, COMPLETION, jax.random.fold_in(key, i))
        log_probs = lambda p, i, net=net: policy.log_probs(transformer.logits(net, p, prompts, responses), responses)
        score = lambda p, i, net=rm_net: transformer.rewards(net, p, prompts, responses, sequences.lengths(responses))
        add("sampling", net, sampling(net, num), draw, start)
        add("reference log-probs", net, forward(net, num), log_probs, start)
        if size == scale.policies[0]:  # these do not depend on the policy
            add("reward model scores", rm_net, forward(rm_net, num), score, rm)

            def loss(p, prompts, r, net=rm_net):
                scores = transformer.rewards(net, p, prompts, r, sequences.lengths(r))
                return jnp.mean(jax.nn.softplus(scores[:, 0] - scores[:, 1]))

            add("reward model training", rm_net, update(rm_net, num), *_training(loss, rm, prompts, responses))
        loss = lambda p, prompts, r, net=net: -jnp.mean(policy.log_probs(transformer.logits(net, p, prompts, r), r))
        add("policy update", net, update(net, num), *_training(loss, start, prompts, responses))
        at_once = num // (1 if device.accelerated() else pieces.equal_pieces(num, pieces.A_PIECE))
        pool = (sampling(net, at_once) + forward(rm_net, at_once)).in_turn(num // at_once)
        judged = lambda both, i, net=net, rm_net=rm_net: _pool(net, both[0], rm_net, both[1], prompts[:1], num, i)
        both = lambda start=start, rm=rm: (start(), rm())
        add("best-of-n pool", net, pool, judged, both)
        names = scale.optimisers if size == scale.policies[min(1, len(scale.policies) - 1)] else scale.optimisers[:1]
        for name in names:
            add(f"step: {name}", net, step_work(net, rm_net, num, name), *whole_step(scale, net, rm_net, name))
    return table(found, scale, scale.repeats, report, apart=True)


def _pool(net, params, rm_net, rm, prompts, num: int, i):
    """Scores [num] of as many responses to one prompt, as the stages pool and scores draw and score them."""
    import jax

    from gold_sim import policy
    from gold_sim.language import sequences
    from gold_sim.networks import pieces, transformer

    def some(uniforms):
        r = policy.written(net, params, prompts, uniforms.T[:, None]).responses
        return transformer.rewards(rm_net, rm, prompts, r, sequences.lengths(r))[0]

    return pieces.in_pieces(some, policy.uniforms(jax.random.fold_in(jax.random.key(0), i), 1, num, COMPLETION)[:, 0].T)


def _training(loss, start, prompts, responses):
    """(one step of Adam on loss(params, prompts, responses), a mean over prompts; what makes its first state)."""
    import jax
    import optax

    from gold_sim.networks import pieces
    from gold_sim.networks.adam import adam

    optimiser = adam(1e-4)

    def f(state, i):
        gradient = lambda p, r: jax.grad(loss)(state[0], p, r)
        grads = pieces.mean_in_pieces(gradient, prompts, responses, most=pieces.A_GRADIENT // GROUP)
        updates, opt_state = optimiser.update(grads, state[1])
        return optax.apply_updates(state[0], updates), opt_state

    def first():
        params = start()
        return params, optimiser.init(params)

    return f, first


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
    """(step(state, i) -> state, what makes the first) of an optimiser with a KL penalty, by the driver."""
    import jax

    from gold_sim.config import OptimiserConfig
    from gold_sim.language import sequences
    from gold_sim.networks import transformer
    from gold_sim.optimisation import algorithms, driver, policy_gradient

    config, key = OptimiserConfig(name=name, prompts=scale.prompts, group_size=GROUP), jax.random.key(0)
    algorithm = algorithms.find(config)
    net = dataclasses.replace(net, values=algorithm.values)
    draw = lambda key, num: jax.random.randint(key, (num, PROMPT), 1, VOCABULARY)
    task = lambda ref_params: policy_gradient.Task(config, net, ref_params, COMPLETION, draw, key, 0.05)

    def step(state, i):
        train, ref_params, rm = state
        reward = lambda p, r: transformer.rewards(rm_net, rm, p, r, sequences.lengths(r))
        return driver.step(driver.of_run(algorithm, task(ref_params), reward), train)

    def first():
        start, rm = transformer.init(net, key), transformer.init(rm_net, key)
        return algorithm.init(task(start)), start, rm

    return step, first


def mapped(scale: Scale, report: Callable) -> dict:
    """A whole RLOO step of 1, 2, 4, ... runs mapped into one program, to see where adding runs stops paying off."""
    import jax
    import jax.numpy as jnp

    from gold_sim.networks import footprint

    found, num = [], scale.prompts * GROUP
    for size in scale.policies:
        net, rm_net = networks(scale, *size)
        step, first = whole_step(scale, net, rm_net, "rloo")
        work = step_work(net, rm_net, num, "rloo")
        fit = footprint.at_once(footprint.of_training(net, num * COMPLETION + scale.prompts * PROMPT))
        for runs in (r for r in scale.runs if fit is None or r <= fit):
            copies = lambda r=runs, f=first: jax.tree.map(lambda a: jnp.broadcast_to(a, (r, *a.shape)), f())
            found.append(Measurement("step: rloo", net, work * runs, jax.vmap(step, in_axes=(0, None)), copies, runs))
    return table(found, scale, 1, report)


PARTS = dict(stages=stages, mapped=mapped)
