"""The hierarchical model of runs, and its sampler: numpyro's NUTS, one program for chains, data sets and left-out runs.

Of the modules of analysis only this one imports jax. Others import it inside functions, when it is asked for.

Gold of a run follows a form of `gold_sim.laws.forms`, R(d) = alpha u(d) + beta v(d). With c = (alpha, beta):

    gold_rt = (c_g + a_s + b_r) . (u_t, v_t) + noise * e_rt     run r of group g and unit s, at its point t
    c_g     = level + slope . log10 size_g + apart * z_g        z_g ~ N(0, 1)
    a_s     ~ N(0, share * C),  b_r ~ N(0, (1 - share) * C)     C has s.d. `spread` and correlation 2 half - 1

A unit is what runs share over groups, as a seed does that trains a reward model of every size. Without such units there
is no a_s. All that is normal given the scales - deviations, groups, line - is integrated out in closed form. NUTS sees
at most seven scales and no funnel; the coefficients are then drawn exactly. That is the non-centred form, with its z_g
and the like integrated out: sampled, four chains of 500 draws left 31 effective ones and R-hat at 1.07.

Noise is independent between points, as least squares has it. Gold is not: what is common along a run goes into the
run's own deviation, and coverage is measured on curves of correlated noise (`analysis.bayes.calibration`).
That choice was made after a disagreement was seen, so agreement with least squares is no blind evidence: with noise
correlated along runs the likelihood weighs increments of gold, and alpha of the rl form on RL's path of the shipped
rm_size came out as 0.57, where least squares have 0.36. The prior of the noise was changed then, too.

Priors, in units of the data's scale (gold, u and v divided by their root mean squares over all points):
level N(0, 2.5), slope N(0, 1) a tenfold size, apart and spread half-normal(0.5), half Beta(2, 2), share uniform, noise
half-normal(0.5). They follow from the scale alone; `prior_check` says where gold lies among curves that they predict.
"""

import contextlib
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.hmc import hmc
from numpyro.infer.util import constrain_fn, potential_energy

from analysis.bayes.design import Arrays

LEVEL, SLOPE = 2.5, 1.0  # prior s.d. of the line's level, and of its change a tenfold size
DEPTH = 7  # of NUTS's trees
ACCEPT = 0.9
EYE = np.eye(2)
# A program compiles for longer than it runs.
OF_XLA = {
    "xla_cpu_multi_thread_eigen": False,
    "xla_backend_optimization_level": 1,
    "xla_llvm_disable_expensive_passes": True,
}


def priors(num_groups: int, shared: bool) -> dict:
    """Draw the scales; with numpyro's handlers, their density."""
    pair = dist.HalfNormal(0.5).expand([2]).to_event(1)
    p = {"spread": numpyro.sample("spread", pair), "half": numpyro.sample("half", dist.Beta(2.0, 2.0))}
    p["noise"] = numpyro.sample("noise", dist.HalfNormal(0.5))
    if num_groups > 1:
        p["apart"] = numpyro.sample("apart", pair)
    if shared:
        p["share"] = numpyro.sample("share", dist.Uniform(0.0, 1.0))
    return p


def covariance(p: dict) -> jax.Array:
    """Covariance of the runs' coefficients about their group's, [2, 2]."""
    return jnp.outer(p["spread"], p["spread"]) * (EYE + (2 * p["half"] - 1) * (1 - EYE))


def loadings(p: dict, sizes) -> jax.Array:
    """[2G, 2P] from P standard normals a coefficient - level, slopes, groups - to the groups' coefficients [G, 2]."""
    num_groups = sizes.shape[0]
    line = [LEVEL * jnp.ones((num_groups, 1)), SLOPE * sizes]
    of = [jnp.concatenate(line + ([p["apart"][c] * jnp.eye(num_groups)] if "apart" in p else []), 1) for c in (0, 1)]
    return jnp.stack([jnp.kron(row, one) for row, one in zip(jnp.asarray(EYE), of, strict=True)], 1).reshape(
        2 * num_groups, -1
    )


