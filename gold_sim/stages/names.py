"""What cells are called, by size, pairs, members, rule and shaping. A name is read; the fingerprint is what counts."""

from gold_sim.config import Config

LISTED_MOST = 60  # characters that a list of numbers may take in a name


def listed(values: tuple) -> str:
    """A list of numbers with commas; if that is too long, the first, the last and how many there are."""
    text = ",".join(f"{value:g}" for value in values)
    return text if len(text) <= LISTED_MOST else f"{values[0]:g}..{values[-1]:g}-of-{len(values)}"


def name_of_model(c: Config) -> str:
    """The part of a name that gives size, pairs, members and round of reward models."""
    rm = c.reward_model
    name = f"{rm.width}x{rm.depth}-D{rm.num_pairs or 'all'}" + (f"x{rm.members}" if rm.members > 1 else "")
    name += "-converged" if rm.train_until == "converged" else ""
    name += "" if rm.start == "fresh" else f"-{rm.start}"
    return name if c.rounds.count == 1 else f"{name}-round{c.rounds.count}"


def name_of_proxy(c: Config) -> str:
    """The name of what is optimised, before an ensemble's rule and shaping."""
    return {"proxy": name_of_model(c), "gold": "gold", "synthetic": c.error.kind}[c.reward]


def name_of_reward(c: Config) -> str:
    """The proxy's name, with how its members are combined and shaped."""
    name = name_of_proxy(c)
    if c.reward_model.members > 1:
        name += f"-{c.ensemble.rule}" if c.ensemble.only is None else f"-{c.ensemble.only}"
    return name if c.shaping.name == "none" else f"{name}-{c.shaping.name.replace(':', '.')}"
