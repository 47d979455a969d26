"""Every experiment by name, in the order in which a newcomer would run them.

Every file in experiments/studies/ is an experiment. It is listed nowhere else: its declaration says its place.
"""

import importlib
import pkgutil

from experiments import modules, studies
from experiments.experiment import Experiment
from experiments.presets import PRESETS
from gold_sim.typed import meant


def _declared() -> dict[str, object]:
    """Name -> module of every declaration, in order of `Experiment.order`."""
    names = [found.name for found in pkgutil.iter_modules(studies.__path__)]
    own = {name: importlib.import_module(f"{studies.__name__}.{name}") for name in names}
    return dict(sorted(own.items(), key=lambda item: (item[1].experiment("cpu").order, item[0])))


_MODULES = _declared()
NAMES = tuple(_MODULES)


def find(name: str, preset: str) -> Experiment:
    """An experiment of this folder, or a module of yours that has `experiment(preset)`.

    ValueError if the name or the preset is unknown, or the module is not as wanted, saying what is allowed.
    """
    if preset not in PRESETS:
        raise ValueError(f"--preset {preset!r}: allowed are {', '.join(PRESETS)}")
    if name in _MODULES:
        return _MODULES[name].experiment(preset)
    made = modules.load(name, preset)
    if made is None:
        known = (*NAMES, "throughput")
        allowed = f"allowed are {', '.join(known)}, or a module of yours with experiment(preset)"
        raise ValueError(f"experiment {name!r}: {allowed}{meant(name, known)}")
    if made.name in NAMES and made != _MODULES[made.name].experiment(preset):
        raise ValueError(f"experiment {name!r}: its name={made.name!r} is that of an experiment here; give it its own")
    return made
