"""The policy: sampling, exact KL to the reference, and supervised fine-tuning on demonstrations."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gold_sim.config import PolicyConfig
from gold_sim.language import Language, sequences
from gold_sim.networks import decoding, pieces, transformer
from gold_sim.networks.adam import adam, schedule
from gold_sim.networks.network import Network


def network(language: Language, config: PolicyConfig, values: int = 0) -> Network:
    """The policy's network: reads all tokens, writes the writable ones; values=1 adds PPO's value head."""
    max_len = language.prompt_len + language.response_len
    size = (config.width, config.depth, language.vocab_size, language.num_writable, max_len)
    return Network(*size, values, config.precision)


class Samples(NamedTuple):
    """Responses with the distributions from which they were drawn."""

    responses: jax.Array  # [P, N, L] int32, filled with EOS behind the first EOS
    lengths: jax.Array  # [P, N] tokens up to and including EOS
    logits: jax.Array  # [P, N, L, V] at every visited state


def sample(net: Network, params, prompts, num_samples: int, length: int, key) -> Samples:
    """Draw responses at temperature 1 by inverse distribution functions: one uniform a token."""
    return written(net, params, prompts, uniforms(key, prompts.shape[0], num_samples, length))


def uniforms(key, num_prompts: int, num_samples: int, length: int):
    """Uniform numbers [length, P, N], one a token: all the randomness of the responses."""
    return jax.random.uniform(key, (length, num_prompts, num_samples))


def written(net: Network, params, prompts, uniforms) -> Samples:
    """The responses that these uniforms [length, P, N] draw."""
    length, _, num_samples = uniforms.shape

    def choose(logits, u):
        rows = logits.reshape(-1, logits.shape[-1])
        return sequences.draw(jnp.exp(rows - jnp.max(rows, -1, keepdims=True)), u.ravel()).reshape(u.shape), logits

    tokens, logits = decoding.decode(net, params, prompts, num_samples, length, choose, uniforms)
    responses = sequences.close(tokens)
    return Samples(responses, sequences.lengths(responses), jnp.moveaxis(logits, 0, 2))


def responses(net: Network, params, prompts, num_samples: int, length: int, key, progress=lambda done, total: None):
    """Responses [P, N, length] on the host, in chunks of prompts and two at a time, by one program for all callers."""
    few = 1 if num_samples % 2 else 2
    parts = []
    for i in range(num_samples // few):
        program = functools.partial(_chunks_written, net, few, length, params, jax.random.fold_in(key, i))
        parts.append(pieces.in_chunks(program, prompts, progress=progress))
    return np.concatenate(parts, axis=1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _chunks_written(net, num_samples, length, params, key, at, prompts):
    def some(prompts, uniforms):  # [P, N, L]
        return written(net, params, prompts, jnp.moveaxis(uniforms, -1, 0)).responses

    def one(chunk):
        at, prompts = chunk
        drawn = uniforms(jax.random.fold_in(key, at), len(prompts), num_samples, length)
        return pieces.in_pieces(some, prompts, jnp.moveaxis(drawn, 0, -1), most=pieces.A_PIECE // num_samples)

    return pieces.streamed(one, (at, prompts), pieces.CHUNKS_AT_ONCE)


def visited(lengths, length: int):
    """Mask of the states that a response visits, [P, N, L]: those up to the one that wrote EOS."""
    return jnp.arange(length) < lengths[..., None]


def log_probs(logits, responses):
    """log pi(token | state), [P, N, L]."""
    chosen = jnp.arange(logits.shape[-1]) == responses[..., None]  # a sum, as XLA's gradient of a gather is slow
    return jnp.sum(jnp.where(chosen, jax.nn.log_softmax(logits), 0.0), -1)


def state_kl(logits, ref_logits):
    """KL(pi || ref_policy) of the next token at each state, nats: [P, N, L, V] x 2 -> [P, N, L]."""
    log_p, log_ref = jax.nn.log_softmax(logits), jax.nn.log_softmax(ref_logits)
    # Clipped at 0: at the start of a run, where both are equal, rounding can leave -1e-9.
    return jnp.maximum(jnp.sum(jnp.exp(log_p) * (log_p - log_ref), -1), 0.0)


def response_kl(logits, ref_logits, lengths):
    """Sum over visited states of the exact state KL, nats a response, [P, N].

    Its mean over sampled responses is unbiased for KL(pi || ref_policy) of whole responses (chain
    rule), never negative, and far less noisy than the log-ratio of the sampled tokens.
    """
    return jnp.sum(state_kl(logits, ref_logits) * visited(lengths, logits.shape[2]), -1)


def entropy(logits):
    """Entropy of the next token at each state, nats: [P, N, L, V] -> [P, N, L]."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(log_p) * log_p, -1)


# --- supervised fine-tuning -------------------------------------------------------------------


def cross_entropy(net: Network, params, prompts, responses):
    """Mean negative log-likelihood of the responses, nats a token (EOS counts)."""
    return _nats(net, params, prompts, responses) / jnp.mean(sequences.lengths(responses))


def _nats(net, params, prompts, responses):
    """Mean negative log-likelihood of a response."""
    logits = transformer.logits(net, params, prompts, responses)
    mask = visited(sequences.lengths(responses), responses.shape[-1])
    return -jnp.mean(jnp.sum(log_probs(logits, responses) * mask, -1))


STEPS_AT_ONCE = 50  # steps whose demonstrations one call of the program writes


def demonstrated(language: Language, batch: int, steps: int, key):
    """Fresh demonstrations for every step of `fitted`, on the host: prompts [T, B, Lp], responses [T, B, 1, L], int32.

    They are the same for networks of all sizes, and so is the program that writes them. As a part of each network's
    own program it took 1.5 CPU-seconds a network to compile.
    """
    calls = np.arange(steps, dtype=np.int32).reshape(pieces.equal_pieces(steps, STEPS_AT_ONCE), -1)
    parts = [jax.device_get(_demonstrated(language, batch, key, at)) for at in calls]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _demonstrated(language, batch, key, at):
    def of_step(t):
        k_prompt, k_demo = jax.random.split(jax.random.fold_in(key, t))
        prompts = language.prompts(k_prompt, batch)
        return prompts, language.demonstrations(k_demo, prompts)

    return jax.lax.map(of_step, at)


@functools.partial(jax.jit, static_argnums=0)
def shown(language: Language, key, prompts):
    """One demonstration of each prompt, [P, 1, L], for losses; a program that networks of all sizes share."""
    return language.demonstrations(key, prompts)


@functools.partial(jax.jit, static_argnums=(0, 1))
def fitted(language: Language, config: PolicyConfig, k_init, prompts, responses):
    """A policy, fit to demonstrations, such as the reference policy.

    k_init: key of the initialisation.  prompts, responses: of every step, as `demonstrated` gives them.
    Returns (params, losses [T] in nats a token).
    """
    net = network(language, config)
    optimiser = adam(schedule(config.learning_rate, config.steps, 50), weight_decay=0.01)
    params = transformer.init(net, k_init)

    def step(state, given):
        params, opt_state = state
        length = jnp.mean(sequences.lengths(given[1]))
        loss_of = lambda params, prompts, responses: _nats(net, params, prompts, responses) / length
        loss, grads = pieces.mean_in_pieces(functools.partial(jax.value_and_grad(loss_of), params), *given)
        updates, opt_state = optimiser.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    (params, _), losses = jax.lax.scan(step, (params, optimiser.init(params)), (prompts, responses))
    return params, losses
