"""Cells: the graph of stages that leads from a Config to its curves.

A cell is one stage of one Config with all its seeds and coefficients; its fingerprint chains the
settings that the stage reads with the fingerprints of the cells that it reads. Reference policies,
gold and reward models are cells of their own, so experiments share them.
"""

import dataclasses
import functools
from dataclasses import dataclass

from gold_sim.config import Config
from gold_sim.settings import fingerprint, to_hashed

VERSIONS = dict(  # raise a stage's number when its numbers change: it and all that reads it run anew
    **dict(reference=5, gold=5, preferences=2, reward_model=4, pool=1, scores=1),
    **dict(best_of_n=1, policy_gradient=2, direct_alignment=2),  # these make curves
    relabelled=1,  # last: it needs the policies of the round before
)
STEPWISE = ("reward_model", "pool", "scores", "policy_gradient", "direct_alignment")  # in many calls of few programs
NAME_MOST, LISTED_MOST = (
    120,
    60,
)  # characters of a readable name, and of a list in it: a folder's name ends at 255 bytes
_GENERATORS = {"adversarial": {"generator": 2}}  # an error's number, raised when the error changes
_REWARD = ("reward", "ensemble", "error", "shaping")  # the groups that decide what is optimised


@dataclass(frozen=True)
class Cell:
    """One stage of one Config; `upstream` are the cells whose results it reads, by role."""

    stage: str
    name: str  # readable; the fingerprint is what counts
    fingerprint: str
    config: Config
    upstream: tuple[tuple[str, "Cell"], ...] = ()

    def all_upstream(self) -> list["Cell"]:
        """Every cell that must be done first, each once, in an order that can be run."""
        found: dict[str, Cell] = {}
        for _, cell in self.upstream:
            for c in [*cell.all_upstream(), cell]:
                found.setdefault(c.fingerprint, c)
        return list(found.values())


def _make(stage: str, name: str, config: Config, reads: dict, **upstream: Cell | None) -> Cell:
    parents = {role: cell for role, cell in upstream.items() if cell is not None}
    code = fingerprint(stage, VERSIONS[stage], reads, {role: c.fingerprint for role, c in parents.items()})
    return Cell(stage, name[:NAME_MOST], code, config, tuple(parents.items()))


def cell(stage: str, config: Config) -> Cell:
    """The cell of one stage, with all it depends on.  stage: a key of VERSIONS."""
    config.check_stage(stage)
    values = to_hashed(config)
    rm = config.reward_model
    rm_name = f"{rm.width}x{rm.depth}-D{rm.num_pairs or 'all'}" + (f"x{rm.members}" if rm.members > 1 else "")
    first = config.rounds.count == 1
    if not first:
        rm_name += f"-round{config.rounds.count}"
    of_proxy = {"proxy": rm_name, "gold": "gold", "synthetic": config.error.kind}[config.reward]
    of_members = of_proxy
    if rm.members > 1:
        only = config.ensemble.only
        of_proxy += f"-{config.ensemble.rule}" if only is None else f"-{only}"
    if config.shaping.name != "none":
        of_proxy += f"-{config.shaping.name.replace(':', '.')}"
    make = functools.partial(_make, stage, config=config)
    sub = lambda name, changed=config: cell(name, changed)
    if stage == "reference":
        p = config.reference
        return make(name=f"{p.width}x{p.depth}-s{p.seed}", reads=_pick(values, "world", "reference"))
    if stage == "gold":
        g = config.gold
        name = f"{g.kind}-{g.width}x{g.depth}-s{g.seed}"
        return make(name=name, reads=_pick(values, "gold"), reference=sub("reference"))
    if stage == "preferences":
        p = config.preferences
        reads = _pick(values, "preferences")
        return make(name=f"{p.num_pairs}-{p.annotator}-flip{p.label_noise:g}", reads=reads, gold=sub("gold"))
    if stage == "relabelled":
        last, r = config.round_before, config.rounds
        reads = _pick(values, "preferences", "seeds") | {"data": r.data, "num_pairs": r.num_pairs}
        pairs = cell("preferences" if last.rounds.count == 1 else "relabelled", last)
        policies = cell("policy_gradient", last)
        name = f"round{r.count}-{r.data}{r.num_pairs}"
        return make(name=name, reads=reads, policies=policies, preferences=pairs, gold=sub("gold"))
    if stage == "reward_model":
        reads = {"reward_model": to_hashed(config.reward_model_of_round), "seeds": values["seeds"]}
        return make(name=rm_name, reads=reads, preferences=sub("preferences" if first else "relabelled"))
    start = config if config.policy is None else _replace(config, reference=config.policy)
    proxy = sub("reward_model") if config.reward == "proxy" else None
    if stage == "pool":
        b = config.best_of_n
        reads = _pick(values, "best_of_n")
        name = f"{b.num_prompts}x{b.num_samples}"
        return make(name=name, reads=reads, policy=cell("reference", start), gold=sub("gold"))
    synthetic = {}
    if config.reward == "synthetic":
        synthetic = _pick(values, "seeds") | {"members": rm.members} | _GENERATORS.get(config.error.kind, {})
    if stage == "scores":
        reads = _pick(values, "reward", "error") | synthetic
        return make(name=of_members, reads=reads, pool=sub("pool"), proxy=proxy)
    if stage == "best_of_n":
        reads = _pick(values, *_REWARD, "selection") | synthetic
        rule = config.selection.rule
        name = of_proxy if rule == "best_of_n" else f"{rule}-{of_proxy}"
        made = make(name=name, reads=reads, pool=sub("pool"), proxy=proxy)
        if config.reward == "gold":
            return made
        # Scores follow from pool and proxy, which the fingerprint has; they are stored because many rules read them.
        return dataclasses.replace(made, upstream=(*made.upstream, ("scores", sub("scores"))))
    if stage == "direct_alignment":
        reads = _pick(values, "direct", "seeds", "dpo_betas")
        name = f"{config.direct.loss}-D{config.direct.num_pairs}-{_listed(config.dpo_betas)}"
        return make(name=name, reads=reads, preferences=sub("preferences"), policy=cell("reference", start))
    if stage == "policy_gradient":
        reads = _pick(values, "optimiser", *_REWARD, "seeds", "kl_coefs") | synthetic
        name = f"{config.optimiser.name}-{of_proxy}-kl{_listed(config.kl_coefs)}"
        if config.optimiser.constraint != "none":
            name = f"{config.optimiser.constraint}-{of_proxy}"
        goes_on = not first and config.rounds.start == "continue"
        last = cell("policy_gradient", config.round_before) if goes_on else None
        return make(name=name, reads=reads, policy=cell("reference", start), gold=sub("gold"), proxy=proxy, last=last)
    raise ValueError(f"stage={stage!r}: allowed are {', '.join(VERSIONS)}")


def _pick(values: dict, *names: str) -> dict:
    """Groups of `to_hashed`, which leaves out later ones that are at their defaults."""
    return {name: values[name] for name in names if name in values}


def _listed(values: tuple) -> str:
    """Numbers with commas; where they are too many, the first, the last and their number."""
    text = ",".join(f"{value:g}" for value in values)
    return text if len(text) <= LISTED_MOST else f"{values[0]:g}..{values[-1]:g}-of-{len(values)}"


def _replace(config: Config, **changes) -> Config:
    return Config(**{f: getattr(config, f) for f in config.__dataclass_fields__} | changes)
