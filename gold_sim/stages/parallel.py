"""Mapping of a stage's runs: over all devices, side by side on an accelerator, one after another on a CPU."""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, PartitionSpec

from gold_sim.device import accelerated
from gold_sim.networks import network


def mapped(f: Callable, at_once: int | None = None) -> Callable:
    """`f` mapped over the leading axis of its argument, the runs; what f closes over is copied to every device.

    at_once: the most runs that fit a device side by side (footprint.py); None: all.

    Runs are independent, so each device computes its own runs, and a run's numbers are those of one device. Where the
    devices do not divide the runs, the places left over compute the last run again, and those results are dropped.
    Networks too large for a device are spread over GOLD_SIM_MODEL_DEVICES of them, which then compute a run together.
    """
    return _on_all_devices(_on_one_device(f, at_once))


def unless_ended(f: Callable, at_once: int | None = None, instead: Callable | None = None) -> Callable:
    """`mapped`, as a function of (ended, xs): a run that has ended has instead(xs) of it as its result; None: zeros.

    On a CPU, where runs follow one another, those that have ended are passed over and take no time.
    ended: bool [R], or None: none has.
    """
    every = _on_one_device(f, at_once)

    def on_one(each):
        ended, xs = each
        if ended is None:
            return every(xs)
        blank = lambda: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(every, xs))
        results = blank() if instead is None else instead(xs)
        if not accelerated():
            return _passing_over(ended, f, xs, results)
        chosen = lambda new, old: jnp.where(ended.reshape(-1, *[1] * (new.ndim - 1)), old, new)
        return jax.tree.map(chosen, every(xs), results)

    return _on_all_devices(on_one)


def _on_one_device(f, at_once):
    if not accelerated():
        return lambda xs: jax.lax.map(f, xs)
    return jax.vmap(f) if at_once is None else lambda xs: jax.lax.map(f, xs, batch_size=at_once)


def _passing_over(ended, f, xs, results):
    """Results with f(x) written over those of all runs but the ended ones; a loop as that of lax.map, to the bit."""
    next_from = lambda i: jax.lax.while_loop(lambda i: (i < len(ended)) & ended[i], lambda i: i + 1, i)

    def body(carry):
        i, results = carry
        result = f(jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False), xs))
        put = lambda a, new: jax.lax.dynamic_update_index_in_dim(a, new, i, 0)
        return next_from(i + 1), jax.tree.map(put, results, result)

    return jax.lax.while_loop(lambda carry: carry[0] < len(ended), body, (next_from(0), results))[1]


def _on_all_devices(on_one):
    if len(jax.devices()) == 1:
        return on_one
    mesh, axis = _mesh(), PartitionSpec("run")
    on_all = jax.shard_map(on_one, mesh=mesh, in_specs=axis, out_specs=axis, axis_names={"run"}, check_vma=False)

    def spread(xs):
        num, places = len(jax.tree.leaves(xs)[0]), mesh.shape["run"]
        filled = jnp.minimum(jnp.arange(-(-num // places) * places), num - 1)
        return jax.tree.map(lambda a: a[:num], on_all(jax.tree.map(lambda a: a[filled], xs)))

    return spread


def alone(f: Callable) -> Callable:
    """`f` of a single run, on one device or on the devices that compute a run together."""
    if len(jax.devices()) == 1 or network.MODEL_AXIS not in _mesh().axis_names:
        return f
    return jax.jit(lambda *args: jax.tree.map(lambda a: a[0], mapped(lambda _: f(*args))(jnp.zeros(1))))


def _mesh() -> Mesh:
    """The mesh of all devices of every host: its axis is `run`, or its axes are `run` and `model`."""
    devices, share = np.array(jax.devices()), os.environ.get("GOLD_SIM_MODEL_DEVICES", "1")
    if not share.isdecimal() or int(share) < 1 or len(devices) % int(share):
        raise ValueError(f"GOLD_SIM_MODEL_DEVICES={share}: a number that divides the {len(devices)} devices is wanted")
    if share == "1":
        return Mesh(devices, ("run",))
    return Mesh(devices.reshape(-1, int(share)), ("run", network.MODEL_AXIS))


def to_numpy(tree):
    """A tree as whole arrays on the host; with several hosts, each gets all of them."""
    whole = lambda a: multihost_utils.process_allgather(a, tiled=True) if _is_elsewhere(a) else a
    return jax.tree.map(lambda a: np.asarray(whole(a)), tree)


def _is_elsewhere(a) -> bool:
    return isinstance(a, jax.Array) and not a.is_fully_addressable


def here(tree):
    """A tree that several devices computed, gathered on one of them."""
    return jax.device_put(to_numpy(tree))