def evidence(p: dict, data: Arrays, num_units: int):
    """What gold says of the groups' coefficients c [2G], the deviations of runs and units integrated out.

    Returns the log density [S] of each unit's gold at c = 0, and (precision [S, 2G, 2G], pull [S, 2G]): at c it is that
    plus c . pull - c' precision c / 2.
    """
    num_groups, eye = data.sizes.shape[0], jnp.asarray(EYE)
    cov, share, variance = covariance(p), p.get("share", 0.0), p["noise"] ** 2
    own, both = (1 - share) * cov, share * cov
    cross, pull = data.cross / variance, data.pull / variance
    inner = eye[None] + cross @ own
    solved = _inverse(inner) @ jnp.concatenate([cross, pull[..., None]], -1)  # [R, 2, 3]
    explained = jnp.einsum("ri,ij,rj->r", pull, own, solved[..., 2])
    constant = data.count * jnp.log(2 * jnp.pi * variance)
    alone = -0.5 * (constant + jnp.log(_det(inner)) + data.squares / variance - explained)
    of_unit = (data.unit[:, None] == jnp.arange(num_units)[None]) * 1.0
    of_group = (data.group[:, None] == jnp.arange(num_groups)[None]) * 1.0
    parts = jnp.einsum("rs,rg,rij->sgij", of_unit, of_group, solved)
    total = parts.sum(1)
    inner = eye[None] + total[..., :2] @ both
    shift = both @ _inverse(inner)  # the unit's deviation has posterior mean shift (pull - precision c)
    blocks = parts[..., :2].reshape(num_units, -1, 2)
    precision = jnp.einsum("sgij,gh->sgihj", parts[..., :2], jnp.eye(num_groups))
    precision = precision.reshape(num_units, *2 * (2 * num_groups,)) - blocks @ shift @ jnp.swapaxes(blocks, -1, -2)
    moved = jnp.einsum("sij,sj->si", shift, total[..., 2])
    pull = parts[..., 2].reshape(num_units, -1) - jnp.einsum("sai,si->sa", blocks, moved)
    base = of_unit.T @ alone - 0.5 * jnp.log(_det(inner)) + 0.5 * jnp.sum(total[..., 2] * moved, -1)
    return base, (precision, pull)


def _det(m):
    return m[..., 0, 0] * m[..., 1, 1] - m[..., 0, 1] * m[..., 1, 0]


def _inverse(m):
    """Inverses of 2x2 matrices."""
    turned = jnp.stack([m[..., 1, 1], -m[..., 0, 1], -m[..., 1, 0], m[..., 0, 0]], -1)
    return (turned / _det(m)[..., None]).reshape(m.shape)


def _cholesky(m):
    """Lower factor of a small positive matrix, column by column.

    LAPACK's batched calls wait for threads of the pool that they run in, and with two cores that was for ever. So small
    matrices are factored and inverted by plain products here.
    """
    place = jnp.arange(m.shape[0])

    def column(m, k):
        one = jnp.where(place >= k, m[:, k], 0.0) / jnp.sqrt(m[k, k])
        return m - jnp.outer(one, one), one

    return jax.lax.scan(column, m, place)[1].T


def _inverted(m):
    """(inverse, log determinant) of a small positive matrix, by Gauss-Jordan elimination."""
    place = jnp.arange(m.shape[0])

    def eliminate(k, state):
        m, log_det = state
        here, pivot, column, row = place == k, m[k, k], m[:, k], m[k]
        beside = jnp.where(here, 1 / pivot, -column / pivot)
        m = jnp.where(here[:, None], row / pivot, m - jnp.outer(column, row) / pivot)
        return jnp.where(here[None], beside[:, None], m), log_det + jnp.log(pivot)

    return jax.lax.fori_loop(0, len(place), eliminate, (m, jnp.zeros((), m.dtype)))


@jax.custom_vjp
def _of_normals(precision, pull):
    """Log of the integral of exp(pull . z - z' precision z / 2) over z, less that of a standard normal's density."""
    return _of_normals_forward(precision, pull)[0]


def _of_normals_forward(precision, pull):
    inverse, log_det = _inverted(precision)
    mean = inverse @ pull
    return 0.5 * (pull @ mean - log_det), (inverse, mean)


