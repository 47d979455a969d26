"""The products of matrices that a function does, read off its program, and the fastest way to do each on a CPU."""

import collections
import dataclasses
import math
from collections.abc import Callable

from experiments.benchmark import limits


@dataclasses.dataclass(frozen=True)
class Product:
    """`batch` products [rows, inner] x [inner, columns] of one kind of number."""

    batch: int
    rows: int
    inner: int
    columns: int
    dtype: str = "float32"

    @property
    def flops(self) -> float:
        """Operations, 2 a multiply-add."""
        return 2.0 * self.batch * self.rows * self.inner * self.columns


def of(f: Callable, *args) -> dict[Product, int]:
    """The products of one call f(*args), each with how often it is done; args may be shapes.

    They are those of the function as it was traced: padded and hidden keys of attention count, and so do the products
    that a gradient computes again.  ValueError: products in a loop whose length is not known before it runs.
    """
    import jax

    found = collections.Counter()
    _add(jax.make_jaxpr(f)(*args).jaxpr, 1, found)
    return dict(found)


def _add(jaxpr, times: int, found: collections.Counter):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            found[_product(eqn)] += times
            continue
        parts = [part for value in eqn.params.values() for part in (value if isinstance(value, tuple) else (value,))]
        inner = [getattr(part, "jaxpr", part) for part in parts]
        before = found.total()
        for part in inner:
            if hasattr(part, "eqns"):
                _add(part, times * eqn.params.get("length", 1) if eqn.primitive.name == "scan" else times, found)
        if eqn.primitive.name == "while" and found.total() > before:
            raise ValueError("a while loop with products: how often it turns is not known; a scan is wanted")


def _product(eqn) -> Product:
    a, b = (v.aval for v in eqn.invars)
    (of_a, of_b), (batch, batch_b) = eqn.params["dimension_numbers"]
    size = lambda shape, axes: math.prod(shape[i] for i in axes)
    rest = lambda shape, *gone: math.prod(n for i, n in enumerate(shape) if i not in {*gone[0], *gone[1]})
    rows, columns = rest(a.shape, of_a, batch), rest(b.shape, of_b, batch_b)
    return Product(size(a.shape, batch), rows, size(a.shape, of_a), columns, str(a.dtype))


def flops(found: dict[Product, int]) -> float:
    """Operations of all products."""
    return sum(product.flops * times for product, times in found.items())


# --- how fast each can be done ----------------------------------------------------------------

LIBRARY = "xla_cpu_experimental_ynn_fusion_type"  # the kinds of operation that XLA hands to its library; "": none


@dataclasses.dataclass
class Rates:
    """Seconds of each product by the fastest way of this core, measured when it is first asked for."""

    known: dict[Product, tuple[float, str]] = dataclasses.field(default_factory=dict)

    def seconds(self, found: dict[Product, int]) -> float:
        """The least seconds that all products take, one after another."""
        return sum(self.of(product)[0] * times for product, times in found.items())

    def of(self, product: Product) -> tuple[float, str]:
        """(seconds of one, by which way: XLA with its library, XLA without it, or numpy)."""
        if product not in self.known:
            ways = {"library": lambda: _by_xla(product, {}), "own": lambda: _by_xla(product, {LIBRARY: ""})}
            if product.dtype == "float32":
                ways["numpy"] = lambda: _by_numpy(product)
            self.known[product] = min((measure(), way) for way, measure in ways.items())
        return self.known[product]

    def rows(self) -> list[dict]:
        """A line for each product measured: its shape, GFLOP/s, and the way that was fastest."""
        each = self.known.items()
        return [dict(dataclasses.asdict(p), gflops=p.flops / s / 1e9, way=way) for p, (s, way) in each]


def _repeats(product: Product) -> int:
    """How often a product is done in one measurement, for about two milliseconds."""
    return max(1, round(2e8 / product.flops))


def _shapes(product: Product) -> tuple[tuple, tuple]:
    return (product.batch, product.rows, product.inner), (product.batch, product.inner, product.columns)


def _by_xla(product: Product, options: dict) -> float:
    """Seconds of one product in a loop of XLA's, so that calling a program does not count."""
    import jax
    import jax.numpy as jnp

    single = product.batch == 1
    a, b = (jnp.ones(shape[1:] if single else shape, product.dtype) for shape in _shapes(product))
    dims = (((1,), (0,)), ((), ())) if single else (((2,), (1,)), ((0,), (0,)))
    repeats = _repeats(product)

    def turn(carry, i):
        a, b, _, _ = jax.lax.optimization_barrier((*carry, i))  # or the product would be moved out of the loop
        return (a, b, jax.lax.dot_general(a, b, dims, preferred_element_type=jnp.float32)), None

    out = jax.eval_shape(lambda a, b: jax.lax.dot_general(a, b, dims, preferred_element_type=jnp.float32), a, b)
    loop = jax.jit(lambda a, b: jax.lax.scan(turn, (a, b, jnp.zeros(out.shape)), jnp.arange(repeats))[0][2])
    program = loop.lower(a, b).compile(compiler_options=options)
    return limits.fastest(lambda: jax.block_until_ready(program(a, b))) / repeats


def _by_numpy(product: Product) -> float:
    import numpy as np

    a, b = (np.ones(shape, np.float32) for shape in _shapes(product))
    out, repeats = np.empty((product.batch, product.rows, product.columns), np.float32), _repeats(product)

    def several():
        for _ in range(repeats):
            np.matmul(a, b, out=out)

    return limits.fastest(several) / repeats
