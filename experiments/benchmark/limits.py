"""What a device can do: its matrix rate, and the bandwidth of its memory and of each level of a CPU's cache."""

import re
import time
from collections.abc import Callable
from pathlib import Path

FLOAT = 4  # bytes
WORKING_SETS = tuple(2**i for i in range(14, 29, 2))  # bytes, 16 KiB to 256 MiB
MEMORY = "memory"
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # Linux


def clock() -> float:
    """CPU seconds of this process on a CPU, where on a shared core wall seconds mislead; wall seconds elsewhere."""
    import jax

    return time.process_time() if jax.default_backend() == "cpu" else time.perf_counter()


def seconds_of(f: Callable) -> float:
    """Seconds of one call, by `clock`."""
    began = clock()
    f()
    return clock() - began


def fastest(f: Callable, times: int = 10) -> float:
    """The least seconds of so many calls, after one that is not timed."""
    f()
    return min(seconds_of(f) for _ in range(times))


def measured() -> dict:
    """Matrix rate (GFLOP/s, as this precision multiplies float32), bandwidth (GB/s, read and written).

    On a CPU also `bandwidths`: (bytes of a working set, the level of cache that holds it, GB/s); on an accelerator the
    rate of products in bfloat16.
    """
    import jax
    import jax.numpy as jnp

    cpu = jax.default_backend() == "cpu"
    size = 1024 if cpu else 8192
    matrix = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    seconds = lambda x: fastest(lambda: jax.block_until_ready(product(x)))
    found = dict(matmul_gflops=2 * size**3 / seconds(matrix) / 1e9)
    if not cpu:
        of_half = 2 * size**3 / seconds(matrix.astype(jnp.bfloat16)) / 1e9
        return found | dict(matmul_bf16_gflops=of_half, bandwidth_gbytes=_bandwidth(2**32))
    sizes = cache_sizes()
    level = lambda held: next((name for name, size in sizes if held <= size), MEMORY)
    each = [(held, level(held), _bandwidth(held)) for held in WORKING_SETS]
    return found | dict(bandwidth_gbytes=each[-1][2], bandwidths=each)


def bandwidth(limits: dict, held: float) -> float:
    """GB/s at which a working set of `held` bytes is read and written: that of the next larger one measured."""
    each = limits.get("bandwidths", [])
    return next((rate for size, _, rate in each if held <= size), limits["bandwidth_gbytes"])


def cache_sizes() -> list[tuple[str, int]]:
    """(name, bytes) of each level of data cache that a core reads through; none where the system does not tell."""
    found = {}
    for index in sorted(_CACHES.glob("index[0-9]*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction" and (told := re.fullmatch(r"(\d+)([KM])", size)):
            found[f"L{level}"] = int(told[1]) * {"K": 2**10, "M": 2**20}[told[2]]
    return sorted(found.items())


def _bandwidth(held: int) -> float:
    """GB/s, read and written, of scaling so many bytes in place again and again.

    In place, as a fresh array of 128 MB is one page fault for every 4 KB: that gives 3.5 GB/s where memory gives 50.
    """
    import jax
    import jax.numpy as jnp

    length, repeats = held // FLOAT, max(1, 2**24 // held)
    scale = lambda x, _: (jax.lax.optimization_barrier(x * 1.0001), None)
    scaled = jax.jit(lambda x: jax.lax.scan(scale, x, length=repeats)[0], donate_argnums=0)
    state = [jnp.zeros(length)]

    def once():
        state[0] = jax.block_until_ready(scaled(state[0]))

    return 2 * held * repeats / fastest(once) / 1e9


def calling(args) -> float:
    """Seconds that it takes to call a program with these arguments from Python, whatever the program does."""
    import jax

    calls = 100
    program = jax.jit(lambda args: jax.tree.leaves(args)[0].ravel()[0])

    def several():
        for _ in range(calls):
            jax.block_until_ready(program(args))

    return fastest(several, 3) / calls
