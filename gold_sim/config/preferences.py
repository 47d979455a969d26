"""Settings of preferences: the pairs that are labelled first, and those of later rounds."""

from dataclasses import dataclass
from typing import Annotated, Literal

from gold_sim.config.fields import Positive, Seed
from gold_sim.settings import Between, Checked, later

RANKERS = ("plackett_luce", "mallows")  # annotators that rank several responses at once


@dataclass(frozen=True)
class PreferencesConfig(Checked):
    """Pairs of reference samples on one prompt, labelled from gold by an annotator (preferences/annotators.py)."""

    seed: Seed = 0  # of the prompts, the samples and the annotator
    num_pairs: Annotated[int, Between(20, 10**9)] = 16_000  # pairs collected, the held-out ones among them
    held_out: Annotated[float, Between(0.01, 0.9)] = 0.1  # share of the pairs kept for validation and calibration
    annotator: Literal[
        "deterministic", "bradley_terry", "biased", "offsets", "ties", "implicit", "plackett_luce", "mallows"
    ] = "deterministic"  # the default is that of Gao et al. 2023
    temperature: Positive = 1.0  # s.d.; read by bradley_terry, implicit and plackett_luce
    label_noise: Annotated[float, Between(0.0, 0.5)] = (
        0.0  # share of labels flipped at random; at 0.5 none says a thing
    )
    bias_on: str = later("length")  # what a biased annotator likes: length, or one of the language's features
    bias: Annotated[float, Between(-1e3, 1e3)] = later(1.0)  # how much: s.d. for a unit of annotators.features
    people: Annotated[int, Between(1, 10**6)] = later(10)  # annotators of `offsets`, each with tastes of their own
    spread: Annotated[float, Between(0.0, 1e3)] = later(1.0)  # s.d. of a taste in `offsets`, or widest tie in `ties`
    ranked: Annotated[int, Between(2, 64)] = later(4)  # responses that plackett_luce and mallows rank at once
    phi: Annotated[float, Between(1e-6, 1.0)] = later(0.3)  # of mallows: near 0 it never errs, at 1 it ranks at random
    # What is kept of a ranking: two of its responses, drawn at random, or the whole beside these two. num_pairs then
    # counts prompts. Validation, calibration and direct alignment read the two alone.
    keep: Literal["pair", "ranking"] = later("pair")
    labelled_anew: bool = later(False)  # True: each seed's reward models learn from labels drawn for that seed

    @property
    def drawn(self) -> int:
        """Responses drawn for a prompt: two, or all that are ranked."""
        return self.ranked if self.annotator in RANKERS else 2

    @property
    def num_held_out(self) -> int:
        """Pairs of validation and calibration."""
        return int(self.num_pairs * self.held_out)

    @property
    def num_training(self) -> int:
        """Pairs that a reward model or a directly aligned policy may learn from."""
        return self.num_pairs - self.num_held_out

    def faults(self):
        if (held_out := self.num_held_out) < 2:
            yield f"held_out={self.held_out:g}: of num_pairs={self.num_pairs} that is {held_out}, calibration wants 2"
        if self.keep == "ranking" and self.annotator not in RANKERS:
            yield f"keep='ranking': allowed of plackett_luce and mallows, not {self.annotator}"
        if self.labelled_anew and self.annotator in RANKERS:
            yield f"labelled_anew=True: allowed of annotators of pairs, not {self.annotator}"
        if self.keep == "ranking" and self.label_noise:
            yield f"label_noise={self.label_noise:g}: flips are of pairs, 0 with keep='ranking'"


@dataclass(frozen=True)
class RoundsConfig(Checked):
    """Iterated RLHF: policies of one round write the pairs that the next round's reward models learn from."""

    count: Annotated[int, Between(1, 64)] = 1  # the last round; 1 is ordinary RLHF
    num_pairs: Annotated[int, Between(1, 10**7)] = 2000  # new pairs of a round and seed, labelled as those of the first
    data: Literal["concatenate", "replace"] = "concatenate"  # reward models learn from all pairs, or from the newest
    start: Literal["restart", "continue"] = "restart"  # policies start at the reference, or where the last round ended
    sight: Literal["fixed", "alternating"] = "fixed"  # alternating: even rounds see what odd ones are blind to
    # True: round k passes over its pairs k times as often, so that with data="replace" it has about as many steps as
    # with all pairs so far.
    as_long: bool = later(False)
