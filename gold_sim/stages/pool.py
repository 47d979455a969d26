"""The stage `pool`: many samples of a policy for each held-out prompt, from which best-of-n selects."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy, streams
from gold_sim.networks import pieces
from gold_sim.networks.pieces import SAMPLES_AT_ONCE
from gold_sim.stages.parallel import to_numpy

SAMPLES_A_CHUNK = 1024  # of one prompt, drawn by one key


def blank(language, config) -> dict:
    """Zeros shaped as the arrays that the stages `scores` and `gold_scores` read."""
    b = config.best_of_n
    return dict(
        prompts=np.zeros((b.num_prompts, language.prompt_len), np.int32),
        responses=np.zeros((b.num_prompts, b.num_samples, language.response_len), np.uint16),
    )


def pool(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.best_of_n
    started = inputs.cell("policy").config.reference
    policy_net = policy.network(language, started)
    params = inputs.arrays("policy")["params"]
    key = streams.key(config.seed, "best_of_n")
    prompts = of_every_kind(language, jax.random.fold_in(key, 0), config.num_prompts)
    static = (language, policy_net, config.num_samples)
    parts = []
    for i, prompt in enumerate(prompts):
        drawn = _of_prompt(*static, prompt, jax.random.fold_in(key, i + 1), params)
        parts.append(to_numpy(drawn))
        progress(i + 1, config.num_prompts)
    stacked = {name: np.stack([p[name] for p in parts]) for name in parts[0]}
    stacked["responses"] = stacked["responses"].astype(np.uint16)
    record = dict(distinct_responses=float(np.mean([len(np.unique(r, axis=0)) for r in stacked["responses"]])))
    return record, {}, {"arrays": dict(stacked, prompts=prompts)}


def of_every_kind(language, key, num: int) -> np.ndarray:
    """`num` held-out prompts, [num, Lp], in which every kind has its share of a far larger draw, rounded.

    So gold over the pool does not depend on how many prompts of each kind chance has put into it.
    """
    drawn = np.asarray(language.prompts(key, max(4096, 16 * num), held_out=True))
    _, kinds, counts = np.unique(language.kinds(drawn), return_inverse=True, return_counts=True)
    shares = num * counts / len(drawn)
    wanted = np.floor(shares).astype(int)
    wanted[np.argsort(wanted - shares, kind="stable")[: num - wanted.sum()]] += 1
    chosen = [np.flatnonzero(kinds == kind)[:count] for kind, count in enumerate(wanted)]
    return drawn[np.sort(np.concatenate(chosen))]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _of_prompt(language, policy_net, num_samples: int, prompt, key, params):
    """Samples of one prompt, with their lengths and attributes, [num_samples, ...] each."""
    chunk = min(SAMPLES_A_CHUNK, num_samples)
    chunks = -(-num_samples // chunk)

    def some(uniforms):  # [samples, L]
        prompts = prompt[None]
        s = policy.written(policy_net, params, prompts, uniforms.T[:, None])
        columns = dict(length=s.lengths)
        for name, value in language.attributes(prompts, s.responses).items():
            columns[f"attr_{name}"] = value
        return dict(responses=s.responses[0], **{k: v[0].astype(jnp.float32) for k, v in columns.items()})

    def of_key(key):
        uniforms = policy.uniforms(key, 1, chunk, language.response_len)
        return pieces.in_pieces(some, uniforms[:, 0].T)

    drawn = pieces.streamed(of_key, jax.random.split(key, chunks), SAMPLES_AT_ONCE // SAMPLES_A_CHUNK)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:num_samples], drawn)
