"""The declarations of all stages, in the order in which they are run; no jax.

To add a stage, write its function in a file of gold_sim/stages and its declaration here. A cell is one stage of one
configuration. All code that plans, fingerprints, prices, orders, compiles ahead, runs or archives cells reads STAGES.
"""

from gold_sim.stages.declared.labels import CANDIDATES, GOLD, GOLD_TRUNK, PREFERENCES, REFERENCE, RELABELLED
from gold_sim.stages.declared.policies import DIRECT_ALIGNMENT, FRONTIER, POLICY_GRADIENT
from gold_sim.stages.declared.reward_models import PRETRAINED, REWARD_MODEL
from gold_sim.stages.declared.selection import BEST_OF_N, GOLD_SCORES, POOL, SCORES
from gold_sim.stages.stage import Stage

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        *(REFERENCE, GOLD_TRUNK, GOLD, CANDIDATES, PREFERENCES, PRETRAINED, REWARD_MODEL, POOL, GOLD_SCORES, SCORES),
        *(BEST_OF_N, POLICY_GRADIENT, FRONTIER, DIRECT_ALIGNMENT, RELABELLED),
    )
}
