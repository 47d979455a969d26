"""Is a table a trainer's log, and in which unit is its KL?

A trainer's KL is a trap. TRL's PPO logs `objective/kl`, summed over a response's tokens; its GRPO logs `kl`, the mean
over tokens; the laws want nats a response. So a log is known by what it holds, in whatever file it comes, and is
refused until its unit is stated. `known_columns` knows what the usual names are: the refusal says what to type, and a
unit that contradicts the table is warned of.
"""

import re
from collections.abc import Iterable

import pandas as pd

from analysis.fit import known_columns
from analysis.fit.known_columns import KL, OLD, RESPONSE, ROOT, SAMPLER, TOKEN
from analysis.fit.values import BadInput, data_row

KL_UNITS = (RESPONSE, TOKEN)
SECTIONS = frozenset(  # first parts of a trainer's names, as in actor/kl_loss
    (*("actor", "critic", "train", "eval", "objective", "policy", "loss", "losses", "val", "val-core", "val-aux"),
     *("rewards", "reward", "completions", "response_length", "prompt_length", "rollout", "rollout_scores", "ppo"),
     *("env", "logps", "logits", "clip_ratio", "optim", "timing_s", "perf", "performance", "values", "returns"),
     *("training", "sampling", "tokens", "metrics", "trainer", "global_seqlen"))
)  # fmt: skip
WORDS = re.compile(
    r"(^|[/_.\s])(rewards?|loss|entropy|grad_?norm|clip_?frac\w*|clip_?ratio|approx_?kl\w*|ppo_kl|kl_loss|logps?"
    r"|log_?probs?|advantages?|returns?|lengths?|len|num_tokens|sequence_lengths)($|[/_.\s])",
    re.IGNORECASE,
)
NO_SIGN = re.compile(r"(^|[/_.\s])(model|models|params|size|seed|pairs|data|id|name|rm)($|[/_.\s])", re.IGNORECASE)
LENGTH = re.compile(r"(response|completion|sequence|output|generation|gen)\w*[/_.]?(len|length|tokens)", re.IGNORECASE)
SHORT_LENGTH = re.compile(r"(^|[/_.\s])(lengths?|len|mean_length|tokens)$", re.IGNORECASE)
OURS = {"gold_seed", "rm_params", "d", "proxy"}  # columns of this project's own curves, whose KL is nats a response


def signs(columns: Iterable, asked: Iterable[str]) -> list[str]:
    """The columns by which a table is known as a trainer's log.

    asked: the columns that the user named. Their plain words are no sign (`--y reward_of_judge`), but a section is.
    """
    names, asked = [str(name) for name in columns], set(asked)
    if set(names) >= OURS:
        return []
    in_section = lambda name: re.split(r"[/.]", name)[0].lower() in SECTIONS and re.search(r"[/.]", name)
    by_words = lambda name: WORDS.search(name) and not NO_SIGN.search(name)
    of_evaluation = lambda name: name.startswith(("eval_", "train_")) and not NO_SIGN.search(name)
    own = lambda name: name not in asked and (by_words(name) or of_evaluation(name))
    by_itself = lambda name: name in asked and any(row.column != "kl" for row in known_columns.known(name))
    return [name for name in names if in_section(name) or own(name) or by_itself(name)]


def checked_unit(path, names: list[str], column: str, kind: str, options, of_trainer: bool) -> tuple[str, list[str]]:
    """(the unit of KL, of KL_UNITS; what the table of known columns holds against it).

    names: all columns of the file.  kind: "kl" or "sqrt_kl".  options: `points.Options`.
    of_trainer: the file is a trainer's, whatever its columns are.
    BadInput where a trainer's log has no stated unit, where the unit is none of KL_UNITS, or where a root is given as
    KL or the other way round.
    """
    unit, ours = options.kl_unit, set(names) >= OURS
    rows = [] if ours else known_columns.known(column, names)
    if unit not in (None, *KL_UNITS):
        raise BadInput(f"--kl-unit {unit}: allowed are {', '.join(KL_UNITS)}")
    if kind == "sqrt_kl" and unit == TOKEN:
        raise BadInput("--kl-unit token goes with --x kl: the root of a mean over tokens has no length to multiply")
    _check_root(path, column, kind, rows)
    if unit is None and not (kind == "sqrt_kl" and rows):  # a root that is known is that of nats a response
        found = signs(names, options.asked)
        if found or (of_trainer and not ours):
            raise BadInput(_line_to_type(path, names, column, kind, rows, found))
    warnings = by_name(column, rows, unit or RESPONSE)
    if unit == TOKEN:
        if options.length is None:
            meant = length_column(names, rows) or "COLUMN"
            raise BadInput(f"--kl-unit token: --length {meant} is wanted, the mean number of tokens a response")
        if re.search(r"(^|[/_.])(max|min|std|total)", options.length, re.IGNORECASE):
            warnings.append(f"--length {options.length}: by its name no mean of tokens a response, which is wanted")
    return unit or RESPONSE, warnings


