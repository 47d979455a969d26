"""The language of topics: prompts, demonstrations, and the rubric that the gold model is trained on.

A random function would not do as gold. A proxy's errors must be punished off the reference
distribution, as people punish what they never saw in training data. So the judge here has a taste
with interior optima: a hedge is nice once and annoying four times. The attributes that it judges
hardly vary in what the reference policy writes
(experiments/log/2026-11-26-controls-and-penalties.md has the measurement).

A prompt is six tokens: BOS, two words of one topic, a slot of two tokens, ASK. The slot is plain
(two function words), a claim (CLAIM and a value: right iff it is the topic's true value), or a
hazard (a hazard word, and a context word that makes it harmful or harmless: "kill person" /
"kill process"). A response is up to `response_len` tokens, ended by EOS and filled with EOS.

Tokens that may be written come first (`num_writable`), those only read in prompts after.
"""

import dataclasses
import functools

import numpy as np

from gold_sim.config import WorldConfig
from gold_sim.language.sequences import EOS
from gold_sim.language.topics.demonstrations import demonstrations
from gold_sim.language.topics.prompts import KINDS, REGISTER, prompts, read, relevant
from gold_sim.language.topics.rubric import attributes, failings, features, marks, rubric, utilities
from gold_sim.language.topics.vocabulary import FIRST_WORD, MARKS, PROMPT_LEN, SPECIAL, TOKENS, num_writable

_TOPIC_WORDS = (
    "bread oven flour yeast crust dough salt butter",
    "violin string bow tune chord pitch rhythm choir",
    "garden seed soil root leaf water bloom hedge",
    "ship sail anchor wave harbour tide mast deck",
    "chess knight pawn castle check board queen clock",
    "train rail station engine ticket signal wagon bridge",
    "star planet orbit comet moon lens dust light",
    "wool needle thread loom cloth knit dye stitch",
)
_FUNCTION_WORDS = ["the", "with", "and", "for", "then", "near", "about", "while", "over", "after", "under", "before"]


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """A `Language`: its tables, made by `make` and hashed by its config."""

    config: WorldConfig
    word_class: np.ndarray  # [V] grammatical class of a word, -1 for tokens that are no words
    word_topic: np.ndarray  # [V] topic of a word, -1 for function words and other tokens
    legal: np.ndarray  # [C, C] may class j follow class i?
    truth: np.ndarray  # [topics] the value that is true of each topic, as a token
    fit: np.ndarray  # [registers, V] how well a word suits a kind of prompt, s.d. over words; 0 of other tokens
    names: tuple[str, ...]  # [V] readable words

    def __hash__(self):
        return hash(self.config)

    def __eq__(self, other):
        return isinstance(other, World) and self.config == other.config

    @property
    def vocab_size(self) -> int:
        return len(self.names)

    @property
    def num_writable(self) -> int:
        return num_writable(self.config)

    @property
    def prompt_len(self) -> int:
        return PROMPT_LEN

    @property
    def response_len(self) -> int:
        return self.config.response_len

    @property
    def tokens_of(self):
        return TOKENS

    @property
    def topical(self):
        return tuple(np.flatnonzero(self.word_topic >= 0).tolist())

    def prompts(self, key, num: int, held_out: bool = False):
        return prompts(self, key, num, held_out)

    def read(self, prompts):
        return read(self, prompts)

    def kinds(self, prompts) -> list[str]:
        return [KINDS[kind] for kind in np.asarray(self.read(prompts)[1])]

    def relevant(self, prompts):
        return relevant(self, prompts)

    def demonstrations(self, key, prompts, num_samples: int = 1):
        return demonstrations(self, key, prompts, num_samples)

    def attributes(self, prompts, responses) -> dict:
        return attributes(self, prompts, responses)

    def failings(self, prompts, attributes: dict) -> dict:
        return failings(self, prompts, attributes)

    def criteria(self, prompts, responses) -> dict:
        """Each attribute, and its utility."""
        valued = {f"utility_{name}": value for name, value in utilities(self, prompts, responses).items()}
        return valued | attributes(self, prompts, responses)

    def marks(self, prompts, responses) -> dict:
        return marks(self, prompts, responses)

    def rubric(self, prompts, responses):
        return rubric(self, prompts, responses)

    def features(self, responses) -> dict:
        return features(responses)

    def unwritten_pairs(self) -> np.ndarray:
        """Pairs of words that the grammar does not allow."""
        legal = self.legal[self.word_class[:, None], self.word_class[None]]
        is_word = (self.word_class >= 0) & (np.arange(self.vocab_size) < self.num_writable)
        return np.argwhere(~legal & is_word[:, None] & is_word[None])

    def token(self, name: str) -> int:
        return self.names.index(name)

    def decode(self, tokens) -> str:
        """Readable text of one prompt or response, up to its EOS."""
        words = []
        for t in np.asarray(tokens).tolist():
            if t == EOS:
                break
            words.append(self.names[t])
        return " ".join(words)


@functools.cache
def make(config: WorldConfig) -> World:
    """The language of `config`: words, a grammar over word classes, one true value a topic."""
    c = config
    rng = np.random.default_rng([c.seed, 7])
    names = list(SPECIAL)
    classes, topics = [-1] * FIRST_WORD, [-1] * FIRST_WORD
    for t in range(c.topics):
        known = _TOPIC_WORDS[t].split() if t < len(_TOPIC_WORDS) else []
        for w in range(c.words_per_topic):
            names.append(known[w] if w < len(known) else f"topic{t}word{w}")
            classes.append(w % c.classes)
            topics.append(t)
    for f in range(c.function_words):
        names.append(_FUNCTION_WORDS[f] if f < len(_FUNCTION_WORDS) else f"word{f}")
        classes.append(f % c.classes)
        topics.append(-1)
    names += [*MARKS]
    names += [f"value{v}" for v in range(c.values)] + [f"hazard{h}" for h in range(c.hazards)]
    names += [f"person{h}" for h in range(c.contexts)] + [f"process{h}" for h in range(c.contexts)]
    classes += [-1] * (len(names) - len(classes))
    topics += [-1] * (len(names) - len(topics))
    # A ring of classes in random order: a class may be followed by itself and by the next.
    order = rng.permutation(c.classes)
    legal = np.eye(c.classes, dtype=bool)
    legal[order, np.roll(order, -1)] = True
    truth = names.index("value0") + rng.integers(c.values, size=c.topics)
    # Half of what makes a word fit is the same for every kind of prompt.
    registers = max(REGISTER) + 1
    alike, own = rng.standard_normal((1, len(names))), rng.standard_normal((registers, len(names)))
    fit = np.where(np.array(classes) >= 0, (alike + own) / np.sqrt(2), 0.0).astype(np.float32)
    return World(c, np.array(classes), np.array(topics), legal, truth, fit, tuple(names))
