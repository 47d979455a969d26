"""Settings of policy networks before any optimisation."""

from dataclasses import dataclass

from gold_sim.config.fields import Count, Depth, LearningRate, Precision, Seed, Width
from gold_sim.settings import Checked, later


@dataclass(frozen=True)
class PolicyConfig(Checked):
    """A policy network and its supervised fine-tuning on demonstrations."""

    width: Width = 48  # of the residual stream
    depth: Depth = 2  # transformer blocks
    seed: Seed = 0  # of the initialisation and of the demonstrations
    steps: Count = 500  # gradient steps
    batch: Count = 256  # fresh demonstrations a step
    learning_rate: LearningRate = 3e-3  # at the peak of a warm-up and cosine schedule
    precision: Precision = later("float32")
