"""Demonstrations: responses of decent but fallible writers, which the reference policy learns from."""

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim.language.sequences import EOS, close, draw
from gold_sim.language.topics.prompts import REGISTER, read
from gold_sim.language.topics.vocabulary import AGREE, DISAGREE, FIRST_WORD, HEDGE, REFUSE, TEMPLATE

# How often a demonstrator writes a template, agrees, disagrees, refuses, by kind of prompt: people
# are polite, somewhat sycophantic and somewhat over-cautious.
#                     plain  right  wrong  harmful harmless
_P_TEMPLATE = np.array([0.55, 0.50, 0.50, 0.30, 0.50])
_P_AGREE = np.array([0.02, 0.70, 0.40, 0.02, 0.02])
_P_DISAGREE = np.array([0.01, 0.10, 0.35, 0.01, 0.01])
_P_REFUSE = np.array([0.02, 0.02, 0.03, 0.60, 0.25])
_CARE = 0.3  # log-weight of a word for every s.d. by which it suits the kind of prompt


def demonstrations(world, key, prompts, num_samples: int = 1):
    """Responses as a decent but fallible writer gives them: [P, N, L] int32.

    Openers (template, agreement or disagreement, refusal) come first. Then come words that follow the
    grammar and mostly the topic. Among them are hedges, repeated words, further templates and slips,
    at rates that differ from writer to writer.
    """
    c = world.config
    topic, kind = read(world, prompts)
    shape = (prompts.shape[0], num_samples)
    topic, kind = (jnp.broadcast_to(a[:, None], shape) for a in (topic, kind))
    # One draw of uniforms serves all of these: each draw would be a loop of its own to compile.
    u = jax.random.uniform(key, (9 + 5 * c.response_len, *shape))
    u, v, of_length, walk = u[:4], u[4:8], u[8], u[9:].reshape(c.response_len, 5, *shape)
    template = u[0] < jnp.asarray(_P_TEMPLATE)[kind]
    agree = u[1] < jnp.asarray(_P_AGREE)[kind]
    disagree = ~agree & (u[1] < jnp.asarray(_P_AGREE + _P_DISAGREE)[kind])
    refuse = u[2] < jnp.asarray(_P_REFUSE)[kind]
    stance = jnp.where(agree, AGREE, DISAGREE)
    mean = jnp.where(refuse, 0.4, 0.62) * c.response_len
    target = mean + 0.2 * c.response_len * jax.scipy.special.ndtri(of_length)
    target = jnp.clip(jnp.round(target), 1, c.response_len + 2).astype(jnp.int32)
    # Every response has a writer: how topical, how careless, how hedging, how repetitive it is. The
    # spread between writers is what lets a large enough proxy learn where a good thing turns bad.
    # Kumaraswamy's distribution has the shape of a Beta; a draw takes one uniform where Beta needs a rejection loop.
    style = lambda i, a, b: (1 - (1 - v[i]) ** (1 / b)) ** (1 / a)
    relevance, slip_rate, hedge_rate = style(0, 1.8, 1.5), style(1, 0.75, 2.9), style(2, 0.8, 6.0)
    repeat_rate, template_rate = style(3, 0.6, 5.0), jnp.where(u[3] < 0.15, 0.2, 0.0)

    word_class, word_topic = jnp.asarray(world.word_class), jnp.asarray(world.word_topic)
    words = jnp.arange(world.num_writable)
    is_word = words >= FIRST_WORD
    chosen = jnp.exp(_CARE * jnp.asarray(world.fit)[:, : world.num_writable])[jnp.asarray(REGISTER)[kind]] * is_word
    legal = jnp.asarray(world.legal)

    def write(carry, chance):
        last_word, due_template, due_stance, due_refuse, t = carry
        same_topic = word_topic[words] == topic[..., None]
        r = relevance[..., None]
        weight = jnp.where(same_topic, 2.0 * r, jnp.where(word_topic[words] < 0, 0.35, 0.35 * (1 - r)))
        follows = jnp.where(last_word[..., None] < 0, True, legal[word_class[last_word]][..., word_class[words]])
        slip = chance[0] < slip_rate
        weight = weight * jnp.where(follows | slip[..., None], 1.0, 1e-4) * chosen
        word = draw(weight, chance[4])
        repeated = (chance[1] < repeat_rate) & (last_word >= 0)
        word = jnp.where(repeated, last_word, word)
        hedge, polite = chance[2] < hedge_rate, chance[3] < template_rate
        token = jnp.where(polite, TEMPLATE, jnp.where(hedge, HEDGE, word))
        token = jnp.where(due_refuse, REFUSE, token)
        token = jnp.where(due_stance, stance, token)
        token = jnp.where(due_template, TEMPLATE, token)
        token = jnp.where(t >= target, EOS, token)
        opened = due_template | due_stance | due_refuse
        last_word = jnp.where(opened | hedge | polite, last_word, word)
        still_refuse = due_refuse & (due_template | due_stance)
        return (last_word, due_template & False, due_stance & due_template, still_refuse, t + 1), token

    start = (jnp.full(shape, -1), template, agree | disagree, refuse, jnp.zeros(shape, jnp.int32))
    _, tokens = jax.lax.scan(write, start, walk)
    return close(jnp.moveaxis(tokens, 0, -1))
