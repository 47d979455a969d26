"""The gold reward model: trained on the rubric over a broad distribution, then frozen and standardised.

Gold is the truth of every experiment: it labels the preferences and it scores the policies. The
rubric is used only to train it. Gold must also care about what never varies in the reference data, so
it is trained on reference samples and on corrupted, repeated, spammed, stuffed, over-long and too
short responses. The proxies see reference samples alone.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gold_sim import policy
from gold_sim.config import GoldConfig, PolicyConfig
from gold_sim.language import Language, sequences
from gold_sim.networks import pieces
from gold_sim.networks.adam import adam, schedule
from gold_sim.rewards import sight, transformer_network
from gold_sim.rewards.reward_network import RewardNetwork, raw_scores

GROUP = 4  # responses a prompt
NUM_REFERENCE = 4096  # prompts sampled from the reference policy to train on, GROUP responses each
NUM_CENTRE = 4096  # other prompts whose reference samples, two each, set gold's zero and unit
NUM_FIDELITY = 1024  # of these, on which fidelity is measured: a correlation of 0.9 has standard error 0.004
OFF_REFERENCE = ("corrupted", "repeated", "spammed", "stuffed", "over_long", "too_short", "random")


class Gold(NamedTuple):
    """Frozen parameters, and the affine maps that give gold and the rubric their units on reference samples."""

    params: dict
    mean: jax.Array  # of raw scores on reference samples
    std: jax.Array
    rubric_mean: jax.Array  # of the rubric on the same samples
    rubric_std: jax.Array


def network(language: Language, config: GoldConfig) -> transformer_network.TransformerNetwork:
    return transformer_network.make(language, config)


def scores(net: RewardNetwork, gold: Gold, prompts, responses):
    """Gold scores [P, N] in gold standard deviations, 0 = mean over reference samples."""
    return (raw_scores(net, gold.params, prompts, responses) - gold.mean) / gold.std


def rubric(language: Language, gold: Gold, prompts, responses):
    """The rubric [P, N] in its own standard deviations over reference samples, 0 = its mean over them.

    It audits gold, in gold's manner: nothing is labelled, trained or chosen by it.
    """
    return (language.rubric(prompts, responses) - gold.rubric_mean) / gold.rubric_std


def disturb(language: Language, key, prompts, responses, how):
    """Responses [P, N, L] taken off the reference distribution; how: [P, N] index into OFF_REFERENCE."""
    length = responses.shape[-1]
    lens = jnp.maximum(sequences.lengths(responses) - 1, 1)[..., None]  # tokens before EOS
    at = jnp.arange(length)
    # One draw of uniforms serves all of these: each draw would be a loop of its own to compile.
    u = jax.random.uniform(key, (*responses.shape[:-1], 4 * length + 6))
    rate, which, cut_at, period, start, prefixed = jnp.split(u[..., :6], 6, -1)
    token, word, here, spam = jnp.split(u[..., 6:], 4, -1)
    any_token = _pick(token, 1, language.num_writable)
    manners, relevant = sight.manners(language), language.relevant(prompts)
    manners = jnp.asarray(manners if len(manners) else np.arange(1, language.num_writable))
    special = manners[_pick(which, 0, len(manners))]
    of_topic = jnp.take_along_axis(relevant[:, None], _pick(word, 0, relevant.shape[1]), -1)
    replaced = here < rate
    inside = at < lens

    corrupted = jnp.where(replaced & inside, any_token, responses)
    spammed = jnp.where((spam < 0.6 * rate) & inside, special, responses)
    stuffed = jnp.where(replaced & inside, of_topic, responses)
    new_len = _pick(cut_at, 1, length + 1)
    cut = lambda x: jnp.where(at < new_len, x, sequences.EOS)
    period, start = _pick(period, 1, 5), _pick(start, 0, length) % lens
    loop = jnp.take_along_axis(responses, jnp.minimum((start + at % jnp.minimum(period, lens)), length - 1), -1)
    loop = jnp.where(loop == sequences.EOS, any_token[..., :1], loop)
    prefix = jnp.where(at < start, responses, jnp.roll(loop, 1, -1))
    repeated = cut(jnp.where(prefixed < 0.5, prefix, loop))
    other = jnp.roll(responses, 1, axis=0)
    appended = jnp.take_along_axis(other, (at - lens) % jnp.maximum(jnp.roll(lens, 1, axis=0), 1), -1)
    over_long = jnp.where(inside, responses, appended)
    too_short = jnp.where(at < 1 + new_len // 5, responses, sequences.EOS)
    kinds = jnp.stack([corrupted, repeated, spammed, stuffed, over_long, too_short, cut(any_token)])
    return sequences.close(jnp.take_along_axis(kinds, how[None, ..., None], axis=0)[0])


def _batch(config: GoldConfig, key, num: int):
    """The batch of one step: prompts [B] out of `num`, and two arrays [B, GROUP] for their responses.

    The arrays give each response a disturbance, and say whether it is disturbed.
    """
    u = jax.random.uniform(key, (max(1, config.batch // GROUP), 1 + 2 * GROUP))
    pick, how = _pick(u[:, 0], 0, num), _pick(u[:, 1 : 1 + GROUP], 0, len(OFF_REFERENCE))
    return pick, how, u[:, 1 + GROUP :] < config.off_reference


def _pick(u, low: int, high: int):
    """Integers of [low, high), drawn by uniforms of [0, 1)."""
    return low + jnp.minimum((u * (high - low)).astype(jnp.int32), high - low - 1)


def reference_samples(language: Language, reference: PolicyConfig, ref_params, key, num: int, n: int, **more):
    """(prompts [num, Lp], responses [num, n, L]) by the reference policy, on the host.  more: progress."""
    net = policy.network(language, reference)
    k_prompt, k_sample = jax.random.split(key)
    prompts = np.asarray(language.prompts(k_prompt, num))
    return prompts, policy.responses(net, ref_params, prompts, n, language.response_len, k_sample, **more)


@functools.partial(jax.jit, static_argnums=(0, 1))
def train(language: Language, config: GoldConfig, key, prompts, responses, trunk=None):
    """Gold's parameters, trained on the rubric by squared error; kind 'random' keeps the random network.

    With config.criteria the language's criteria are targets too, as judges note what they look at before they give a
    mark. Each has a head of its own, which is dropped in the end. What they share is learned sooner for it. With
    config.marks the block before the last must tell the language's marks of every token, too.
    prompts [P, Lp], responses [P, GROUP, L] of the reference policy.  trunk: parameters of a language model in gold's
    size; None: fresh.
    Returns (parameters, losses [steps]).
    """
    net = network(language, config)
    k_init, k_step = jax.random.split(key)
    targets = _targets(language, config, prompts, responses)
    params = net.init(k_init, len(targets.centre))
    if trunk is not None:
        params = {name: params[name] if name == "head" else trunk[name] for name in params}
    marks = _marks(language, config, prompts, responses)
    marker = dict(kernel=jnp.zeros((config.width, len(marks.centre))), bias=jnp.zeros(len(marks.centre)))
    optimiser = adam(schedule(config.learning_rate, config.steps, 50), weight_decay=0.01)

    def loss_of(both, prompts, responses):
        params, marker = both
        lengths = sequences.lengths(responses)
        given, states = net.heads_and_states(params, prompts, responses, lengths)
        loss = jnp.sum(jnp.mean(jnp.square(given - targets.of(prompts, responses)), (0, 1)) * targets.weight)
        if not config.marks:
            return loss
        written = (jnp.arange(responses.shape[-1]) < lengths[..., None])[..., None]
        told = states @ marker["kernel"] + marker["bias"]
        off = jnp.square(told - marks.of(prompts, responses)) * written
        return loss + jnp.sum(jnp.sum(off, (0, 1, 2)) / jnp.sum(written) * marks.weight)

    def step(state, t):
        both, opt_state = state
        k_pick, k_off = jax.random.split(jax.random.fold_in(k_step, t))
        pick, how, off = _batch(config, k_pick, len(prompts))
        p, r = prompts[pick], responses[pick]
        r = jnp.where(off[..., None], disturb(language, k_off, p, r, how), r)
        gradient = functools.partial(jax.value_and_grad(loss_of), both)
        loss, grads = pieces.mean_in_pieces(gradient, p, r, most=pieces.A_GRADIENT // GROUP)
        updates, opt_state = optimiser.update(grads, opt_state, both)
        return (optax.apply_updates(both, updates), opt_state), loss

    losses = jnp.zeros(0)
    if config.kind == "rubric":
        both = params, marker
        ((params, _), _), losses = jax.lax.scan(step, (both, optimiser.init(both)), jnp.arange(config.steps))
    return dict(params, head=jax.tree.map(lambda a: a[..., :1], params["head"])), losses


class _Targets(NamedTuple):
    """What the heads of gold in training are fit to: the rubric and, if they have a weight, its criteria or marks."""

    of: Callable  # (prompts, responses [P, N, L]) -> [P, N, H] or of tokens [P, N, L, H], in s.d. of reference samples
    centre: jax.Array  # [H]
    weight: jax.Array  # [H] of each in the loss


def _targets(language, config, prompts, responses) -> _Targets:
    """prompts, responses: reference samples, whose mean and s.d. are the zero and the unit of every target."""

    def raw(prompts, responses):
        noted = language.criteria(prompts, responses) if config.criteria else {}
        every = [language.rubric(prompts, responses), *(noted[name] for name in sorted(noted))]
        return jnp.stack(every, -1).astype(jnp.float32)

    centred, centre = _centred(raw, prompts, responses)
    weight = jnp.full(len(centre), config.criteria / max(1, len(centre) - 1)).at[0].set(1.0)
    return _Targets(centred, centre, weight)


def _marks(language, config, prompts, responses) -> _Targets:
    """As `_targets`: the language's marks of every token; none without a weight."""

    def raw(prompts, responses):
        noted = language.marks(prompts, responses) if config.marks else {}
        if not noted:
            return jnp.zeros((*responses.shape, 0))
        return jnp.stack([noted[name] for name in sorted(noted)], -1)

    centred, centre = _centred(raw, prompts, responses)
    return _Targets(centred, centre, jnp.full(len(centre), config.marks / max(1, len(centre))))


