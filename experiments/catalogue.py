"""Every experiment by name, in the order in which a newcomer would run them."""

from experiments import modules
from experiments.experiment import Experiment
from experiments.presets import PRESETS
from experiments.studies import (
    annotators,
    behaviours,
    bon_vs_rl,
    constrained,
    data_size,
    data_split,
    direct_alignment,
    direct_alignment_pessimism,
    divergence,
    diversity,
    ensemble_size,
    ensembles,
    ensembles_kl,
    ensembles_noise,
    epochs,
    goodhart,
    grid,
    heavy_tails,
    held_out_prompts,
    inference_time,
    iterated,
    kl_penalty,
    length,
    negative_controls,
    omission,
    omission_updates,
    optimisers,
    policy_size,
    policy_size_large_rm,
    ppo_penalty,
    preference_losses,
    rankings,
    regret,
    reward_shaping,
    rm_size,
    shared_errors,
    worlds,
)

_MODULES = (
    *(rm_size, data_size, grid, epochs, kl_penalty, ppo_penalty, bon_vs_rl),
    *(policy_size, policy_size_large_rm, worlds, negative_controls),
    *(optimisers, inference_time, direct_alignment, direct_alignment_pessimism),
    *(ensembles, ensembles_kl, ensembles_noise, ensemble_size, diversity, shared_errors),
    *(divergence, reward_shaping, heavy_tails, goodhart),
    *(annotators, preference_losses, behaviours, omission, omission_updates, held_out_prompts, data_split),
    *(regret, iterated, length, rankings, constrained),
)
NAMES = tuple(m.__name__.rpartition(".")[2] for m in _MODULES)


def find(name: str, preset: str) -> Experiment:
    """An experiment of this folder, or a module of yours that has `experiment(preset)`.

    ValueError if the name or the preset is unknown, or the module is not as wanted, saying what is allowed.
    """
    if preset not in PRESETS:
        raise ValueError(f"--preset {preset!r}: allowed are {', '.join(PRESETS)}")
    if name in NAMES:
        return _MODULES[NAMES.index(name)].experiment(preset)
    made = modules.load(name, preset)
    if made is None:
        known = ", ".join((*NAMES, "throughput"))
        raise ValueError(f"experiment {name!r}: allowed are {known}, or a module of yours with experiment(preset)")
    if made.name in NAMES and made != _MODULES[NAMES.index(made.name)].experiment(preset):
        raise ValueError(f"experiment {name!r}: its name={made.name!r} is that of an experiment here; give it its own")
    return made