def in_nats(path, table: pd.DataFrame, column: str, unit: str, length: str | None) -> pd.Series:
    """The column in nats a response (or the root of that), NaN in gaps.  BadInput for a length that is not positive."""
    if unit == RESPONSE:
        return table[column]
    tokens = table[length]
    if (bad := tokens <= 0).any():
        given = f"{length}={tokens[bad].iloc[0]:g} in data row {data_row(table, bad)}"
        raise BadInput(f"{path}: {given}; a positive number is wanted")
    return table[column] * tokens


def _check_root(path, column, kind, rows) -> None:
    """BadInput where what is a root by the table or by its name is given as KL, or KL as a root."""
    roots = [row for row in rows if row.unit == ROOT]
    named = re.search(r"(^|[/_.])(sqrt|root)_?kl", column, re.IGNORECASE)
    if kind == "kl" and (roots or named):
        what = roots[0].says if roots else "a root, by its name"
        other = "--x sqrt_kl=policy/sqrt_kl" if roots else f"--x sqrt_kl={column}"
        raise BadInput(f"{path}: {column} is {what}, not KL: {other}")
    if kind == "sqrt_kl" and any(row.unit == KL for row in rows):
        raise BadInput(f"{path}: {column} is {rows[0].says}, not its root: --x kl={column}")
    if kind == "sqrt_kl" and any(row.unit == ROOT and row.per == TOKEN for row in rows):
        raise BadInput(f"{path}: {column} is {rows[0].says}, no distance of a response: --x sqrt_kl=policy/sqrt_kl")


def _line_to_type(path, names, column, kind, rows, found) -> str:
    """The refusal of a trainer's log whose unit is not stated, with the options to add."""
    seen = f" (it has {', '.join([name for name in found if name != column][:3] or found)})" if found else ""
    where = f"{path}: {column} of a trainer's log{seen}"
    if kind == "sqrt_kl":
        return f"{where}: state that it is the root of nats a response: --kl-unit response"
    tokens = length_column(names, rows) or "COLUMN"
    by_token, by_response = f"--kl-unit token --length {tokens}", "--kl-unit response"
    if rows and not any(row.is_distance for row in rows):
        return f"{where} is {rows[0].says}: no distance from the reference; if it is one here, {_either(tokens)}"
    distances = [row for row in rows if row.is_distance]
    if distances and len({row.per for row in distances}) == 1:
        typed = by_token if distances[0].per == TOKEN else by_response
        return f"{where} is {distances[0].says}, by the table of known columns; state it: {typed}"
    return (
        f"{where} may be nats a response (TRL's objective/kl) or the mean over tokens (GRPO's kl); "
        f"state it: {by_response}, or {by_token}"
    )


def _either(tokens: str) -> str:
    return f"--kl-unit response, or --kl-unit token --length {tokens}"


def by_name(column: str, rows, unit: str) -> list[str]:
    """What the table of known columns holds against taking this column for KL to the reference in this unit."""
    if not rows:
        return []
    if all(row.to in (OLD, SAMPLER) for row in rows):
        return [f"{column} is {rows[0].says}, not to the reference: the laws' distance is another column"]
    if not any(row.is_distance for row in rows):
        return [f"{column} is {rows[0].says}: no distance from the reference"]
    distances = [row for row in rows if row.is_distance]
    if all(row.per != unit for row in distances):
        factor = "too small" if unit == RESPONSE else "too large"
        return [f"{column} is {distances[0].says}, by the table of known columns: with --kl-unit {unit} d is {factor} "
                "by the root of a response's length"]  # fmt: skip
    if no_distance := [row for row in rows if not row.is_distance]:
        return [f"{column} may be {no_distance[0].says}: no distance from the reference"]
    return []


def length_column(columns: Iterable, rows=()) -> str | None:
    """The column that seems to be the mean number of tokens a response, if there is one."""
    names = [str(name) for name in columns]
    for wanted in (row.length for row in rows if row.length):
        if found := [name for name in names if name == wanted or name.endswith(f"/{wanted}")]:
            return found[0]
    fits = lambda name: not re.search(r"(^|[/_.])(max|min|std|clip|prompt|total)", name, re.IGNORECASE)
    for pattern in (LENGTH, SHORT_LENGTH):
        if found := [name for name in names if pattern.search(name) and fits(name)]:
            return next((name for name in found if "mean" in name or "avg" in name), found[0])
    return None