def _of_normals_backward(saved, scale):
    inverse, mean = saved
    return -0.5 * scale * (inverse + jnp.outer(mean, mean)), scale * mean


_of_normals.defvjp(_of_normals_forward, _of_normals_backward)


def _normals(p, data, precision, pull):
    """(loadings, posterior precision, pull) of the standard normals behind the coefficients."""
    load = loadings(p, data.sizes)
    return load, jnp.eye(load.shape[1]) + load.T @ precision.sum(0) @ load, load.T @ pull.sum(0)


def log_marginal(p: dict, data: Arrays, num_units: int) -> jax.Array:
    """Log density of all gold given the scales, every coefficient integrated out."""
    base, (precision, pull) = evidence(p, data, num_units)
    _, *of_normals = _normals(p, data, precision, pull)
    return base.sum() + _of_normals(*of_normals)


def coefficients(p: dict, data: Arrays, num_units: int, key) -> dict:
    """An exact draw of level [2], slope [K, 2] and the groups' coefficients [G, 2], given the scales."""
    _, (precision, pull) = evidence(p, data, num_units)
    load, precision, pull = _normals(p, data, precision, pull)
    inverse, _ = _inverted(precision)
    drawn = inverse @ pull + _cholesky(inverse) @ jax.random.normal(key, pull.shape, pull.dtype)
    each, num_sizes = drawn.reshape(2, -1), data.sizes.shape[1]
    slope = SLOPE * each[:, 1 : 1 + num_sizes].T
    return {"level": LEVEL * each[:, 0], "slope": slope, "groups": (load @ drawn).reshape(-1, 2)}


def density(p: dict, data: Arrays, num_units: int) -> jax.Array:
    """Log density [S] of each unit's standardised gold given scales and the groups' coefficients p["groups"]."""
    base, (precision, pull) = evidence(p, data, num_units)
    c = p["groups"].reshape(-1)
    return base + pull @ c - 0.5 * jnp.einsum("a,sab,b->s", c, precision, c)


def prior_draw(key, data: Arrays, shared: bool) -> dict:
    """Scales and coefficients as the priors have them, named as the draws of `sample` are."""
    with numpyro.handlers.seed(rng_seed=key):
        p = priors(data.sizes.shape[0], shared)
    load = loadings(p, data.sizes)
    drawn = jax.random.normal(jax.random.fold_in(key, 1), load.shape[1:], load.dtype)
    each, num_sizes = drawn.reshape(2, -1), data.sizes.shape[1]
    slope = SLOPE * each[:, 1 : 1 + num_sizes].T
    return p | {"level": LEVEL * each[:, 0], "slope": slope, "groups": (load @ drawn).reshape(-1, 2)}


def new_gold(p: dict, key, data: Arrays, basis, num_units: int) -> jax.Array:
    """Standardised gold [R, T] of new units and runs in the places of those of `data`.  basis: [R, T, 2]."""
    of_units, of_runs, at_points = jax.random.split(key, 3)
    factor, share = _cholesky(covariance(p)), p.get("share", 0.0)
    normal = lambda key, *shape: jax.random.normal(key, shape, basis.dtype)
    about = jnp.sqrt(share) * normal(of_units, num_units, 2)[data.unit]
    about = about + jnp.sqrt(1 - share) * normal(of_runs, len(data.group), 2)
    c = p["groups"][data.group] + about @ factor.T
    return jnp.einsum("rti,ri->rt", basis, c) + p["noise"] * normal(at_points, *basis.shape[:2])


def _model(data: Arrays, num_units: int, shared: bool):
    numpyro.factor("gold", log_marginal(priors(data.sizes.shape[0], shared), data, num_units))


# --- sampling -----------------------------------------------------------------------------------------


def exact_numbers() -> contextlib.ExitStack:
    """A context of 64-bit numbers on the CPU, whatever the process has set."""
    stack = contextlib.ExitStack()
    stack.enter_context(jax.enable_x64(True))
    stack.enter_context(jax.default_device(jax.local_devices(backend="cpu")[0]))
    stack.enter_context(jax.numpy_rank_promotion("allow"))  # numpyro relies on it
    return stack


