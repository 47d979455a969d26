"""A user's own experiment: a module with experiment(preset), imported, called and checked before work is spent."""

import importlib
import inspect
import re
import traceback
from importlib.util import find_spec
from pathlib import Path

from experiments.engine.job import in_a_line
from experiments.experiment import Experiment
from experiments.presets import PRESETS
from gold_sim.stages.declared import STAGES
from gold_sim.store.columns import CURVE_COLUMNS

# Words that mean something else to commands, or that name a folder of the store.
RESERVED = (
    "throughput",
    "fit",
    "advise",
    "scores",
    "bayes",
    "paper",
    "calibration",
    "claims",
    "pack",
    "export",
    "power",
    "stopping",
    "experiments",
)
WANTED = "a module with experiment(preset) that returns an Experiment"


def load(name: str, preset: str) -> Experiment | None:
    """The experiment that a module declares; None: nothing of that name can be imported.

    ValueError: one line that says what is wrong in the module, and where.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise ValueError(f"experiment {name!r}: importing it raised {_told(error)}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"experiment {name!r}: importing it raised {_told(error)}") from error
    where = f"experiment {name!r} ({getattr(module, '__file__', None) or 'no file'})"
    make = getattr(module, "experiment", None)
    if make is None:
        raise ValueError(f"{where}: has no experiment(preset); {WANTED} is wanted")
    if not callable(make) or not _takes_a_preset(make):
        raise ValueError(f"{where}: its experiment is {make!r:.80}; {WANTED} is wanted")
    try:
        made = make(preset)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{where}: experiment({preset!r}) raised {_told(error)}") from error
    if not isinstance(made, Experiment):
        raise ValueError(f"{where}: experiment({preset!r}) returned {made!r:.80}; {WANTED} is wanted")
    if (odd := oddity(made, preset)) is not None:
        raise ValueError(f"{where}: {odd}")
    return made


def _takes_a_preset(make) -> bool:
    try:
        inspect.signature(make).bind("cpu")
    except TypeError:
        return False
    except ValueError:  # a callable written in C, whose signature is not known
        pass
    return True


def _told(error: BaseException) -> str:
    """Kind and text of an exception, and the line of code that raised it."""
    what = in_a_line(error)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{what} ({error.filename}, line {error.lineno})" if "line" not in what else what
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and Path(frame.filename) != Path(__file__)]
    return f"{what} ({own[-1].filename}, line {own[-1].lineno})" if own else what


def oddity(made: Experiment, preset: str) -> str | None:
    """What is wrong with a declaration, in one line that says what is allowed; None: nothing."""
    for field in ("name", "title", "question", "figure", "expected", "cost", "axis", "study"):
        text = getattr(made, field)
        if not isinstance(text, str) or not text.isprintable():
            return f"{field}={text!r:.80}: one line of printable text is wanted"
    if not re.fullmatch(r"\w[\w.-]*", made.name) or made.name in RESERVED:
        return f"name={made.name!r:.80}: letters, digits, _, - and . are wanted, and none of {', '.join(RESERVED)}"
    columns = ("variant", *CURVE_COLUMNS)
    if made.axis not in columns:
        return f"axis={made.axis!r:.80}: allowed are variant and the columns of curves, {', '.join(CURVE_COLUMNS)}"
    if made.panels is not None and made.panels not in columns:
        return f"panels={made.panels!r:.80}: allowed are None and the columns of curves, {', '.join(CURVE_COLUMNS)}"
    if made.axis == "variant" and not made.variants:
        return "axis='variant': it has no variants; allowed without them are the columns of curves"
    known = made.study == "variants" or made.study.isidentifier() and find_spec(f"analysis.studies.{made.study}")
    if not known:
        return f"study={made.study!r:.80}: allowed are variants and the files of analysis/studies"
    own = [variant.stages for variant in made.variants.values() if variant.stages is not None]
    makes_curves = [name for name, stage in STAGES.items() if "curves" in stage.tables]
    for stages in (made.stages, *own):
        if not isinstance(stages, tuple | list) or not stages or set(stages) - set(makes_curves):
            return f"stages={stages!r:.80}: a tuple of some of {', '.join(makes_curves)} is wanted"
    try:
        points = made.points(PRESETS[preset], {})
    except Exception as error:
        return f"its points could not be made: {_told(error)}"
    return None if points else "it has no point: grid, variants and extra are empty"
