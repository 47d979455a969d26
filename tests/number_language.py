"""Sums of two digits: an example of a language of one's own.

    python -m experiments rm_size --set world.language=tests.number_language:make

A prompt is "3 + 9", a good response "1 2", hedged once at most. People slip, and hedge more often than they should.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gold_sim.language.sequences import EOS, close

NAMES = ("<eos>", *"0123456789", "about", "+")  # the plus is only read
ZERO, HEDGE, PLUS = 1, 11, 12  # the digit d is the token ZERO + d


@dataclass(frozen=True)
class Numbers:
    """A `Language`."""

    response_len: int
    vocab_size = len(NAMES)
    num_writable = PLUS
    prompt_len = 3
    topical = tuple(range(ZERO, HEDGE))

    @property
    def tokens_of(self):
        return {"hedging": (HEDGE,)}

    def prompts(self, key, num: int, held_out: bool = False):
        """A fifth of all pairs of digits is held out."""
        pairs = np.array([(a, b) for a in range(10) for b in range(10) if ((a + 3 * b) % 5 == 0) == held_out])
        first, second = jnp.asarray(pairs)[jax.random.randint(key, (num,), 0, len(pairs))].T
        return jnp.stack([ZERO + first, jnp.full(num, PLUS), ZERO + second], -1).astype(jnp.int32)

    def demonstrations(self, key, prompts, num_samples: int = 1):
        """The sum, off by up to 3 in three of ten responses, behind up to two hedges."""
        shape = (len(prompts), num_samples)
        k_slip, k_by, k_hedge = jax.random.split(key, 3)
        slip = jax.random.bernoulli(k_slip, 0.3, shape) * jax.random.randint(k_by, shape, -3, 4)
        number = jnp.maximum(_sums(prompts) + slip, 0)
        digits = jnp.where(number >= 10, ZERO + number // 10, ZERO + number), ZERO + number % 10
        answer = [digits[0], jnp.where(number >= 10, digits[1], EOS)]
        hedges = jax.random.randint(k_hedge, shape, 0, 3)
        written = []
        for at in range(self.response_len):
            after = [jnp.where(at - hedges == i, digit, EOS) for i, digit in enumerate(answer)]
            written.append(jnp.where(at < hedges, HEDGE, sum(after)))
        return close(jnp.stack(written, -1))

    def relevant(self, prompts):
        return prompts[:, jnp.array([0, 2])]

    def attributes(self, prompts, responses) -> dict:
        """error: distance from the sum, at most 10, which is also that of no number at all."""
        number, any_digit = jnp.zeros(responses.shape[:-1], jnp.int32), False
        for token in jnp.moveaxis(responses, -1, 0):
            is_digit = (token >= ZERO) & (token < HEDGE)
            number = jnp.where(is_digit, jnp.minimum(10 * number + token - ZERO, 1000), number)
            any_digit = any_digit | is_digit
        error = jnp.where(any_digit, jnp.minimum(jnp.abs(number - _sums(prompts)), 10), 10)
        found = dict(error=error, length=jnp.sum(responses != EOS, -1), hedging=jnp.sum(responses == HEDGE, -1))
        return {name: value.astype(jnp.float32) for name, value in found.items()}

    def failings(self, prompts, attributes: dict) -> dict:
        return {}

    def rubric(self, prompts, responses):
        """Near the sum, one hedge, no more tokens than that takes."""
        a = self.attributes(prompts, responses)
        return 2 / (1 + a["error"]) - 0.5 * jnp.abs(a["hedging"] - 1) - 0.25 * jnp.maximum(a["length"] - 3, 0)

    def criteria(self, prompts, responses) -> dict:
        return self.attributes(prompts, responses)

    def marks(self, prompts, responses) -> dict:
        return {}

    def features(self, responses) -> dict:
        return dict(hedging=jnp.sum(responses == HEDGE, -1))

    def unwritten_pairs(self) -> np.ndarray:
        """Nobody hedges behind a digit."""
        return np.array([(digit, HEDGE) for digit in self.topical])

    def kinds(self, prompts) -> list[str]:
        return ["carries" if number >= 10 else "plain" for number in np.asarray(_sums(prompts))[:, 0]]

    def decode(self, tokens) -> str:
        tokens = np.asarray(tokens).tolist()
        return " ".join(NAMES[t] for t in tokens[: tokens.index(EOS) if EOS in tokens else None])


def _sums(prompts):
    """[P, 1], to compare with responses."""
    return (prompts[:, 0] + prompts[:, 2] - 2 * ZERO)[:, None]


def make(config) -> Numbers:
    """As `world.language` names it; of the settings of a world it needs one."""
    return Numbers(config.response_len)