@lru_cache
def _program(num_groups: int, num_units: int, shared: bool, warmup: int, samples: int):
    """A jitted program (data with B leading, keys [B]) -> (draws {name: [B, N, ..]}, diverging [B, N])."""
    model = partial(_model, num_units=num_units, shared=shared)
    drawn = lambda key: numpyro.handlers.seed(priors, key)(num_groups, shared)
    start = {name: jnp.zeros(x.shape, x.dtype) for name, x in jax.eval_shape(drawn, jax.random.key(0)).items()}
    init, step = hmc(potential_fn_gen=lambda data: lambda z: potential_energy(model, (data,), {}, z), algo="NUTS")

    def chain(data, key):
        place, walk, last = jax.random.split(key, 3)
        z = {n: x + jax.random.uniform(k, x.shape, x.dtype, -1.0, 1.0)
             for (n, x), k in zip(start.items(), jax.random.split(place, len(start)), strict=True)}  # fmt: skip
        state = init(z, warmup, dense_mass=False, target_accept_prob=ACCEPT, max_tree_depth=DEPTH, model_args=(data,),
                     rng_key=walk)  # fmt: skip

        def advance(state, _):
            state = step(state, model_args=(data,))
            return state, (state.z, state.diverging)

        _, (draws, diverging) = jax.lax.scan(advance, state, None, length=warmup + samples)
        constrained = lambda z: {name: constrain_fn(model, (data,), {}, z)[name] for name in start}
        draws = jax.vmap(constrained)(jax.tree.map(lambda x: x[warmup:], draws))
        drawn = jax.vmap(lambda p, key: coefficients(p, data, num_units, key))(draws, jax.random.split(last, samples))
        return draws | drawn, diverging[warmup:]

    return jax.jit(jax.vmap(chain), compiler_options=OF_XLA)


def sample(data: Arrays, num_units: int, shared: bool, chains: int, warmup: int, samples: int, seed: int):
    """Draws of the posteriors of D data sets: ({name: [D, C, N, ..]}, diverging [D, C, N]), standardised.

    data: `design.Arrays` with a leading axis D.  C chains of N draws each, after `warmup` that are thrown away.
    """
    sets = len(data.count)
    with exact_numbers():
        program = _program(data.sizes.shape[1], num_units, shared, warmup, samples)
        keys = jax.random.split(jax.random.key(seed), sets * chains)
        out = program(Arrays(*(jnp.repeat(jnp.asarray(x), chains, 0) for x in data)), keys)
        return jax.tree.map(lambda x: np.asarray(x).reshape(sets, chains, *x.shape[1:]), out)


def densities(draws: dict, data: Arrays, num_units: int) -> np.ndarray:
    """Log densities [N, S] of the units' standardised gold under draws {name: [N, ..]}."""
    return _mapped(lambda p, _, data: density(p, data, num_units), draws, data, 0)


def predicted(draws: dict, data: Arrays, basis, num_units: int, seed: int) -> np.ndarray:
    """Standardised gold [N, R, T] of new runs under draws {name: [N, ..]}."""
    return _mapped(lambda p, key, data: new_gold(p, key, data, jnp.asarray(basis), num_units), draws, data, seed)


def from_priors(data: Arrays, shared: bool, count: int, seed: int) -> dict:
    """Draws {name: [N, ..]} of the priors."""
    return _mapped(lambda _, key, data: prior_draw(key, data, shared), {"index": np.arange(count)}, data, seed)


def _mapped(function, draws: dict, data: Arrays, seed: int):
    """function(draw, key, data) of every draw in turn, with a key each."""
    count = len(next(iter(draws.values())))
    with exact_numbers():
        every = lambda draws, keys, data: jax.lax.map(lambda one: function(*one, data), (draws, keys))
        arguments = jax.tree.map(jnp.asarray, (draws, jax.random.split(jax.random.key(seed), count), data))
        return jax.tree.map(np.asarray, jax.jit(every, compiler_options=OF_XLA)(*arguments))
