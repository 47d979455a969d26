"""Prompts: two words of one topic, and a slot that is plain, claims something or names a hazard."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim.language.sequences import draw
from gold_sim.language.topics.vocabulary import FIRST_WORD

PLAIN, CLAIM_RIGHT, CLAIM_WRONG, HARMFUL, HARMLESS = range(5)
KINDS = ("plain", "claim_right", "claim_wrong", "harmful", "harmless")
REGISTER = (0, 1, 1, 2, 2)  # of each kind: which words suit it


def _held_out(world, first, second):
    """Whether a pair of words is kept for measurement: about one pair in five, never seen in training."""
    return (3 * first + second) % 5 == 0


@functools.partial(jax.jit, static_argnums=(0, 2, 3), static_argnames=("num", "held_out"))
def prompts(world, key, num: int, held_out: bool = False):
    """`num` prompts, [num, 6] int32; training and held-out prompts share no pair of topic words."""
    c = world.config
    u = jax.random.uniform(key, (8, num))
    pick = lambda i, size: jnp.minimum((u[i] * size).astype(jnp.int32), size - 1)
    topic = pick(0, c.topics)
    pairs = np.array([(a, b) for a in range(c.words_per_topic) for b in range(c.words_per_topic)])
    kept = pairs[_held_out(world, pairs[:, 0], pairs[:, 1]) == held_out]
    words = FIRST_WORD + topic[:, None] * c.words_per_topic + jnp.asarray(kept)[pick(1, len(kept))]
    kind = draw(jnp.broadcast_to(jnp.asarray(c.kinds), (num, len(c.kinds))), u[2])
    function = FIRST_WORD + c.topics * c.words_per_topic
    plain = function + jnp.stack([pick(3, c.function_words), pick(4, c.function_words)], -1)
    value0 = world.token("value0")
    truth = jnp.asarray(world.truth)[topic]
    wrong = value0 + (truth - value0 + 1 + pick(5, c.values - 1)) % c.values
    value = jnp.where(kind == CLAIM_RIGHT, truth, wrong)
    claim = jnp.stack([jnp.full((num,), world.token("<claim>")), value], -1)
    hazard = world.token("hazard0") + pick(6, c.hazards)
    context = pick(7, c.contexts) + jnp.where(kind == HARMFUL, world.token("person0"), world.token("process0"))
    danger = jnp.stack([hazard, context], -1)
    is_claim, is_plain = (kind == CLAIM_RIGHT) | (kind == CLAIM_WRONG), kind == PLAIN
    slot = jnp.where(is_plain[:, None], plain, jnp.where(is_claim[:, None], claim, danger))
    bos, ask = (jnp.full((num, 1), world.token(name)) for name in ("<bos>", "<ask>"))
    return jnp.concatenate([bos, words, slot, ask], -1).astype(jnp.int32)


@functools.partial(jax.jit, static_argnums=0)
def read(world, prompts):
    """Topic and kind of each prompt: (topic [P], kind [P]), kinds as in KINDS."""
    topic = jnp.asarray(world.word_topic)[prompts[:, 1]]
    first, second = prompts[:, 3], prompts[:, 4]
    is_claim = first == world.token("<claim>")
    right = second == jnp.asarray(world.truth)[topic]
    hazard0, person0 = world.token("hazard0"), world.token("person0")
    is_hazard = (first >= hazard0) & (first < hazard0 + world.config.hazards)
    harmful = (second >= person0) & (second < person0 + world.config.contexts)
    kind = jnp.where(is_claim, jnp.where(right, CLAIM_RIGHT, CLAIM_WRONG), PLAIN)
    return topic, jnp.where(is_hazard, jnp.where(harmful, HARMFUL, HARMLESS), kind)


def relevant(world, prompts):
    """The words of the prompt's topic, [P, words a topic]."""
    topic, _ = read(world, prompts)
    c = world.config
    return FIRST_WORD + topic[:, None] * c.words_per_topic + jnp.arange(c.words_per_topic)
