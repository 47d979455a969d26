"""Keys and values of prompts and of the tokens that responses hold so far, laid out as the device reads them.

Both classes share an interface. `start` makes the cache that a loop over tokens carries. `with_token` adds a token of
every response to the cache of block i. `attention` mixes values for queries [P, N, H, dh] that see their prompt and the
response's tokens up to t.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gold_sim.networks import products


class ByBlock(NamedTuple):
    """The cache for a CPU: matrix products, and for every block its own array, in which a prompt's tokens come first.

    All leading axes are merged into one, b. Where one of several leading axes had length 1, XLA would copy the whole
    cache at every token. From one array of all blocks it would copy the block's part. Keys are stored transposed, in
    whole vectors.
    """

    prompt: tuple  # keys, values [blocks, P, Lp, H, dh], in the precision of attention's products
    responses: int  # of a prompt
    tokens: int  # of a response, at most

    def start(self):
        return tuple(zip(*map(self._of_prompts, self.prompt, ("khd->hdk", "khd->hkd")), strict=True))

    def _of_prompts(self, prompt, order: str):
        """The prompts' keys or values of each block, [b, ...], with axes in the given order."""
        depth, p, length, *head = prompt.shape
        behind = products.whole(length + self.tokens) - length
        padded = jnp.pad(prompt, ((0, 0), (0, 0), (0, behind), (0, 0), (0, 0)))
        copies = jnp.broadcast_to(padded[:, :, None], (depth, p, self.responses, length + behind, *head))
        ordered = jnp.einsum(f"lpn{order.replace('->', '->lpn')}", copies)
        return tuple(ordered.reshape(depth, -1, *ordered.shape[4:]))

    def with_token(self, cache, i: int, t, k, v):
        keys, values = cache[i]
        k, v = (a.astype(keys.dtype).reshape(-1, a.shape[-1]) for a in (k, v))
        at = self.prompt[0].shape[2] + t
        keys = jax.lax.dynamic_update_slice(keys, k[:, :, None], (0, 0, at))
        values = jax.lax.dynamic_update_slice(values, v[:, None], (0, at, 0))
        return (*cache[:i], (keys, values), *cache[i + 1 :])

    def attention(self, cache, i: int, t, q):
        keys, values = cache[i]
        visible = jnp.arange(keys.shape[-1]) <= self.prompt[0].shape[2] + t
        product = lambda spec, a, b: jnp.einsum(spec, a.astype(b.dtype), b).astype(jnp.float32)
        scores = product("bd,bdk->bk", q.reshape(-1, q.shape[-1]), keys) + jnp.where(visible, 0.0, products.HIDDEN)
        weights = jnp.exp(scores - jnp.max(scores, -1, keepdims=True))
        return (product("bk,bkd->bd", weights, values) / jnp.sum(weights, -1, keepdims=True)).reshape(q.shape)


class Stacked(NamedTuple):
    """The cache for an accelerator or a loop over blocks: sums, and one array [block, token, P, N, H, dh] for all.

    The token axis stands before the axes that one token fills. Otherwise each token's numbers would be scattered, and
    writing them would pass over the whole cache. With one query a response a matrix product has nothing to reuse, and
    XLA would lay the cache out for the product and not for reading. So scores are computed as sums, [token, P, N, H],
    and those of prompt and response are never joined.
    """

    prompt: tuple
    responses: int
    tokens: int

    def start(self):
        depth, p, _, *head = self.prompt[0].shape
        return tuple(jnp.zeros((depth, self.tokens, p, self.responses, *head), a.dtype) for a in self.prompt)

    def with_token(self, cache, i, t, k, v):
        put = lambda c, new: jax.lax.dynamic_update_slice(c, new.astype(c.dtype)[None, None], (i, t, 0, 0, 0, 0))
        return put(cache[0], k), put(cache[1], v)

    def attention(self, cache, i, t, q):
        exact = lambda x: x.astype(cache[0].dtype).astype(jnp.float32)
        shared = lambda x: jnp.moveaxis(exact(x[i]), 1, 0)[:, :, None]  # [Lp, P, 1, H, dh]
        (k_prompt, v_prompt), (keys, values) = map(shared, self.prompt), (exact(c[i]) for c in cache)
        visible = jnp.arange(self.tokens) <= t
        to_prompt = jnp.sum(exact(q) * k_prompt, -1)
        to_self = jnp.where(visible[:, None, None, None], jnp.sum(exact(q) * keys, -1), products.HIDDEN)
        top = jnp.maximum(jnp.max(to_prompt, 0), jnp.max(to_self, 0))
        w_prompt, w_self = jnp.exp(to_prompt - top), jnp.exp(to_self - top)
        mixed = jnp.sum(w_prompt[..., None] * v_prompt, 0) + jnp.sum(w_self[..., None] * values, 0)
        return mixed / (jnp.sum(w_prompt, 0) + jnp.sum(w_self, 0))[..., None]
