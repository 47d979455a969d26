"""The settings of a run, as frozen dataclasses that are checked when made, hashable and fingerprinted.

A file has the settings that the room of its name in gold_sim reads: language.py, policy.py, preferences.py, rewards.py
and optimisation.py. The types of their fields are in fields.py, and the whole `Config` is in config.py.

Singular fields are static: each value is compiled for. Plural fields (`seeds`, `kl_coefs`) are axes that the pipeline
maps. A comment gives a field's unit, its meaning and the source of its default. Defaults without a source were chosen
on worlds 0 to 99 (experiments/log/README.md). "s.d." are standard deviations of gold's scores over samples of the
reference policy.

A bad value raises ValueError with its name, the value and what is allowed. A range or a length belongs to the type of
its field. Rules between the fields of a group are in its `faults`. Rules between groups are in functions above
`Config`.
"""

from gold_sim.config.config import Config
from gold_sim.config.fields import heads
from gold_sim.config.language import WorldConfig
from gold_sim.config.optimisation import BestOfNConfig, DirectConfig, FrontierConfig, OptimiserConfig, SelectionConfig
from gold_sim.config.policy import PolicyConfig
from gold_sim.config.preferences import PreferencesConfig, RoundsConfig
from gold_sim.config.rewards import EnsembleConfig, ErrorConfig, GoldConfig, RewardModelConfig, ShapingConfig

__all__ = [  # in the order of the page of reference
    *("heads", "WorldConfig", "PolicyConfig", "GoldConfig", "PreferencesConfig", "RewardModelConfig"),
    *("EnsembleConfig", "ErrorConfig", "ShapingConfig", "RoundsConfig", "DirectConfig", "BestOfNConfig"),
    *("SelectionConfig", "OptimiserConfig", "FrontierConfig", "Config"),
]
