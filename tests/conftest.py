"""Test-wide settings of jax, and the enumerable world on which the answers are known."""

import dataclasses
import functools
import gc
import os
import signal
import tempfile

# Before jax is imported: tests compile far longer than they run. These take a smoke RL cell from 31 CPU-s to 7.
FAST_TO_COMPILE = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen=false {FAST_TO_COMPILE}")
os.environ.setdefault("PJRT_NPROC", "1")  # two workers share two cores
# The user's id: a cache of another user could not be written to. Commands that tests start inherit it.
CACHE = os.path.join(tempfile.gettempdir(), f"gold_sim-jax-cache-{getattr(os, 'getuid', lambda: 0)()}")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

gc.set_threshold(200_000, 50, 50)  # tracing makes much and drops little: collecting takes a twentieth of the time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import policy
from gold_sim.config import PolicyConfig, WorldConfig
from gold_sim.language import sequences
from gold_sim.language.topics import world
from gold_sim.networks import network, transformer
from gold_sim.optimisation import algorithms, driver, exact

# Workers take whole files, and the last to be taken should be short.
LONGEST = (
    *("test_experiments", "test_smoke", "test_run_faults", "test_policy_gradient", "test_algorithms", "test_faults"),
    *("test_engines", "test_signals", "test_seeds", "test_documents", "test_extending", "test_direct_alignment"),
    *("test_rehearsal", "test_convergence", "test_frontier", "test_claims", "test_decisions", "test_graph"),
    *("test_package", "test_command_line"),
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_configure(config):
    """Signals as a terminal gives them, which commands inherit: `nohup` and background jobs ignore some of them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Two workers may meet at one cache file; jax then compiles afresh and warns, which is no failure.
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache:UserWarning")


# `compiler_options` of a program that runs for longer than it compiles, such as 600 steps of training.
FAST_TO_RUN = {"xla_backend_optimization_level": 1}
# Of the library's functions those that tests call outside a program: op by op, each of a hundred small ones compiles.
init, logits = (jax.jit(f, static_argnums=0) for f in (transformer.init, transformer.logits))
judge_init = jax.jit(lambda net, key: net.init(key), static_argnums=0)  # of a reward network
demonstrations = jax.jit(lambda language, *args: language.demonstrations(*args), static_argnums=(0, 3))
PROMPTS = (
    "<bos> bread oven the the <ask>",
    "<bos> oven bread the the <ask>",
    "<bos> oven bread hazard0 process0 <ask>",
    "<bos> oven oven hazard0 person0 <ask>",
)


def driven(task, score, measure, options=FAST_TO_RUN):
    """(last state, curve) of a whole run, by the driver as stages use it: its programs are compiled one by one."""
    algorithm, compiled = algorithms.find(task.config), functools.partial(jax.jit, compiler_options=options)
    programs = driver.Programs(*(f and compiled(f) for f in driver.of_run(algorithm, task, score)))
    start = jax.jit(lambda: algorithm.init(task))()
    return driver.drive(programs, start, compiled(measure), task.config.steps, task.config.evaluations)


@dataclasses.dataclass(frozen=True)
class Enumerable:
    """585 responses (up to 3 of 8 tokens), a random reference policy, a random reward of s.d. about 1."""

    language: world.World
    net: network.Network  # without a value head
    ref_params: dict  # with a value head, which `net` does not read
    prompts: jax.Array  # [4, 6]
    responses: np.ndarray  # [585, 3]
    ref: jax.Array  # [4, 585] log-probabilities
    reward: object  # (prompts, responses [P, N, L]) -> [P, N]
    rewards: jax.Array  # [4, 585] of the listed responses


@pytest.fixture(scope="session")
def tiny() -> Enumerable:
    sizes = dict(topics=1, words_per_topic=2, function_words=1, classes=2, values=2, hazards=1, contexts=1)
    language = world.make(WorldConfig(**sizes, response_len=3))
    config = PolicyConfig(width=16, depth=1)
    net = policy.network(language, config)
    ref_params = init(policy.network(language, config, values=1), jax.random.key(1))
    ref_params["head"]["kernel"] = ref_params["head"]["kernel"] * 10  # fresh heads write almost uniformly
    prompts = jnp.array([[language.token(w) for w in p.split()] for p in PROMPTS])
    responses = sequences.enumerate_responses(language.num_writable, language.response_len)
    ref = jax.jit(exact.response_log_probs, static_argnums=0)(net, ref_params, prompts, responses)

    judge = dataclasses.replace(net, outputs=1)
    judge_params = init(judge, jax.random.key(7))
    raw = jax.jit(lambda p, r: transformer.rewards(judge, judge_params, p, r, sequences.lengths(r)))
    listed = raw(prompts, jnp.broadcast_to(responses, (len(prompts), *responses.shape)))
    shift, scale = jnp.mean(exact.expected(ref, listed)), jnp.mean(exact.std(ref, listed))
    reward = lambda p, r: (raw(p, r) - shift) / scale
    return Enumerable(language, net, ref_params, prompts, responses, ref, reward, (listed - shift) / scale)
