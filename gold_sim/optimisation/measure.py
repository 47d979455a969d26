"""What is measured of a policy at every evaluation point, on held-out prompts.

`of_policy` closes over gold, `of_proxy` over the proxy: two callbacks, because the first is the same program for every
reward model and optimiser and is compiled once for all of them. Optimisers see them only as one opaque measurement.
The proxy's and gold's scores of a sample are of the same responses in the same order.
"""

import functools

import jax.numpy as jnp
import numpy as np

from gold_sim import policy
from gold_sim.language import sequences
from gold_sim.networks import pieces, transformer

MEASURED_A_PIECE = 64  # responses; as their distributions are kept, half of what is best elsewhere
SAMPLES = 16  # responses kept as they are, for transcripts


def of_policy(language, net, ref_params, prompts, gold, gold_affine):
    """A callback (policy params, key) -> (responses [P, 1, L], dict of scalars and `sample_`s of the first prompts).

    One response a prompt.  gold: (prompts, responses) -> scores in gold s.d.
    gold_affine: (mean, std) of raw gold, to report both.  KL is the exact per-state sum, nats a response.
    """
    length = language.response_len

    def written(params, prompts, uniforms):
        """Of every response: itself, its length, its KL, gold, entropy.  uniforms: [P, L]."""
        s = policy.written(net, params, prompts, uniforms.T[..., None])
        ref_logits = transformer.logits(net, ref_params, prompts, s.responses)
        kl = policy.response_kl(s.logits, ref_logits, s.lengths)[:, 0]
        entropy = jnp.sum(policy.entropy(s.logits) * policy.visited(s.lengths, length), -1)
        return s.responses, s.lengths, kl, gold(prompts, s.responses)[:, 0], entropy

    def measure(params, key):
        uniforms = policy.uniforms(key, len(prompts), 1, length)[..., 0].T
        told = pieces.in_pieces(functools.partial(written, params), prompts, uniforms, most=MEASURED_A_PIECE)
        responses, lengths, kl, g, entropy = told
        mask = policy.visited(lengths, length)
        found = language.attributes(prompts, responses)
        failings = language.failings(prompts, found)
        each = dict(kl=kl, gold=g, length=lengths, entropy=entropy)
        each |= {f"attr_{name}": value for name, value in found.items()}
        each |= {name: failed for name, (failed, _) in failings.items()}
        asked = {f"{name} asked": asked for name, (_, asked) in failings.items()}
        # A mean and a deviation for all of them: one by one they would be fifty kernels to compile.
        rows = jnp.stack([value.reshape(-1).astype(jnp.float32) for value in (each | asked).values()])
        of_rows = lambda f: dict(zip(each | asked, f(rows), strict=True))
        mean, error = of_rows(lambda x: jnp.mean(x, -1)), of_rows(_standard_error)
        told = {name: mean[name] for name in each}
        told |= {name: mean[name] / jnp.maximum(mean[f"{name} asked"], 1 / rows.shape[1]) for name in failings}
        centre, unit = gold_affine
        return responses, dict(
            told,
            kl_se=error["kl"],
            gold_se=error["gold"],
            gold_raw=mean["gold"] * unit + centre,
            distinct_1=distinct(responses, mask, net.outputs, 1),
            distinct_2=distinct(responses, mask, net.outputs, 2),
            sample_responses=responses[:SAMPLES, 0],
            sample_gold=g[:SAMPLES],
        )

    return measure


def of_proxy(prompts, responses, proxy, left_out=None, of_length=None, components=None) -> dict:
    """What the proxy says of the responses [P, 1, L] that `of_policy` drew.

    proxy: (prompts, responses) -> calibrated rewards and their spread over members.
    left_out: calibrated rewards of reward models that are no part of the proxy, or None.
    of_length: [L] as `by_length` gives it, or None.
    components: (prompts, responses) -> [C, P, N], of a composite proxy, or None.
    """
    r, spread = (a[:, 0] for a in proxy(prompts, responses))
    told = dict(proxy=jnp.mean(r), proxy_se=_standard_error(r), proxy_spread=jnp.mean(spread), sample_proxy=r[:SAMPLES])
    if left_out is not None:
        told |= dict(proxy_left_out=jnp.mean(left_out(prompts, responses)))
    if of_length is not None:
        told |= dict(proxy_of_length=jnp.mean(of_length[sequences.lengths(responses) - 1]))
    if components is not None:
        parts = jnp.mean(components(prompts, responses), (1, 2))
        told |= {f"component_{i}": part for i, part in enumerate(parts)}
    return told


def scores(language, net, ref_params, prompts, proxy, gold, gold_affine, **more):
    """Both in one callback (policy params, key) -> dict, for `policy_gradient.train`; more: arguments of `of_proxy`."""
    write = of_policy(language, net, ref_params, prompts, gold, gold_affine)

    def measure(params, key):
        responses, told = write(params, key)
        return told | of_proxy(prompts, responses, proxy, **more)

    return measure


def by_length(rewards, lengths, longest: int) -> np.ndarray:
    """Mean reward of reference responses of each length, [longest], 1 token first: what length alone would earn.

    Singhal et al. 2023, section 3, with one bin a length. rewards, lengths: of one shape. A length that was never
    written has what its nearest neighbours on both sides have, by interpolation.
    """
    lengths, rewards = np.asarray(lengths, int).ravel(), np.asarray(rewards, float).ravel()
    count = np.bincount(lengths, minlength=longest + 1)[1:]
    total = np.bincount(lengths, weights=rewards, minlength=longest + 1)[1:]
    written = np.flatnonzero(count)
    return np.interp(np.arange(longest), written, total[written] / count[written])


def transcripts(language, prompts, controls, kept: dict) -> dict:
    """Columns of samples.parquet of one run, all but those that name the run.

    kept: responses [T, K, L] to the first K prompts at each of T controls, proxy and gold [T, K].
    """
    points, count = kept["proxy"].shape
    prompts = np.asarray(prompts)[:count]
    once = dict(
        prompt_id=np.arange(count),
        kind=np.array(language.kinds(prompts)),
        prompt=np.array([language.decode(p) for p in prompts]),
    )
    each = {name: np.tile(values, points) for name, values in once.items()}
    each |= dict(control=np.repeat(controls, count), proxy=kept["proxy"].ravel(), gold=kept["gold"].ravel())
    each["response"] = np.array([language.decode(r) for r in kept["responses"].reshape(points * count, -1)])
    return each


def _standard_error(x):
    """Of the mean over prompts, the last axis."""
    return jnp.std(x, -1, ddof=1) / jnp.sqrt(x.shape[-1])


def distinct(responses, mask, vocab: int, n: int):
    """Distinct n-grams / n-grams over a batch of responses [P, N, L] (Li et al. 2016), n = 1 or 2."""
    grams = responses if n == 1 else responses[..., :-1] * vocab + responses[..., 1:]
    inside = mask if n == 1 else mask[..., 1:]
    seen = jnp.zeros(vocab**n).at[grams.ravel()].max(inside.ravel().astype(jnp.float32))
    return jnp.sum(seen) / jnp.maximum(jnp.sum(inside), 1)
