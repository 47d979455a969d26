"""Errors of synthetic proxies: drawn as they say, fixed for a response, shared among members as far as asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gold_sim.config import ErrorConfig, WorldConfig
from gold_sim.language import sequences
from gold_sim.language.topics import world
from gold_sim.language.topics.vocabulary import FIRST_WORD
from gold_sim.rewards import synthetic_errors
from tests.conftest import demonstrations

KEY = jax.random.key(0)
_errors = jax.jit(synthetic_errors.errors, static_argnums=(0, 1, 3))


@pytest.fixture(scope="module")
def drawn():
    """(language, prompts [64, 6], demonstrations [64, 128, 16])."""
    language = world.make(WorldConfig())
    prompts = language.prompts(jax.random.key(1), 64)
    return language, prompts, demonstrations(language, jax.random.key(2), prompts, 128)


def errors(drawn, members=1, key=KEY, **config):
    return np.asarray(_errors(drawn[0], ErrorConfig(**config), key, members, *drawn[1:]))


@pytest.mark.parametrize("kind", list(synthetic_errors.KINDS))
def test_properties_of_every_kind(drawn, kind):
    one, language = errors(drawn, 3, kind=kind), drawn[0]
    assert one.shape == (3, 64, 128) and np.isfinite(one).all()
    assert np.array_equal(one, errors(drawn, 3, kind=kind))  # the same response errs the same
    assert np.allclose(errors(drawn, 3, kind=kind, scale=2.5), 2.5 * one, rtol=1e-5)
    flipped = (language, drawn[1][::-1], drawn[2][::-1])
    assert np.allclose(errors(flipped, 3, kind=kind)[:, ::-1], one)  # whatever stands beside it
    alike = errors(drawn, 3, kind=kind, shared=1.0)
    assert np.allclose(alike[0], alike[1])


@pytest.mark.parametrize("kind, law", [("regressional", scipy.stats.norm), ("heavy_tailed", scipy.stats.t(3))])
def test_noise_follows_its_law(drawn, kind, law):
    """Kolmogorov-Smirnov over distinct responses; equal responses to one prompt err alike, so each counts once."""
    language, prompts, responses = drawn
    rows = np.concatenate([np.repeat(prompts, 128, 0), np.asarray(responses).reshape(-1, 16)], 1)
    _, first = np.unique(rows, axis=0, return_index=True)
    noise = errors(drawn, kind=kind)[0].ravel()[first]
    assert scipy.stats.kstest(noise, law.cdf).pvalue > 1e-3
    other = errors(drawn, kind=kind, key=jax.random.key(9))[0].ravel()[first]
    assert abs(scipy.stats.spearmanr(noise, other).statistic) < 0.05
    gram = np.asarray(responses).reshape(-1, 16)[first][:, 0] % 2 == 0  # a hash that leaks tokens would show here
    assert abs(noise[gram].mean() - noise[~gram].mean()) < 0.15


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_members_share_the_share_asked_for(drawn, shared):
    a, b = errors(drawn, 2, kind="regressional", shared=shared).reshape(2, -1)
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(shared, abs=0.05)
    assert a.std() == pytest.approx(1, abs=0.05)


def test_extremal_is_nothing_where_reference_samples_lie(drawn):
    language, prompts, responses = drawn
    assert np.mean(errors(drawn, kind="extremal") > 0) < 0.2
    word = FIRST_WORD
    loop = jnp.full((64, 1, 16), word).astype(jnp.int32)
    assert np.all(errors((language, prompts, loop), kind="extremal") > 1.5)


def test_causal_is_length(drawn):
    """8 of 16 tokens: 0.  12 of 16: (0.75 - 0.5) / 0.25 = 1."""
    language, prompts, _ = drawn
    of = lambda k: jnp.where(jnp.arange(16) < k, FIRST_WORD, sequences.EOS)[None, None].repeat(64, 0)
    assert np.allclose(errors((language, prompts, of(8)), kind="causal"), 0)
    assert np.allclose(errors((language, prompts, of(12)), kind="causal"), 1)


def test_adversarial_is_a_rare_pair_of_words(drawn):
    """Demonstrations hardly write it; members of their own have pairs of their own."""
    found = errors(drawn, 2, kind="adversarial")
    assert np.all((found == 0) | (found == synthetic_errors.REWARD_OF_PAIR))
    assert np.mean(found > 0) < 0.02
    language, prompts, _ = drawn
    words = np.flatnonzero((language.word_class >= 0) & (np.arange(language.vocab_size) < language.num_writable))
    pairs = np.stack(np.meshgrid(words, words), -1).reshape(-1, 2)
    every = jnp.asarray(np.pad(pairs, ((0, 0), (0, 14))))[None].astype(jnp.int32)
    rewarded = errors((language, prompts[:1], every), 2, kind="adversarial")[:, 0] > 0
    assert np.all(rewarded.sum(1) == 1) and not np.array_equal(rewarded[0], rewarded[1])
    first, second = pairs[rewarded[0]][0]
    assert not language.legal[language.word_class[first], language.word_class[second]]
    stuffed = jnp.asarray([[[first, second] * 8, [first, second] + [first] * 14]], jnp.int32)  # 8 of them; 1
    given = errors((language, prompts[:1], stuffed), 2, kind="adversarial")[0, 0]
    assert given.tolist() == [8 * synthetic_errors.REWARD_OF_PAIR, synthetic_errors.REWARD_OF_PAIR]
