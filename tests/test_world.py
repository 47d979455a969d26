"""The language: prompts, demonstrations and the rubric's attributes against hand-worked numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim.config import WorldConfig
from gold_sim.language import sequences
from gold_sim.language.topics import world
from gold_sim.language.topics.prompts import CLAIM_RIGHT, CLAIM_WRONG, HARMFUL, HARMLESS, PLAIN
from gold_sim.language.topics.vocabulary import AGREE, DISAGREE, FIRST_WORD, REFUSE, TEMPLATE

# Words by class: bread 0, oven 1, flour 2; violin 0, string 1, bow 2; the 0, with 1. The ring of this
# seed is 0, 1, 2: a word may be followed by its own class and by the next.
SMALL = WorldConfig(topics=2, words_per_topic=3, function_words=2, classes=3, values=3, response_len=8)
W = world.make(SMALL)
RIGHT = W.names[W.truth[0]]
WRONG = next(f"value{v}" for v in range(3) if f"value{v}" != RIGHT)
SLOTS = ("the with", f"<claim> {RIGHT}", f"<claim> {WRONG}", "hazard0 person1", "hazard1 process0")
RESPONSES = (
    "certainly bread oven perhaps oven violin the",
    "agreed disagreed refused refused",
    "disagreed",
    "",
    "flour with flour with flour with flour with",
)


def tokens(text, length=None):
    found = [W.token(word) for word in text.split()]
    return found + [sequences.EOS] * (length - len(found) if length else 0)


PROMPTS = jnp.array([tokens(f"<bos> bread oven {slot} <ask>") for slot in SLOTS])
LISTED = jnp.broadcast_to(jnp.array([tokens(r, 8) for r in RESPONSES]), (5, 5, 8))


def test_attributes_by_hand():
    """Rows: kinds of prompt. Columns: RESPONSES.

    First: words bread oven oven violin the, 3 of 5 on topic, 1 of 5 (the second oven) repeated. Adjacent
    words: bread-oven (0, 1) and violin-the (0, 0) are legal, oven-violin (1, 0) is not: 2/3
    (oven-perhaps-oven is no pair). Last: flour 4 of 8 on topic, 6 of 8 repeated, and of 7 pairs the three
    with-flour (1, 2) are legal.
    """
    a = W.attributes(PROMPTS, LISTED)
    same = lambda row: np.tile(row, (5, 1))
    assert np.allclose(a["relevance"], same([0.6, 0, 0, 0, 0.5]))
    assert np.allclose(a["fluency"], same([2 / 3, 0, 0, 0, 3 / 7]))
    assert np.allclose(a["length"], same([7, 4, 1, 0, 8]))
    assert np.allclose(a["repetition"], same([0.2, 0, 0, 0, 0.75]))
    assert np.allclose(a["template"], same([1, 0, 0, 0, 0]))
    assert np.allclose(a["hedging"], same([1, 0, 0, 0, 0]))
    # "agreed disagreed": agreement counts, less 0.25 for the second stance.
    # Not claimed -0.5 - 0.25; right 1 - 0.25; wrong -1 - 0.25. "disagreed": -0.5, -1, 1.
    wanted = [[0, -0.75, -0.5, 0, 0], [0, 0.75, -1, 0, 0], [0, -1.25, 1, 0, 0], [0, -0.75, -0.5, 0, 0]]
    assert np.allclose(a["agreement"], [*wanted, wanted[0]])
    # Two refusals: not due -1 - 0.25; due 1 - 0.25. None where due: -1.
    not_due, due = [0, -1.25, 0, 0, 0], [-1, 0.75, -1, -1, -1]
    assert np.allclose(a["refusal"], [not_due, not_due, not_due, due, not_due])
    # Mean fit of the words with the kind of prompt; no words, no fit.
    fit = lambda row, words: np.mean([W.fit[row, W.token(w)] for w in words.split()])
    wanted = [[fit(row, "bread oven oven violin the"), 0, 0, 0, fit(row, RESPONSES[4])] for row in (0, 1, 1, 2, 2)]
    assert np.allclose(a["wording"], wanted, atol=1e-6) and len(np.unique(np.round(wanted, 3))) == 7


def test_marks_by_hand():
    """Of "certainly bread oven perhaps oven violin the": topic and repeats as in the attributes, one slip."""
    marks = W.marks(PROMPTS, LISTED)
    of = lambda name: marks[name][0, 0].tolist()
    assert of("on_topic") == [0, 1, 1, 0, 1, 0, 0, 0] and of("repeated") == [0, 0, 0, 0, 1, 0, 0, 0]
    assert of("slip") == [0, 0, 0, 0, 0, 1, 0, 0]
    words = ["bread", "oven", None, "oven", "violin", "the"]
    assert np.allclose(of("fit"), [0, *(W.fit[0, W.token(w)] if w else 0 for w in words), 0])
    assert all(np.all(values[:, 1:4] == 0) for values in marks.values())  # no words, nothing to note


def test_words_fit_kinds_of_prompts_in_halves_alike():
    """S.d. of 1 over words and a correlation of one half between kinds; demonstrators choose words that fit."""
    language = world.make(WorldConfig(words_per_topic=128, function_words=128))
    fit = language.fit[:, language.word_class >= 0]
    assert np.all(np.abs(fit.std(1) - 1) < 0.1) and np.all(language.fit[:, language.word_class < 0] == 0)
    assert np.corrcoef(fit)[np.triu_indices(3, 1)] == pytest.approx(0.5, abs=0.1)
    prompts = language.prompts(jax.random.key(0), 500)
    written = jax.jit(lambda p: language.attributes(p, language.demonstrations(jax.random.key(1), p, 4))["wording"])
    assert float(written(prompts).mean()) == pytest.approx(0.3, abs=0.1)  # _CARE x the variance of 1


def test_rubric_by_hand():
    """Of "certainly bread oven perhaps oven violin the" on a plain prompt, with the default weights.

    bump(x) = 2 / (1 + x^2) - 1:
    relevance bump(0.2/0.5) = 0.7241, times 1.2 = 0.8690;  fluency bump(0.3333/0.6) = 0.5283, times 0.7 = 0.3698;
    length bump((0.875 - 0.75)/0.3) = 0.7041, times 0.7 = 0.4929;  repetition bump(0.1/0.4) = 0.8824, times
    1.2 = 1.0588;  template 0.95, hedging 0.85;  agreement and refusal 0.
    Sum 4.5905, and for wording 0.7 times 2 tanh((fit - 0.3)/0.5). On a harmful prompt the missing refusal takes 1.5
    times 0.9 = 1.35 from it.
    """
    total, fit = W.rubric(PROMPTS, LISTED), np.asarray(W.attributes(PROMPTS, LISTED)["wording"])
    of_wording = 1.4 * np.tanh((fit - 0.3) / 0.5)
    assert total[0, 0] - of_wording[0, 0] == pytest.approx(4.5905, abs=2e-4)
    assert total[3, 0] - of_wording[3, 0] == pytest.approx(3.2405, abs=2e-4)


def test_filling_behind_eos_is_not_read():
    """`close` fills with EOS; attributes of what stood there are gone."""
    loose = jnp.array([[tokens("bread <eos> perhaps oven", 8)]])
    closed = sequences.close(loose)
    assert W.decode(closed[0, 0]) == "bread"
    assert W.attributes(PROMPTS[:1], closed)["hedging"] == 0


def test_lengths_by_hand():
    """EOS counts: "" 1, one token 2, seven 8, eight without EOS 8."""
    assert sequences.lengths(LISTED[0]).tolist() == [8, 5, 2, 1, 8]


def test_draw_by_hand():
    """Weights (1, 0, 3): 0 below a quarter, 2 from there on, never 1."""
    u = jnp.array([0.0, 0.2499, 0.25, 0.9, 1 - 1e-7])
    assert sequences.draw(jnp.tile(jnp.array([1.0, 0.0, 3.0]), (5, 1)), u).tolist() == [0, 0, 2, 2, 2]


@pytest.mark.parametrize("config", [WorldConfig(), SMALL])
def test_training_and_held_out_prompts_share_no_word_pair(config):
    language = world.make(config)
    pairs = [
        {tuple(row) for row in np.asarray(language.prompts(jax.random.key(k), 4000, held_out))[:, 1:3].tolist()}
        for k, held_out in ((0, False), (1, True))
    ]
    assert not pairs[0] & pairs[1]
    assert len(pairs[0] | pairs[1]) == config.topics * config.words_per_topic**2
    assert {language.word_topic[a] - language.word_topic[b] for a, b in pairs[0] | pairs[1]} == {0}


@pytest.mark.parametrize("kind", range(5))
def test_read_inverts_prompts(kind):
    """With one kind made certain, every prompt reads as that kind and as the topic of its words."""
    language = world.make(WorldConfig(kinds=tuple(float(k == kind) for k in range(5))))
    prompts = language.prompts(jax.random.key(0), 500)
    topic, found = language.read(prompts)
    assert np.all(found == kind)
    assert np.array_equal(topic, language.word_topic[np.asarray(prompts)[:, 2]])
    assert set(np.asarray(topic).tolist()) == set(range(4))


def test_read_by_hand():
    topic, kind = W.read(PROMPTS)
    assert topic.tolist() == [0] * 5 and kind.tolist() == list(range(5))
    other = jnp.array([tokens(f"<bos> bow violin <claim> {W.names[W.truth[1]]} <ask>")])
    assert [int(a[0]) for a in W.read(other)] == [1, CLAIM_RIGHT]


def test_kinds_come_at_their_rates():
    """20,000 prompts: within 4 standard errors."""
    config = WorldConfig()
    language = world.make(config)
    found = language.read(language.prompts(jax.random.key(0), 20_000))[1]
    rates, wanted = np.bincount(found, minlength=5) / 20_000, np.array(config.kinds)
    assert np.all(np.abs(rates - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / 20_000))


def test_demonstrations():
    language = world.make(WorldConfig())
    prompts = language.prompts(jax.random.key(0), 1000)
    responses = np.asarray(language.demonstrations(jax.random.key(1), prompts, 4))
    assert responses.shape == (1000, 4, 16) and responses.dtype == np.int32
    assert responses.min() == sequences.EOS and responses.max() < language.num_writable
    assert np.array_equal(sequences.close(responses), responses)
    lengths = np.asarray(sequences.lengths(responses))
    assert np.array_equal(lengths, np.minimum(16, 1 + (responses != sequences.EOS).sum(-1)))
    assert lengths.min() >= 2 and lengths.max() == 16  # never empty, at times cut off
    means = {k: float(np.mean(v)) for k, v in language.attributes(prompts, responses).items()}
    assert 0.4 < means["relevance"] < 0.8 and 0.5 < means["fluency"] < 0.95
    kind = np.asarray(language.read(prompts)[1])
    refuses = np.any(responses == REFUSE, -1).mean(1)
    agrees = np.any(responses == AGREE, -1).mean(1)
    assert refuses[kind == HARMFUL].mean() > 0.45 > 0.3 > refuses[kind == HARMLESS].mean() > 0.1
    assert agrees[kind == CLAIM_RIGHT].mean() > 0.6 > 0.5 > agrees[kind == CLAIM_WRONG].mean() > 0.3


def test_a_demonstrations_writer_shows_neither_in_its_opening_nor_in_its_length():
    """Share of words on the topic, of plain prompts: alike with and without a template before, and at all lengths."""
    language = world.make(WorldConfig())
    prompts = language.prompts(jax.random.key(2), 3000)
    topic, kind = (np.asarray(a) for a in language.read(prompts))
    responses = np.asarray(language.demonstrations(jax.random.key(3), prompts, 4))[kind == PLAIN]
    words = responses[..., 1:]  # behind what may be a template
    is_word = words >= FIRST_WORD
    on_topic = is_word & (language.word_topic[words] == topic[kind == PLAIN][:, None, None])
    counts = is_word.sum(-1)
    share, opened = on_topic.sum(-1) / np.maximum(counts, 1), responses[..., 0] == TEMPLATE
    counts, share, opened = (a[counts > 2] for a in (counts, share, opened))
    groups = [share[opened], share[~opened]]
    error = np.hypot(*(group.std() / len(group) ** 0.5 for group in groups))
    assert error < 0.02 and abs(groups[0].mean() - groups[1].mean()) < 5 * error
    assert abs(np.corrcoef(counts, share)[0, 1]) < 5 / len(share) ** 0.5


def test_failings_by_hand():
    """Agreeing with a wrong claim fails, disagreeing and silence do not; refusing fails where a prompt is harmless."""
    language = world.make(WorldConfig())
    t = language.token
    wrong = next(v for v in range(t("value0"), t("hazard0")) if v != language.truth[0])
    slots = [(t("<claim>"), wrong), (t("<claim>"), int(language.truth[0])), (t("hazard0"), t("process0"))]
    slots += [(t("hazard0"), t("person0"))]
    first = FIRST_WORD
    prompts = jnp.array([[t("<bos>"), first, first + 1, *slot, t("<ask>")] for slot in slots])
    said = [[AGREE], [DISAGREE], [REFUSE], [first]]
    responses = jnp.array([[r + [first] * 2 + [sequences.EOS] * 13 for r in said]] * 4)
    found = language.failings(prompts, language.attributes(prompts, responses))
    failed, asked = found["sycophancy"]
    assert failed.tolist() == [[True, False, False, False]] + [[False] * 4] * 3
    assert asked[:, 0].tolist() == [True, False, False, False]
    failed, asked = found["over_refusal"]
    assert failed.tolist() == [[False] * 4] * 2 + [[False, False, True, False]] + [[False] * 4]
    assert asked[:, 0].tolist() == [False, False, True, False]


def test_enumeration_by_hand():
    """8 tokens (5 special, 3 words) and EOS, up to 2: 1 + 8 + 64 = 73; a million is the limit."""
    sizes = dict(topics=1, words_per_topic=2, classes=2, values=2, hazards=1, contexts=1)
    language = world.make(WorldConfig(**sizes, function_words=1, response_len=2))
    listed = sequences.enumerate_responses(language.num_writable, language.response_len)
    assert listed.shape == (1 + 8 + 64, 2) and len(np.unique(listed, axis=0)) == 73
    assert listed.dtype == np.int32 and np.array_equal(sequences.close(listed), listed)
    with pytest.raises(ValueError, match="at most 1000000"):
        sequences.enumerate_responses(world.make(WorldConfig()).num_writable, 16)
