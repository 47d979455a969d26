"""Measurements of a policy on held-out prompts at every evaluation point, as a typed `Point`.

`of_policy` measures with gold, `of_proxy` with the proxy. They are two functions because the first is the same program
for every reward model and optimiser and is compiled once for all of them. Optimisers see neither function and none of
their results. The proxy and gold score the same responses in the same order. A field bears the name of its column in
the stored tables (store/columns.py has the units); stages/tables.py makes the columns.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim import policy
from gold_sim.language import sequences
from gold_sim.networks import pieces, transformer

MEASURED_A_PIECE = 64  # responses; half of pieces.A_PIECE, because their distributions are kept as well
SAMPLES = 16  # responses kept as they are, for transcripts


class Kept(NamedTuple):
    """Responses to the first K prompts, and their gold scores."""

    responses: jax.Array  # [K, L]
    gold: jax.Array  # [K]


class OfPolicy(NamedTuple):
    """Measurements of a policy that do not depend on its reward: means over prompts, scalars of a run."""

    kl: jax.Array
    kl_se: jax.Array
    gold: jax.Array
    gold_se: jax.Array
    gold_sd: jax.Array  # over responses, as rubric_sd
    gold_raw: jax.Array
    rubric: jax.Array
    rubric_se: jax.Array
    rubric_sd: jax.Array
    gold_rubric_correlation: jax.Array
    length: jax.Array
    entropy: jax.Array
    distinct_1: jax.Array
    distinct_2: jax.Array
    same_response: jax.Array
    attributes: dict[str, jax.Array]  # of the language
    failings: dict[str, jax.Array]  # of the language: share of the prompts that ask for one
    kept: Kept


class OfProxy(NamedTuple):
    """Measurements by the proxy, on the responses of OfPolicy; None where the proxy does not give that quantity."""

    proxy: jax.Array
    proxy_se: jax.Array
    proxy_spread: jax.Array
    kept: jax.Array  # [K] scores of OfPolicy.kept
    proxy_left_out: jax.Array | None = None
    proxy_of_length: jax.Array | None = None
    components: jax.Array | None = None  # [C]


class Point(NamedTuple):
    """One evaluation point: scalars of a run, with leading axes where many runs or points are stacked."""

    control: jax.Array  # steps taken
    clip_fraction: jax.Array
    policy: OfPolicy
    proxy: OfProxy
    gold_training: jax.Array | None = None  # on fixed training prompts, where there are any
    proxy_training: jax.Array | None = None
    implicit_accuracy: jax.Array | None = None  # of direct alignment


def key_of(key):
    """The key of every measurement of the run that has `key`: points share their uniforms (common random numbers)."""
    return jax.random.fold_in(key, 2**31 - 1)


def of_policy(language, net, ref_params, prompts, gold, gold_affine, rubric):
    """A function (policy params, key) -> (responses [P, 1, L], OfPolicy): one response a prompt.

    gold: (prompts, responses) -> scores in gold s.d.
    gold_affine: (mean, std) of raw gold, to report both.  KL is the exact per-state sum, nats a response.
    rubric: (prompts, responses) -> the rubric in its own s.d.; what gold was trained on, to audit it.
    """
    length = language.response_len

    def written(params, prompts, uniforms):
        """Every response with its length, KL, gold and entropy.  uniforms: [P, L]."""
        s = policy.written(net, params, prompts, uniforms.T[..., None])
        ref_logits = transformer.logits(net, ref_params, prompts, s.responses)
        kl = policy.response_kl(s.logits, ref_logits, s.lengths)[:, 0]
        entropy = jnp.sum(policy.entropy(s.logits) * policy.visited(s.lengths, length), -1)
        return s.responses, s.lengths, kl, gold(prompts, s.responses)[:, 0], entropy

    def measure(params, key):
        uniforms = policy.uniforms(key, len(prompts), 1, length)[..., 0].T
        drawn = pieces.in_pieces(functools.partial(written, params), prompts, uniforms, most=MEASURED_A_PIECE)
        responses, lengths, kl, scores, entropy = drawn
        mask = policy.visited(lengths, length)
        attributes = language.attributes(prompts, responses)
        failings = language.failings(prompts, attributes)
        failed, at_risk = ({name: pair[i] for name, pair in failings.items()} for i in (0, 1))
        wanted = rubric(prompts, responses)[:, 0]
        each = dict(kl=kl, gold=scores, rubric=wanted, length=lengths, entropy=entropy)
        (mean, of_attributes, of_failed, of_risk), (error, *_) = _means_and_errors((each, attributes, failed, at_risk))
        centre, unit = gold_affine
        return responses, OfPolicy(
            **mean,
            kl_se=error["kl"],
            gold_se=error["gold"],
            gold_sd=error["gold"] * (len(prompts) - 1) ** 0.5,
            rubric_se=error["rubric"],
            rubric_sd=error["rubric"] * (len(prompts) - 1) ** 0.5,
            gold_rubric_correlation=_correlation(scores, wanted),
            gold_raw=mean["gold"] * unit + centre,
            distinct_1=distinct(responses, mask, net.outputs, 1),
            distinct_2=distinct(responses, mask, net.outputs, 2),
            same_response=same(responses[:, 0]),
            attributes=of_attributes,
            failings={name: of_failed[name] / jnp.maximum(of_risk[name], 1 / len(prompts)) for name in failings},
            kept=Kept(responses[:SAMPLES, 0], scores[:SAMPLES]),
        )

    return measure


def _means_and_errors(tree):
    """(means, their standard errors) over prompts, as trees of scalars, of a tree of arrays with one value a prompt.

    One program computes all means together, and all deviations: one by one they would be fifty kernels to compile.
    """
    leaves, shape = jax.tree.flatten(tree)
    rows = jnp.stack([leaf.reshape(-1).astype(jnp.float32) for leaf in leaves])
    return tuple(jax.tree.unflatten(shape, list(f(rows))) for f in (lambda x: jnp.mean(x, -1), _standard_error))


def of_proxy(prompts, responses, proxy, left_out=None, of_length=None, components=None) -> OfProxy:
    """Measurements by the proxy on the responses [P, 1, L] that `of_policy` drew.

    proxy: (prompts, responses) -> calibrated rewards and their spread over members.
    left_out: calibrated rewards of reward models that are no part of the proxy, or None.
    of_length: [L] as `by_length` gives it, or None.
    components: (prompts, responses) -> [C, P, N] scores of a composite proxy's components, or None.
    """
    r, spread = (a[:, 0] for a in proxy(prompts, responses))
    return OfProxy(
        jnp.mean(r),
        _standard_error(r),
        jnp.mean(spread),
        r[:SAMPLES],
        None if left_out is None else jnp.mean(left_out(prompts, responses)),
        None if of_length is None else jnp.mean(of_length[sequences.lengths(responses) - 1]),
        None if components is None else jnp.mean(components(prompts, responses), (1, 2)),
    )


def by_length(rewards, lengths, longest: int) -> np.ndarray:
    """Mean reward of reference responses of each length, [longest], from 1 token up: what length alone would earn.

    Singhal et al. 2023, section 3, with one bin a length. rewards and lengths have the same shape. The value of a
    length that was never written is interpolated between the nearest lengths on both sides.
    """
    lengths, rewards = np.asarray(lengths, int).ravel(), np.asarray(rewards, float).ravel()
    count = np.bincount(lengths, minlength=longest + 1)[1:]
    total = np.bincount(lengths, weights=rewards, minlength=longest + 1)[1:]
    written = np.flatnonzero(count)
    return np.interp(np.arange(longest), written, total[written] / count[written])


def _standard_error(x):
    """Standard error of the mean over prompts, the last axis."""
    return jnp.std(x, -1, ddof=1) / jnp.sqrt(x.shape[-1])


def _correlation(x, y):
    """Pearson correlation of [P] and [P]; NaN where one of them does not vary."""
    x, y = x - jnp.mean(x), y - jnp.mean(y)
    scale = jnp.sqrt(jnp.sum(x * x) * jnp.sum(y * y))
    return jnp.where(scale > 0, jnp.sum(x * y) / scale, jnp.nan)


def same(responses):
    """Share of responses [P, L] that are the response to another prompt, too."""
    # Equal responses are neighbours once they are sorted by two random numbers each; others have the same with 2^-64.
    odd = jax.random.bits(jax.random.key(0), (2, responses.shape[-1])) | 1
    first, second = (jnp.sum(responses.astype(jnp.uint32) * weights, -1) for weights in odd)
    order = jnp.lexsort((second, first))
    first, second = first[order], second[order]
    as_next = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    return jnp.mean(jnp.pad(as_next, (0, 1)) | jnp.pad(as_next, (1, 0)))


def distinct(responses, mask, vocab: int, n: int):
    """Number of distinct n-grams over number of n-grams in responses [P, N, L] (Li et al. 2016), n = 1 or 2."""
    grams = responses if n == 1 else responses[..., :-1] * vocab + responses[..., 1:]
    inside = mask if n == 1 else mask[..., 1:]
    seen = jnp.zeros(vocab**n).at[grams.ravel()].max(inside.ravel().astype(jnp.float32))
    return jnp.sum(seen) / jnp.maximum(jnp.sum(inside), 1)
