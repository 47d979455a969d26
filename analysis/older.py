"""Manifests that older code wrote, in today's form.

Until 2026-12-01 a manifest did not name the cells of gold. Until 2026-11-30 it named variants by their labels alone,
and did not say which study tells of them.
"""

import re

OWN = (  # experiments whose study had their name
    *("rm_size", "data_size", "grid", "epochs", "kl_penalty", "bon_vs_rl", "policy_size", "worlds"),
    *("negative_controls", "behaviours", "held_out_prompts", "regret", "goodhart", "data_split", "iterated", "length"),
    "constrained",
)
STUDIES = dict(zip(OWN, OWN, strict=True))
STUDIES |= {"ppo_penalty": "kl_penalty", "policy_size_large_rm": "policy_size", "omission_updates": "iterated"}


def key_of(label: str) -> str:
    """Key of a variant that was stored by its label: "mean - 0.5 variance" -> "mean_minus_0_5_variance".

    Keys were made of the labels of that day by this rule, so that a label reworded later changes nothing here.
    """
    return re.sub(r"[^a-z0-9]+", "_", label.lower().replace(" - ", " minus ")).strip("_")


def current(manifest: dict) -> dict:
    """The manifest with `variants` as key -> label, keys in its cells, `study` and `golds`; one of today's as it is."""
    variants = manifest.get("variants", {})
    if isinstance(variants, list):
        keys = {"": ""} | {label: key_of(label) for label in variants}
        cells = [cell | {"variant": keys[cell.get("variant", "")]} for cell in manifest["cells"]]
        manifest = manifest | {"variants": {keys[label]: label for label in variants}, "cells": cells}
    return {"study": STUDIES.get(manifest["experiment"], "variants"), "variants": {}, "golds": []} | manifest
