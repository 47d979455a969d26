"""Declarations of the stages that lead to labelled pairs: the reference policy, gold, candidates and preferences."""

import dataclasses

from gold_sim.config import Config
from gold_sim.networks import footprint
from gold_sim.settings import to_hashed
from gold_sim.stages import sizes
from gold_sim.stages.declared.shared import FLOAT, pairs_of_round, picked
from gold_sim.stages.sizes import judged, written
from gold_sim.stages.stage import Stage

# --- reference --------------------------------------------------------------------------------

REFERENCE = Stage(
    name="reference",
    version=6,
    function="gold_sim.stages.reference:reference",
    blank="gold_sim.stages.reference:blank",
    label=lambda c: f"{c.reference.width}x{c.reference.depth}-s{c.reference.seed}",
    reads=lambda c: picked(c, "world", "reference"),
    parents=lambda c: {},
    work=lambda c: 3 * c.reference.steps * c.reference.batch * written(c, sizes.reference(c)),
    holds=lambda c: (
        footprint.of_training(sizes.reference(c), c.reference.batch * sizes.tokens(c))
        + sizes.of_demonstrations(c, c.reference)
    ),
    networks=lambda c: (sizes.reference(c),),
    program=lambda c: (c.reference,),
)

# --- gold -------------------------------------------------------------------------------------

RAISED_ON = 16_384  # reference responses that gold is trained on: NUM_REFERENCE prompts x GROUP in rewards/gold.py


GOLD_TRUNK = Stage(
    name="gold_trunk",
    version=1,
    function="gold_sim.stages.gold_trunk:gold_trunk",
    blank="gold_sim.stages.gold_trunk:blank",
    label=lambda c: f"{c.gold.width}x{c.gold.depth}-s{c.gold.seed}",
    reads=lambda c: picked(c, "world") | {"trunk": to_hashed(c.gold_trunk)},
    parents=lambda c: {},
    work=lambda c: 3 * c.gold_trunk.steps * c.gold_trunk.batch * written(c, sizes.gold(c)),
    holds=lambda c: (
        footprint.of_training(sizes.gold(c), c.gold_trunk.batch * sizes.tokens(c))
        + sizes.of_demonstrations(c, c.gold_trunk)
    ),
    networks=lambda c: (sizes.gold(c),),
    program=lambda c: (c.gold_trunk,),
)

GOLD = Stage(
    name="gold",
    version=6,
    function="gold_sim.stages.gold:gold_model",
    blank="gold_sim.stages.gold:blank",
    label=lambda c: f"{c.gold.kind}-{c.gold.width}x{c.gold.depth}-s{c.gold.seed}",
    reads=lambda c: picked(c, "gold"),
    parents=lambda c: {"reference": ("reference", c)} | ({"trunk": ("gold_trunk", c)} if c.gold.pretraining else {}),
    work=lambda c: (
        3 * c.gold.steps * c.gold.batch * judged(c, sizes.gold(c)) + RAISED_ON * written(c, sizes.reference(c))
    ),
    holds=lambda c: (
        footprint.of_training(sizes.gold(c), c.gold.batch * sizes.tokens(c))
        + FLOAT * RAISED_ON * sizes.tokens(c) * sizes.reference(c).outputs
    ),
    networks=lambda c: (sizes.reference(c), sizes.gold(c)),
    program=lambda c: (sizes.reference(c), c.gold),
)

# --- candidates and preferences ---------------------------------------------------------------

CANDIDATES = Stage(
    name="candidates",
    version=1,
    function="gold_sim.stages.candidates:candidates",
    blank="gold_sim.stages.candidates:blank",
    label=lambda c: f"{c.preferences.num_pairs}x{c.preferences.drawn}-s{c.preferences.seed}",
    reads=lambda c: {name: getattr(c.preferences, name) for name in ("seed", "num_pairs", "drawn")},
    parents=lambda c: {"reference": ("reference", c)},
    work=lambda c: c.preferences.num_pairs * c.preferences.drawn * written(c, sizes.reference(c)),
    holds=sizes.of_pairs,
    networks=lambda c: (sizes.reference(c),),
    program=lambda c: (sizes.reference(c), c.preferences.drawn),
)

PREFERENCES = Stage(
    name="preferences",
    version=2,
    function="gold_sim.stages.preferences:preference_data",
    blank="gold_sim.stages.preferences:blank",
    label=lambda c: f"{c.preferences.num_pairs}-{c.preferences.annotator}-flip{c.preferences.label_noise:g}",
    reads=lambda c: picked(c, "preferences"),
    parents=lambda c: {"candidates": ("candidates", c), "gold": ("gold", c)},
    work=lambda c: c.preferences.num_pairs * c.preferences.drawn * judged(c, sizes.gold(c)),
    holds=sizes.of_pairs,
    networks=lambda c: (sizes.gold(c),),
    program=lambda c: (sizes.gold(c), dataclasses.replace(c.preferences, seed=0)),
)

# --- relabelled -------------------------------------------------------------------------------


def _relabelled_from(c: Config) -> dict:
    last = c.round_before
    policies, pairs = ("policy_gradient", last), (pairs_of_round(last), last)
    return {"policies": policies, "preferences": pairs, "gold": ("gold", c)}


RELABELLED = Stage(
    name="relabelled",
    version=1,
    function="gold_sim.stages.relabelled:relabelled",
    label=lambda c: f"round{c.rounds.count}-{c.rounds.data}{c.rounds.num_pairs}",
    reads=lambda c: picked(c, "preferences", "seeds") | {"data": c.rounds.data, "num_pairs": c.rounds.num_pairs},
    parents=_relabelled_from,
    work=lambda c: len(c.seeds) * c.rounds.num_pairs * 2 * (written(c, sizes.policy(c)) + judged(c, sizes.gold(c))),
    holds=sizes.of_pairs,
    networks=lambda c: (sizes.policy(c), sizes.gold(c)),
    program=lambda c: (sizes.policy(c), sizes.gold(c), c.rounds, len(c.seeds)),
    faults=lambda c: ("rounds.count=1: pairs are relabelled from round 2 on",) if c.rounds.count == 1 else (),
)
