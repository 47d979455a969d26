"""Keys and values of the tokens that responses hold so far, laid out as the device reads them, and attention to them.

Both kinds share an interface: `empty` makes a cache for all blocks, `with_token` writes one token of every response
into that of block i, `attention` mixes values for queries [P, N, H, dh] that see their prompt, keys and values
[P, Lp, H, dh], and the response's tokens up to t.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gold_sim import products


class ByBlock(NamedTuple):
    """For a CPU: products of matrices, and of every block an array of its own.

    All leading axes are one, b: where one of several had length 1 XLA would copy the whole cache at every token, and of
    an array of all blocks it would copy the block's part. Keys come transposed, in whole vectors.
    """

    precision: str
    depth: int
    shape: tuple[int, int, int, int]  # [P, N, H, dh] of what a token adds
    tokens: int

    def empty(self):
        (p, n, heads, width), slots = self.shape, products.whole(self.tokens)
        of = lambda *shape: jnp.zeros((p * n * heads, *shape), self.precision)
        return tuple((of(width, slots), of(slots, width)) for _ in range(self.depth))

    def with_token(self, cache, i: int, t, k, v):
        keys, values = cache[i]
        k, v = (a.astype(self.precision).reshape(-1, self.shape[-1]) for a in (k, v))
        keys = jax.lax.dynamic_update_slice(keys, k[:, :, None], (0, 0, t))
        values = jax.lax.dynamic_update_slice(values, v[:, None], (0, t, 0))
        return (*cache[:i], (keys, values), *cache[i + 1 :])

    def attention(self, cache, i: int, t, q, k_prompt, v_prompt):
        keys, values = cache[i]
        product = lambda spec, a, b: jnp.einsum(spec, a.astype(self.precision), b).astype(jnp.float32)
        hidden = jnp.where(jnp.arange(keys.shape[-1]) <= t, 0.0, products.HIDDEN)
        to_prompt = product("pnhd,pkhd->pnhk", q, k_prompt)
        to_self = product("bd,bdk->bk", q.reshape(-1, self.shape[-1]), keys) + hidden
        to_self = to_self.reshape(*self.shape[:3], -1)
        top = jnp.maximum(jnp.max(to_prompt, -1), jnp.max(to_self, -1))[..., None]
        w_prompt, w_self = jnp.exp(to_prompt - top), jnp.exp(to_self - top)
        mixed = product("bk,bkd->bd", w_self.reshape(-1, w_self.shape[-1]), values).reshape(self.shape)
        mixed = mixed + product("pnhk,pkhd->pnhd", w_prompt, v_prompt)
        return mixed / (jnp.sum(w_prompt, -1) + jnp.sum(w_self, -1))[..., None]


class Stacked(NamedTuple):
    """For an accelerator, and for a loop over blocks: sums, and one array [block, token, P, N, H, dh] for all.

    Time comes before what a token adds, else each token would write one number here and there, and so pass over all of
    it. One query a response leaves products nothing to reuse, and XLA would lay the cache out as a product wants it and
    not as it is read: so scores are sums, [token, P, N, H], and those of prompt and response are never joined.
    """

    precision: str
    depth: int
    shape: tuple[int, int, int, int]
    tokens: int

    def empty(self):
        return tuple(jnp.zeros((self.depth, self.tokens, *self.shape), self.precision) for _ in range(2))

    def with_token(self, cache, i, t, k, v):
        put = lambda c, new: jax.lax.dynamic_update_slice(c, new.astype(c.dtype)[None, None], (i, t, 0, 0, 0, 0))
        return put(cache[0], k), put(cache[1], v)

    def attention(self, cache, i, t, q, k_prompt, v_prompt):
        exact = lambda x: x.astype(self.precision).astype(jnp.float32)
        shared = lambda x: jnp.moveaxis(exact(x), 1, 0)[:, :, None]  # [Lp, P, 1, H, dh]
        keys, values = cache[0][i], cache[1][i]
        visible = jnp.arange(self.tokens) <= t
        to_prompt = jnp.sum(exact(q) * shared(k_prompt), -1)
        to_self = jnp.sum(exact(q) * exact(keys), -1)
        to_self = jnp.where(visible[:, None, None, None], to_self, products.HIDDEN)
        top = jnp.maximum(jnp.max(to_prompt, 0), jnp.max(to_self, 0))
        w_prompt, w_self = jnp.exp(to_prompt - top), jnp.exp(to_self - top)
        mixed = jnp.sum(w_prompt[..., None] * shared(v_prompt), 0) + jnp.sum(w_self[..., None] * exact(values), 0)
        return mixed / (jnp.sum(w_prompt, 0) + jnp.sum(w_self, 0))[..., None]