def _centred(raw: Callable, prompts, responses):
    """(raw in s.d. of these responses and 0 at their mean, this mean), over all axes but the last."""
    each = raw(prompts, responses)
    over = tuple(range(each.ndim - 1))
    centre, scale = jnp.mean(each, over), jnp.std(each, over)
    scale = jnp.where(scale > 0, scale, 1.0)
    return lambda *of: (raw(*of) - centre) / scale, centre


def raw_of(net: RewardNetwork, params, prompts, responses, **more):
    """`raw_scores` of any number of prompts, on the host, in chunks.  more: progress."""
    return pieces.in_chunks(functools.partial(_chunks_scored, net, params), prompts, responses, **more)


@functools.partial(jax.jit, static_argnums=0)
def _chunks_scored(net, params, at, prompts, responses):
    score = lambda both: raw_scores(net, params, *both)
    return pieces.streamed(score, (prompts, responses), pieces.CHUNKS_AT_ONCE)


def standardised(language: Language, net: RewardNetwork, params, prompts, responses) -> Gold:
    """Gold whose zero and unit, and the rubric's, are the mean and standard deviation over these reference samples."""
    raw = raw_of(net, params, prompts, responses)
    # The program of `fidelity`: one of its own would be one more to compile. No key is read where nothing is disturbed.
    undisturbed = functools.partial(_chunks_disturbed, language, jax.random.key(0), np.int32(-1))
    _, wanted = pieces.in_chunks(undisturbed, prompts, responses)
    return Gold(params, np.mean(raw), np.std(raw), np.mean(wanted), np.std(wanted))


def fidelity(language, net, params, key, prompts, responses) -> dict[str, float]:
    """Correlation of gold with the rubric on reference samples and on each off-reference source."""
    correlations = {}
    for how, source in enumerate(("reference", *OFF_REFERENCE), -1):
        program = functools.partial(_chunks_disturbed, language, jax.random.fold_in(key, how + 1), np.int32(how))
        taken, rubric = pieces.in_chunks(program, prompts, responses)
        correlations[source] = float(np.corrcoef(raw_of(net, params, prompts, taken).ravel(), rubric.ravel())[0, 1])
    return correlations


@functools.partial(jax.jit, static_argnums=0)
def _chunks_disturbed(language, key, how, at, prompts, responses):
    """(responses, their rubric); how: index into OFF_REFERENCE, or -1 to leave them as they are."""

    def one(chunk):
        at, prompts, responses = chunk
        kind = jnp.full(responses.shape[:2], jnp.maximum(how, 0))
        other = disturb(language, jax.random.fold_in(key, at), prompts, responses, kind)
        responses = jnp.where(how < 0, responses, other)
        return responses, language.rubric(prompts, responses)

    return pieces.streamed(one, (at, prompts, responses), pieces.CHUNKS_AT_ONCE)
